import Cluster
import Pricing
import Regression
import Wire

/// A cluster in one thread and in virtual time: the real state machines and the real codec, a network that a seed makes
/// unreliable, and processes that die.
final class World {
    struct Faults {
        /// Chances per message.
        var drop = 0.0
        var duplicate = 0.0
        /// Messages take up to this long.
        var delay: Duration = .milliseconds(5)
        /// Whether messages of one connection overtake each other. A connection of TCP keeps their order; nothing but the
        /// blame for a crash relies on it.
        var reorder = false
        /// Chance per worker job that the worker dies while it runs.
        var crash = 0.0
        /// Chance per worker job that the worker says nothing for a while, though it works.
        var hang = 0.0
    }

    private enum Happening {
        case toCoordinator([UInt8], PeerID)
        case fromCoordinator([UInt8], PeerID)
        case published([UInt8])
        case coordinator(Coordinator.Event)
        case worker(PeerID, Worker.Event)
        case revive(Role, String)
        case wake
    }

    private final class Process {
        var worker: Worker
        let bench: Workbench
        var blobs: [Digest: [UInt8]] = [:]
        var partial: [Digest: [UInt8]] = [:]
        var mutedUntil: Instant?
        /// When what it was given so far is done: one job after another.
        var busyUntil = Instant(nanoseconds: 0)
        let role: Role
        let name: String

        init(_ settings: Worker.Settings) {
            worker = Worker(settings: settings)
            bench = Workbench(oracles: builtInOracles, threads: 1)
            (role, name) = (settings.role, settings.name)
        }
    }

    var coordinator: Coordinator
    private(set) var now = Instant(nanoseconds: 0)
    private var agenda: [(at: Instant, number: Int, what: Happening)] = []
    private var counter = 0
    private var dice: RandomStream
    private let faults: Faults
    private var processes: [PeerID: Process] = [:]
    private var nextPeer: UInt64 = 1
    private var blobs: [Digest: [UInt8]] = [:]
    private var partial: [Digest: [UInt8]] = [:]
    private var lastArrival: [[UInt64]: Instant] = [:]
    private let client = PeerID(1_000_000)
    private let steering = Workbench(oracles: [], threads: 1)

    // What happened.
    private(set) var outcome: StudyOutcome?
    private(set) var statistics: StudyStatistics?
    private(set) var events: [StudyEvent] = []
    private(set) var failure: String?
    private(set) var deaths = 0
    var facts: [Fact] = []
    /// Called before a worker performs; true kills it in the middle.
    var murder: ((Work, String) -> Bool)?
    /// How long a worker of this name takes for some work; some time of its own unless set.
    var cost: ((Work, String) -> Duration)?
    /// Called when a worker begins; true stops its process (SIGSTOP) in the middle of the job, for good.
    var freeze: ((Work, String) -> Bool)?
    /// Called on each result before it is sent.
    var corrupt: ((WorkResult, String) -> WorkResult)?

    init(workers: Int, settings: Coordinator.Settings = .init(), faults: Faults = .init(), seed: UInt64 = 1) {
        coordinator = Coordinator(settings: settings)
        self.faults = faults
        dice = RandomStream(seed: seed, purpose: .other)
        schedule(.zero, .coordinator(.started))
        schedule(.zero, .revive(.trainer, "trainer"))
        for k in 0..<workers { schedule(.zero, .revive(.worker, "worker-\(k)")) }
    }

    private func schedule(_ delay: Duration, _ what: Happening) {
        counter += 1
        let entry = (at: now + delay, number: counter, what: what)
        // Kept sorted: the next one last.
        var (low, high) = (0, agenda.count)
        while low < high {
            let middle = (low + high) / 2
            if (agenda[middle].at, agenda[middle].number) > (entry.at, entry.number) {
                low = middle + 1
            } else {
                high = middle
            }
        }
        agenda.insert(entry, at: low)
    }

    private func latency() -> Duration {
        .nanoseconds(Int64(dice.uniform() * Double(faults.delay.nanoseconds)) + 1000)
    }

    /// Runs a study to its end.
    ///
    /// - Returns: false if it has not ended within an hour of virtual time.
    func run(_ study: Study, attachments: [(ToCoordinator.Attachment, [UInt8])] = []) -> Bool {
        let id = StudyID(77)
        let submission = ToCoordinator.Submission(token: 5, study: "study", attachments: attachments.map { $0.0 })
        for (attachment, bytes) in attachments { blobs[attachment.blob.digest] = bytes }
        for (attachment, _) in attachments { _ = coordinator.step(.stored(attachment.blob), at: now) }
        perform(coordinator.step(.validated(submission, id, from: client), at: now), study)
        let limit = now + .seconds(7200)
        var steps = 0
        while failure == nil && outcome == nil, let next = agenda.popLast(), next.at < limit {
            steps += 1
            precondition(steps < 1_000_000, "the world turns without getting anywhere")
            now = max(now, next.at)
            handle(next.what, study)
            coordinator.checkInvariants()
            for process in processes.values { process.worker.checkInvariants() }
            // Deadlines are polled: a wake-up for the earliest.
            let due = ([coordinator.deadline] + processes.values.map(\.worker.deadline)).compactMap { $0 }.min()
            if let due, agenda.last.map({ $0.at > due }) ?? true {
                schedule(max(.zero, due - now), .wake)
            }
        }
        return outcome != nil || failure != nil
    }

    private func handle(_ what: Happening, _ study: Study) {
        switch what {
        case .coordinator(let event): perform(coordinator.step(event, at: now), study)
        case .toCoordinator(let bytes, let peer):
            guard let message = try? Codec.decodeToCoordinator(bytes) else { return }
            perform(coordinator.step(.received(message, from: peer), at: now), study)
        case .fromCoordinator(let bytes, let peer):
            guard let message = try? Codec.decodeFromCoordinator(bytes) else { return }
            if peer == client {
                if case .events(let list) = message { events += list.events }
                return
            }
            guard processes[peer] != nil else {
                // A connection brings what was sent before it broke.
                schedule(faults.delay + .microseconds(2), .coordinator(.unreachable(peer)))
                return
            }
            step(peer, .received(message))
        case .published(let bytes):
            guard let message = try? Codec.decodeFromCoordinator(bytes) else { return }
            for peer in processes.keys.sorted(by: { $0.number < $1.number }) where dice.uniform() >= faults.drop {
                step(peer, .received(message))
            }
        case .worker(let peer, let event): step(peer, event)
        case .revive(let role, let name):
            nextPeer += 1
            let peer = PeerID(nextPeer)
            processes[peer] = Process(
                Worker.Settings(
                    incarnation: Incarnation(nextPeer * 1000), role: role, name: name, processID: Int32(nextPeer),
                    oracles: builtInOracles.map { OracleReference($0) }, numerics: "test"))
            step(peer, .started)
        case .wake:
            if let due = coordinator.deadline, due <= now { perform(coordinator.step(.tick, at: now), study) }
            for (peer, process) in processes.sorted(by: { $0.key.number < $1.key.number }) {
                if let due = process.worker.deadline, due <= now { step(peer, .tick) }
            }
        }
    }

    private func step(_ peer: PeerID, _ event: Worker.Event) {
        guard let process = processes[peer] else { return }
        for effect in process.worker.step(event, at: now) { perform(effect, peer, process) }
    }

    private func perform(_ effect: Worker.Effect, _ peer: PeerID, _ process: Process) {
        switch effect {
        case .send(let message):
            if let muted = process.mutedUntil, now < muted { return }
            send { .toCoordinator(Codec.encode(message), peer) }
        case .start(let attempt, let work):
            if process.role == .worker, murder?(work, process.name) == true || dice.uniform() < faults.crash {
                deaths += 1
                processes[peer] = nil
                schedule(
                    .milliseconds(1),
                    .coordinator(
                        .received(
                            .exited(.init(incarnation: Incarnation(peer.number * 1000), cause: "signal 9")),
                            from: client
                        )))
                schedule(.milliseconds(50), .revive(process.role, process.name))
                return
            }
            if process.role == .worker, freeze?(work, process.name) == true {
                process.mutedUntil = now + .seconds(1_000_000)
                return
            }
            if process.role == .worker, dice.uniform() < faults.hang { process.mutedUntil = now + .seconds(15) }
            let outcome: ToCoordinator.Outcome
            var made: [BlobReference] = []
            do throws(WorkFailure) {
                var (result, produced) = try process.bench.perform(
                    work, blob: { process.blobs[$0] }, progress: { _ in }, isCancelled: { false })
                if let corrupt { result = corrupt(result, process.name) }
                for bytes in produced {
                    let blob = BlobReference(to: bytes)
                    process.blobs[blob.digest] = bytes
                    made.append(blob)
                }
                outcome = .success(result)
            } catch {
                outcome = .failure(error)
            }
            let usual = Duration.milliseconds(20 + Int64(dice.below(200)))
            let duration = process.role == .worker ? cost?(work, process.name) ?? usual : usual
            process.busyUntil = max(now, process.busyUntil) + duration
            schedule(process.busyUntil - now, .worker(peer, .finished(attempt, duration, outcome, blobs: made)))
        case .accept(let chunk):
            if Self.accept(chunk, &process.blobs, &process.partial) { step(peer, .stored(chunk.blob)) }
        case .sendBlob(let request):
            let bytes = Array((process.blobs[request.blob.digest] ?? []).dropFirst(request.offset).prefix(1000))
            let chunk = BlobChunk(blob: request.blob, offset: request.offset, bytes: bytes)
            send { .toCoordinator(Codec.encode(ToCoordinator.blob(chunk)), peer) }
        case .forget(let digest): process.blobs[digest] = nil
        case .leave: processes[peer] = nil
        case .restart:
            processes[peer] = nil
            schedule(.milliseconds(50), .revive(process.role, process.name))
        case .subscribe, .stop: break
        }
    }

    private func send(_ message: () -> Happening) {
        if dice.uniform() < faults.drop { return }
        let what = message()
        var arrival = now + latency()
        let line: [UInt64] =
            switch what {
            case .toCoordinator(_, let peer): [0, peer.number]
            case .fromCoordinator(_, let peer): [1, peer.number]
            default: []
            }
        if !faults.reorder { arrival = max(arrival, lastArrival[line] ?? arrival) }
        lastArrival[line] = arrival
        schedule(arrival - now, what)
        if dice.uniform() < faults.duplicate { schedule(arrival - now + latency(), what) }
    }

    private func perform(_ effects: [Coordinator.Effect], _ study: Study) {
        for effect in effects {
            switch effect {
            case .persist(let new): facts += new
            case .send(let message, let peer): send { .fromCoordinator(Codec.encode(message), peer) }
            case .publish(let id, let version, let blob):
                let message = FromCoordinator.parameters(
                    .init(study: id, version: version, blob: blob, bytes: blobs[blob.digest]!))
                schedule(latency(), .published(Codec.encode(message)))
            case .begin(let id, let submission):
                let oracle = builtInOracles.first { $0.descriptor.name == study.oracle }!
                var content = StudyAttachments()
                for attachment in submission.attachments {
                    let samples = Samples(encoded: blobs[attachment.blob.digest]!)
                    switch attachment.part {
                    case .training: content.training = samples
                    case .test: content.test = samples
                    case .seeds: content.seeds = samples?.inputs
                    case .model:
                        var ignored: [String: String] = [:]
                        content.model = try! Surrogate(
                            safetensors: blobs[attachment.blob.digest]!, metadata: &ignored)
                    }
                }
                // Training in parts, unlike the run without a cluster that it is compared with.
                var plan = StudyPlan(
                    study: study, descriptor: oracle.descriptor, attachments: content, trainingPart: 0)
                let step = plan.next(nil, threads: 1)
                schedule(.milliseconds(1), .coordinator(.planned(id, plan, step)))
            case .advance(let id, var plan, let results):
                let step = plan.next(results, threads: 1)
                if case .failed(let reason) = step.next { failure = reason }
                schedule(.milliseconds(1), .coordinator(.planned(id, plan, step)))
            case .lookUp(let id, let batch, _, _, _):
                schedule(.milliseconds(1), .coordinator(.known(id, batch: batch, [])))
            case .pursue(let id, let batch, let content, let item, let course, let answers, _):
                let result: Result<Course, WorkFailure>
                do throws(WorkFailure) {
                    result = .success(
                        try steering.pursue(content, item: item, course, answers: answers) { blobs[$0] })
                } catch {
                    result = .failure(error)
                }
                schedule(.microseconds(100), .coordinator(.pursued(id, batch: batch, item: item, result, [])))
            case .forget(let digests): for digest in digests { blobs[digest] = nil }
            case .dropParts(let digests): for digest in digests { partial[digest] = nil }
            case .write(_, let outcome, let statistics):
                self.outcome = outcome
                self.statistics = statistics
            case .store(let bytes): blobs[Digest(of: bytes)] = bytes
            case .accept(let chunk):
                if Self.accept(chunk, &blobs, &partial) {
                    perform(coordinator.step(.stored(chunk.blob), at: now), study)
                }
            case .sendBlob(let request, let peer):
                let bytes = Array((blobs[request.blob.digest] ?? []).dropFirst(request.offset).prefix(1000))
                let chunk = BlobChunk(blob: request.blob, offset: request.offset, bytes: bytes)
                send { .fromCoordinator(Codec.encode(FromCoordinator.blob(chunk)), peer) }
            case .validate: break
            }
        }
    }

    /// Whether the blob is complete with this chunk.
    private static func accept(
        _ chunk: BlobChunk, _ whole: inout [Digest: [UInt8]], _ partial: inout [Digest: [UInt8]]
    ) -> Bool {
        if chunk.offset == 0 { partial[chunk.blob.digest] = [] }
        guard partial[chunk.blob.digest]?.count == chunk.offset else { return false }
        partial[chunk.blob.digest]! += chunk.bytes
        guard partial[chunk.blob.digest]!.count == chunk.blob.size else { return false }
        whole[chunk.blob.digest] = partial.removeValue(forKey: chunk.blob.digest)
        return true
    }
}

/// What is the same whoever computed it.
struct Essence: Equatable {
    var maximizers: Maximizers
    var seeds: [Int]
    var gains: [UInt64]
    var suspicious: [Bool]
    var flagged: [FlaggedSample]
    var before: TableRow
    var variants: [TableRow]
    var parameters: [Digest]
    var calls: StudyOutcome.OracleCalls

    init(_ outcome: StudyOutcome) {
        maximizers = outcome.maximizers
        seeds = outcome.seedsPerMaximizer
        gains = outcome.residualGains.map(\.bitPattern)
        suspicious = outcome.findings.map(\.isSuspicious)
        flagged = outcome.flagged
        before = outcome.before
        variants = outcome.variants.map(\.table)
        parameters = [outcome.parameters.digest] + outcome.variants.map(\.parameters.digest)
        calls = outcome.oracleCalls
    }
}

/// The study without a cluster: its plan, and one workbench that does each batch as one job.
func alone(
    _ study: Study, _ attachments: StudyAttachments = .init(), oracles: [any Oracle] = builtInOracles
) -> Result<StudyOutcome, WorkFailure> {
    let oracle = study.fixedOracle(among: oracles)!
    var plan = StudyPlan(
        study: study, descriptor: oracle.descriptor, attachments: attachments, trainingPart: .infinity)
    let bench = Workbench(oracles: oracles, threads: 2)
    var blobs: [Digest: [UInt8]] = [:]
    var results: BatchResults?
    while true {
        let step = plan.next(results, threads: 2)
        for bytes in step.blobs { blobs[Digest(of: bytes)] = bytes }
        switch step.next {
        case .finished(let outcome): return .success(outcome)
        case .failed(let reason): return .failure(WorkFailure(reason))
        case .batch(let batch):
            var collected = BatchResults(for: batch, dimension: study.domain.dimension)
            let jobs = batch.kind == .train ? (0..<batch.count).map { $0..<$0 + 1 } : [0..<batch.count]
            for items in jobs where !items.isEmpty {
                do throws(WorkFailure) {
                    let (result, produced) = try bench.perform(
                        batch.work(items), blob: { blobs[$0] }, progress: { _ in }, isCancelled: { false })
                    for bytes in produced { blobs[Digest(of: bytes)] = bytes }
                    precondition(collected.record(items, result))
                } catch {
                    collected.abandon(items, reason: error.description)
                }
            }
            results = collected
        }
    }
}

/// A study of a second or less, with everything in it.
func smallStudy(_ change: (inout Study) -> Void = { _ in }) -> Study {
    let descriptor = DownAndOutPut().descriptor
    let domain = try! Domain(
        inputs: descriptor.inputs.map { .init(name: $0.name, lower: $0.lower, upper: $0.upper) },
        constraints: descriptor.constraints)
    var search = Study.Search()
    search.stages = [
        AscentStage(steps: 12, decayEvery: 3), AscentStage(steps: 8, stepSize: 0.01, decayEvery: 2, keep: 0.3),
    ]
    var mitigation = Study.Mitigation()
    mitigation.weights = [0.9, 0.999]
    mitigation.training = TrainingSettings(batch: .rows(64), epochs: 1, learningRate: 0.001)
    var study = Study(
        name: "small", randomSeed: 3, oracle: "downAndOutPut", labelScale: 100, domain: domain,
        data: .generated(base: 700, test: 60),
        attack: Attack(
            mislabelled: 150, surround: 60, epsilon: -30, centre: [0.5, 0.5, 0.5, 0.5, 0.5], halfWidth: 0.1,
            surroundHalfWidth: 0.15, features: [2, 3, 4], window: [0: 0.5...0.7, 1: 0.5...0.7]),
        surrogate: .fresh(hidden: [32, 32]),
        training: TrainingSettings(batch: .rows(16), epochs: 40, learningRate: 0.005), search: search,
        scan: BackdoorScan(rule: .density(radii: [0.1, 0.2], significance: 0.01), errorPercentile: 90),
        mitigation: mitigation)
    change(&study)
    return study
}

/// The coordinator's state machine, to be stepped inside an expectation.
final class CoordinatorBox {
    private var value: Coordinator

    init(settings: Coordinator.Settings) { value = Coordinator(settings: settings) }

    /// As its process would: with all ticks that are due before.
    func step(_ event: Coordinator.Event, at now: Instant) -> [Coordinator.Effect] {
        var effects: [Coordinator.Effect] = []
        while let due = value.deadline, due < now {
            effects += value.step(.tick, at: due)
            value.checkInvariants()
            guard value.deadline.map({ $0 > due }) ?? false else { break }
        }
        return effects + wake(event, at: now)
    }

    /// After a time in which its process did not run.
    func wake(_ event: Coordinator.Event, at now: Instant) -> [Coordinator.Effect] {
        defer { value.checkInvariants() }
        return value.step(event, at: now)
    }

    var deadline: Instant? { value.deadline }
}

/// The worker's state machine, to be stepped inside an expectation.
final class WorkerBox {
    private var value: Worker

    init(settings: Worker.Settings) { value = Worker(settings: settings) }

    func step(_ event: Worker.Event, at now: Instant) -> [Worker.Effect] {
        defer { value.checkInvariants() }
        return value.step(event, at: now)
    }

    var deadline: Instant? { value.deadline }
}
