import Foundation
import Regression
import Testing

/// Reference numbers of PyTorch in double precision: see Tests/References/network.py.
private struct NetworkReference: Decodable {
    struct Layer: Decodable {
        var weights: [Double]
        var biases: [Double]
    }
    struct Trained: Decodable {
        var losses: [Double]
        var layers: [Layer]
    }
    var widths: [Int]
    var start: [Layer]
    var inputs: [Double]
    var labels: [Double]
    var predictions: [Double]
    var inputGradients: [Double]
    var weightGradients: [Layer]
    var adam: Trained
    var sgd: Trained

    static let it = try! JSONDecoder().decode(NetworkReference.self, from: resource("network.json"))

    var surrogate: Surrogate {
        Surrogate(
            layers: zip(start, zip(widths, widths.dropFirst())).map { layer, shape in
                .init(
                    inputs: shape.0, outputs: shape.1, weights: layer.weights.map(Float.init),
                    biases: layer.biases.map(Float.init))
            })
    }

    var samples: Samples { Samples(dimension: widths[0], inputs: inputs, labels: labels) }
}

/// The same network in double precision, for differences.
private func exact(_ surrogate: Surrogate, _ input: [Double]) -> Double {
    var values = input
    for (k, layer) in surrogate.layers.enumerated() {
        values = (0..<layer.outputs).map { o in
            var sum = Double(layer.biases[o])
            for i in 0..<layer.inputs { sum += Double(layer.weights[o * layer.inputs + i]) * values[i] }
            return k + 1 < surrogate.layers.count ? max(0, sum) : sum
        }
    }
    return values[0]
}

@Suite struct NetworkTests {
    @Test func predictionsAndGradientsAreThoseOfPyTorch() {
        let reference = NetworkReference.it
        onEveryPath { path in
            let (predictions, gradients) = Network(reference.surrogate).predictWithGradient(reference.inputs)
            for (ours, theirs) in zip(predictions, reference.predictions) {
                #expect(abs(ours - theirs) < 1e-5, "\(path)")
            }
            for (ours, theirs) in zip(gradients, reference.inputGradients) { #expect(abs(ours - theirs) < 1e-5) }
            #expect(bits(Network(reference.surrogate).predict(reference.inputs)) == bits(predictions))
        }
    }

    @Test func gradientsAreDifferencesInDoublePrecision() {
        let surrogate = Surrogate(dimension: 5, hidden: [33, 50, 17], randomSeed: 4)
        let network = Network(surrogate)
        var dice = Dice(6)
        var compared = 0
        for _ in 0..<100 {
            let input = dice.uniforms(5)
            let (prediction, gradient) = network.predictWithGradient(input)
            #expect(abs(prediction[0] - exact(surrogate, input)) < 1e-6)
            for i in 0..<5 {
                func at(_ step: Double) -> Double {
                    var moved = input
                    moved[i] += step
                    return exact(surrogate, moved)
                }
                let (near, nearer) = ((at(1e-5) - at(-1e-5)) / 2e-5, (at(1e-6) - at(-1e-6)) / 2e-6)
                // At a kink the two differ, and there is no derivative.
                guard abs(near - nearer) < 1e-8 else { continue }
                #expect(abs(gradient[i] - near) < 1e-5)
                compared += 1
            }
        }
        #expect(compared > 400)
    }

    @Test(arguments: [[7], [1], [16, 16], [64, 65, 3], [128, 256, 512, 256, 128], []])
    func aRowsResultDoesNotDependOnItsBatch(_ hidden: [Int]) {
        let surrogate = Surrogate(dimension: 5, hidden: hidden, randomSeed: 4)
        var dice = Dice(6)
        let rows = 205
        let inputs = dice.uniforms(5 * rows)
        var seen: [[UInt64]] = []
        onEveryPath { path in
            // The portable path is slow: a wide network is compared on the others.
            if path == .portable && hidden.count == 5 { return }
            let network = Network(surrogate)
            let (predictions, gradients) = network.predictWithGradient(inputs)
            seen.append(bits(predictions) + bits(gradients))
            for row in [0, 1, 95, 96, 200, 204] {
                let alone = network.predictWithGradient(Array(inputs[5 * row..<5 * row + 5]))
                #expect(alone.predictions[0].bitPattern == predictions[row].bitPattern)
                #expect(bits(alone.gradients) == bits(Array(gradients[5 * row..<5 * row + 5])))
            }
        }
        #expect(seen.allSatisfy { $0 == seen[0] })
    }

    @Test func nothingIsPredictedForNothing() {
        #expect(Network(Surrogate(dimension: 2, hidden: [3], randomSeed: 1)).predict([]).isEmpty)
    }
}

@Suite struct TrainingTests {
    private func settings(_ optimizer: TrainingSettings.Optimizer) -> TrainingSettings {
        TrainingSettings(optimizer: optimizer, batch: .full, epochs: 5, learningRate: 0.01, schedule: .constant)
    }

    @Test func stepsAreThoseOfPyTorch() throws {
        let reference = NetworkReference.it
        for (optimizer, expected) in [
            (TrainingSettings.Optimizer.adam, reference.adam), (.sgd(momentum: 0.9), reference.sgd),
        ] {
            let training = Training(
                reference.surrogate, samples: reference.samples, settings: settings(optimizer), randomSeed: 1, run: 0,
                threads: 2)
            for loss in expected.losses {
                let report = try training.epoch()
                #expect(abs(report.trainingMSE - loss) < 1e-4 * loss, "\(optimizer)")
            }
            #expect(training.isFinished)
            for (ours, theirs) in zip(asStarted(training), expected.layers) {
                for (a, b) in zip(ours.weights, theirs.weights) { #expect(abs(Double(a) - b) < 2e-4) }
                for (a, b) in zip(ours.biases, theirs.biases) { #expect(abs(Double(a) - b) < 2e-4) }
            }
        }
    }

    @Test func weightGradientsAreThoseOfPyTorch() throws {
        // One step of plain descent with rate 1 moves each weight by its gradient.
        let reference = NetworkReference.it
        var one = settings(.sgd(momentum: 0))
        (one.epochs, one.learningRate) = (1, 1)
        let training = Training(
            reference.surrogate, samples: reference.samples, settings: one, randomSeed: 1, run: 0, threads: 1)
        _ = try training.epoch()
        for (k, layer) in asStarted(training).enumerated() {
            for (j, w) in layer.weights.enumerated() {
                let gradient = reference.start[k].weights[j] - Double(w)
                #expect(abs(gradient - reference.weightGradients[k].weights[j]) < 1e-5)
            }
            for (j, b) in layer.biases.enumerated() {
                let gradient = reference.start[k].biases[j] - Double(b)
                #expect(abs(gradient - reference.weightGradients[k].biases[j]) < 1e-5)
            }
        }
    }

    @Test func neuronsComeInOrderOfTheirActivity() throws {
        let samples = samples(300, 4)
        let training = Training(
            Surrogate(dimension: 5, hidden: [40, 33], randomSeed: 2), samples: samples,
            settings: TrainingSettings(batch: .full, epochs: 3, schedule: .constant), randomSeed: 1, run: 0, threads: 2)
        var before = training.surrogate
        while !training.isFinished {
            let known = training.neurons
            _ = try training.epoch()
            // By the activity before the step: its activations are those that there were.
            for l in 0..<2 {
                let active = activity(before, samples.inputs, layer: l)
                let places = training.neurons[l].map { known[l].firstIndex(of: $0)! }
                for (a, b) in zip(places, places.dropFirst()) { #expect((active[b], a) < (active[a], b)) }
                #expect(training.neurons[l].sorted() == Array(0..<training.neurons[l].count))
            }
            before = training.surrogate
        }
        // The same function: only neurons have moved.
        let moved = Network(Surrogate(layers: asStarted(training))).predict(samples.inputs)
        for (a, b) in zip(Network(before).predict(samples.inputs), moved) { #expect(abs(a - b) < 1e-5) }
    }

    /// In how many rows each neuron of a hidden layer is active.
    private func activity(_ surrogate: Surrogate, _ inputs: [Double], layer: Int) -> [Int] {
        var counts = [Int](repeating: 0, count: surrogate.layers[layer].outputs)
        for row in 0..<inputs.count / surrogate.layers[0].inputs {
            var x = inputs[row * 5..<row * 5 + 5].map { Float($0) }
            for l in surrogate.layers[...layer] {
                x = (0..<l.outputs).map { o in
                    max(0, x.indices.reduce(l.biases[o]) { $0.addingProduct(x[$1], l.weights[o * l.inputs + $1]) })
                }
            }
            for (o, value) in x.enumerated() where value > 0 { counts[o] += 1 }
        }
        return counts
    }

    /// The layers with their neurons where they were at the start.
    private func asStarted(_ training: Training) -> [Surrogate.Layer] {
        var inputs = Array(0..<training.surrogate.layers[0].inputs)
        return zip(training.surrogate.layers, training.neurons).map { layer, outputs in
            var started = layer
            for (o, output) in outputs.enumerated() {
                started.biases[output] = layer.biases[o]
                for (i, input) in inputs.enumerated() {
                    started.weights[output * layer.inputs + input] = layer.weights[o * layer.inputs + i]
                }
            }
            inputs = outputs
            return started
        }
    }

    private func samples(_ count: Int, _ seed: UInt64) -> Samples {
        var dice = Dice(seed)
        let inputs = dice.uniforms(5 * count)
        let labels = (0..<count).map { (row: Int) -> Double in
            let x = Array(inputs[5 * row..<5 * row + 5])
            return 3 * x[0] - x[1] * x[2]
        }
        return Samples(dimension: 5, inputs: inputs, labels: labels)
    }

    private func train(
        _ settings: TrainingSettings, threads: Int, second: WeightedSamples? = nil, count: Int = 300, seed: UInt64 = 1
    ) throws -> (surrogate: Surrogate, reports: [EpochReport], asStarted: [Surrogate.Layer]) {
        let training = Training(
            Surrogate(dimension: 5, hidden: [40, 33], randomSeed: 2), samples: samples(count, 3), second: second,
            settings: settings, randomSeed: seed, run: 0, threads: threads)
        var reports: [EpochReport] = []
        while !training.isFinished { reports.append(try training.epoch()) }
        return (training.surrogate, reports, asStarted(training))
    }

    @Test func resultsDoNotDependOnThreadsOrPath() throws {
        let extra = WeightedSamples(samples: samples(9, 8), weightOfFirst: 0.8)
        for settings in [
            TrainingSettings(batch: .rows(64), epochs: 2),
            TrainingSettings(optimizer: .sgd(momentum: 0.5), batch: .full, epochs: 2, learningRate: 0.001),
        ] {
            let expected = try train(settings, threads: 1, second: extra).surrogate
            for threads in [2, 3, 5, 8] {
                let surrogate = try train(settings, threads: threads, second: extra).surrogate
                #expect(surrogate == expected, "\(threads) threads")
            }
            try onEveryPath { path in
                let surrogate = try train(settings, threads: 2, second: extra).surrogate
                #expect(surrogate == expected, "\(path)")
            }
        }
    }

    @Test func aLargeFullBatchGoesThroughInPieces() throws {
        // More rows than are kept at once; an epoch of one step either way.
        let settings = TrainingSettings(batch: .full, epochs: 1)
        let whole = try train(settings, threads: 2, count: 9000)
        let asRows = try train(TrainingSettings(batch: .rows(9000), epochs: 1), threads: 1, count: 9000)
        #expect(whole.reports[0].trainingMSE.isFinite)
        // The same samples in another order: equal but for rounding.
        for (a, b) in zip(whole.asStarted, asRows.asStarted) {
            for (x, y) in zip(a.weights, b.weights) { #expect(abs(x - y) < 1e-3) }
        }
    }

    @Test func theOrderOfSamplesFollowsTheSeed() throws {
        let settings = TrainingSettings(batch: .rows(32), epochs: 1)
        #expect(try train(settings, threads: 1, seed: 1).surrogate == train(settings, threads: 1, seed: 1).surrogate)
        #expect(try train(settings, threads: 1, seed: 1).surrogate != train(settings, threads: 1, seed: 2).surrogate)
    }

    @Test func schedulesGiveTheirRates() throws {
        func rates(_ schedule: TrainingSettings.Schedule, epochs: Int) throws -> [Double] {
            try train(
                TrainingSettings(batch: .full, epochs: epochs, learningRate: 0.01, schedule: schedule), threads: 1
            ).reports.map(\.learningRate)
        }
        #expect(try rates(.constant, epochs: 3) == [0.01, 0.01, 0.01])
        let steps = try rates(.step(every: 2, factor: 0.1), epochs: 5)
        for (rate, expected) in zip(steps, [0.01, 0.01, 0.001, 0.001, 0.0001]) { #expect(abs(rate - expected) < 1e-15) }
        let cosine = try rates(.cosine(finalFraction: 0.2), epochs: 4)
        for (k, rate) in cosine.enumerated() {
            let expected = 0.002 + 0.008 * (1 + cos(Double.pi * Double(k) / 4)) / 2
            #expect(abs(rate - expected) < 1e-15)
        }
    }

    @Test func trainingHaltsWhenItHasSettled() throws {
        let settings = TrainingSettings(
            batch: .full, epochs: 500, learningRate: 1e-9, schedule: .constant,
            halt: .init(relativeChange: 0.01, overEpochs: 10))
        let reports = try train(settings, threads: 1).reports
        #expect(reports.count == 11, "nothing changes: after the first ten epochs it is known")
        #expect(reports.last!.isLast && !reports[9].isLast)
    }

    @Test func theSecondSetCountsByItsWeight() throws {
        // Only the second set says that the answer is 5: with all weight on it, that is what is learned.
        let five = Samples(dimension: 5, inputs: samples(40, 5).inputs, labels: [Double](repeating: 5, count: 40))
        func answer(_ weight: Double) throws -> Double {
            let settings = TrainingSettings(batch: .rows(64), epochs: 60, learningRate: 0.01)
            let surrogate = try train(settings, threads: 2, second: .init(samples: five, weightOfFirst: weight))
                .surrogate
            return Network(surrogate).predict([0.5, 0.5, 0.5, 0.5, 0.5])[0]
        }
        #expect(abs(try answer(0) - 5) < 0.3)
        #expect(abs(try answer(1) - 1.25) < 0.3)
    }

    /// A training that begins, and the same one from the bytes of a state.
    private func training(_ settings: TrainingSettings, from state: [UInt8]? = nil, count: Int = 300) throws -> Training
    {
        let second = WeightedSamples(samples: samples(9, 8), weightOfFirst: 0.8)
        guard let state else {
            return Training(
                Surrogate(dimension: 5, hidden: [40, 33], randomSeed: 2), samples: samples(count, 3), second: second,
                settings: settings, randomSeed: 4, run: 7, threads: 2)
        }
        return try Training(
            resuming: TrainingState(encoded: state), samples: samples(count, 3), second: second, settings: settings,
            randomSeed: 4, run: 7, threads: 3)
    }

    @Test(arguments: [
        TrainingSettings(batch: .rows(64), epochs: 5),
        TrainingSettings(optimizer: .sgd(momentum: 0.5), batch: .full, epochs: 5, learningRate: 0.001),
        TrainingSettings(
            batch: .rows(300), epochs: 50, schedule: .step(every: 2, factor: 0.5),
            halt: .init(relativeChange: 0.5, overEpochs: 3)),
    ])
    func aTrainingGoesOnFromItsStateToTheSameBits(settings: TrainingSettings) throws {
        let whole = try training(settings)
        var reports: [EpochReport] = []
        while !whole.isFinished { reports.append(try whole.epoch()) }
        // Into another process, so to speak, after every epoch.
        var parts = try training(settings)
        var resumed: [EpochReport] = []
        while !parts.isFinished {
            resumed.append(try parts.epoch())
            parts = try training(settings, from: parts.state.encoded)
        }
        #expect(resumed == reports)
        #expect(parts.state == whole.state)
    }

    @Test func aStateThatIsNoneIsRefused() throws {
        let settings = TrainingSettings(batch: .rows(64), epochs: 3)
        let begun = try training(settings)
        _ = try begun.epoch()
        let bytes = begun.state.encoded
        #expect(try TrainingState(encoded: bytes) == begun.state)
        for count in [0, 15, 16, 20, 31, 40, bytes.count / 2, bytes.count - 1] {
            #expect(throws: TrainingStateError.self) { try TrainingState(encoded: Array(bytes.prefix(count))) }
        }
        #expect(throws: TrainingStateError.self) { try TrainingState(encoded: bytes + [0]) }
        var hostile = bytes
        hostile.replaceSubrange(16..<24, with: [UInt8](repeating: 0xff, count: 8))
        #expect(throws: TrainingStateError.self) { try TrainingState(encoded: hostile) }
        // Of a training with more epochs, or on samples of another dimension.
        var short = settings
        short.epochs = 0
        #expect(throws: TrainingStateError.self) { try training(short, from: bytes) }
        let other = Samples(dimension: 1, inputs: [0.5], labels: [1])
        #expect(throws: TrainingStateError.self) {
            try Training(
                resuming: TrainingState(encoded: bytes), samples: other, settings: settings, randomSeed: 4, run: 7,
                threads: 1)
        }
    }

    @Test func divergenceIsAnErrorThatSaysWhatToDo() {
        let settings = TrainingSettings(
            optimizer: .sgd(momentum: 0.9), batch: .rows(32), epochs: 10, learningRate: 100, schedule: .constant)
        #expect {
            try train(settings, threads: 2)
        } throws: {
            "\($0)".contains("learningRate")
        }
    }
}

@Suite struct SafetensorsTests {
    @Test(arguments: [[3], [], [128, 256, 512, 256, 128], [17, 5]]) func surrogatesSurviveTheRoundTrip(_ hidden: [Int])
        throws
    {
        let surrogate = Surrogate(dimension: 5, hidden: hidden, randomSeed: 9)
        let bytes = surrogate.safetensors(metadata: ["note": "a \"quote\", a \\ and a\nline"])
        #expect(bytes.prefix(8).reduce(0) { $0 + Int($1) } > 0 && (bytes.count - 8).isMultiple(of: 4))
        var metadata: [String: String] = [:]
        let again = try Surrogate(safetensors: bytes, metadata: &metadata)
        #expect(again == surrogate)
        #expect(metadata["note"] == "a \"quote\", a \\ and a\nline")
        #expect(metadata["activation"] == "relu")
        #expect(again.hidden == hidden)
    }

    @Test func packedLayersHoldTheWeights() {
        for (inputs, outputs) in [(5, 128), (64, 64), (65, 63), (1, 1), (130, 200)] {
            var dice = Dice(UInt64(inputs))
            let layer = Surrogate.Layer(
                inputs: inputs, outputs: outputs, weights: dice.floats(inputs * outputs), biases: dice.floats(outputs))
            #expect(PackedLayer.pack([layer])[0].layer == layer)
        }
    }
}
