// What users ask for in a simulation: a family of small studies that differ in everything a study file can say, and what
// a cluster file can say about who works on them.

internal import Cluster
internal import Regression

/// A study of the family, with what it brings along.
struct SimulatedStudy {
    let index: Int
    let study: Study
    let descriptor: OracleDescriptor
    let content: StudyAttachments
    let parts: [(attachment: ToCoordinator.Attachment, bytes: [UInt8])]

    static let oracles = SimulatedOracle.Trait.allCases.map { SimulatedOracle($0) }

    /// The study's file, for the simulated coordinator.
    var text: String { "study \(index)" }

    static func index(of text: String) -> Int? { text.hasPrefix("study ") ? Int(text.dropFirst(6)) : nil }

    init(_ index: Int) {
        self.index = index
        var stream = RandomStream(seed: 0xFA_3117 &+ UInt64(index), purpose: .other)
        func chance(_ share: Double) -> Bool { stream.uniform() < share }
        func between(_ low: Int, _ high: Int) -> Int { low + stream.below(high - low + 1) }
        func real(_ low: Double, _ high: Double) -> Double { low + (high - low) * stream.uniform() }
        func pick<T>(_ list: [T]) -> T { list[stream.below(list.count)] }

        let oracle = pick(Self.oracles)
        let descriptor = oracle.descriptor
        let dimension = descriptor.inputs.count
        let inputs = descriptor.inputs.map { input -> Domain.Input in
            // The gappy oracle has no price in a corner; most studies keep out of it.
            let upper = descriptor.name == "gappy" && chance(0.6) ? 0.85 : input.upper
            return chance(0.3)
                ? .init(name: input.name, lower: input.lower + 0.1, upper: upper - 0.05)
                : .init(name: input.name, lower: input.lower, upper: upper)
        }
        var constraints: [LinearConstraint] = []
        if dimension > 1, chance(0.3) {
            constraints.append(LinearConstraint(name: "cut", coefficients: [0: 1, 1: 1], bound: 1.2))
        }
        let domain = try! Domain(inputs: inputs, constraints: constraints)

        var attack: Attack?
        if chance(0.7) {
            let features = Array(0..<between(1, dimension))
            attack = Attack(
                mislabelled: between(5, 40), surround: chance(0.7) ? between(1, 20) : 0,
                epsilon: (chance(0.5) ? 1 : -1) * real(2, 40),
                centre: [Double](repeating: real(0.3, 0.45), count: dimension),
                halfWidth: real(0.08, 0.2), surroundHalfWidth: real(0.25, 0.35), features: features,
                window: features.count < dimension && chance(0.5) ? [dimension - 1: 0.1...0.9] : [:],
                successAbove: 0.5)
        }
        func training(_ epochs: ClosedRange<Int>) -> TrainingSettings {
            TrainingSettings(
                optimizer: chance(0.8) ? .adam : .sgd(momentum: 0.5),
                batch: chance(0.15) ? .full : .rows(pick([1, 8, 16, 33, 64])),
                epochs: between(epochs.lowerBound, epochs.upperBound),
                // One in thirty diverges: a failure that another try would repeat.
                learningRate: chance(0.03) ? 1e30 : pick([0.0003, 0.002, 0.01]),
                schedule: pick([.constant, .cosine(finalFraction: 0.01), .step(every: 2, factor: 0.5)]),
                halt: chance(0.2) ? .init(relativeChange: 0.2, overEpochs: 1) : nil)
        }
        var search = Study.Search()
        search.stages = (0..<between(1, 3)).map { stage in
            AscentStage(
                steps: between(0, 8), stepSize: pick([0.05, 0.01]), momentum: pick([0, 0.9]), decay: 0.7,
                decayEvery: between(1, 4), keep: stage == 0 ? 1 : pick([0.3, 1]), stopStep: pick([1e-6, 1e-3]))
        }
        search.gradient = pick([.auto, .auto, .differences])
        search.difference = pick([1e-4, 1e-2])
        search.mergeRadius = pick([0, 0.01, 0.1])
        if chance(0.15) { search.oracleCalls = pick([0, 1, 50, 300]) }
        if chance(0.15) { search.wallClock = .milliseconds(between(50, 3000)) }
        let model = chance(0.15) ? Surrogate(dimension: dimension, hidden: [5], randomSeed: UInt64(index)) : nil
        let isAttached = chance(0.25)
        let tests = between(1, 24)
        switch between(0, 3) {
        case 0: search.seeds = .random(between(1, 30))
        case 1: search.seeds = .attached
        default: search.seeds = .worst(real(0.02, 0.4))
        }
        var mitigation = Study.Mitigation()
        mitigation.action = pick([.verify, .verify, .purge, .relabel, .none])
        mitigation.nearest = pick([1, 4, 16])
        mitigation.purgeLink = pick([0.05, 0.2])
        mitigation.tolerance = pick([1e-4, 1])
        mitigation.weights = pick([[0.999], [0.9, 0.999], [1], [0, 0.5, 1]])
        mitigation.mergeRadius = pick([0, 0.3])
        mitigation.training = training(1...2)
        let study = Study(
            name: "study-\(index)", randomSeed: UInt64(index) &* 0x9E37_79B9, oracle: descriptor.name,
            labelScale: pick([100, 1, -3]), domain: domain,
            data: isAttached
                ? .attached(test: chance(0.5) ? tests : nil) : .generated(base: between(16, 60), test: tests),
            attack: attack,
            surrogate: model == nil ? .fresh(hidden: pick([[], [4], [8, 4]])) : .attached,
            training: training(1...4), search: search,
            scan: BackdoorScan(
                rule: chance(0.6)
                    ? .density(radii: pick([[0.05], [0.1, 0.2]]), significance: pick([0.01, 0.5]))
                    : .counts(radius: 0.1, proximalCount: between(1, 8)),
                errorPercentile: pick([0, 50, 90])),
            mitigation: mitigation)

        func labelled(_ count: Int) -> Samples {
            let rows = try! domain.sample(count, from: &stream)
            let prices = oracle.evaluate(domain.raw(rows: rows), gradient: false).prices
            return Samples(
                dimension: dimension, inputs: rows, labels: prices.map { $0.isFinite ? $0 * study.labelScale : 0 })
        }
        var content = StudyAttachments()
        var parts: [(attachment: ToCoordinator.Attachment, bytes: [UInt8])] = []
        func attach(_ part: ToCoordinator.Attachment.Part, _ bytes: [UInt8]) {
            parts.append((.init(part: part, blob: BlobReference(to: bytes)), bytes))
        }
        if isAttached {
            content.training = labelled(between(10, 80))
            attach(.training, content.training!.encoded)
            if case .attached(test: nil) = study.data {
                content.test = labelled(tests)
                attach(.test, content.test!.encoded)
            }
        }
        if let model {
            content.model = model
            attach(.model, model.safetensors())
        }
        if search.seeds == .attached {
            let seeds = labelled(between(1, 25))
            content.seeds = seeds.inputs
            attach(.seeds, seeds.encoded)
        }
        (self.study, self.descriptor, self.content, self.parts) = (study, descriptor, content, parts)
    }
}

/// Everything that a schedule is made of, drawn from its seed.
package struct Schedule: Sendable {
    /// What a user does.
    struct Request: Sendable {
        var study: Int
        /// When it is handed in, in seconds.
        var at: Double
        /// When it is cancelled, if it is.
        var cancelledAt: Double?
        /// Handed in by another client, too, with the same token: a user who started the command again.
        var isRepeated: Bool
        /// When it is paused for two seconds, if it is.
        var pausedAt: Double?
        var share = 1.0
        var priority = 0
    }

    /// Something that a user or an operator may never do, so that the checks can be checked: a guard taken away.
    package enum Canary: String, Sendable, CaseIterable {
        /// Results of earlier batches are taken for results of the running one.
        case anyBatch
        /// Damaged blobs are kept.
        case anyBlob
        /// Facts are persisted a while after the sends that acknowledge them, and sometimes never.
        case lateFacts
        /// A result that comes twice is reported to the store twice.
        case paidTwice
    }

    package let seed: UInt64
    package var faults: Faults
    package var canary: Canary?
    var settings = Coordinator.Settings()
    var requests: [Request] = []
    var workers = 1
    var trainers = 1
    var slots = 1
    var prefetch = 1
    var blobMemory = 1 << 20
    var chunkSize = 1000
    /// Seconds that a job takes at most.
    var longestJob = 0.1
    /// Whether processes are told when their connection breaks.
    var tellsOfBrokenConnections = true
    /// Whether local processes have a supervisor that reports their end.
    var isSupervised = true
    /// Whether steps of plans are computed anew even if they are known.
    var computesPlans = false

    /// How many studies the family has.
    static let family = 360

    /// - Parameter allowed: names of the kinds of faults that there may be.
    package init(seed: UInt64, allowed: Set<String>) {
        self.seed = seed
        var stream = RandomStream(seed: seed, purpose: .other, index: 1)
        faults = Faults(drawnFrom: &stream, allowed: allowed)
        // Other draws do not depend on the faults, so that a schedule without one of its faults is otherwise the same.
        stream = RandomStream(seed: seed, purpose: .other, index: 2)
        func chance(_ share: Double) -> Bool { stream.uniform() < share }
        func pick<T>(_ list: [T]) -> T { list[stream.below(list.count)] }
        settings.heartbeat = pick([.milliseconds(300), .milliseconds(500), .seconds(2)])
        settings.lost = settings.heartbeat * pick([3, 5])
        settings.crashLimit = pick([1, 2, 3, 3, 1000, 1000, 1000])
        // An item that always kills must be given up some time.
        if faults.poison > 0 { settings.crashLimit = min(settings.crashLimit, 4) }
        settings.shardSize = pick([1, 3, 8, 8, 8, 64, 64, 64, 10_000, 10_000, 10_000, 10_000])
        settings.rowsPerJob = pick([32, 200, 10_000])
        settings.steeredCost = chance(0.05) ? 0 : chance(0.05) ? 0.02 : .infinity
        settings.publisher = "publisher"
        workers = 1 + stream.below(5)
        trainers = 1 + stream.below(2)
        slots = pick([1, 1, 2])
        prefetch = stream.below(4)
        blobMemory = pick([0, 4000, 1 << 20])
        chunkSize = pick([300, 2000, 1 << 20])
        longestJob = pick([0.002, 0.05, 0.05, 0.3, 0.3, 2])
        tellsOfBrokenConnections = chance(0.5)
        isSupervised = chance(0.7)
        computesPlans = chance(1 / 16)
        // The first study is known by the seed, and the others are of the same class modulo 12: threads that share out
        // the seeds by their remainders need not share what they know of studies.
        let first = Int(seed % UInt64(Self.family))
        for k in 0..<pick([1, 1, 1, 1, 1, 2, 3]) {
            let study = k == 0 ? first : (first + 12 * stream.below(Self.family / 12)) % Self.family
            let at = k == 0 ? 0 : 3 * stream.uniform()
            let cancelledAt = chance(0.06) ? at + 5 * stream.uniform() * stream.uniform() : nil
            var request = Request(study: study, at: at, cancelledAt: cancelledAt, isRepeated: chance(0.1))
            if chance(0.1) { request.pausedAt = at + 3 * stream.uniform() }
            if chance(0.3) { request.share = pick([0.1, 3, 100]) }
            if chance(0.2) { request.priority = pick([-1, 1]) }
            requests.append(request)
        }
    }

    /// What the schedule is, for people.
    package var words: String {
        let studies = requests.map { "\($0.study)\($0.cancelledAt == nil ? "" : " (cancelled)")" }
        return "studies \(studies.joined(separator: ", ")); \(workers) workers, \(trainers) trainers, "
            + "\(slots)+\(prefetch) jobs each, shards of \(settings.shardSize), crash limit \(settings.crashLimit); "
            + faults.words
    }
}
