// Who works on what, and in which order. Docs/Scheduling.md explains the rules.
//
// None of it can change a result: a job's result is a pure function of its name, and which items share a job, who runs
// it, and how often, is nobody's business but the clock's.

internal import Regression

extension Coordinator {
    // MARK: What things cost

    /// Learns from a job how long its like takes.
    mutating func learn(_ finished: ToCoordinator.Finished, _ result: WorkResult, _ lease: Roster.Lease?, _ k: Int) {
        guard let batch = runs[k].batch else { return }
        let seconds = finished.duration.seconds
        let items = finished.attempt.job.items.count
        let place = roster.place(of: finished.incarnation)
        let pace = place.map { roster.pace(at: $0) } ?? 1
        let calls = result.oracleCalls
        if place != nil, batch.kind.role == .worker { runs[k].statistics.busy += finished.duration }
        if let oracle = batch.oracle, calls > 0 {
            callSeconds[oracle, default: .init()].note(seconds / Double(calls) / pace)
        }
        if let lease {
            if let place { roster.note(seconds, expected: lease.expected, at: place) }
            runs[k].pass += (seconds - lease.charge) / runs[k].submission.share
        }
        guard finished.attempt.job.call == nil else { return }
        runs[k].itemSeconds[batch.kind, default: .init()].note(seconds / Double(items) / pace)
        runs[k].fitShards(
            of: batch.kind, items: items, room: settings.secondsPerJob / max(seconds / pace, 1e-9),
            first: firstShard(batch))
    }

    /// The first shards are small: nobody knows yet what an item costs, unless its oracle was called before. Of one that was
    /// not, an item may take minutes, and stand in the way of as many workers as there are items in its job.
    private func firstShard(_ batch: Batch) -> Int {
        guard let oracle = batch.oracle else { return settings.firstShard }
        guard let call = callSeconds[oracle]?.value else { return settings.firstCalls }
        let seconds = call * Double(batch.callsPerItem)
        return max(1, min(settings.firstShard, Int(min(settings.secondsPerJob / max(seconds, 1e-9), 1e6))))
    }

    /// Items of the next job of a worker: cut to last `secondsPerJob` there, and smaller towards the end, so that all
    /// workers finish together.
    private func shardSize(_ k: Int, _ batch: Batch, pace: Double) -> Int {
        let most =
            switch batch.kind {
            case .train: 1
            case .ascend, .probe: settings.shardSize
            case .label, .predict: settings.rowsPerJob
            }
        let fitted = runs[k].shardSizes[batch.kind]
        let affordable = Double(fitted ?? firstShard(batch)) / max(1, pace)
        let workers = max(1, roster.count(batch.kind.role))
        let share = max((most + 7) / 8, (runs[k].queue.waiting + 2 * workers - 1) / (2 * workers))
        return max(1, min(most, share, Int(affordable)))
    }

    /// Seconds that an item of a job, or the call that it is, takes on the average worker; nil if nobody knows.
    private func seconds(_ job: JobID, _ k: Int) -> Average? {
        guard let batch = runs[k].batch else { return nil }
        if job.call != nil { return batch.oracle.flatMap { callSeconds[$0] } }
        return runs[k].itemSeconds[batch.kind]
    }

    // MARK: Assignments

    /// Leases waiting work to idle workers: of the studies of the highest priority, that goes next which had least of
    /// its share.
    mutating func dispatch(_ effects: inout [Effect], _ now: Instant) {
        var stuck: [Int] = []
        while let k = nextRun(but: stuck) {
            if !serve(k, &effects, now) { stuck.append(k) }
        }
    }

    /// The study that goes next, of those that have work.
    private func nextRun(but stuck: [Int]) -> Int? {
        var first: Int?
        for k in runs.indices where runs[k].hasWork && !stuck.contains(k) {
            if first.map({ goesBefore(k, $0) }) ?? true { first = k }
        }
        return first
    }

    private func goesBefore(_ a: Int, _ b: Int) -> Bool {
        let (first, second) = (runs[a].submission.priority, runs[b].submission.priority)
        if first != second { return first > second }
        return (max(virtualTime, runs[a].pass), a) < (max(virtualTime, runs[b].pass), b)
    }

    /// Does one thing for a study.
    ///
    /// - Returns: false if nothing can be done for it now.
    private mutating func serve(_ k: Int, _ effects: inout [Effect], _ now: Instant) -> Bool {
        guard let batch = runs[k].batch else { return false }
        let (role, oracle) = (batch.kind.role, batch.baseOracle)
        func knows(_ member: Roster.Member) -> Bool { oracle.map { member.hello.oracles.contains($0) } ?? true }
        let spares = roster.canSpare(role, from: oracle, at: now, where: knows)
        func isAble(_ member: Roster.Member) -> Bool {
            knows(member) && !(spares && member.rests(from: oracle, at: now))
        }

        // What a silent worker holds.
        while let job = runs[k].urgent.first {
            let holders = roster.holders(of: job)
            // Where two fell silent it may be the job that kills: it waits until one of them is lost, which counts.
            guard isOpen(job, k), holders.count == 1, roster[holders[0]]?.isSuspect == true else {
                _ = runs[k].urgent.popFirst()
                continue
            }
            guard let worker = roster.idle(role, inSlot: true, where: isAble) else { return false }
            _ = runs[k].urgent.popFirst()
            lease(job, k, worker, isCopy: true, &effects, now)
            return true
        }
        while let job = runs[k].calls.first {
            // A late result may have answered it in the meantime, or its holder come back.
            guard isOpen(job, k), !roster.isHeld(job) else {
                _ = runs[k].calls.popFirst()
                continue
            }
            guard let worker = roster.idle(role, where: isAble) else { return false }
            _ = runs[k].calls.popFirst()
            lease(job, k, worker, isCopy: false, &effects, now)
            return true
        }
        if !runs[k].queue.isEmpty {
            runs[k].isSteered = steers(k)
            switch runs[k].isSteered {
            case false?:
                guard let worker = roster.idle(role, where: isAble),
                    let items = runs[k].queue.take(shardSize(k, batch, pace: roster.pace(at: worker)))
                else { return false }
                let job = JobID(study: runs[k].id, batch: runs[k].batchNumber, items: items)
                guard runs[k].results?.isOpen(items) == true, !roster.isHeld(job) else { return true }
                lease(job, k, worker, isCopy: false, &effects, now)
                return true
            case true?:
                // One more item sets out when a worker would be idle without it.
                guard runs[k].pursued < roster.count(role), roster.idle(role, inSlot: true, where: isAble) != nil else {
                    return false
                }
                return pursueNext(k, &effects)
            case nil:
                guard !runs[k].courses.values.contains(where: \.isUnderWay), roster.idle(role, where: isAble) != nil
                else { return false }
                return pursueNext(k, &effects)
            }
        }
        // A second attempt at what takes long, as long as such attempts are few or come first.
        let attempts = runs[k].statistics.attempts
        while let job = runs[k].stragglers.first {
            let holders = roster.holders(of: job)
            guard isOpen(job, k), holders.count == 1 else {
                _ = runs[k].stragglers.popFirst()
                continue
            }
            guard runs[k].statistics.copies < 2 + attempts / 20 + 2 * runs[k].statistics.copiesWon,
                let worker = roster.idle(
                    role, inSlot: true, where: { isAble($0) && !holders.contains($0.hello.incarnation) })
            else { return false }
            _ = runs[k].stragglers.popFirst()
            lease(job, k, worker, isCopy: true, &effects, now)
            return true
        }
        return false
    }

    private mutating func lease(
        _ job: JobID, _ k: Int, _ worker: Int, isCopy: Bool, _ effects: inout [Effect], _ now: Instant
    ) {
        guard let batch = runs[k].batch else { return }
        let work: Work
        if let call = job.call {
            guard let course = runs[k].courses[job.items.lowerBound]?.course, let oracle = batch.oracle else { return }
            work = .label(oracle, points: course.question(call), gradient: course.asksForGradient)
        } else {
            work = batch.work(job.items)
        }
        runs[k].tries[job, default: .init()].number += 1
        let attempt = Attempt(job: job, number: runs[k].tries[job]!.number)
        let (item, scale) = (seconds(job, k), Double(job.items.count) * roster.pace(at: worker))
        let expected = item.map { $0.value * scale } ?? .infinity
        let charge = expected.isFinite ? expected : 0.1
        // Nothing waits behind what may kill its worker, or may last.
        let high = runs[k].isBlamed(job) ? .infinity : item.map { $0.high * scale } ?? .infinity
        // Where a job takes no time, or nobody knows which, the next heartbeat tells that it still runs.
        let isTimed = expected.isFinite && expected > 0.02
        let serial = roster.lease(
            Roster.Lease(
                attempt: attempt, since: now, expected: expected, high: high, isTimed: isTimed, isCopy: isCopy,
                charge: charge), at: worker)
        if isCopy {
            runs[k].statistics.copies += 1
            runs[k].contest(job)
        }
        virtualTime = max(virtualTime, runs[k].pass)
        runs[k].pass = virtualTime + charge / runs[k].submission.share
        runs[k].statistics.attempts += 1
        if isTimed { time(attempt, since: now, expected, worker) }
        effects.append(
            .send(.assign(.init(attempt: attempt, work: work, serial: serial)), to: roster[at: worker].peer))
    }

    // MARK: Second attempts

    private mutating func time(_ attempt: Attempt, since: Instant, _ expected: Double, _ worker: Int) {
        let patience = Duration.nanoseconds(Int64(min(1.5 * expected + 0.1, 1e6) * 1e9))
        overdue.insert(
            Overdue(due: since + patience, attempt: attempt, holder: roster[at: worker].hello.incarnation))
    }

    /// Times what a member runs and was not thought to run for long enough, as far as it is known now what that is.
    mutating func timeWhatRuns(_ worker: Int) {
        let slots = roster[at: worker].hello.slots
        for place in roster[at: worker].held.indices.prefix(slots) where !roster[at: worker].held[place].isTimed {
            let lease = roster[at: worker].held[place]
            let job = lease.attempt.job
            guard let k = index(job.study), runs[k].batchNumber == job.batch, let item = seconds(job, k) else {
                continue
            }
            roster.time(place, at: worker)
            let expected = item.value * Double(job.items.count) * roster.pace(at: worker)
            time(lease.attempt, since: lease.since, expected, worker)
        }
    }

    /// Leases that have lasted too long.
    mutating func noteOverdue(_ now: Instant) {
        while let first = overdue.first, first.due <= now {
            _ = overdue.popFirst()
            let job = first.attempt.job
            guard let k = index(job.study), runs[k].batchNumber == job.batch,
                roster[first.holder]?.held.contains(where: { $0.attempt == first.attempt }) == true
            else { continue }
            runs[k].stragglers.append(job)
        }
    }

    /// What a member holds that has fallen silent may be given to others.
    mutating func suspect(_ incarnation: Incarnation) {
        for lease in roster[incarnation]?.held ?? [] {
            let job = lease.attempt.job
            // What was lost before may have killed its holder: it waits for the verdict.
            guard let k = index(job.study), runs[k].batchNumber == job.batch,
                runs[k].tries[job]?.losses.isEmpty ?? true
            else { continue }
            runs[k].urgent.append(job)
        }
    }

    /// The first result counts: whoever else works on the job may stop.
    mutating func cancelOthers(_ job: JobID, _ lease: Roster.Lease?, _ k: Int, _ effects: inout [Effect]) {
        guard roster.isHeld(job) else { return }
        let others = roster.holders(of: job)
        if lease?.isCopy == true, !others.isEmpty { runs[k].statistics.copiesWon += 1 }
        for other in others {
            guard let lease = roster.release(job, of: other), let member = roster[other] else { continue }
            effects.append(.send(.cancel(lease.attempt), to: member.peer))
        }
    }
}
