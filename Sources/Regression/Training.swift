// Fitting a surrogate to samples.
//
// A step has two phases. First the rows of the batch: each thread takes some rows through the network and back. Then
// the weights: each thread takes some blocks of weights, sums their gradients over all rows of the batch in row order,
// and applies the optimiser. Every number is computed by one thread in one order, so the result does not depend on how
// many threads there are.
//
// Kernels pass over what is zero for some neighbouring rows or neurons at once (see CKernels.h). So that neurons that are
// seldom active are neighbours, those of a layer are put in order of their activity after each epoch.

internal import CKernels

/// How a surrogate is fitted.
public struct TrainingSettings: Sendable, Hashable {
    /// How a gradient becomes a step.
    public enum Optimizer: Sendable, Hashable {
        /// Adam with β₁ = 0.9, β₂ = 0.999, ε = 1e-8 (Kingma and Ba 2015).
        case adam
        /// Gradient descent with momentum: m ← momentum · m + g, w ← w − rate · m.
        case sgd(momentum: Double)
    }

    /// How many samples make a step.
    public enum Batch: Sendable, Hashable {
        /// The whole training set in every step.
        case full
        /// So many samples a step, in a new random order every epoch.
        case rows(Int)
    }

    /// How the learning rate falls.
    public enum Schedule: Sendable, Hashable {
        /// From the learning rate to `finalFraction` of it along half a cosine, step by step.
        case cosine(finalFraction: Double)
        /// Times `factor` after every `every` epochs.
        case step(every: Int, factor: Double)
        case constant
    }

    /// Training ends early when the training MSE has changed by less than `relativeChange` over `overEpochs` epochs.
    public struct Halt: Sendable, Hashable {
        public var relativeChange: Double
        public var overEpochs: Int

        public init(relativeChange: Double, overEpochs: Int) {
            self.relativeChange = relativeChange
            self.overEpochs = overEpochs
        }
    }

    public var optimizer: Optimizer
    public var batch: Batch
    public var epochs: Int
    public var learningRate: Double
    public var schedule: Schedule
    public var halt: Halt?

    public init(
        optimizer: Optimizer = .adam, batch: Batch = .rows(256), epochs: Int = 14, learningRate: Double = 0.003,
        schedule: Schedule = .cosine(finalFraction: 0.002), halt: Halt? = nil
    ) {
        self.optimizer = optimizer
        self.batch = batch
        self.epochs = epochs
        self.learningRate = learningRate
        self.schedule = schedule
        self.halt = halt
    }

    /// Samples of a step, of so many, at least one.
    func rows(of count: Int) -> Int {
        switch batch {
        case .full: count
        case .rows(let rows): min(max(1, rows), count)
        }
    }

    /// Steps of an epoch on so many samples.
    func steps(of count: Int) -> Int { (count + rows(of: count) - 1) / rows(of: count) }
}

/// A second set of samples with its own weight in the objective
/// λ · (mean squared error on the first) + (1 − λ) · (mean squared error on the second).
public struct WeightedSamples: Sendable, Hashable {
    public var samples: Samples
    /// λ, the weight of the *first* set, in [0, 1].
    public var weightOfFirst: Double

    public init(samples: Samples, weightOfFirst: Double) {
        self.samples = samples
        self.weightOfFirst = weightOfFirst
    }
}

/// What one epoch did.
public struct EpochReport: Sendable, Hashable {
    /// From 1.
    public var epoch: Int
    /// Mean squared error over the epoch's samples, each taken before the step that it was part of.
    public var trainingMSE: Double
    /// The learning rate of the last step.
    public var learningRate: Double
    /// Whether this was the last epoch.
    public var isLast: Bool

    public init(epoch: Int, trainingMSE: Double, learningRate: Double, isLast: Bool) {
        self.epoch = epoch
        self.trainingMSE = trainingMSE
        self.learningRate = learningRate
        self.isLast = isLast
    }
}

/// The training got lost: a loss that is not finite.
public struct TrainingDiverged: Error, Sendable, Hashable, CustomStringConvertible {
    public var epoch: Int
    public var description: String {
        "training diverged in epoch \(epoch): the loss is not finite; lower the learningRate (of training or of the "
            + "mitigation), or look for labels and weights that are out of proportion"
    }
}

/// A training run: `epoch()` until `isFinished`.
public final class Training {
    private let samples: Samples
    private let second: WeightedSamples?
    private let settings: TrainingSettings
    private let randomSeed: UInt64
    private let run: UInt32

    private let team: ThreadTeam
    private let layers: [PackedLayer]
    private let parts: [Part]
    /// What the threads share in the second phase.
    private let blocks: [Block]
    private let activations: Activations
    private var errors: [Double]

    private var epochsDone = 0
    /// Rows of the last piece, whose activations are still there.
    private var lastRows = 0
    private var history: [Double] = []
    private var decay: (first: Double, second: Double) = (1, 1)
    public private(set) var isFinished = false
    /// For each layer and each of its outputs as they are now, which output it was at the start.
    package private(set) var neurons: [[Int]]

    /// Gradient and optimiser memory of one layer.
    private struct Part {
        var gradient: FloatBuffer
        var first: FloatBuffer
        var second: FloatBuffer
        var biasGradient: FloatBuffer
        var biasFirst: FloatBuffer
        var biasSecond: FloatBuffer
    }

    /// Some outputs of a layer: their weights and biases.
    private struct Block {
        var layer: Int
        var outputs: Range<Int>
    }

    /// Rows whose activations are kept at once: some 256, which stay in second-level caches. A larger batch goes through in
    /// several pieces of like size, the same ones for any number of threads.
    private static func pieceRows(of batch: Int) -> Int {
        let target = 256
        let pieces = max(1, (batch + target / 2) / target)
        let tile = Int(CK_ROWS)
        return ((batch + pieces - 1) / pieces + tile - 1) / tile * tile
    }

    /// Outputs per block of weights: whole register tiles, and small enough to share the work evenly.
    private static let blockOutputs = 48

    /// - Parameters:
    ///   - surrogate: where to start.
    ///   - samples: what to fit, at least one row.
    ///   - second: samples with a weight of their own, if any.
    ///   - randomSeed: the study's; decides the order of the samples.
    ///   - run: which training of the study this is.
    ///   - threads: how many threads to use; the result does not depend on it.
    public init(
        _ surrogate: Surrogate, samples: Samples, second: WeightedSamples? = nil, settings: TrainingSettings,
        randomSeed: UInt64, run: UInt32, threads: Int
    ) {
        precondition(samples.count > 0 && samples.dimension == surrogate.dimension, "samples that fit the surrogate")
        self.samples = samples
        self.second = second.flatMap { $0.samples.count > 0 && $0.weightOfFirst < 1 ? $0 : nil }
        self.settings = settings
        self.randomSeed = randomSeed
        self.run = run
        team = ThreadTeam(size: threads)
        layers = PackedLayer.pack(surrogate.layers)
        neurons = layers.map { Array(0..<$0.shape.outputs) }
        let buffers = FloatBuffer.adjacent(
            layers.flatMap { layer in
                [layer.backward.count, layer.biases.count].flatMap { [Int](repeating: $0, count: 3) }
            })
        parts = layers.indices.map { l in
            let own = Array(buffers[6 * l..<6 * l + 6])
            return Part(
                gradient: own[0], first: own[1], second: own[2], biasGradient: own[3], biasFirst: own[4],
                biasSecond: own[5])
        }
        blocks = layers.enumerated().flatMap { l, layer in
            stride(from: 0, to: layer.shape.outputs, by: Self.blockOutputs).map {
                Block(layer: l, outputs: $0..<min($0 + Self.blockOutputs, layer.shape.outputs))
            }
        }
        let batch = settings.rows(of: samples.count)
        let rows = Self.pieceRows(of: batch + Self.secondRows(batch, self.second))
        activations = Activations(layers, rows: rows)
        errors = [Double](repeating: 0, count: rows)
        isFinished = settings.epochs <= 0
    }

    /// Goes on where another training of the same samples, settings, seed and run stood.
    ///
    /// - Throws: `TrainingStateError` if the state is not one of theirs.
    public convenience init(
        resuming state: TrainingState, samples: Samples, second: WeightedSamples? = nil, settings: TrainingSettings,
        randomSeed: UInt64, run: UInt32, threads: Int
    ) throws(TrainingStateError) {
        guard state.surrogate.dimension == samples.dimension else {
            throw TrainingStateError(description: "the state of a training on other samples")
        }
        self.init(
            state.surrogate, samples: samples, second: second, settings: settings, randomSeed: randomSeed, run: run,
            threads: threads)
        guard state.history.count <= settings.epochs else {
            throw TrainingStateError(description: "the state of a training of more epochs")
        }
        for (l, layer) in layers.enumerated() {
            layer.shape.pack(state.means.layers[l], into: parts[l].first, parts[l].biasFirst)
            layer.shape.pack(state.squares.layers[l], into: parts[l].second, parts[l].biasSecond)
        }
        epochsDone = state.history.count
        history = state.history
        for _ in 0..<epochsDone * settings.steps(of: samples.count) { passStep() }
        isFinished = epochsDone >= settings.epochs || hasSettled
    }

    /// Where it stands between two epochs.
    public var state: TrainingState {
        func moments(_ weights: KeyPath<Part, FloatBuffer>, _ biases: KeyPath<Part, FloatBuffer>) -> Surrogate {
            Surrogate(
                layers: zip(layers, parts).map { $0.shape.layer($1[keyPath: weights], $1[keyPath: biases]) })
        }
        return TrainingState(
            surrogate: surrogate, means: moments(\.first, \.biasFirst), squares: moments(\.second, \.biasSecond),
            history: history)
    }

    /// Rows of the second set that go with `batch` rows of the first.
    private static func secondRows(_ batch: Int, _ second: WeightedSamples?) -> Int {
        second.map { min($0.samples.count, max(1, batch / 4)) } ?? 0
    }

    /// The surrogate as it is now.
    public var surrogate: Surrogate { Surrogate(layers: layers.map(\.layer)) }

    /// Runs one epoch.
    ///
    /// - Throws: `TrainingDiverged` if the loss is not finite.
    public func epoch() throws(TrainingDiverged) -> EpochReport {
        precondition(!isFinished, "training goes on after its end")
        let (count, batch, steps) = (samples.count, settings.rows(of: samples.count), settings.steps(of: samples.count))
        var stream = RandomStream(
            seed: randomSeed, purpose: .batches, index: run << 16 | UInt32(truncatingIfNeeded: epochsDone))
        let order = settings.batch == .full ? (0..<Int32(count)).map { $0 } : stream.permutation(count)
        let secondCount = second?.samples.count ?? 0
        var secondOrder = secondCount > 0 ? stream.permutation(secondCount) : []
        var secondNext = 0

        var squares = 0.0
        var rate = settings.learningRate
        for step in 0..<steps {
            let first = order[step * batch..<min((step + 1) * batch, count)]
            var rows = Array(first)
            for _ in 0..<Self.secondRows(first.count, second) {
                if secondNext == secondCount {
                    secondOrder = stream.permutation(secondCount)
                    secondNext = 0
                }
                rows.append(-1 - secondOrder[secondNext])
                secondNext += 1
            }
            rate = learningRate(epoch: epochsDone, step: step, of: steps)
            squares += take(rows, firstCount: first.count, rate: rate)
        }
        epochsDone += 1
        let mse = squares / Double(count)
        guard mse.isFinite else { throw TrainingDiverged(epoch: epochsDone) }
        history.append(mse)
        isFinished = epochsDone >= settings.epochs || hasSettled
        orderNeurons()
        return EpochReport(epoch: epochsDone, trainingMSE: mse, learningRate: rate, isLast: isFinished)
    }

    /// The optimiser's memory of its start fades with each step.
    private func passStep() {
        decay.first *= 0.9
        decay.second *= 0.999
    }

    private var hasSettled: Bool {
        guard let halt = settings.halt, history.count > halt.overEpochs else { return false }
        let then = history[history.count - 1 - halt.overEpochs]
        return abs(history.last! - then) < halt.relativeChange * then
    }

    private func learningRate(epoch: Int, step: Int, of steps: Int) -> Double {
        switch settings.schedule {
        case .constant: return settings.learningRate
        case .step(let every, let factor):
            return (0..<epoch / max(1, every)).reduce(settings.learningRate) { rate, _ in rate * factor }
        case .cosine(let finalFraction):
            let progress = Double(epoch * steps + step) / Double(max(1, settings.epochs * steps))
            let low = settings.learningRate * finalFraction
            return low + (settings.learningRate - low) * (1 + ck_cospi(progress)) / 2
        }
    }

    /// Puts the neurons of each hidden layer in order of how many rows of the last piece they were active in.
    private func orderNeurons() {
        var inputs = Array(0..<layers[0].shape.inputs)
        for (l, (layer, part)) in zip(layers, parts).enumerated() {
            var outputs = Array(0..<layer.shape.outputs)
            if l + 1 < layers.count {
                let (values, stride) = (activations.values[l + 1].start, activations.strides[l + 1])
                var active = [Int](repeating: 0, count: outputs.count)
                for row in 0..<lastRows { for o in outputs where values[row * stride + o] > 0 { active[o] += 1 } }
                outputs.sort { (active[$1], $0) < (active[$0], $1) }
            }
            for packed in [layer.backward, part.first, part.second] {
                layer.reorder(packed, outputs: outputs, inputs: inputs)
            }
            for numbers in [layer.biases, part.biasFirst, part.biasSecond] {
                let old = [Float](UnsafeBufferPointer(start: numbers.start, count: numbers.count))
                for o in outputs.indices { numbers.start[o] = old[outputs[o]] }
            }
            layer.repack(outputs: outputs.indices)
            neurons[l] = outputs.map { neurons[l][$0] }
            inputs = outputs
        }
    }

    /// One step on some rows, the second set's as −1 − row; returns the sum of squared errors on the first set's.
    private func take(_ rows: [Int32], firstCount: Int, rate: Double) -> Double {
        passStep()
        let secondCount = rows.count - firstCount
        let lambda = second?.weightOfFirst ?? 1
        let weights = (
            first: 2 * lambda / Double(firstCount), second: secondCount > 0 ? 2 * (1 - lambda) / Double(secondCount) : 0
        )
        var squares = 0.0
        var start = 0
        while start < rows.count {
            let piece = rows[start..<min(start + activations.rows, rows.count)]
            let isLast = piece.endIndex == rows.count
            let resume = start > 0
            let threads = team.size
            errors.withUnsafeMutableBufferPointer { errors in
                let errors = UncheckedSendable(errors)
                team.run { thread in
                    let share = Self.part(thread, of: threads, 0..<piece.count)
                    self.propagate(piece, share, weights: weights, errors: errors.value)
                }
            }
            team.share(blocks.count) { block in
                self.update(self.blocks[block], rows: piece.count, resume: resume, rate: isLast ? rate : nil)
            }
            for (r, row) in zip(piece.indices, piece) where row >= 0 {
                let error = errors[r - piece.startIndex]
                squares += error * error
            }
            start = piece.endIndex
            lastRows = piece.count
        }
        return squares
    }

    /// One of some parts of rows: like sizes, and ends between the groups of rows that a register tile takes, so that rows
    /// are grouped alike for any number of parts.
    private static func part(_ part: Int, of parts: Int, _ rows: Range<Int>) -> Range<Int> {
        let tile = Int(CK_ROWS)
        let tiles = (rows.count + tile - 1) / tile
        func end(_ part: Int) -> Int { min(rows.upperBound, rows.lowerBound + tiles * part / parts * tile) }
        return end(part)..<end(part + 1)
    }

    private struct UncheckedSendable<Value>: @unchecked Sendable {
        let value: Value
        init(_ value: Value) { self.value = value }
    }

    /// The first phase for some rows of a piece: forward, errors, backward.
    private func propagate(
        _ piece: ArraySlice<Int32>, _ share: Range<Int>, weights: (first: Double, second: Double),
        errors: UnsafeMutableBufferPointer<Double>
    ) {
        let dimension = samples.dimension
        let (ld, ldOut) = (activations.strides[0], activations.strides.last!)
        let (inputs, outputs) = (activations.values[0].start, activations.values.last!.start)
        let slopes = activations.gradients.last!.start
        for r in share {
            let row = Int(piece[piece.startIndex + r])
            if row >= 0 {
                for i in 0..<dimension { inputs[r * ld + i] = Float(samples.inputs[row * dimension + i]) }
            } else {
                let extra = second!.samples
                for i in 0..<dimension { inputs[r * ld + i] = Float(extra.inputs[(-1 - row) * dimension + i]) }
            }
        }
        // Tiles of like size, so that none is a remnant.
        let tiles = (share.count + Network.tileRows - 1) / Network.tileRows
        for tile in 0..<tiles {
            let rows = Self.part(tile, of: tiles, share)
            Network.forward(layers, activations, rows)
            for r in rows {
                let row = Int(piece[piece.startIndex + r])
                let label = row >= 0 ? samples.labels[row] : second!.samples.labels[-1 - row]
                let error = Double(outputs[r * ldOut]) - label
                errors[r] = error
                slopes[r * ldOut] = Float((row >= 0 ? weights.first : weights.second) * error)
            }
            Network.backward(layers, activations, rows, toInputs: false)
        }
    }

    /// The second phase for some weights: sum their gradients over `rows` rows and, with a rate, step.
    private func update(_ block: Block, rows: Int, resume: Bool, rate: Double?) {
        let (layer, part, outputs) = (layers[block.layer], parts[block.layer], block.outputs)
        let slopes = activations.gradients[block.layer + 1].start
        let stride = activations.strides[block.layer + 1]
        ck_outer(
            slopes, stride, activations.values[block.layer].start, activations.strides[block.layer], rows,
            outputs.lowerBound, outputs.count, layer.shape.paddedInputs, resume ? 1 : 0, part.gradient.start,
            layer.shape.outputs)
        // The same columns of slopes again, while they are in the cache.
        let (first, count) = (outputs.lowerBound, LayerShape.padded(outputs.count))
        ck_column_sums(slopes + first, stride, rows, count, resume ? 1 : 0, part.biasGradient.start + first)
        guard let rate else { return }
        for (panel, width) in layer.shape.inputPanels {
            let offset = panel * layer.shape.outputs + outputs.lowerBound * width
            step(
                layer.backward.start + offset, part.gradient.start + offset, part.first.start + offset,
                part.second.start + offset, outputs.count * width, rate)
        }
        layer.repack(outputs: outputs)
        step(
            layer.biases.start + first, part.biasGradient.start + first, part.biasFirst.start + first,
            part.biasSecond.start + first, count, rate)
    }

    private func step(
        _ w: UnsafeMutablePointer<Float>, _ g: UnsafePointer<Float>, _ m: UnsafeMutablePointer<Float>,
        _ v: UnsafeMutablePointer<Float>, _ count: Int, _ rate: Double
    ) {
        switch settings.optimizer {
        case .adam:
            ck_adam(
                w, g, m, v, count, 0.9, 0.999, Float(rate / (1 - decay.first)), Float(1 / (1 - decay.second)), 1e-8)
        case .sgd(let momentum):
            ck_momentum(w, g, m, count, Float(momentum), Float(rate))
        }
    }
}
