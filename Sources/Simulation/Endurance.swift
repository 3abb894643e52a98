// A good world that lasts: one study of very many jobs, for what only shows after many or with many workers, such as
// memory and the coordinator's time.

internal import Cluster
internal import Regression
internal import Wire

/// A coordinator and workers that do so many jobs of one label each; every message goes through its bytes.
package struct Endurance {
    private var coordinator: Coordinator
    private var workers: [Worker] = []
    private var now = Instant(nanoseconds: 0)
    private var toCoordinator: [(frame: [UInt8], worker: Int)] = []
    private var toWorkers: [(frame: [UInt8], worker: Int)] = []
    /// What is said in this round, by and to each worker.
    private var said: [[ToCoordinator]] = []
    private var told: [[FromCoordinator]] = []
    private var isDone = false
    /// CPU time so far, in seconds: a simulation has no clock of its own.
    private let clock: () -> Double
    /// Jobs whose result is persisted.
    private var done = 0

    /// What the coordinator took.
    package struct Cost: Sendable {
        /// Results and other messages that it got, joined or not, and ticks.
        package var events = 0
        /// Seconds of CPU time in its state machine and its side of the codec.
        package var seconds = 0.0
    }
    /// From the first worker's hello on.
    package private(set) var cost = Cost()

    private static let study = StudyID(1)
    private static let client = PeerID(99)

    package init(jobs: Int, workers count: Int, clock: @escaping () -> Double) {
        self.clock = clock
        let oracle = SimulatedOracle(.gappy)
        let reference = OracleReference(oracle)
        var settings = Coordinator.Settings()
        settings.rowsPerJob = 1
        settings.maxWorkers = count
        coordinator = Coordinator(settings: settings)
        _ = coordinator.step(.started, at: now)
        let submission = ToCoordinator.Submission(token: 1, study: "endurance", attachments: [], wantsFreshLabels: true)
        _ = coordinator.step(.validated(submission, Self.study, from: Self.client), at: now)
        let some = (0...).lazy.map { SimulatedStudy($0) }.first { $0.descriptor == oracle.descriptor }!
        let plan = StudyPlan(study: some.study, descriptor: oracle.descriptor, attachments: some.content)
        let points = [Double](repeating: 0.5, count: jobs)
        let first = PlanStep(next: .batch(Batch(.label(reference, points: points), dimension: 1)), phase: .label)
        _ = coordinator.step(.planned(Self.study, plan, first), at: now)
        said = [[ToCoordinator]](repeating: [], count: count)
        told = [[FromCoordinator]](repeating: [], count: count)
        for k in 0..<count {
            var settings = Worker.Settings(
                incarnation: Incarnation(UInt64(k + 1)), role: .worker, name: "worker-\(k)", processID: 1,
                oracles: [reference], numerics: "simulated")
            settings.prefetch = 7
            workers.append(Worker(settings: settings))
            step(k, .started)
        }
    }

    /// Runs to the end of all jobs.
    ///
    /// - Parameter tell: called with the number of jobs done, after every round of messages.
    package mutating func run(_ tell: (Int) -> Void) {
        while !isDone {
            now = now + .milliseconds(1)
            for k in workers.indices {
                toCoordinator += ToCoordinator.joined(said[k]).map { (Codec.encode($0), k) }
                cost.events += said[k].count
                said[k] = []
            }
            let arriving = toCoordinator
            toCoordinator = []
            let start = clock()
            for (frame, k) in arriving {
                guard let message = try? Codec.decodeToCoordinator(frame) else { preconditionFailure("our own frame") }
                perform(coordinator.step(.received(message, from: PeerID(UInt64(k + 1))), at: now))
            }
            if let due = coordinator.deadline, due <= now {
                cost.events += 1
                perform(coordinator.step(.tick, at: now))
            }
            for k in workers.indices where !told[k].isEmpty {
                toWorkers += FromCoordinator.joined(told[k]).map { (Codec.encode($0), k) }
                told[k] = []
            }
            cost.seconds += clock() - start
            let leaving = toWorkers
            toWorkers = []
            for (frame, k) in leaving {
                guard let message = try? Codec.decodeFromCoordinator(frame) else {
                    preconditionFailure("our own frame")
                }
                step(k, .received(message))
            }
            for k in workers.indices {
                if let due = workers[k].deadline, due <= now { step(k, .tick) }
            }
            tell(done)
        }
        coordinator.checkInvariants()
        for worker in workers { worker.checkInvariants() }
    }

    private mutating func perform(_ effects: [Coordinator.Effect]) {
        for effect in effects {
            switch effect {
            case .persist(let facts): done += facts.count { if case .itemsCompleted = $0 { true } else { false } }
            case .send(let message, let peer) where peer != Self.client:
                told[Int(peer.number) - 1].append(message)
            case .advance: isDone = true
            default: break
            }
        }
    }

    private mutating func step(_ k: Int, _ event: Worker.Event) {
        for effect in workers[k].step(event, at: now) {
            switch effect {
            case .send(let message): said[k].append(message)
            case .start(let attempt, _):
                let result = WorkResult.labels(Valuations(prices: [1], statuses: [.ok]))
                step(k, .finished(attempt, .milliseconds(1), .success(result), blobs: []))
            default: break
            }
        }
    }
}
