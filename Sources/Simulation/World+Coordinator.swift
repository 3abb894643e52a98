// The coordinator's host: performs effects, and keeps what a real one keeps on disk.

internal import Cluster
internal import Regression
internal import Wire

/// What outlives the coordinator: facts, blobs and the ledger.
struct Store {
    var facts: [Fact] = []
    var shelf = Shelf()
    private var ledger: [String: [[Double]: (Double, Double, ValuationStatus)]] = [:]

    mutating func pay(_ oracle: OracleReference, _ points: [Double], _ valuations: Valuations) {
        let dimension = points.count / valuations.prices.count
        for row in valuations.prices.indices where valuations.statuses[row].rawValue < 2 {
            let point = Array(points[row * dimension..<(row + 1) * dimension])
            let error = valuations.standardErrors.isEmpty ? 0 : valuations.standardErrors[row]
            ledger[oracle.fingerprint, default: [:]][point] = (valuations.prices[row], error, valuations.statuses[row])
        }
    }

    func labels(_ oracle: OracleReference, _ points: [Double], dimension: Int) -> [Coordinator.KnownLabels] {
        (0..<points.count / dimension).compactMap { row in
            guard let label = ledger[oracle.fingerprint]?[Array(points[row * dimension..<(row + 1) * dimension])] else {
                return nil
            }
            return .init(
                first: row,
                valuations: Valuations(prices: [label.0], standardErrors: [label.1], statuses: [label.2]))
        }
    }
}

extension World {
    private var coordinatorNow: Instant { Instant(nanoseconds: now + coordinatorClock) }

    /// Gives the coordinator an event, now or when it is back from its disk.
    func feed(_ event: Coordinator.Event) {
        guard !isDown else { return }
        guard coordinatorBusyUntil <= now else {
            return enter(.coordinator(event, life: life), after: coordinatorBusyUntil - now)
        }
        let effects = coordinator.step(event, at: coordinatorNow)
        look(at: &coordinator) { $0.checkInvariants() }
        checks.stepped(effects)
        perform(effects)
        wakeLater()
    }

    func arrived(_ frame: [UInt8], from peer: PeerID, _ isGenuine: Bool) {
        guard !isDown else { return }
        var message: ToCoordinator
        do throws(WireError) {
            message = try Codec.decodeToCoordinator(frame)
        } catch {
            if isGenuine { checks.diverge(.codec, "a message of ours is refused: \(error)") }
            return
        }
        if schedule.canary == .anyBatch { checks.forgetBatch(&message) }
        checks.arrives(message)
        feed(.received(message, from: peer))
    }

    func wakeCoordinator() {
        // A timer that another one has overtaken, or that a dead coordinator set, means nothing any more.
        guard !isDown, coordinatorWakes == now else { return }
        coordinatorWakes = nil
        if let due = look(at: &coordinator, { $0.deadline }), due <= coordinatorNow { feed(.tick) } else { wakeLater() }
    }

    private func wakeLater() {
        guard !isDown, let due = look(at: &coordinator, { $0.deadline }) else { return }
        let time = max(now, due.nanoseconds - coordinatorClock)
        if let planned = coordinatorWakes, planned <= time, planned >= now { return }
        coordinatorWakes = time
        enter(.wakeCoordinator, after: time - now)
    }

    private func perform(_ effects: [Coordinator.Effect]) {
        // Writing takes time; what comes after it in the list waits for it.
        var clock = now
        var late: [Fact] = []
        for effect in Self.inOrder(effects) {
            if let left = effectsLeft {
                if left == 0 { return crash() }
                effectsLeft = left - 1
            }
            switch effect {
            case .persist(let facts):
                if faultsAct, faults.failingDisk > 0, chances.uniform() < faults.failingDisk { return crash() }
                if faultsAct, faults.slowDisk > 0, chances.uniform() < faults.slowDisk {
                    clock += seconds(3 * chances.uniform() * chances.uniform())
                }
                if schedule.canary == .lateFacts { late += facts } else { persist(facts) }
            case .send(let message, let peer):
                checks.sends(message, self)
                if isReachable(peer) {
                    // Assignments do not wait for the disk.
                    let isEarly =
                        switch message {
                        case .assign, .assignments: true
                        default: false
                        }
                    send(message, to: peer, departing: isEarly ? now : clock)
                } else {
                    tell("coordinator → \(name(peer)): unreachable")
                    enter(.coordinator(.unreachable(peer), life: life), after: clock - now)
                }
            case .publish(let study, let version, let blob):
                guard let bytes = store.shelf.whole[blob.digest] else {
                    checks.diverge(.bounds, "published parameters that are not in the store")
                    return
                }
                let message = FromCoordinator.parameters(
                    .init(study: study, version: version, blob: blob, bytes: bytes))
                for process in processes.values.sorted(by: { $0.id < $1.id }) where process.isSubscribed {
                    send(message, to: process.peer, departing: clock)
                }
            case .validate(let submission, let peer):
                // Names are drawn as the shell draws them: at random, never twice.
                let study = StudyID(chances.next() | 1)
                enter(
                    .coordinator(
                        SimulatedStudy.index(of: submission.study) != nil
                            ? .validated(submission, study, from: peer)
                            : .refused(submission, ["no such study"], from: peer),
                        life: life), after: milliseconds(5))
            case .begin(let study, let submission):
                let index = SimulatedStudy.index(of: submission.study)!
                let known = laboratory.study(index)
                if submission.attachments != known.parts.map(\.attachment)
                    || known.parts.contains(where: { store.shelf.whole[$0.attachment.blob.digest] != $0.bytes })
                {
                    checks.diverge(.equality, "study \(index) began with other attachments than it was handed in with")
                }
                planned(study, laboratory.begin(index, anew: schedule.computesPlans))
            case .advance(let study, let plan, let results):
                guard let key = places[study] else {
                    return checks.diverge(.equality, "a study that never began goes on")
                }
                planned(study, laboratory.advance(key, plan, results, anew: schedule.computesPlans))
            case .lookUp(let study, let batch, let oracle, let points, let dimension):
                let known = store.labels(oracle, points, dimension: dimension)
                enter(.coordinator(.known(study, batch: batch, known), life: life), after: milliseconds(1))
            case .pursue(let study, let batch, let content, let item, let course, let answers, let asksLedger):
                let result = laboratory.pursue(content, item, course, answers) { store.shelf.whole[$0] }
                var known: [Coordinator.KnownLabels] = []
                if asksLedger, case .success(let course) = result, !course.asksForGradient, !course.questions.isEmpty,
                    let oracle = content.oracle
                {
                    known = store.labels(oracle, course.questions, dimension: content.dimension)
                }
                enter(
                    .coordinator(.pursued(study, batch: batch, item: item, result, known), life: life),
                    after: milliseconds(1))
            case .forget(let digests): for digest in digests { store.shelf.forget(digest) }
            case .dropParts(let digests): for digest in digests { store.shelf.dropPart(digest) }
            case .write(let study, let outcome, let statistics):
                checks.writes(study, statistics)
                let bytes = Transcript(outcome).bytes
                let file = StudyEvent.File(name: "outcome", blob: store.shelf.put(bytes))
                enter(
                    .coordinator(.written(study, files: [file], incomplete: !outcome.incomplete.isEmpty), life: life),
                    after: milliseconds(5))
            case .store(let bytes): _ = store.shelf.put(bytes)
            case .accept(let chunk):
                if let isSound = store.shelf.accept(chunk) {
                    enter(.coordinator(isSound ? .stored(chunk.blob) : .damaged(chunk.blob), life: life), after: 0)
                }
            case .sendBlob(let request, let peer):
                send(.blob(store.shelf.chunk(request, limit: schedule.chunkSize)), to: peer, departing: clock)
            }
        }
        if !late.isEmpty, chances.uniform() < 0.98 { persist(late) }
        coordinatorBusyUntil = clock
    }

    /// Effects in the order in which the shell performs those of a turn: assignments first, unless they would overtake more
    /// than acknowledgements; then facts and what else there is; then messages, joined.
    private static func inOrder(_ effects: [Coordinator.Effect]) -> [Coordinator.Effect] {
        if effects.count < 2 { return effects }
        var peers: [PeerID] = []
        var early: [PeerID: [FromCoordinator]] = [:]
        var late: [PeerID: [FromCoordinator]] = [:]
        var ordered: Set<PeerID> = []
        var others: [Coordinator.Effect] = []
        for effect in effects {
            guard case .send(let message, let peer) = effect else {
                others.append(effect)
                continue
            }
            if !peers.contains(peer) { peers.append(peer) }
            switch message {
            case .assign where !ordered.contains(peer): early[peer, default: []].append(message)
            case .acknowledge: late[peer, default: []].append(message)
            default:
                late[peer, default: []].append(message)
                ordered.insert(peer)
            }
        }
        func sends(_ messages: [PeerID: [FromCoordinator]]) -> [Coordinator.Effect] {
            peers.flatMap { peer in
                FromCoordinator.joined(messages[peer] ?? []).map { Coordinator.Effect.send($0, to: peer) }
            }
        }
        return sends(early) + others + sends(late)
    }

    private func persist(_ facts: [Fact]) {
        store.facts += Fact.joined(facts)
        for fact in facts {
            if case .labelsPaid(let oracle, let points, let valuations, _) = fact {
                store.pay(oracle, points, valuations)
            }
            tell("persisted", fact)
            checks.persisted(fact)
            if schedule.canary == .paidTwice, case .itemsCompleted = fact, chances.uniform() < 0.02 {
                checks.persisted(fact)
            }
        }
    }

    private func planned(_ study: StudyID, _ place: Laboratory.Place) {
        places[study] = place.key
        enter(.coordinator(.planned(study, place.plan, place.step), life: life), after: milliseconds(2))
    }

    private func isReachable(_ peer: PeerID) -> Bool {
        connections[peer] != nil || peer == Self.supervisor || clients.contains { $0.peer == peer }
    }

    private func tell(_ word: String, _ fact: Fact) {
        switch fact {
        case .termBegan(let term): tell("\(word): term \(term)")
        case .studyAccepted(let id, let submission): tell("\(word): \(submission.study) accepted as \(id)")
        case .labelsPaid(_, _, let valuations, _): tell("\(word): \(valuations.prices.count) labels for the ledger")
        case .itemsCompleted(let job, _): tell("\(word): \(job) completed", job: job)
        case .attemptLost(let attempt, let cause): tell("\(word): \(attempt) lost: \(cause)", job: attempt.job)
        case .jobAbandoned(let job, let reason): tell("\(word): \(job) abandoned: \(reason)", job: job)
        case .studyPaused(let id, let isPaused): tell("\(word): \(id) \(isPaused ? "paused" : "goes on")")
        case .studyEnded(let id, _): tell("\(word): \(id) ended")
        }
    }

    // MARK: Death and return

    /// Kills the coordinator: what it knew is gone, what it persisted is not, and connections break.
    func crash() {
        tell("the coordinator dies")
        isDown = true
        life += 1
        checks.coordinatorDied()
        effectsLeft = nil
        for process in processes.values.sorted(by: { $0.id < $1.id }) { reconnect(process) }
        enter(.restart, after: seconds(0.05 + 3 * chances.uniform()))
    }

    /// A new coordinator on the old store.
    func restart() {
        tell("the coordinator starts again")
        isDown = false
        beginRestAnew()
        coordinatorBusyUntil = 0
        coordinatorWakes = nil
        coordinatorClock = Int64(chances.below(1 << 40))
        coordinator = Coordinator(settings: schedule.settings, facts: store.facts, at: coordinatorNow)
        feed(.started)
    }
}
