// A client of a cluster: hands in a study, watches it, and fetches its files.

package import Cluster
internal import Glibc
internal import Wire
internal import ZeroMQ

package final class StudyClient {
    /// How a study ended, for whoever asked for it.
    package enum Ending: Sendable {
        case done(files: [(name: String, bytes: [UInt8])], incomplete: Bool)
        case failed(String)
        case rejected([String])
        case cancelled
        /// The coordinator does not answer.
        case unreachable(String)
        /// A termination signal came.
        case interrupted
    }

    private let dealer: Socket
    private let signals: SignalQueue
    private let wakeup = Wakeup()
    private let supervisor: Supervisor?
    private let shelf = BlobShelf()
    private let token: UInt64

    private var study: StudyID?
    /// The last event that was told, by the coordinator's life and number.
    private var term: UInt64 = 0
    private var seen = 0
    private var files: [StudyEvent.File] = []
    private var isIncomplete = false
    private var ending: Ending?
    /// Files on their way here: what is asked for next.
    private var wanted: [BlobRequest] = []

    /// How long a silent coordinator is waited for.
    private let patience: Duration

    /// - Parameters:
    ///   - address: the coordinator's; asked for once signals are taken, so that the ends of processes that are started for
    ///     it are heard of.
    ///   - token: of the submission: the same one takes up the same study.
    ///   - supervisor: of the cluster's processes, if they are this process's children.
    /// - Throws: `ZeroMQError` if the address is none.
    package init(
        address: () throws -> String, token: UInt64, longestFrame: Int, supervisor: Supervisor?,
        patience: Duration = .seconds(30)
    ) throws {
        self.token = token
        signals = SignalQueue(terminationSignals + [SIGCHLD])
        self.supervisor = supervisor
        self.patience = patience
        dealer = try Socket(Context(), .dealer, longestFrame: longestFrame, linger: 0)
        try dealer.connect(address())
    }

    /// Finds out whether an address is one; not whether anybody is there.
    ///
    /// - Throws: `ZeroMQError` if it is none.
    package static func check(address: String) throws {
        try Socket(Context(), .dealer, longestFrame: 1, linger: 0).connect(address)
    }

    /// Runs a study to its end.
    ///
    /// - Parameters:
    ///   - file: the study.
    ///   - blobs: its attachments.
    ///   - wantsFreshLabels: whether no label is taken from the ledger.
    ///   - share, priority: against other studies of the cluster.
    ///   - tell: called with each event, in order, and the life of the coordinator that tells it.
    package func run(
        _ file: StudyFile, blobs: [(attachment: ToCoordinator.Attachment, bytes: [UInt8])], wantsFreshLabels: Bool,
        share: Double = 1, priority: Int = 0, tell: (StudyEvent, _ term: UInt64) -> Void
    ) throws -> Ending {
        for blob in blobs { _ = shelf.put(blob.bytes) }
        let submission = ToCoordinator.Submission(
            token: token, study: file.effective, attachments: blobs.map(\.attachment),
            wantsFreshLabels: wantsFreshLabels, share: share, priority: priority)
        var askAgain = Instant.now
        var lastHeard = Instant.now
        while ending == nil {
            if askAgain <= .now {
                // What was lost on the way is asked for again.
                askAgain = .now + .seconds(1)
                if let study {
                    send(.watch(.init(study: study, term: term, after: seen)))
                    if let next = wanted.first { send(.want(next)) }
                } else {
                    send(.submit(submission))
                }
            }
            let deadline = [askAgain, supervisor?.deadline].compactMap { $0 }.min()!
            let ready = wait(
                for: [dealer], descriptors: [signals.descriptor], wakeup: wakeup,
                atMost: deadline.millisecondsFromNow)
            if ready.descriptors[0] {
                for signal in signals.taken() where signal != SIGCHLD { return .interrupted }
                for exit in try supervisor?.takeExits() ?? [] {
                    send(.exited(.init(incarnation: exit.incarnation, cause: exit.cause)))
                }
            }
            try supervisor?.startWhatIsDue()
            while let frames = try dealer.receive() {
                lastHeard = .now
                // What cannot be read is not for this client.
                guard frames.count == 1, let message = try? Codec.decodeFromCoordinator(frames[0]) else { continue }
                receive(message, tell)
            }
            if lastHeard + patience <= .now {
                let fate =
                    study == nil && supervisor == nil
                    ? "; the study may have come there all the same, and then it runs and pays for labels: "
                        + "`cairn studies` lists it and `cairn studies cancel` ends it"
                    : ""
                return .unreachable("the coordinator has not answered for \(patience)\(fate)")
            }
        }
        return ending!
    }

    /// Tells a coordinator something, and asks it for its studies.
    ///
    /// - Returns: nil if it does not answer.
    /// - Throws: `ZeroMQError` if the address is none.
    package static func studies(
        address: String, telling message: ToCoordinator = .listStudies, longestFrame: Int,
        patience: Duration = .seconds(5)
    ) throws -> [StudySummary]? {
        let dealer = try Socket(Context(), .dealer, longestFrame: longestFrame, linger: 0)
        try dealer.connect(address)
        let limit = Instant.now + patience
        var askAgain = Instant.now
        while .now < limit {
            if askAgain <= .now {
                _ = try? dealer.send([Codec.encode(message)])
                askAgain = .now + .seconds(1)
            }
            _ = wait(
                for: [dealer], descriptors: [], wakeup: Wakeup(), atMost: min(askAgain, limit).millisecondsFromNow)
            while let frames = try dealer.receive() {
                if frames.count == 1, case .studies(let list)? = try? Codec.decodeFromCoordinator(frames[0]) {
                    return list
                }
            }
        }
        return nil
    }

    private func send(_ message: ToCoordinator) { _ = try? dealer.send([Codec.encode(message)]) }

    private func receive(_ message: FromCoordinator, _ tell: (StudyEvent, UInt64) -> Void) {
        switch message {
        case .accepted(let accepted) where accepted.token == token:
            guard study == nil else { return }
            study = accepted.study
            send(.watch(.init(study: accepted.study, term: term, after: seen)))
        case .rejected(let rejected) where rejected.token == token: ending = .rejected(rejected.problems)
        case .unknownPeer:
            ending = .failed("the coordinator does not know the study: it was started anew, without its storage")
        case .want(let request): send(.blob(shelf.chunk(request, limit: Codec.chunkSize)))
        case .events(let list) where list.study == study && list.term >= term:
            if list.term > term { (term, seen) = (list.term, 0) }
            for event in list.events where event.number == seen + 1 {
                seen += 1
                tell(event, term)
                if case .worker(.joined, let name, _) = event.what { supervisor?.noteJoin(of: name) }
                guard case .ended(let end) = event.what else { continue }
                switch end {
                case .failed(let reason): ending = .failed(reason)
                case .cancelled: ending = .cancelled
                case .done(let files, let incomplete):
                    self.files = files
                    isIncomplete = incomplete
                    wanted = files.filter { $0.blob.size > 0 }.map { BlobRequest(blob: $0.blob, offset: 0) }
                    fetchNext()
                }
            }
        case .blob(let chunk):
            guard let next = wanted.first, next.blob == chunk.blob, next.offset == chunk.offset else { return }
            guard !chunk.bytes.isEmpty else {
                ending = .failed("the coordinator no longer has the study's files")
                return
            }
            switch shelf.accept(chunk) {
            case .incomplete: wanted[0].offset += chunk.bytes.count
            case .stored: wanted.removeFirst()
            case .damaged: wanted[0].offset = 0
            }
            fetchNext()
        default: break
        }
    }

    private func fetchNext() {
        if let next = wanted.first {
            send(.want(next))
        } else {
            ending = .done(
                files: files.map { ($0.name, $0.blob.size == 0 ? [] : shelf.bytes($0.blob.digest) ?? []) },
                incomplete: isIncomplete)
        }
    }
}
