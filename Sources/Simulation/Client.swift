internal import Cluster
internal import Regression

/// A user who hands in a study, watches it and fetches its files; asks again for what was lost, every second, and goes
/// on where it was when its connection breaks. Follows the rules of a client in Docs/Protocol.md.
final class Client {
    enum Answer: Hashable {
        case done([UInt8])
        case failed(String)
        case cancelled
    }

    private unowned let world: World
    let request: Schedule.Request
    let token: UInt64
    let number: Int
    private(set) var peer: PeerID
    private var shelf = Shelf()
    private(set) var study: StudyID?
    private var term: UInt64 = 0
    private var seen = 0
    private var wanted: [BlobRequest] = []
    private var file: BlobReference?
    private(set) var answer: Answer?
    private let submission: ToCoordinator.Submission
    private var isCancelling = false

    init(world: World, request: Schedule.Request, token: UInt64, number: Int) {
        self.world = world
        self.request = request
        self.token = token
        self.number = number
        peer = PeerID(10 + UInt64(number))
        let study = world.laboratory.study(request.study)
        for part in study.parts { shelf.put(part.bytes, as: part.attachment.blob) }
        submission = .init(
            token: token, study: study.text, attachments: study.parts.map(\.attachment), share: request.share,
            priority: request.priority)
    }

    var isDone: Bool { answer != nil }

    var words: String {
        "client-\(number) waits for "
            + (study == nil ? "its study to be accepted" : wanted.isEmpty ? "event \(seen + 1) of \(study!)" : "a file")
    }

    /// Says what is to be said once a second.
    func act() {
        guard answer == nil else { return }
        world.enter(.client(number), after: 1_000_000_000)
        if let study {
            world.send(.watch(.init(study: study, term: term, after: seen)), from: peer)
            if let next = wanted.first { world.send(.want(next), from: peer) }
            if let time = request.cancelledAt, world.seconds(time) <= world.now, file == nil {
                isCancelling = true
                world.send(.cancelStudy(study), from: peer)
            }
            if let time = request.pausedAt, world.seconds(time) <= world.now {
                world.send(.pauseStudy(study, world.now < world.seconds(time + 2)), from: peer)
            }
        } else {
            world.send(.submit(submission), from: peer)
        }
    }

    /// Comes back under another peer's name; as another process, which hands the study in again, if it forgets.
    func reconnect(forgetting: Bool) {
        guard answer == nil else { return }
        world.nextPeer += 1
        peer = PeerID(world.nextPeer)
        if forgetting { (study, term, seen, wanted, file) = (nil, 0, 0, [], nil) }
        world.tell("client-\(number) has another connection")
    }

    func receive(_ message: FromCoordinator) {
        guard answer == nil else { return }
        switch message {
        case .accepted(let accepted) where accepted.token == token:
            guard study == nil else {
                if accepted.study != study { world.checks.diverge(.equality, "one token, two studies") }
                return
            }
            study = accepted.study
            world.send(.watch(.init(study: accepted.study, term: term, after: seen)), from: peer)
        case .rejected(let rejected) where rejected.token == token:
            world.checks.diverge(.equality, "a good study is rejected: \(rejected.problems)")
        case .unknownPeer:
            // Only one who has gone back to before the study was accepted could say so.
            if study != nil, !world.isPastOfOthers { world.checks.diverge(.equality, "the coordinator forgot a study") }
        case .want(let request): world.send(.blob(shelf.chunk(request, limit: world.schedule.chunkSize)), from: peer)
        case .events(let list) where list.study == study && list.term >= term:
            if list.term > term { (term, seen) = (list.term, 0) }
            for event in list.events where event.number == seen + 1 {
                seen += 1
                if case .ended(let ending) = event.what { ended(ending) }
            }
        case .blob(let chunk):
            guard let next = wanted.first, next.blob == chunk.blob, next.offset == chunk.offset, !chunk.bytes.isEmpty
            else { return }
            switch shelf.accept(chunk) {
            case nil: wanted[0].offset += chunk.bytes.count
            case true?: wanted.removeFirst()
            case false?: wanted[0].offset = 0
            }
            fetchNext()
        default: break
        }
    }

    private func ended(_ ending: StudyEvent.Ending) {
        switch ending {
        case .failed(let reason): answer = .failed(reason)
        case .cancelled:
            if request.cancelledAt == nil { world.checks.diverge(.equality, "a study was cancelled by nobody") }
            answer = .cancelled
        case .done(let files, _):
            file = files.first?.blob
            wanted = files.map { BlobRequest(blob: $0.blob, offset: 0) }
            fetchNext()
        }
    }

    private func fetchNext() {
        if let next = wanted.first {
            world.send(.want(next), from: peer)
        } else if let file {
            answer = .done(shelf.whole[file.digest] ?? [])
        }
    }
}
