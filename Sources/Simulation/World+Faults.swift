// What goes wrong at times of its own: kills, hangs, partitions, lies.

internal import Cluster
internal import Regression
internal import Wire

extension World {
    private static let timed: Set<String> = [
        "partition", "reconnect", "crash", "hang", "drain", "join", "jump", "replay", "forge", "garbage",
        "coordinatorCrash",
    ]

    /// Whether a kind of fault comes at a rate.
    static func isTimed(_ kind: Int) -> Bool { timed.contains(Faults.kinds[kind].name) }

    /// Enters the next fault of a kind, if there are any: after a time that is irregular and right on average.
    func enterNext(_ kind: Int) {
        let rate = faults[keyPath: Faults.kinds[kind].field]
        guard rate > 0 else { return }
        let wait =
            (calamities[kind].uniform() + calamities[kind].uniform() * calamities[kind].uniform()) / (0.75 * rate)
        enter(.fault(kind: kind), after: seconds(wait))
    }

    func strike(_ kind: Int) {
        var dice = calamities[kind]
        defer { calamities[kind] = dice }
        let all = processes.values.sorted { $0.id < $1.id }
        func anyone() -> Process? { all.isEmpty ? nil : all[dice.below(all.count)] }
        switch Faults.kinds[kind].name {
        case "partition":
            let until = now + seconds(15 * dice.uniform() * dice.uniform())
            let (out, back) = (dice.uniform() < 0.7, dice.uniform() < 0.7)
            for peer in all.map(\.peer) + clients.map(\.peer) where dice.uniform() < 0.5 {
                tell("\(name(peer)) is cut off")
                if out { cutToCoordinator[peer] = until }
                if back { cutFromCoordinator[peer] = until }
            }
        case "reconnect":
            if dice.uniform() < 0.3, !clients.isEmpty {
                clients[dice.below(clients.count)].reconnect(forgetting: dice.uniform() < 0.5)
            } else if let process = anyone() {
                reconnect(process)
            }
        case "crash": if let process = anyone() { end(process, "signal 9") }
        case "hang":
            if let process = anyone() {
                process.frozenUntil = max(
                    process.frozenUntil, now + seconds(30 * dice.uniform() * dice.uniform()))
                tell("\(process.name) stands still")
            }
        case "drain":
            let workers = all.filter { $0.role == .worker }
            if !workers.isEmpty { step(workers[dice.below(workers.count)].id, .drain) }
        case "join":
            if extraWorkers < 4 {
                extraWorkers += 1
                start(.worker, "late-\(extraWorkers)")
            }
        case "jump":
            let by = seconds(20 * dice.uniform() * dice.uniform())
            if dice.uniform() < 0.3 {
                coordinatorClock += by
                tell("the coordinator's clock jumps")
                wakeCoordinator()
            } else if let process = anyone() {
                process.clock += by
                tell("the clock of \(process.name) jumps")
                wake(process.id)
            }
        case "replay":
            guard !past.isEmpty else { return }
            switch past[dice.below(past.count)] {
            case .toCoordinator(let frame, let peer):
                // From whoever sent it, or from another.
                let peer = dice.uniform() < 0.5 ? peer : anyone()?.peer ?? peer
                post(frame, peer, toCoordinator: true, false, departing: now)
            case .toPeer(let frame, let peer):
                let peer = dice.uniform() < 0.5 ? peer : anyone()?.peer ?? peer
                post(frame, peer, toCoordinator: false, false, departing: now)
            }
            tell("a message of the past is delivered again")
        case "forge":
            guard let victim = anyone() else { return }
            nextPeer += 1
            let lie = lie(about: victim, &dice)
            var stranger = dice.uniform() < 0.5 ? victim.peer : PeerID(nextPeer)
            // Nobody can introduce himself over another's connection.
            if case .hello = lie { stranger = PeerID(nextPeer) }
            tell("\(name(stranger)) lies: \(lie)")
            post(Codec.encode(lie), stranger, toCoordinator: true, false, departing: now)
        case "garbage":
            var bytes = dice.uniform() < 0.5 ? Array("CRN".utf8) + [Codec.version] : []
            if dice.uniform() < 0.5, let process = anyone() { bytes = Codec.encode(lie(about: process, &dice)) }
            for _ in 0..<dice.below(8) { bytes.append(UInt8(truncatingIfNeeded: dice.next())) }
            for _ in 0..<3 where !bytes.isEmpty { bytes[dice.below(bytes.count)] ^= UInt8(1 << dice.below(8)) }
            // Only what is no message at all: one that is could cancel a study.
            if (try? Codec.decodeToCoordinator(bytes)) == nil {
                nextPeer += 1
                post(bytes, PeerID(nextPeer), toCoordinator: true, false, departing: now)
            }
            if let process = anyone(), (try? Codec.decodeFromCoordinator(bytes)) == nil {
                post(bytes, process.peer, toCoordinator: false, false, departing: now)
            }
        case "coordinatorCrash": if !isDown { effectsLeft = dice.below(6) }
        default: break
        }
    }

    /// A false statement that the codec lets pass.
    private func lie(about victim: Process, _ dice: inout RandomStream) -> ToCoordinator {
        let job = checks.someJob(&dice) ?? JobID(study: StudyID(3), batch: 0, items: 0..<4)
        let other = JobID(
            study: job.study, batch: job.batch + dice.below(3),
            items: job.items.lowerBound..<(job.items.upperBound + 1 + dice.below(1 << 20)))
        let attempt = Attempt(job: dice.uniform() < 0.5 ? job : other, number: dice.below(1 << 30))
        let blob = BlobReference(to: [UInt8(dice.below(256))])
        switch dice.below(10) {
        case 0:
            return .hello(
                .init(
                    incarnation: victim.incarnation, role: dice.uniform() < 0.5 ? .worker : .trainer,
                    name: "liar-\(victim.incarnation)", processID: 0, slots: 1, credit: 1 + dice.below(100),
                    oracles: [], numerics: "",
                    held: dice.uniform() < 0.5 ? [attempt, attempt] : []))
        case 1: return .heartbeat(.init(incarnation: victim.incarnation, held: [attempt]))
        case 2: return .goodbye(victim.incarnation)
        case 3: return .exited(.init(incarnation: victim.incarnation, cause: "a lie"))
        case 4:
            return .progress(
                .init(
                    incarnation: victim.incarnation, attempt: attempt,
                    epoch: .init(epoch: 1 << 30, trainingMSE: 1, learningRate: 1, isLast: true)))
        case 5:
            // Results that are none. One that fits and is false cannot be told from a true one.
            let results: [WorkResult] = [
                .predictions([1, 2, 3, .nan]), .gains([], oracleCalls: [1 << 30]),
                .labels(Valuations(prices: [1], statuses: [.ok])),
            ]
            // Predictions of a job could fit: one row more than it has does not.
            let misfit = Attempt(job: other, number: attempt.number)
            return .finished(
                .init(
                    incarnation: victim.incarnation, attempt: misfit, duration: .seconds(1),
                    outcome: .success(results[1 + dice.below(2)])))
        case 6:
            return .finished(
                .init(
                    incarnation: dice.uniform() < 0.5 ? victim.incarnation : Incarnation(dice.next()), attempt: attempt,
                    duration: .zero, outcome: .failure(WorkFailure("a lie", isFinal: dice.uniform() < 0.5))))
        case 7:
            return .watch(
                .init(study: dice.uniform() < 0.5 ? job.study : StudyID(5), term: dice.next() & 3, after: 1 << 40))
        case 8: return .want(.init(blob: blob, offset: 1))
        default: return .blob(.init(blob: blob, offset: 0, bytes: [1]))
        }
    }
}
