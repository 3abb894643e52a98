// The coordinator's side of workers and trainers: who is there, who holds what, what comes back.

internal import Regression

extension Coordinator {
    mutating func greet(
        _ hello: ToCoordinator.Hello, _ peer: PeerID, _ effects: inout [Effect], _ now: Instant
    ) {
        // A peer that changes its life leaves the old one.
        if let old = roster.incarnation(of: peer), old != hello.incarnation {
            lose(old, cause: "replaced", isPlanned: false, &effects, now)
        }
        let isNew = roster[hello.incarnation] == nil
        // Whoever is let in costs memory until it has been silent for long; it says hello again until there is room.
        guard !isNew || roster.count < settings.maxWorkers else { return }
        let hello = believed(hello, &effects, now)
        let known = roster[hello.incarnation]
        var held: [Roster.Lease] = []
        for attempt in hello.held where isWanted(attempt.job) {
            guard !held.contains(where: { $0.attempt.job == attempt.job }) else { continue }
            held.append(
                known?.held.first { $0.attempt == attempt } ?? Roster.Lease(attempt: attempt, since: now))
        }
        // A hello that was said again, for want of an answer, may be older than what was assigned after the first one. Not on
        // another connection: what the old one had not delivered is lost with it.
        if let known, known.peer == peer {
            let named = Set(held.map(\.attempt.job))
            held += known.held.filter { !named.contains($0.attempt.job) && isOnItsWay($0, hello.heard, now) }
        }
        let before = roster.enter(hello, peer: peer, held: held, now: now)
        rosterChanged()
        weighDoubts(now)
        effects.append(
            .send(
                .welcome(.init(term: term, heartbeat: heartbeat, publisher: settings.publisher)), to: peer))
        // Of no study that is known here, or done by somebody else in the meantime.
        for attempt in hello.held where !isWanted(attempt.job) {
            effects.append(.send(.cancel(attempt), to: peer))
        }
        // An assignment that was on its way when the connection broke never arrived.
        for lease in before where !held.contains(where: { $0.attempt.job == lease.attempt.job }) {
            giveBack(lease, cause: nil, &effects, now)
        }
        guard isNew else { return }
        for k in runs.indices where runs[k].ending == nil {
            runs[k].statistics.workers = max(runs[k].statistics.workers, roster.count(.worker))
            if hello.role == .worker { runs[k].statistics.numerics.insert(hello.numerics) }
            tell(k, .worker(.joined, name: hello.name, detail: "process \(hello.processID)"), &effects, now)
        }
    }

    /// A worker's hello without the oracles that contradict those of the first worker that had them. Nobody knows who is
    /// right; but the labels of a study come from one oracle, and the user is told.
    private mutating func believed(
        _ hello: ToCoordinator.Hello, _ effects: inout [Effect], _ now: Instant
    ) -> ToCoordinator.Hello {
        var hello = hello
        for oracle in hello.oracles {
            guard let said = hello.testimonies[oracle] else { continue }
            if testimonies[oracle] == nil, testimonies.count < Self.mostTestimonies { testimonies[oracle] = said }
            guard let believed = testimonies[oracle], believed != said else {
                doubts[oracle]?.workers.remove(hello.incarnation)
                continue
            }
            hello.oracles.removeAll { $0 == oracle }
            doubts[oracle, default: Doubt()].workers.insert(hello.incarnation)
            let detail =
                "oracle \(oracle.name): prices its test vectors otherwise than the first worker that had "
                + "\(oracle.fingerprint); it gets no work of it"
            for k in runs.indices where runs[k].ending == nil {
                tell(k, .worker(.refused, name: hello.name, detail: detail), &effects, now)
            }
            if !refusals.contains(where: { $0.name == hello.name && $0.detail == detail }) {
                refusals.append((hello.name, detail))
                if refusals.count > Self.mostRefusals { refusals.removeFirst() }
            }
        }
        return hello
    }

    /// Notes since when only workers that are not believed have an oracle; after each change of the roster.
    private mutating func weighDoubts(_ now: Instant) {
        guard !doubts.isEmpty else { return }
        doubts = doubts.filter { !$0.value.workers.isEmpty }
        for oracle in doubts.keys {
            let isThere = roster.all.contains { $0.hello.oracles.contains(oracle) }
            doubts[oracle]!.since = isThere ? nil : doubts[oracle]!.since ?? now
        }
    }

    /// What people call a worker that is here, or was until lately.
    private func name(of incarnation: Incarnation) -> String? {
        roster[incarnation]?.hello.name ?? departed.last { $0.incarnation == incarnation }?.name
    }

    private static let mostDeparted = 256
    private static let mostTestimonies = 4096
    private static let mostAwaited = 64
    private static let mostRefusals = 100

    /// Whether a result of this job may still be wanted; while the next batch is being planned, any but those of the past.
    private func isWanted(_ job: JobID) -> Bool {
        guard let k = index(job.study), runs[k].ending == nil, job.batch >= runs[k].batchNumber else { return false }
        guard runs[k].results != nil else { return true }
        return job.batch == runs[k].batchNumber && isOpen(job, k)
    }

    /// Whether a job of the running batch has no result yet.
    func isOpen(_ job: JobID, _ k: Int) -> Bool {
        guard runs[k].results?.isOpen(job.items) == true else { return false }
        guard let call = job.call, let steered = runs[k].courses[job.items.lowerBound] else { return true }
        guard let course = steered.course else { return steered.answers[call] == nil }
        return !steered.isPursued && steered.answers[call] == nil && course.calls.contains(call)
    }

    mutating func heartbeatReceived(
        _ heartbeat: ToCoordinator.Heartbeat, _ peer: PeerID, _ effects: inout [Effect], _ now: Instant
    ) {
        guard let place = roster.place(of: peer), roster[at: place].hello.incarnation == heartbeat.incarnation else {
            effects.append(.send(.unknownPeer, to: peer))
            return
        }
        roster.heard(place, now: now)
        timeWhatRuns(place)
        // Done by somebody else, or assigned by a message that came twice: it may wait for blobs that are gone.
        for attempt in heartbeat.held where !isWanted(attempt.job) {
            effects.append(.send(.cancel(attempt), to: peer))
        }
        // A lease that its holder does not name, though its assignment has come, is lost.
        let held = Set(heartbeat.held)
        for lease in roster[at: place].held
        where !held.contains(lease.attempt) && !isOnItsWay(lease, heartbeat.heard, now) {
            _ = roster.release(lease.attempt.job, of: heartbeat.incarnation)
            giveBack(lease, cause: nil, &effects, now)
        }
    }

    /// Whether a lease that its holder did not name may be news to it: the assignment was not there when it spoke. A connection
    /// that stands loses nothing, but may be slow, or read late.
    private func isOnItsWay(_ lease: Roster.Lease, _ heard: ToCoordinator.Heard, _ now: Instant) -> Bool {
        (heard.term != term || heard.serial < lease.serial) && now < lease.since + settings.lost
    }

    mutating func progressReceived(
        _ progress: ToCoordinator.Progress, _ peer: PeerID, _ effects: inout [Effect], _ now: Instant
    ) {
        guard let place = roster.place(of: peer), roster[at: place].hello.incarnation == progress.incarnation else {
            return
        }
        roster.heard(place, now: now)
        guard let k = index(progress.attempt.job.study), progress.attempt.job.batch == runs[k].batchNumber,
            case .train(let works)? = runs[k].batch?.content, progress.attempt.job.items.upperBound <= works.count,
            !progress.attempt.job.items.isEmpty
        else { return }
        let epochs = works[progress.attempt.job.items.lowerBound].settings.epochs
        tell(k, .epoch(runs[k].phase, progress.epoch, epochs: epochs), &effects, now)
    }

    mutating func disconnected(_ peer: PeerID, _ effects: inout [Effect], _ now: Instant) {
        for k in runs.indices { runs[k].unwatch(peer) }
        guard let incarnation = roster.incarnation(of: peer) else { return }
        lose(incarnation, cause: "connection lost", isPlanned: false, &effects, now)
    }

    /// Forgets a worker; what it held goes to others, in front of everything that waits.
    mutating func lose(
        _ incarnation: Incarnation, cause: String, isPlanned: Bool, _ effects: inout [Effect], _ now: Instant
    ) {
        guard let member = roster.remove(incarnation) else { return }
        departed.append((incarnation, member.hello.name))
        if departed.count > Self.mostDeparted { departed.removeFirst() }
        rosterChanged()
        for oracle in doubts.keys { doubts[oracle]?.workers.remove(incarnation) }
        weighDoubts(now)
        // What it was sending will not be finished.
        dropPulls(pulls.values.filter { $0.peer == member.peer }.map(\.blob.digest), &effects)
        for k in runs.indices { runs[k].awaited = runs[k].awaited.filter { $0.value.peer != member.peer } }
        for k in runs.indices where runs[k].ending == nil {
            tell(k, .worker(isPlanned ? .left : .lost, name: member.hello.name, detail: cause), &effects, now)
        }
        if !isPlanned {
            for job in member.held.map(\.attempt.job) {
                if let k = index(job.study), runs[k].batchNumber == job.batch { runs[k].blame(job) }
            }
        }
        // Only the job that ran can have killed it. The others are given back first, so that it comes out on top.
        for (position, lease) in member.held.enumerated().reversed() {
            giveBack(lease, cause: position == 0 && !isPlanned ? "\(member.hello.name): \(cause)" : nil, &effects, now)
        }
    }

    /// Returns a leased job to the queue. With a cause, the attempt counts against the job.
    mutating func giveBack(_ lease: Roster.Lease, cause: String?, _ effects: inout [Effect], _ now: Instant) {
        let attempt = lease.attempt
        guard let k = index(attempt.job.study), attempt.job.batch == runs[k].batchNumber, isOpen(attempt.job, k)
        else { return }
        // Lost, held again by a worker that came back, and lost again, it counts once.
        if let cause, runs[k].tries[attempt.job]?.lost.contains(attempt.number) != true {
            decide([.attemptLost(attempt, cause: cause)], &effects, now)
        }
        let job = attempt.job
        runs[k].contest(job)
        let losses = runs[k].tries[job]?.losses ?? []
        if losses.count >= settings.crashLimit, job.items.count == 1 {
            let point = question(job, k).map { "; at \($0)" } ?? ""
            abandon(
                job, reason: "\(losses.count) attempts were lost (\(losses.joined(separator: "; ")))\(point)", &effects,
                now)
        } else if !roster.isHeld(job) {
            // A later attempt may have been lost before this one: numbers are never used again.
            runs[k].tries[job, default: .init()].number = max(attempt.number, runs[k].tries[job]?.number ?? 0)
            if job.call != nil {
                runs[k].calls.prepend(job)
            } else if cause != nil {
                // One of the items may be to blame: in smaller jobs it is found, and the others are done.
                for items in Self.parts(of: job.items).reversed() {
                    runs[k].queue.giveBack(items)
                    runs[k].blame(JobID(study: job.study, batch: job.batch, items: items))
                }
            } else {
                runs[k].queue.giveBack(job.items)
            }
            runs[k].statistics.reassigned += 1
            tell(k, .reassigned("\(attempt): \(cause ?? "not started")"), &effects, now)
        }
    }

    /// Eighths of a job whose attempt was lost.
    static func parts(of items: Range<Int>) -> [Range<Int>] {
        let size = (items.count + 7) / 8
        return stride(from: items.lowerBound, to: items.upperBound, by: size).map {
            $0..<min($0 + size, items.upperBound)
        }
    }

    /// What a job of one item or call asks, for people: the inputs in raw units.
    private func question(_ job: JobID, _ k: Int) -> String? {
        guard let domain = runs[k].plan?.study.domain, let batch = runs[k].batch else { return nil }
        let row: [Double]
        switch batch.work(job.items) {
        case .label(_, let points, _): row = points
        case .predict(_, let inputs): row = domain.raw(rows: inputs)
        case .ascend(_, _, _, let seeds):
            row =
                job.call.flatMap { runs[k].courses[job.items.lowerBound]?.course?.question($0) }
                ?? domain.raw(rows: seeds)
        case .probe(_, _, _, let maximizers):
            row =
                job.call.flatMap { runs[k].courses[job.items.lowerBound]?.course?.question($0) }
                ?? domain.raw(rows: maximizers.inputs)
        case .train: return nil
        }
        guard row.count == domain.dimension else { return nil }
        return zip(domain.inputs, row).map { "\($0.name) \($1)" }.joined(separator: ", ")
    }

    mutating func abandon(_ job: JobID, reason: String, _ effects: inout [Effect], _ now: Instant) {
        guard let k = index(job.study) else { return }
        decide([.jobAbandoned(job, reason: reason)], &effects, now)
        tell(k, .abandoned("\(job): \(reason)"), &effects, now)
        advanceIfComplete(k, &effects, now)
    }

    // MARK: Results

    mutating func finished(
        _ finished: ToCoordinator.Finished, _ peer: PeerID, _ effects: inout [Effect], _ now: Instant
    ) {
        // A result is welcome from anyone; one who is not (any more) registered shall say hello.
        if let place = roster.place(of: peer), roster[at: place].hello.incarnation == finished.incarnation {
            roster.heard(place, now: now)
        } else {
            effects.append(.send(.unknownPeer, to: peer))
        }
        let job = finished.attempt.job
        // A ledger that does not say who has priced a label cannot be cleared of one worker's. A coordinator that has just come
        // back does not know a worker yet: that says hello, and sends its results again.
        if case .success(.labels) = finished.outcome, index(job.study) != nil, name(of: finished.incarnation) == nil {
            return
        }
        // The plan is being made again and has not come there yet: the worker will send it again.
        if let k = index(job.study), runs[k].ending == nil, job.batch > runs[k].batchNumber { return }
        guard let k = index(job.study), job.batch == runs[k].batchNumber, isOpen(job, k)
        else {
            // Done already, or not wanted any more.
            _ = roster.release(job, of: finished.incarnation)
            effects.append(.send(.acknowledge(finished.attempt), to: peer))
            withRun(job.study) { run in
                run.statistics.duplicatesDropped += 1
                guard case .success(let result) = finished.outcome, run.isAnother(finished) else { return }
                run.statistics.repeatedCalls += result.oracleCalls
            }
            return
        }
        // What the item asks is not known yet, in this life. The worker will send its answer again.
        if job.call != nil, runs[k].courses[job.items.lowerBound]?.course == nil {
            pursue(k, job.items.lowerBound, &effects)
            return
        }
        // Of a failure only the word of the attempt's holder counts, and once: it may come twice, late, or from a
        // stranger.
        if !isResult(finished, k) {
            guard roster.incarnation(of: peer) == finished.incarnation,
                roster[finished.incarnation]?.held.contains(where: { $0.attempt == finished.attempt }) == true
            else {
                effects.append(.send(.acknowledge(finished.attempt), to: peer))
                return
            }
            complete(finished, peer, &effects, now)
            return
        }
        if case .success(.trained(let parameters, _)) = finished.outcome, !blobs.contains(parameters.digest) {
            // Who makes names up shall not fill the memory: what is not taken is sent again.
            guard runs[k].awaited.count < Self.mostAwaited || runs[k].awaited[parameters.digest] != nil else { return }
            runs[k].awaited[parameters.digest] = StudyRun.Awaited(finished: finished, peer: peer)
            pull(parameters, from: peer, &effects)
            return
        }
        complete(finished, peer, &effects, now)
    }

    /// Whether an attempt has ended well: with a result that fits its job.
    private func isResult(_ finished: ToCoordinator.Finished, _ k: Int) -> Bool {
        guard case .success(let result) = finished.outcome else { return false }
        let job = finished.attempt.job
        guard job.call != nil else { return runs[k].results?.fits(job.items, result) == true }
        guard case .labels(let answer) = result, let course = runs[k].courses[job.items.lowerBound]?.course else {
            return false
        }
        return answer.prices.count == 1 && answer.statuses.count == 1 && answer.standardErrors.count <= 1
            && answer.gradients.count == (course.asksForGradient ? runs[k].batch?.dimension : 0)
    }

    /// Takes a result whose blobs are here.
    mutating func complete(
        _ finished: ToCoordinator.Finished, _ peer: PeerID, _ effects: inout [Effect], _ now: Instant
    ) {
        let attempt = finished.attempt
        let lease = roster.release(attempt.job, of: finished.incarnation)
        defer { advanceCourses(of: attempt.job, &effects) }
        guard let k = index(attempt.job.study), attempt.job.batch == runs[k].batchNumber else { return }
        settle(finished, lease, k, &effects, now)
        effects.append(.send(.acknowledge(attempt), to: peer))
        advanceIfComplete(k, &effects, now)
    }

    private mutating func settle(
        _ finished: ToCoordinator.Finished, _ lease: Roster.Lease?, _ k: Int, _ effects: inout [Effect], _ now: Instant
    ) {
        let attempt = finished.attempt
        let failure: WorkFailure
        runs[k].statistics.add(finished.incidents)
        if let place = roster.place(of: finished.incarnation) {
            roster.note(isGood: isResult(finished, k), of: runs[k].batch?.baseOracle, at: place, now: now)
        }
        switch finished.outcome {
        case .success(let result) where isResult(finished, k):
            learn(finished, result, lease, k)
            runs[k].note(finished, isHeld: lease != nil)
            if attempt.job.call == nil, let results = runs[k].results {
                runs[k].statistics.repeatedCalls += results.repeatedCalls(attempt.job.items, result)
            }
            let cost = finished.duration.seconds / Double(attempt.job.items.count)
            var facts: [Fact] = [.itemsCompleted(attempt.job, result)]
            if case .labels(let valuations) = result, valuations.gradients.isEmpty, cost >= settings.ledgerCost,
                let oracle = runs[k].batch?.oracle, let points = points(attempt.job, k)
            {
                let worker = name(of: finished.incarnation) ?? ""
                facts.append(.labelsPaid(oracle, points: points, valuations, worker: worker))
            }
            cancelOthers(attempt.job, lease, k, &effects)
            decide(facts, &effects, now)
            progressed(k, &effects, now)
            return
        case .success: failure = WorkFailure("a result that does not fit the job")
        case .failure(let words): failure = words
        }
        if failure.isFinal {
            abandon(attempt.job, reason: failure.description, &effects, now)
        } else {
            giveBack(
                lease ?? Roster.Lease(attempt: attempt, since: now), cause: failure.description, &effects, now)
        }
    }
}

extension WorkResult {
    /// Oracle calls that went into it.
    var oracleCalls: Int {
        switch self {
        case .maximizers(_, let calls), .gains(_, let calls): calls.reduce(0, +)
        case .labels(let valuations): valuations.prices.count
        case .trained, .predictions: 0
        }
    }
}
