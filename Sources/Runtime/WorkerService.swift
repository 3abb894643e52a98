// A worker's or trainer's process: socket, compute thread and blobs around the state machine in Cluster/Worker.swift.

package import Cluster
internal import Glibc
package import Logging
internal import PlugIns
internal import Regression
import Synchronization
internal import Wire
internal import ZeroMQ

package final class WorkerService {
    /// How a worker process ends.
    package enum Ending: Sendable {
        /// It left as it was asked to.
        case left
        /// A job that is not wanted any more cannot be stopped in any other way: it is to be started again.
        case stuck
        /// Whoever started it is gone.
        case inputEnded
    }

    private let address: String
    private let cluster: ClusterFile
    private let logger: Logger
    private let shelf = BlobShelf()
    private let mailbox = Mailbox<Worker.Event>()
    private let computing: WorkThread
    private let bench: Bench
    private let signals: SignalQueue
    private let oracles: KnownOracles

    private let dealer: Socket
    private let subscriber: Socket
    private var worker: Worker
    /// What is said in this turn of the loop.
    private var outbox: [ToCoordinator] = []
    private var ending: Ending?
    private var drainDeadline: Instant?

    /// The workbench, used by the compute thread alone, and the attempts that shall stop.
    private final class Bench: @unchecked Sendable {
        let workbench: Workbench
        /// When the loop was last told of a result.
        var lastTold = Instant(nanoseconds: 0)
        let stopping = Mutex<Set<Attempt>>([])

        init(_ workbench: Workbench) { self.workbench = workbench }
    }

    /// - Parameters:
    ///   - address: of the coordinator.
    ///   - threads: for training.
    /// - Throws: `ZeroMQError` if the socket cannot be made.
    package init(
        role: Role, name: String, incarnation: Incarnation, address: String, cluster: ClusterFile,
        oracles: KnownOracles, threads: Int, logger: Logger
    ) throws {
        self.address = address
        self.cluster = cluster
        self.logger = logger
        signals = SignalQueue(terminationSignals)
        computing = WorkThread()
        self.oracles = oracles
        bench = Bench(Workbench(oracles: oracles.all, threads: threads))
        let context = Context()
        dealer = try Socket(context, .dealer, longestFrame: cluster.maxFrame)
        try dealer.connect(address)
        subscriber = try Socket(context, .subscribe, longestFrame: cluster.maxFrame)
        var settings = Worker.Settings(
            incarnation: incarnation, role: role, name: name, processID: getpid(),
            oracles: role == .worker ? oracles.all.map { OracleReference($0) } : [], numerics: numericFingerprint)
        settings.testimonies = oracles.testimonies
        settings.interruptible = oracles.interruptible
        worker = Worker(settings: settings)
    }

    /// Works until it is told to leave, a termination signal comes, or standard input ends if that is asked for.
    package func run(exitOnEndOfInput: Bool) -> Ending {
        handle(.started)
        while true {
            flush()
            if let ending { return ending }
            let deadline = [worker.deadline, drainDeadline].compactMap { $0 }.min()
            let ready = wait(
                for: [subscriber, dealer], descriptors: [signals.descriptor] + (exitOnEndOfInput ? [0] : []),
                wakeup: mailbox.wakeup, atMost: deadline?.millisecondsFromNow)
            if exitOnEndOfInput, ready.descriptors[1], inputHasEnded() { return .inputEnded }
            if ready.descriptors[0], !signals.taken().isEmpty, drainDeadline == nil {
                drainDeadline = .now + cluster.drainGrace
                handle(.drain)
            }
            for event in mailbox.take() { handle(event) }
            // What is published first: jobs that need it then find it here.
            for (socket, isReady) in zip([subscriber, dealer], ready.sockets) where isReady { receive(socket) }
            if let due = worker.deadline, due <= .now { handle(.tick) }
            if let due = drainDeadline, due <= .now {
                logger.warning("left before its job was done: the grace to drain is over")
                flush()
                return .left
            }
        }
    }

    private func receive(_ socket: Socket) {
        for _ in 0..<256 {
            guard let frames = try? socket.receive() else { return }
            do {
                guard frames.count == 1 else { throw WireErrorFrames(count: frames.count) }
                handle(.received(try Codec.decodeFromCoordinator(frames[0])))
            } catch {
                logger.warning("message dropped", metadata: ["problem": "\(error)"])
            }
        }
        mailbox.wakeup.signal()
    }

    private struct WireErrorFrames: Error, CustomStringConvertible {
        var count: Int
        var description: String { "a message of \(count) frames" }
    }

    private func handle(_ event: Worker.Event) {
        var events = [event]
        while let event = events.popLast() {
            for effect in worker.step(event, at: .now) { perform(effect, &events) }
        }
    }

    private func perform(_ effect: Worker.Effect, _ events: inout [Worker.Event]) {
        switch effect {
        case .send(let message): send(message)
        case .subscribe(let publisher):
            do {
                try subscriber.connect(publisher)
            } catch {
                logger.warning("not subscribed: parameters will be asked for", metadata: ["problem": "\(error)"])
            }
        case .start(let attempt, let work): start(attempt, work)
        case .stop(let attempt): _ = bench.stopping.withLock { $0.insert(attempt) }
        case .accept(let chunk):
            switch shelf.accept(chunk) {
            case .incomplete: break
            case .stored:
                logger.debug("blob at hand", metadata: chunk.blob.logged)
                events.append(.stored(chunk.blob))
            case .damaged: events.append(.damaged(chunk.blob))
            }
        case .sendBlob(let request): send(.blob(shelf.chunk(request, limit: Codec.chunkSize)))
        case .forget(let digest): shelf.forget(digest)
        case .leave: ending = .left
        case .restart: ending = .stuck
        }
    }

    private func send(_ message: ToCoordinator) { outbox.append(message) }

    private func flush() {
        do {
            // A full queue means that nobody reads: what matters is sent again.
            for message in ToCoordinator.joined(outbox) { _ = try dealer.send([Codec.encode(message)]) }
        } catch {
            logger.warning("message not sent", metadata: ["problem": "\(error)"])
        }
        outbox = []
    }

    private func start(_ attempt: Attempt, _ work: Work) {
        let (bench, mailbox, shelf, computing, oracles) = (bench, mailbox, shelf, computing, oracles)
        computing.perform {
            let start = Instant.now
            let outcome: ToCoordinator.Outcome
            var made: [BlobReference] = []
            do throws(WorkFailure) {
                // It may have waited here, and not be wanted any more.
                if bench.stopping.withLock({ $0.contains(attempt) }) { throw WorkFailure("cancelled") }
                let isCancelled: @Sendable () -> Bool = { bench.stopping.withLock { $0.contains(attempt) } }
                oracles.setCancellation(isCancelled)
                defer { oracles.setCancellation(nil) }
                let (result, produced) = try bench.workbench.perform(
                    work, blob: { shelf.bytes($0) }, progress: { mailbox.post(.progressed(attempt, $0)) },
                    isCancelled: isCancelled)
                made = produced.map { shelf.put($0) }
                outcome = .success(result)
            } catch {
                outcome = .failure(error)
            }
            _ = bench.stopping.withLock { $0.remove(attempt) }
            // Short jobs follow each other, and the loop is told of some at a time.
            let end = Instant.now
            let isDue = !computing.hasMore || end.nanoseconds - bench.lastTold.nanoseconds >= 500_000
            if isDue { bench.lastTold = end }
            mailbox.post(
                .finished(attempt, end - start, outcome, blobs: made, incidents: oracles.newIncidents()), wakes: isDue)
        }
    }
}
