// Hosts of workers and trainers.

internal import Cluster
internal import Regression
internal import Wire

/// A worker's or trainer's process.
final class Process {
    let id: Int
    let name: String
    let role: Role
    let incarnation: Incarnation
    var worker: Worker
    var peer: PeerID
    var shelf = Shelf()
    /// Its clock's difference from the world's.
    var clock: Int64
    var frozenUntil: Int64 = 0
    var wakes: Int64?
    var isSubscribed = false
    var runs: [Int: (attempt: Attempt, work: Work, started: Int64)] = [:]
    /// What was handed over and waits for a slot.
    var waiting: [(attempt: Attempt, work: Work)] = []
    var stopping: Set<Attempt> = []
    /// What it last said that it holds.
    var lastHeld: [Attempt] = []

    init(id: Int, name: String, role: Role, incarnation: Incarnation, worker: Worker, peer: PeerID, clock: Int64) {
        self.id = id
        self.name = name
        self.role = role
        self.incarnation = incarnation
        self.worker = worker
        self.peer = peer
        self.clock = clock
    }
}

extension World {
    func start(_ role: Role, _ name: String) {
        let incarnation = Incarnation(chances.next())
        let id = nextProcess
        nextProcess += 1
        // Every life has a name of its own, so that blame can be told apart.
        let name = "\(name.prefix { $0 != "." }).\(id)"
        var settings = Worker.Settings(
            incarnation: incarnation, role: role, name: name, processID: Int32(id),
            oracles: role == .worker ? SimulatedStudy.oracles.map { OracleReference($0) } : [], numerics: "simulated")
        settings.slots = schedule.slots
        settings.prefetch = schedule.prefetch
        settings.blobMemory = schedule.blobMemory
        // A world rests at its end for longer than this.
        settings.longestRetry = .seconds(1)
        let process = Process(
            id: id, name: name, role: role, incarnation: incarnation, worker: Worker(settings: settings),
            peer: connect(id), clock: Int64(work.below(1 << 40)))
        process.shelf.checks = schedule.canary != .anyBlob
        processes[id] = process
        tell("\(name) starts as \(incarnation)")
        step(id, .started)
    }

    private func connect(_ id: Int) -> PeerID {
        nextPeer += 1
        connections[PeerID(nextPeer)] = id
        return PeerID(nextPeer)
    }

    /// Its connection breaks, and another takes its place.
    func reconnect(_ process: Process) {
        connections[process.peer] = nil
        process.peer = connect(process.id)
        tell("\(process.name) has another connection")
        if schedule.tellsOfBrokenConnections { enter(.worker(process.id, .disconnected), after: milliseconds(5)) }
    }

    /// Its life ends, another one begins.
    func end(_ process: Process, _ cause: String?) {
        tell("\(process.name) ends: \(cause ?? "left")")
        for run in process.runs.values.sorted(by: { $0.attempt.number < $1.attempt.number }) {
            tell("\(process.name) ends while it runs \(run.attempt)", job: run.attempt.job)
        }
        processes[process.id] = nil
        connections[process.peer] = nil
        if let cause, schedule.isSupervised {
            send(.exited(.init(incarnation: process.incarnation, cause: cause)), from: Self.supervisor)
        }
        enter(.start(process.role, name: process.name), after: milliseconds(500))
    }

    func step(_ id: Int, _ event: Worker.Event) {
        guard let process = processes[id] else { return }
        guard process.frozenUntil <= now else { return enter(.worker(id, event), after: process.frozenUntil - now) }
        let local = Instant(nanoseconds: now + process.clock)
        // What is said in one step travels together.
        var said: [ToCoordinator] = []
        func flush() {
            for message in ToCoordinator.joined(said) { send(message, from: process.peer) }
            said = []
        }
        for effect in process.worker.step(event, at: local) {
            switch effect {
            case .send(let message):
                if case .heartbeat(let beat) = message { checks.holds(beat.held, process) }
                if case .hello(let hello) = message { checks.holds(hello.held, process) }
                said.append(message)
            case .leave, .restart:
                flush()
                perform(effect, process)
            default: perform(effect, process)
            }
        }
        flush()
        look(at: &process.worker) { $0.checkInvariants() }
        wakeLater(process)
    }

    func wake(_ id: Int) {
        // A timer that another one has overtaken means nothing any more.
        guard let process = processes[id], process.wakes == now else { return }
        guard process.frozenUntil <= now else {
            process.wakes = process.frozenUntil
            return enter(.wake(process: id), after: process.frozenUntil - now)
        }
        process.wakes = nil
        if let due = look(at: &process.worker, { $0.deadline }), due.nanoseconds - process.clock <= now {
            step(id, .tick)
        } else {
            wakeLater(process)
        }
    }

    private func wakeLater(_ process: Process) {
        guard let due = look(at: &process.worker, { $0.deadline }) else { return }
        let time = max(now, due.nanoseconds - process.clock)
        if let planned = process.wakes, planned <= time, planned >= now { return }
        process.wakes = time
        enter(.wake(process: process.id), after: time - now)
    }

    private func perform(_ effect: Worker.Effect, _ process: Process) {
        switch effect {
        case .send: break
        case .subscribe: process.isSubscribed = true
        case .start(let attempt, let work):
            process.waiting.append((attempt, work))
            beginNext(process)
        case .stop(let attempt): process.stopping.insert(attempt)
        case .accept(let chunk):
            if let isSound = process.shelf.accept(chunk) {
                enter(.worker(process.id, isSound ? .stored(chunk.blob) : .damaged(chunk.blob)), after: 0)
            }
        case .sendBlob(let request):
            send(.blob(process.shelf.chunk(request, limit: schedule.chunkSize)), from: process.peer)
        case .forget(let digest): process.shelf.forget(digest)
        case .leave, .restart: end(process, nil)
        }
    }

    /// Begins what was handed over, as far as there are slots.
    private func beginNext(_ process: Process) {
        while process.runs.count < schedule.slots, !process.waiting.isEmpty {
            let (attempt, job) = process.waiting.removeFirst()
            tell("\(process.name) starts \(attempt)", job: attempt.job)
            let run = nextRun
            nextRun += 1
            process.runs[run] = (attempt, job, now)
            // Small jobs take less: a study of many calls shall end.
            let items = attempt.job.call == nil ? Double(attempt.job.items.count) : 0.5
            let share = job.kind == .train ? 1 : min(1, items / 16)
            let time = seconds(schedule.longestJob * share * (0.05 + work.uniform() * (job.kind == .train ? 3 : 1)))
            enter(.performed(process.id, run: run), after: process.stopping.contains(attempt) ? 0 : time)
        }
    }

    /// A job comes to its end: well, badly, or with its process.
    func performed(_ id: Int, _ run: Int) {
        guard let process = processes[id], let (attempt, work, started) = process.runs[run] else { return }
        guard process.frozenUntil <= now else {
            return enter(.performed(id, run: run), after: process.frozenUntil - now)
        }
        if faults.poison > 0, isPoisoned(work) { return end(process, "signal 11") }
        process.runs[run] = nil
        var (outcome, produced): (ToCoordinator.Outcome, [[UInt8]])
        if process.stopping.remove(attempt) != nil {
            (outcome, produced) = (.failure(WorkFailure("cancelled")), [])
        } else {
            (outcome, produced) = laboratory.perform(work, blob: { process.shelf.whole[$0] })
            if faultsAct, faults.flaky > 0, chances.uniform() < faults.flaky {
                (outcome, produced) = (.failure(WorkFailure("no memory")), [])
            } else if faultsAct, faults.misfit > 0, chances.uniform() < faults.misfit {
                outcome = misfit(outcome)
            }
        }
        if case .success(.trained(_, let reports)) = outcome {
            for report in reports { step(id, .progressed(attempt, report)) }
        }
        checks.performed(attempt, outcome)
        tell("\(process.name) has done \(attempt)", job: attempt.job)
        let blobs = produced.map { process.shelf.put($0) }
        let duration = Duration.nanoseconds(now - started)
        beginNext(process)
        step(id, .finished(attempt, duration, outcome, blobs: blobs))
    }

    /// Whether one of the items kills whoever computes it: a property of the item, whoever and however often.
    private func isPoisoned(_ work: Work) -> Bool {
        switch work {
        case .ascend(let surface, _, _, let rows):
            stride(from: 0, to: rows.count, by: surface.domain.dimension).contains { isPoisoned(rows[$0].bitPattern) }
        case .probe(let surface, _, _, let maximizers):
            stride(from: 0, to: maximizers.inputs.count, by: surface.domain.dimension).contains {
                isPoisoned(maximizers.inputs[$0].bitPattern &+ 1)
            }
        // A study can do without seeds, but not without labels, trainings or predictions: these seldom kill.
        case .label(_, let points, _): points.first.map { isPoisoned($0.bitPattern &+ 2, rarer: 8) } ?? false
        case .predict(_, let rows): rows.first.map { isPoisoned($0.bitPattern &+ 3, rarer: 8) } ?? false
        case .train(let training): isPoisoned(training.randomSeed &+ UInt64(training.run), rarer: 4)
        }
    }

    private func isPoisoned(_ bits: UInt64, rarer: Double = 1) -> Bool {
        var dice = RandomStream(seed: bits ^ schedule.seed, purpose: .other, index: 3)
        return dice.uniform() < faults.poison / rarer
    }

    private func misfit(_ outcome: ToCoordinator.Outcome) -> ToCoordinator.Outcome {
        guard case .success(let result) = outcome else { return outcome }
        switch result {
        case .predictions(let numbers): return .success(.predictions(Array(numbers.dropLast())))
        case .gains(let numbers, let calls): return .success(.gains(numbers + [1], oracleCalls: calls + [1]))
        case .labels: return .success(.predictions([1]))
        case .maximizers(let found, let calls):
            return .success(
                .maximizers(found.rows(Array(0..<found.count / 2)), oracleCalls: Array(calls.prefix(found.count / 2))))
        case .trained: return .success(.gains([], oracleCalls: []))
        }
    }
}
