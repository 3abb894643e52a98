// A cluster in one thread and in virtual time: the real state machines and the real codec around a network, clocks, a
// store and processes that a seed makes unreliable.
//
// Everything that happens is an entry of the agenda. World+Coordinator.swift is the coordinator's host and store,
// World+Processes.swift hosts workers, World+Faults.swift is what goes wrong, Client.swift the people.

internal import Cluster
internal import Regression
internal import Wire

final class World {
    /// Indirect: the agenda moves its entries around, and plans are large.
    indirect enum Happening {
        case coordinator(Coordinator.Event, life: Int)
        case toCoordinator([UInt8], from: PeerID, isGenuine: Bool)
        case toPeer([UInt8], PeerID, isGenuine: Bool)
        case worker(Int, Worker.Event)
        /// A job of a process comes to its end.
        case performed(Int, run: Int)
        case wakeCoordinator
        case wake(process: Int)
        case start(Role, name: String)
        case client(Int)
        case fault(kind: Int)
        case restart
    }

    /// A message on its way, kept to be delivered again.
    enum Frame {
        case toCoordinator([UInt8], PeerID)
        case toPeer([UInt8], PeerID)
    }

    let schedule: Schedule
    let faults: Faults
    let laboratory: Laboratory
    var checks: Checks

    /// Virtual time in nanoseconds.
    private(set) var now: Int64 = 0
    private var agenda = Agenda<Happening>()
    private(set) var steps = 0

    // One stream per purpose, so that a fault that is switched off leaves the others as they were.
    var network: RandomStream
    var work: RandomStream
    var chances: RandomStream
    /// By kind of fault.
    var calamities: [RandomStream]

    // The coordinator and its host.
    var coordinator: Coordinator
    var store = Store()
    var coordinatorClock: Int64
    var coordinatorBusyUntil: Int64 = 0
    var coordinatorWakes: Int64?
    /// Counts lives; events of an earlier one find nobody.
    var life = 1
    var isDown = false
    /// After how many more effects it is killed.
    var effectsLeft: Int?
    /// Names of where plans stand.
    var places: [StudyID: Digest] = [:]

    // Processes and connections.
    var processes: [Int: Process] = [:]
    var connections: [PeerID: Int] = [:]
    var nextProcess = 1
    var nextPeer: UInt64 = 100
    var nextRun = 1
    var extraWorkers = 0
    /// Peers that cannot send, or be sent to, until then.
    var cutFromCoordinator: [PeerID: Int64] = [:]
    var cutToCoordinator: [PeerID: Int64] = [:]
    private var lastArrival: [UInt64: Int64] = [:]
    var past: [Frame] = []
    var clients: [Client] = []

    /// What happened, in order, if somebody wants to know.
    private(set) var story: [StoryLine]?

    static let supervisor = PeerID(1)

    init(_ schedule: Schedule, laboratory: Laboratory, tells: Bool) {
        self.schedule = schedule
        faults = schedule.faults
        self.laboratory = laboratory
        checks = Checks(schedule)
        func stream(_ index: Int) -> RandomStream {
            RandomStream(seed: schedule.seed, purpose: .other, index: UInt32(index))
        }
        network = stream(10)
        work = stream(11)
        chances = stream(12)
        calamities = Faults.kinds.indices.map { stream(100 + $0) }
        coordinator = Coordinator(settings: schedule.settings)
        story = tells ? [] : nil
        store.shelf.checks = schedule.canary != .anyBlob
        coordinatorClock = Int64(work.below(1 << 40))

        enter(.coordinator(.started, life: 1), after: 0)
        for k in 0..<schedule.trainers { enter(.start(.trainer, name: "trainer-\(k)"), after: milliseconds(50)) }
        for k in 0..<schedule.workers { enter(.start(.worker, name: "worker-\(k)"), after: milliseconds(50)) }
        for (k, request) in schedule.requests.enumerated() {
            for copy in 0..<(request.isRepeated ? 2 : 1) {
                clients.append(Client(world: self, request: request, token: UInt64(1000 + k), number: clients.count))
                enter(.client(clients.count - 1), after: seconds(request.at) + Int64(copy) * milliseconds(300))
            }
        }
        for kind in Faults.kinds.indices where Self.isTimed(kind) { enterNext(kind) }
    }

    // MARK: Time

    /// In nanoseconds; thirty years are for ever.
    func seconds(_ value: Double) -> Int64 { Int64(min(value, 1e9) * 1e9) }

    /// A random time up to `most` milliseconds, of the stream for what takes time.
    func milliseconds(_ most: Double) -> Int64 { Int64(work.uniform() * most * 1e6) + 1000 }

    /// Whether clients may get messages that were meant for others, or for another time.
    var isPastOfOthers: Bool { faults.replay > 0 || faults.forge > 0 }

    /// Until their time is over, or until everybody has an answer.
    var faultsAct: Bool { restSince == nil && now < seconds(faults.lasting) }

    func enter(_ what: Happening, after delay: Int64) { agenda.enter(what, at: now + max(0, delay)) }

    /// Runs until every client has its answer and the cluster is at rest.
    func run() {
        // Once the faults stop, silence must be noticed, leases end, lost messages be sent again, and the work be done.
        let bound = seconds(faults.lasting) + seconds(1800)
        var sameTime = 0
        while let next = agenda.next() {
            steps += 1
            sameTime = next.at > now ? 0 : sameTime + 1
            now = max(now, next.at)
            if sameTime > 20_000 { return checks.diverge(.livelock, "it turns without getting anywhere at \(when)") }
            if agenda.count > 20_000 { return checks.diverge(.bounds, "\(agenda.count) messages and timers wait") }
            if now > bound || steps > 2_000_000 {
                let open = clients.filter { !$0.isDone }.map(\.words)
                return checks.diverge(
                    .noEnd,
                    "no end \(rounded(Double(now) / 1e9 - faults.lasting)) s after the faults: "
                        + (open.isEmpty ? "the cluster is not at rest" : open.joined(separator: "; ")))
            }
            handle(next.what)
            if checks.divergence != nil { return }
            if restSince == nil {
                if clients.allSatisfy(\.isDone) { rest() }
            } else if !isDown, now > restSince! + restTime {
                return finish()
            }
        }
        checks.diverge(.noEnd, "nothing happens any more, and \(clients.filter { !$0.isDone }.map(\.words))")
    }

    private var restSince: Int64?

    /// What was said to a coordinator that was not there is said again to this one.
    func beginRestAnew() { if restSince != nil { restSince = max(restSince!, now) } }

    /// Long enough for what runs to end, for results to be sent again, and for a worker whose hello was lost to say it again
    /// (every second at the longest) and then what it holds.
    private var restTime: Int64 { seconds(4 * schedule.longestJob + 1.5) + 3 * schedule.settings.heartbeat.nanoseconds }

    /// Nobody wants anything any more: workers must find that out, from a coordinator that may be about to start again.
    private func rest() {
        restSince = max(now, processes.values.map(\.frozenUntil).max() ?? now)
        cutToCoordinator = [:]
        cutFromCoordinator = [:]
        for process in processes.values { process.lastHeld = [] }
    }

    private func finish() {
        for process in processes.values.sorted(by: { $0.id < $1.id }) where process.frozenUntil <= now {
            if let attempt = process.lastHeld.first {
                checks.diverge(.leak, "\(process.name) still holds \(attempt) when all is done", attempt.job)
            }
        }
        checks.conclude(self)
    }

    private func handle(_ what: Happening) {
        switch what {
        case .coordinator(let event, let life):
            if life == self.life { feed(event) }
        case .toCoordinator(let frame, let peer, let isGenuine): arrived(frame, from: peer, isGenuine)
        case .toPeer(let frame, let peer, let isGenuine): arrived(frame, at: peer, isGenuine)
        case .worker(let id, let event): step(id, event)
        case .performed(let id, let run): performed(id, run)
        case .wakeCoordinator: wakeCoordinator()
        case .wake(let id): wake(id)
        case .start(let role, let name): start(role, name)
        case .client(let k): clients[k].act()
        case .fault(let kind):
            if faultsAct {
                strike(kind)
                enterNext(kind)
            }
        case .restart: restart()
        }
    }

    /// Looks at a state machine in its place: a copy of one costs as much as a step of it.
    func look<State, Answer>(at state: inout State, _ body: (borrowing State) -> Answer) -> Answer { body(state) }

    // MARK: The network

    /// Sends a message to the coordinator.
    func send(_ message: ToCoordinator, from peer: PeerID, isGenuine: Bool = true) {
        tell("\(name(peer)) → coordinator", message)
        if let until = cutToCoordinator[peer], now < until { return tell("  lost: partition") }
        post(Codec.encode(damaged(message)), peer, toCoordinator: true, isGenuine, departing: now)
    }

    /// Sends a message from the coordinator.
    func send(_ message: FromCoordinator, to peer: PeerID, departing: Int64) {
        tell("coordinator → \(name(peer))", message)
        if let until = cutFromCoordinator[peer], now < until { return tell("  lost: partition") }
        post(Codec.encode(damaged(message)), peer, toCoordinator: false, true, departing: departing)
    }

    func post(_ frame: [UInt8], _ peer: PeerID, toCoordinator: Bool, _ isGenuine: Bool, departing: Int64) {
        if frame.count > Codec.longestFrame { checks.diverge(.bounds, "a frame of \(frame.count) bytes") }
        if isGenuine, faults.replay > 0 {
            if past.count == 200 { past.removeFirst(100) }
            past.append(toCoordinator ? .toCoordinator(frame, peer) : .toPeer(frame, peer))
        }
        let what: Happening =
            toCoordinator
            ? .toCoordinator(frame, from: peer, isGenuine: isGenuine) : .toPeer(frame, peer, isGenuine: isGenuine)
        var latency = 20_000 + Int64(network.uniform() * 500_000)
        guard faultsAct else { return deliver(what, peer, toCoordinator, at: departing + latency, mayOvertake: false) }
        if faults.drop > 0, network.uniform() < faults.drop { return tell("  lost") }
        if faults.delay > 0 { latency += seconds(faults.delay * network.uniform() * network.uniform()) }
        let mayOvertake = faults.reorder > 0 && network.uniform() < faults.reorder
        deliver(what, peer, toCoordinator, at: departing + latency, mayOvertake: mayOvertake)
        if faults.duplicate > 0, network.uniform() < faults.duplicate {
            agenda.enter(what, at: departing + latency + seconds(network.uniform()))
        }
    }

    private func deliver(_ what: Happening, _ peer: PeerID, _ toCoordinator: Bool, at time: Int64, mayOvertake: Bool) {
        let line = peer.number << 1 | (toCoordinator ? 1 : 0)
        let time = mayOvertake ? time : max(time, lastArrival[line] ?? 0)
        lastArrival[line] = max(time, lastArrival[line] ?? 0)
        agenda.enter(what, at: time)
    }

    private func damaged(_ message: ToCoordinator) -> ToCoordinator {
        if case .blob(var chunk) = message, damages(&chunk) { return .blob(chunk) }
        return message
    }

    private func damaged(_ message: FromCoordinator) -> FromCoordinator {
        if case .blob(var chunk) = message, damages(&chunk) { return .blob(chunk) }
        return message
    }

    private func damages(_ chunk: inout BlobChunk) -> Bool {
        guard faults.damage > 0, faultsAct, !chunk.bytes.isEmpty, chances.uniform() < faults.damage else {
            return false
        }
        // Late in the chunk: numbers rather than headers.
        chunk.bytes[chunk.bytes.count - 1 - chances.below(min(64, chunk.bytes.count))] ^= UInt8(1 + chances.below(255))
        return true
    }

    private func arrived(_ frame: [UInt8], at peer: PeerID, _ isGenuine: Bool) {
        let message: FromCoordinator
        do throws(WireError) {
            message = try Codec.decodeFromCoordinator(frame)
        } catch {
            if isGenuine { checks.diverge(.codec, "a message of ours is refused: \(error)") }
            return
        }
        if let client = clients.first(where: { $0.peer == peer }) { return client.receive(message) }
        if let id = connections[peer] { step(id, .received(message)) }
    }

    // MARK: The story

    func name(_ peer: PeerID) -> String {
        if peer == Self.supervisor { return "supervisor" }
        if let client = clients.first(where: { $0.peer == peer }) { return "client-\(client.number)" }
        if let id = connections[peer], let process = processes[id] { return process.name }
        return "peer \(peer.number)"
    }

    var when: String { "\(rounded(Double(now) / 1e9)) s" }

    func tell(_ what: @autoclosure () -> String, job: JobID? = nil) {
        if story != nil { story!.append(StoryLine(at: now, job: job, text: what())) }
    }

    private func tell(_ way: @autoclosure () -> String, _ message: ToCoordinator) {
        guard story != nil else { return }
        switch message {
        case .finished(let finished):
            switch finished.outcome {
            case .success: tell("\(way()): finished \(finished.attempt)", job: finished.attempt.job)
            case .failure(let failure):
                tell("\(way()): finished \(finished.attempt), failed: \(failure)", job: finished.attempt.job)
            }
        case .hello(let hello):
            tell("\(way()): hello, \(hello.incarnation) holds \(hello.held)")
            for attempt in hello.held { tell("\(way()): hello, holds \(attempt)", job: attempt.job) }
        case .heartbeat(let beat):
            for attempt in beat.held { tell("\(way()): heartbeat, holds \(attempt)", job: attempt.job) }
        case .results(let list): for finished in list { tell(way(), .finished(finished)) }
        case .progress: break
        case .blob(let chunk):
            tell("\(way()): blob \(chunk.blob.digest) from \(chunk.offset), \(chunk.bytes.count) bytes")
        case .submit(let submission): tell("\(way()): submit \(submission.study)")
        default: tell("\(way()): \(message)")
        }
    }

    private func tell(_ way: @autoclosure () -> String, _ message: FromCoordinator) {
        guard story != nil else { return }
        switch message {
        case .assign(let assignment):
            tell("\(way()): assign \(assignment.attempt) (\(assignment.work.kind.name))", job: assignment.attempt.job)
        case .acknowledge(let attempt): tell("\(way()): acknowledge \(attempt)", job: attempt.job)
        case .assignments, .acknowledgements, .cancellations: for part in message.parts { tell(way(), part) }
        case .cancel(let attempt): tell("\(way()): cancel \(attempt)", job: attempt.job)
        case .blob(let chunk):
            tell("\(way()): blob \(chunk.blob.digest) from \(chunk.offset), \(chunk.bytes.count) bytes")
        case .parameters(let published): tell("\(way()): version \(published.version)")
        case .events(let list):
            for event in list.events { tell("\(way()): \(list.study) event \(list.term).\(event.number)") }
        default: tell("\(way()): \(message)")
        }
    }
}

/// Something that happened.
package struct StoryLine: Sendable {
    /// Nanoseconds of virtual time.
    var at: Int64
    var job: JobID?
    var text: String

    package var description: String { "\(rounded(Double(at) / 1e9)) s  \(text)" }
}
