// The coordinator's process: sockets, store and threads around the state machine in Cluster/Coordinator.swift.

internal import Cluster
package import Logging
internal import Pricing
package import Regression
internal import Wire
internal import ZeroMQ

package final class CoordinatorService {
    private let cluster: ClusterFile
    private let oracles: [any Oracle]
    private let logger: Logger
    private let journal: Journal?
    private let shelf: BlobShelf
    private let mailbox = Mailbox<Coordinator.Event>()
    /// Make the plans of the studies that go on: none behind that of another, which can take long to make its data.
    private var planners: [StudyID: WorkThread] = [:]
    /// Reads what is submitted.
    private let checking = WorkThread()
    /// Takes items on their courses: not behind the plan of another study.
    private let steering = WorkThread()
    private let bench = Bench()

    /// Networks for courses; used by the steering thread alone.
    private final class Bench: @unchecked Sendable {
        let workbench = Workbench(oracles: [], threads: 1)
    }

    private let router: Socket
    private let publisher: Socket
    private let signals: SignalQueue
    private var coordinator: Coordinator
    /// What is decided and said in this turn of the loop: facts that are not in the journal yet, and messages.
    private var facts: [Fact] = []
    private var outbox: [PeerID: Outgoing] = [:]
    /// What the journal took of this process's time.
    private var commits = 0
    private var writing: Duration = .zero
    private var failure: JournalError?
    private var undecodable = 0
    private var lastComplaint: Instant?

    /// Messages for one peer.
    private struct Outgoing {
        /// Assignments need not wait for the journal, and may overtake acknowledgements.
        var early: [FromCoordinator] = []
        var late: [FromCoordinator] = []
        /// Whether `late` has something that must not be overtaken.
        var isOrdered = false
    }

    /// Where workers and clients connect to.
    package var address: String { router.address }

    /// Opens the journal, if the cluster has a storage folder, and the sockets.
    ///
    /// - Throws: `JournalError` if the journal cannot be used, `ZeroMQError` if an address cannot be bound.
    package init(cluster: ClusterFile, oracles: [any Oracle], logger: Logger) throws {
        self.cluster = cluster
        self.oracles = oracles
        self.logger = logger
        signals = SignalQueue(terminationSignals)
        var settings = Coordinator.Settings()
        journal = try cluster.storage.map { try Journal(folder: $0, keptStudies: settings.keptStudies) }
        shelf = BlobShelf(journal: journal)
        let context = Context()
        router = try Socket(context, .router, longestFrame: cluster.maxFrame)
        // One that was just killed may hold its addresses for a moment.
        try router.bind(cluster.bind, patience: 1)
        publisher = try Socket(context, .publish, longestFrame: cluster.maxFrame)
        try publisher.bind(cluster.publish, patience: 1)
        settings.heartbeat = cluster.heartbeat
        settings.lost = cluster.lost
        settings.crashLimit = cluster.crashLimit
        settings.maxWorkers = cluster.maxWorkers
        settings.shardSize = cluster.shardSize
        settings.rowsPerJob = cluster.rowsPerJob
        settings.publisher = publisher.address
        coordinator = Coordinator(settings: settings, facts: try journal?.facts() ?? [], at: .now)
    }

    /// Serves until a termination signal, or until standard input ends if that is asked for.
    ///
    /// - Throws: `JournalError` if the journal cannot be written any more. Nothing was acknowledged that is not in it.
    package func run(exitOnEndOfInput: Bool) throws {
        logger.info(
            "coordinator started",
            metadata: [
                "address": "\(address)", "storage": "\(cluster.storage ?? "none: studies end with this process")",
            ])
        handle(.started)
        while true {
            flush()
            if let failure { throw failure }
            let ready = wait(
                for: [router], descriptors: [signals.descriptor] + (exitOnEndOfInput ? [0] : []),
                wakeup: mailbox.wakeup, atMost: coordinator.deadline?.millisecondsFromNow)
            if ready.descriptors[0], !signals.taken().isEmpty { break }
            if exitOnEndOfInput, ready.descriptors[1], inputHasEnded() { break }
            for event in mailbox.take() { handle(event) }
            if ready.sockets[0] { receive() }
            if let deadline = coordinator.deadline, deadline <= .now { handle(.tick) }
        }
        logger.info(
            "coordinator stopped",
            metadata: ["commits": "\(commits)", "secondsOfWriting": "\(writing.seconds)"])
    }

    /// Messages that have arrived, but not so many that a flood keeps the loop from anything else.
    private func receive() {
        for _ in 0..<256 {
            guard let frames = try? router.receive() else { return }
            guard frames.count == 2 else {
                complain("a message of \(frames.count) frames")
                continue
            }
            do {
                handle(.received(try Codec.decodeToCoordinator(frames[1]), from: PeerID(routing: frames[0])))
            } catch {
                complain("\(error)")
            }
        }
        mailbox.wakeup.signal()
    }

    /// Counts what cannot be read, and says so at most once a minute.
    private func complain(_ problem: String) {
        undecodable += 1
        if let last = lastComplaint, .now < last + .seconds(60) { return }
        lastComplaint = .now
        logger.warning("message dropped", metadata: ["problem": "\(problem)", "total": "\(undecodable)"])
    }

    private func handle(_ event: Coordinator.Event) {
        var events = [event]
        while let event = events.popLast() {
            let effects = coordinator.step(event, at: .now)
            for effect in effects { perform(effect, &events) }
        }
    }

    /// What the ledger has of rows of raw inputs, for whatever thread asks.
    private var ledger: @Sendable (OracleReference, _ points: [Double], _ dimension: Int) -> [Coordinator.KnownLabels] {
        { [journal, logger] oracle, points, dimension in
            var damaged = 0
            let known = journal?.labels(oracle, points, dimension: dimension, damaged: &damaged) ?? []
            if damaged > 0 {
                logger.warning(
                    "labels of the ledger are damaged; they are priced anew: check the disk",
                    metadata: ["labels": "\(damaged)", "oracle": "\(oracle.fingerprint)"])
            }
            return known
        }
    }

    /// Writes the facts of this turn to the journal, together, and sends its messages: what had to wait, after that.
    private func flush() {
        while failure == nil, !facts.isEmpty || !outbox.isEmpty {
            let messages = outbox
            outbox = [:]
            var events: [Coordinator.Event] = []
            for (peer, outgoing) in messages { send(outgoing.early, peer, &events) }
            if !facts.isEmpty {
                let start = Instant.now
                do {
                    try journal?.append(Fact.joined(facts)) { shelf.bytes($0) }
                } catch {
                    failure = error
                    return
                }
                facts = []
                commits += 1
                writing += Instant.now - start
            }
            for (peer, outgoing) in messages { send(outgoing.late, peer, &events) }
            for event in events { handle(event) }
        }
    }

    private func send(_ message: FromCoordinator, _ peer: PeerID) {
        switch message {
        case .assign where outbox[peer]?.isOrdered != true: outbox[peer, default: .init()].early.append(message)
        case .acknowledge: outbox[peer, default: .init()].late.append(message)
        default:
            outbox[peer, default: .init()].late.append(message)
            outbox[peer]!.isOrdered = true
        }
    }

    private func planner(_ study: StudyID) -> WorkThread {
        let thread = planners[study] ?? WorkThread()
        planners[study] = thread
        return thread
    }

    private func perform(_ effect: Coordinator.Effect, _ events: inout [Coordinator.Event]) {
        switch effect {
        case .persist(let new):
            if journal != nil { facts += new }
            for case .studyEnded(let study, _) in new { planners.removeValue(forKey: study)?.stop() }
        case .send(let message, let peer): send(message, peer)
        case .publish(let study, let version, let blob):
            guard blob.size <= Codec.longestPublished, let bytes = shelf.bytes(blob.digest) else { return }
            let message = FromCoordinator.parameters(.init(study: study, version: version, blob: blob, bytes: bytes))
            logger.debug("parameters published", metadata: blob.logged)
            // A push that fails costs nothing: who needs the parameters asks for them.
            _ = try? publisher.send([Codec.encode(message)])
        case .validate(let submission, let peer):
            let (mailbox, oracles) = (mailbox, oracles)
            checking.perform {
                do throws(InputError) {
                    var submission = submission
                    submission.name = try StudyFile(name: "study", text: submission.study, oracles: oracles).study.name
                    mailbox.post(.validated(submission, StudyID(.random(in: 1 ... .max)), from: peer))
                } catch {
                    mailbox.post(.refused(submission, error.problems.map(\.description), from: peer))
                }
            }
        case .begin(let study, let submission):
            let (mailbox, oracles, shelf, threads) = (mailbox, oracles, shelf, ClusterFile.cores)
            planner(study).perform {
                func fail(_ reason: String) {
                    let step = PlanStep(next: .failed(reason), phase: .done)
                    mailbox.post(.planned(study, nil, step))
                }
                // Checked when it was submitted; but that may have been by another version of Cairn.
                guard let file = try? StudyFile(name: "study", text: submission.study, oracles: oracles),
                    let oracle = file.study.fixedOracle(among: oracles)
                else { return fail("the study is not valid any more for this version of Cairn") }
                let parts = submission.attachments
                guard let content = StudyAttachments(parts, domain: file.study.domain, blob: { shelf.bytes($0) }),
                    file.files.keys.allSatisfy({ part in parts.contains { $0.part == part } })
                else { return fail("the attachments are not what the study says") }
                var plan = StudyPlan(study: file.study, descriptor: oracle.descriptor, attachments: content)
                let step = plan.next(nil, threads: threads)
                mailbox.post(.planned(study, plan, step))
            }
        case .advance(let study, let plan, let results):
            let (mailbox, threads) = (mailbox, ClusterFile.cores)
            planner(study).perform {
                var plan = plan
                let step = plan.next(results, threads: threads)
                mailbox.post(.planned(study, plan, step))
            }
        case .lookUp(let study, let batch, let oracle, let points, let dimension):
            let (mailbox, ledger) = (mailbox, ledger)
            planner(study).perform {
                mailbox.post(.known(study, batch: batch, ledger(oracle, points, dimension)))
            }
        case .pursue(let study, let batch, let content, let item, let course, let answers, let asksLedger):
            let (mailbox, ledger, shelf, bench) = (mailbox, ledger, shelf, bench)
            steering.perform {
                let result: Result<Course, WorkFailure>
                do throws(WorkFailure) {
                    result = .success(
                        try bench.workbench.pursue(content, item: item, course, answers: answers) { shelf.bytes($0) })
                } catch {
                    result = .failure(error)
                }
                var known: [Coordinator.KnownLabels] = []
                if asksLedger, case .success(let course) = result, course.result == nil, !course.asksForGradient,
                    let oracle = content.oracle
                {
                    known = ledger(oracle, course.questions, content.dimension)
                }
                mailbox.post(.pursued(study, batch: batch, item: item, result, known))
            }
        case .write(let study, let outcome, let statistics):
            let (mailbox, shelf) = (mailbox, shelf)
            planner(study).perform {
                let files = ResultFolder(outcome, statistics).files { shelf.bytes($0) }
                mailbox.post(
                    .written(
                        study, files: files.map { .init(name: $0.name, blob: shelf.put($0.bytes)) },
                        incomplete: !outcome.incomplete.isEmpty))
            }
        case .store(let bytes): _ = shelf.put(bytes)
        case .accept(let chunk):
            switch shelf.accept(chunk) {
            case .incomplete: break
            case .stored: events.append(.stored(chunk.blob))
            case .damaged: events.append(.damaged(chunk.blob))
            }
        case .sendBlob(let request, let peer):
            send(.blob(shelf.chunk(request, limit: Codec.chunkSize)), peer)
        case .forget(let digests): for digest in digests { shelf.forget(digest) }
        case .dropParts(let digests): for digest in digests { shelf.dropPart(digest) }
        }
    }

    private func send(_ messages: [FromCoordinator], _ peer: PeerID, _ events: inout [Coordinator.Event]) {
        for message in FromCoordinator.joined(messages) {
            let frame = Codec.encode(message)
            guard frame.count <= cluster.maxFrame else {
                logger.error(
                    "message not sent: longer than limits.maxFrame", metadata: ["bytes": "\(frame.count)"])
                continue
            }
            do {
                guard try router.send([peer.routing, frame]) == .unreachable else { continue }
            } catch {
                logger.warning("message not sent", metadata: ["problem": "\(error)"])
            }
            events.append(.unreachable(peer))
            return
        }
    }
}
