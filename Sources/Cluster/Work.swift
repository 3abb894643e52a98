// The one place where jobs and regression meet: what a job computes, and how.

package import Regression

/// What a process can do for a cluster.
package enum Role: UInt8, Sendable, Hashable, CaseIterable {
    case worker = 1
    case trainer = 2

    package var name: String { self == .worker ? "worker" : "trainer" }
}

/// An oracle, named so that two workers cannot mean different ones.
package struct OracleReference: Sendable, Hashable {
    package var name: String
    package var fingerprint: String

    package init(name: String, fingerprint: String) {
        self.name = name
        self.fingerprint = fingerprint
    }

    package init(_ oracle: any Oracle) {
        self.init(name: oracle.descriptor.name, fingerprint: oracle.descriptor.fingerprint)
    }

    /// The same contract on `factor` times the paths, and other ones: what a noisy price is checked with. Nil for an oracle
    /// that takes no paths.
    package func refined(_ descriptor: OracleDescriptor, by factor: Int) -> OracleReference? {
        guard let paths = descriptor.pathsInput else { return nil }
        let parts = fingerprint.split(separator: "?", maxSplits: 1)
        guard parts.count == 2 else { return nil }
        var isFound = false
        let terms = parts[1].split(separator: "&").map { term -> String in
            let sides = term.split(separator: "=", maxSplits: 1)
            guard sides.count == 2, let value = Int(sides[1]) else { return String(term) }
            if sides[0] == paths {
                isFound = true
                // What the oracle takes at the most is in its descriptor, which the contract has left out.
                return "\(paths)=\(min(value * factor, 1 << 26))"
            }
            return sides[0] == "randomSeed" ? "randomSeed=\(value < 1 << 30 ? value + 1 : 1)" : String(term)
        }
        return isFound ? OracleReference(name: name, fingerprint: "\(parts[0])?\(terms.joined(separator: "&"))") : nil
    }

    /// The oracle that workers offer, of a contract on it.
    package var base: OracleReference {
        OracleReference(name: name, fingerprint: String(fingerprint.prefix { $0 != "?" }))
    }
}

/// The error surface that a job climbs or probes, but for the surrogate.
package struct SurfaceSettings: Sendable, Hashable {
    package var oracle: OracleReference
    package var domain: Domain
    package var labelScale: Double
    package var gradient: OracleGradient

    package init(oracle: OracleReference, domain: Domain, labelScale: Double, gradient: OracleGradient) {
        self.oracle = oracle
        self.domain = domain
        self.labelScale = labelScale
        self.gradient = gradient
    }
}

/// Fit a surrogate, or do a part of that.
package struct TrainingWork: Sendable, Hashable {
    package enum Start: Sendable, Hashable {
        case fresh(hidden: [Int])
        case from(BlobReference)
        /// Where the part before has ended (`TrainingState`).
        case resumed(BlobReference)
    }

    package var start: Start
    package var samples: BlobReference
    /// A second set and the weight λ of the first.
    package var second: BlobReference?
    package var weightOfFirst: Double
    package var settings: TrainingSettings
    package var randomSeed: UInt64
    /// Which training of the study this is.
    package var run: UInt32
    /// The most epochs of this part; unless they are the last ones, it gives its state instead of parameters.
    package var epochs: Int

    package init(
        start: Start, samples: BlobReference, second: BlobReference? = nil, weightOfFirst: Double = 1,
        settings: TrainingSettings, randomSeed: UInt64, run: UInt32, epochs: Int = .max
    ) {
        self.start = start
        self.samples = samples
        self.second = second
        self.weightOfFirst = weightOfFirst
        self.settings = settings
        self.randomSeed = randomSeed
        self.run = run
        self.epochs = epochs
    }
}

/// How local maximizers are certified.
package struct ProbeSettings: Sendable, Hashable {
    package var radius: Double
    package var directions: Int
    package var randomSeed: UInt64

    package init(radius: Double, directions: Int, randomSeed: UInt64) {
        self.radius = radius
        self.directions = directions
        self.randomSeed = randomSeed
    }
}

/// What a job computes.
package enum Work: Sendable, Hashable {
    // What is large is kept beside: most jobs ask for labels, and a message is copied a few times on its way.
    /// Fit a surrogate; its parameters become a blob.
    indirect case train(TrainingWork)
    /// Climb from seeds (rows of normalised inputs).
    indirect case ascend(SurfaceSettings, parameters: BlobReference, stage: AscentStage, seeds: [Double])
    /// Look around maximizers for something higher.
    indirect case probe(SurfaceSettings, parameters: BlobReference, ProbeSettings, Maximizers)
    /// Price points (rows in raw units), with derivatives if they are wanted.
    case label(OracleReference, points: [Double], gradient: Bool)
    /// Predict at rows of normalised inputs.
    case predict(parameters: BlobReference, inputs: [Double])

    package enum Kind: UInt8, Sendable, Hashable, CaseIterable {
        case train = 1
        case ascend
        case probe
        case label
        case predict

        package var name: String {
            switch self {
            case .train: "train"
            case .ascend: "ascend"
            case .probe: "probe"
            case .label: "label"
            case .predict: "predict"
            }
        }

        /// Who does such work.
        package var role: Role { self == .train ? .trainer : .worker }
    }

    package var kind: Kind {
        switch self {
        case .train: .train
        case .ascend: .ascend
        case .probe: .probe
        case .label: .label
        case .predict: .predict
        }
    }

    /// Blobs that must be at hand.
    package var needs: [BlobReference] {
        switch self {
        case .train(let training):
            var needs = [training.samples]
            if let second = training.second { needs.append(second) }
            switch training.start {
            case .fresh: break
            case .from(let blob), .resumed(let blob): needs.append(blob)
            }
            return needs
        case .ascend(_, let parameters, _, _), .probe(_, let parameters, _, _), .predict(let parameters, _):
            return [parameters]
        case .label:
            return []
        }
    }

    /// Whether a blob that it needs is published when it is new.
    func usesPublished(_ blob: BlobReference) -> Bool {
        switch self {
        case .ascend(_, let parameters, _, _), .probe(_, let parameters, _, _), .predict(let parameters, _):
            parameters == blob
        case .train, .label: false
        }
    }

    /// The oracle that it calls.
    package var oracle: OracleReference? {
        switch self {
        case .ascend(let surface, _, _, _), .probe(let surface, _, _, _): surface.oracle
        case .label(let oracle, _, _): oracle
        case .train, .predict: nil
        }
    }
}

/// What a job gives.
package enum WorkResult: Sendable, Hashable {
    /// Parameters if the last of the epochs is the training's last, else its state.
    case trained(BlobReference, epochs: [EpochReport])
    /// With oracle calls per item.
    case maximizers(Maximizers, oracleCalls: [Int])
    case gains([Double], oracleCalls: [Int])
    /// Prices, standard errors (empty if exact), derivatives (empty unless asked for) and statuses.
    case labels(Valuations)
    case predictions([Double])
}

/// Why a job gave nothing, in words for the user.
package struct WorkFailure: Error, Sendable, Hashable, CustomStringConvertible {
    package var description: String
    /// Whether another try, anywhere, would end the same way: the failure is what the job computes.
    package var isFinal: Bool

    package init(_ description: String, isFinal: Bool = false) {
        self.description = description
        self.isFinal = isFinal
    }
}

/// Does work. One thread at a time; keeps the networks that it has made ready.
package final class Workbench {
    private let oracles: [any Oracle]
    /// Those that were asked for, contracts among them.
    private var resolved: [OracleReference: any Oracle] = [:]
    private let threads: Int
    /// The latest networks first.
    private var networks: [(digest: Digest, network: Network)] = []

    private static let networksKept = 3

    /// - Parameter threads: for training; nothing depends on it but speed.
    package init(oracles: [any Oracle], threads: Int) {
        self.oracles = oracles
        self.threads = threads
    }

    /// Does one piece of work.
    ///
    /// - Parameters:
    ///   - blob: the bytes of a blob that the work needs.
    ///   - progress: told of each epoch of a training.
    ///   - isCancelled: asked between steps; work that is not wanted any more ends with a failure.
    /// - Returns: the result, and the bytes of blobs that it names.
    package func perform(
        _ work: Work, blob: (Digest) -> [UInt8]?, progress: (EpochReport) -> Void,
        isCancelled: @escaping @Sendable () -> Bool
    ) throws(WorkFailure) -> (result: WorkResult, produced: [[UInt8]]) {
        switch work {
        case .train(let work):
            let run = try training(work, blob)
            var epochs: [EpochReport] = []
            while !run.isFinished, epochs.count < work.epochs {
                if isCancelled() { throw WorkFailure("cancelled") }
                do {
                    let report = try run.epoch()
                    epochs.append(report)
                    progress(report)
                } catch {
                    throw WorkFailure("\(error)", isFinal: true)
                }
            }
            let bytes = run.isFinished ? run.surrogate.safetensors() : run.state.encoded
            return (.trained(BlobReference(to: bytes), epochs: epochs), [bytes])
        case .ascend(let settings, let parameters, let stage, let seeds):
            let surface = try surface(settings, parameters, blob, isCancelled)
            let found = surface.ascend(seeds, stage, isOver: { isCancelled() || surface.failure != nil })
            if isCancelled() { throw WorkFailure("cancelled") }
            try Self.check(surface.failure)
            return (.maximizers(found.maximizers, oracleCalls: found.oracleCalls), [])
        case .probe(let settings, let parameters, let probe, let maximizers):
            let surface = try surface(settings, parameters, blob, isCancelled)
            let (gains, calls) = surface.residualGains(
                maximizers, radius: probe.radius, directions: probe.directions, randomSeed: probe.randomSeed)
            if isCancelled() { throw WorkFailure("cancelled") }
            try Self.check(surface.failure)
            return (.gains(gains, oracleCalls: gains.map { _ in calls / gains.count }), [])
        case .label(let reference, let points, let gradient):
            let oracle = try patient(reference, isCancelled)
            let dimension = oracle.descriptor.inputs.count
            guard points.count.isMultiple(of: dimension) else {
                throw WorkFailure("\(points.count) numbers are no rows of \(dimension)")
            }
            guard !gradient || oracle.descriptor.providesGradient else {
                throw WorkFailure("\(reference.name) has no derivatives")
            }
            let labels = oracle.evaluate(points, gradient: gradient)
            if isCancelled() { throw WorkFailure("cancelled") }
            try Self.check(labels.failure)
            return (.labels(labels), [])
        case .predict(let parameters, let inputs):
            let network = try self.network(parameters, blob)
            guard inputs.count.isMultiple(of: network.dimension) else {
                throw WorkFailure("\(inputs.count) numbers are no rows of \(network.dimension)")
            }
            return (.predictions(network.predict(inputs)), [])
        }
    }

    /// What an oracle that failed has said is no result: another worker, or another try, may have the same price as ever.
    private static func check(_ failure: String?) throws(WorkFailure) {
        if let failure { throw WorkFailure(String(failure.prefix(900))) }
    }

    private func oracle(_ reference: OracleReference) throws(WorkFailure) -> any Oracle {
        if let known = resolved[reference] { return known }
        let (name, fingerprint) = (reference.name, reference.fingerprint)
        guard let oracle = Contract.oracle(named: name, fingerprint: fingerprint, among: oracles) else {
            throw WorkFailure("this worker has no oracle \(name) with fingerprint \(fingerprint)")
        }
        resolved[reference] = oracle
        return oracle
    }

    /// The oracle, so that it can be cut short.
    private func patient(
        _ reference: OracleReference, _ isCancelled: @escaping @Sendable () -> Bool
    ) throws(WorkFailure) -> any Oracle {
        PiecewiseOracle(try oracle(reference), isCancelled)
    }

    private func training(_ work: TrainingWork, _ blob: (Digest) -> [UInt8]?) throws(WorkFailure) -> Training {
        let samples = try self.samples(work.samples, blob)
        guard samples.count > 0 else { throw WorkFailure("there are no samples") }
        var second: WeightedSamples?
        if let reference = work.second {
            second = WeightedSamples(samples: try self.samples(reference, blob), weightOfFirst: work.weightOfFirst)
        }
        let surrogate: Surrogate
        switch work.start {
        case .fresh(let hidden):
            surrogate = Surrogate(dimension: samples.dimension, hidden: hidden, randomSeed: work.randomSeed)
        case .from(let parameters):
            surrogate = try self.surrogate(parameters, blob)
        case .resumed(let state):
            guard let bytes = blob(state.digest) else { throw WorkFailure("state \(state.digest) is missing") }
            do {
                return try Training(
                    resuming: TrainingState(encoded: bytes), samples: samples, second: second, settings: work.settings,
                    randomSeed: work.randomSeed, run: work.run, threads: threads)
            } catch {
                throw WorkFailure("\(error)")
            }
        }
        guard surrogate.dimension == samples.dimension else {
            throw WorkFailure("the samples do not fit the surrogate")
        }
        return Training(
            surrogate, samples: samples, second: second, settings: work.settings, randomSeed: work.randomSeed,
            run: work.run, threads: threads)
    }

    private func surface(
        _ settings: SurfaceSettings, _ parameters: BlobReference, _ blob: (Digest) -> [UInt8]?,
        _ isCancelled: @escaping @Sendable () -> Bool
    ) throws(WorkFailure) -> ErrorSurface {
        let oracle = try patient(settings.oracle, isCancelled)
        guard oracle.descriptor.inputs.count == settings.domain.dimension else {
            throw WorkFailure("domain and oracle have different numbers of inputs")
        }
        guard settings.gradient != .own || oracle.descriptor.providesGradient else {
            throw WorkFailure("\(settings.oracle.name) has no derivatives")
        }
        return ErrorSurface(try terms(settings, parameters, blob), oracle: oracle)
    }

    private func terms(
        _ settings: SurfaceSettings, _ parameters: BlobReference, _ blob: (Digest) -> [UInt8]?
    ) throws(WorkFailure) -> ErrorTerms {
        let network = try self.network(parameters, blob)
        guard network.dimension == settings.domain.dimension else {
            throw WorkFailure("domain and surrogate have different numbers of inputs")
        }
        return ErrorTerms(
            network: network, domain: settings.domain, labelScale: settings.labelScale, gradient: settings.gradient)
    }

    /// Takes an item of an ascent or a probe on its course: as far as the answers lead, and to the next questions.
    ///
    /// - Parameters:
    ///   - course: nil to begin.
    ///   - answers: to all that it asked.
    package func pursue(
        _ batch: Batch, item: Int, _ course: Course?, answers: Valuations, blob: (Digest) -> [UInt8]?
    ) throws(WorkFailure) -> Course {
        switch batch.work(item..<item + 1) {
        case .ascend(let settings, let parameters, let stage, let seeds):
            var course = course ?? Course(.ascent(Ascent(seeds, stage, domain: settings.domain)))
            course.advance(try terms(settings, parameters, blob), answers)
            return course
        case .probe(let settings, let parameters, let probe, let maximizers):
            var course =
                course
                ?? Course(
                    .probe(
                        Probe(
                            maximizers, radius: probe.radius, directions: probe.directions,
                            randomSeed: probe.randomSeed, domain: settings.domain)))
            course.advance(try terms(settings, parameters, blob), answers)
            return course
        case .train, .label, .predict: throw WorkFailure("an item without a course")
        }
    }

    private func network(_ parameters: BlobReference, _ blob: (Digest) -> [UInt8]?) throws(WorkFailure) -> Network {
        if let kept = networks.first(where: { $0.digest == parameters.digest }) { return kept.network }
        let network = Network(try surrogate(parameters, blob))
        networks.insert((parameters.digest, network), at: 0)
        networks = Array(networks.prefix(Self.networksKept))
        return network
    }

    private func surrogate(_ parameters: BlobReference, _ blob: (Digest) -> [UInt8]?) throws(WorkFailure) -> Surrogate {
        guard let bytes = blob(parameters.digest) else {
            throw WorkFailure("parameters \(parameters.digest) are missing")
        }
        var metadata: [String: String] = [:]
        do {
            return try Surrogate(safetensors: bytes, metadata: &metadata)
        } catch {
            throw WorkFailure("parameters \(parameters.digest): \(error)")
        }
    }

    private func samples(_ reference: BlobReference, _ blob: (Digest) -> [UInt8]?) throws(WorkFailure) -> Samples {
        guard let bytes = blob(reference.digest), let samples = Samples(encoded: bytes) else {
            throw WorkFailure("samples \(reference.digest) are missing or damaged")
        }
        return samples
    }
}
