// The coordinator's side of clients and their studies.

internal import Regression

extension Coordinator {
    // MARK: Submission

    mutating func submitted(_ submission: ToCoordinator.Submission, _ peer: PeerID, _ effects: inout [Effect]) {
        if let k = runs.firstIndex(where: { $0.submission.token == submission.token }) {
            runs[k].watch(peer)
            effects.append(.send(.accepted(.init(token: submission.token, study: runs[k].id)), to: peer))
        } else if let k = arriving.firstIndex(where: { $0.submission.token == submission.token }) {
            // Sent again: the client may be another connection now, and chunks may have been lost.
            arriving[k].peer = peer
            for attachment in submission.attachments where !blobs.contains(attachment.blob.digest) {
                pull(attachment.blob, from: peer, &effects)
            }
        } else {
            effects.append(.validate(submission, from: peer))
        }
    }

    mutating func validated(
        _ submission: ToCoordinator.Submission, _ study: StudyID, _ peer: PeerID, _ effects: inout [Effect],
        _ now: Instant
    ) {
        guard !runs.contains(where: { $0.submission.token == submission.token }),
            !arriving.contains(where: { $0.submission.token == submission.token })
        else { return }
        let arrival = Arrival(submission: submission, study: study, peer: peer)
        arriving.append(arrival)
        if arriving.count > Self.mostArriving { dropArrival(&effects) }
        for attachment in submission.attachments where !blobs.contains(attachment.blob.digest) {
            pull(attachment.blob, from: peer, &effects)
        }
        acceptIfWhole(arrival, &effects, now)
    }

    /// The most submissions whose attachments are waited for.
    package static let mostArriving = 64

    /// Forgets the submission that has waited longest: its client, if it is still there, sends it again.
    private mutating func dropArrival(_ effects: inout [Effect]) {
        let oldest = arriving.removeFirst()
        let wanted = Set(arriving.flatMap { $0.submission.attachments.map(\.blob.digest) })
        dropPulls(oldest.submission.attachments.map(\.blob.digest).filter { !wanted.contains($0) }, &effects)
    }

    mutating func acceptIfWhole(_ arrival: Arrival, _ effects: inout [Effect], _ now: Instant) {
        let submission = arrival.submission
        guard submission.attachments.allSatisfy({ blobs.contains($0.blob.digest) }) else { return }
        arriving.removeAll { $0.submission.token == submission.token }
        decide([.studyAccepted(arrival.study, submission)], &effects, now)
        let k = runs.count - 1
        runs[k].watch(arrival.peer)
        runs[k].statistics.workers = roster.count(.worker)
        runs[k].statistics.numerics = Set(roster.all.filter { $0.hello.role == .worker }.map(\.hello.numerics))
        effects.append(.send(.accepted(.init(token: submission.token, study: arrival.study)), to: arrival.peer))
        for (name, detail) in refusals {
            tell(k, .worker(.refused, name: name, detail: detail), &effects, now)
        }
        resume(k, &effects, now)
    }

    /// Begins a study, or takes it up after an earlier life of the coordinator. The plan is a pure function of the
    /// results, so it is made again from the start, and finds the recorded results of each batch as it comes to it.
    mutating func resume(_ k: Int, _ effects: inout [Effect], _ now: Instant) {
        if let ending = runs[k].ending {
            tell(k, .ended(ending), &effects, now)
        } else {
            effects.append(.begin(runs[k].id, runs[k].submission))
        }
    }

    // MARK: The course of a study

    mutating func planned(
        _ study: StudyID, _ plan: StudyPlan?, _ step: PlanStep, _ effects: inout [Effect], _ now: Instant
    ) {
        guard let k = index(study), runs[k].ending == nil else { return }
        for bytes in step.blobs {
            effects.append(.store(bytes))
            let digest = Digest(of: bytes)
            blobs.insert(digest)
            runs[k].blobs.insert(digest)
        }
        for (version, parameters) in step.published {
            effects.append(.publish(study, version: version, parameters))
        }
        runs[k].plan = plan
        if step.phase != runs[k].phase || step.note != nil {
            runs[k].enter(step.phase, now: now)
            tell(k, .phase(step.phase, note: step.note ?? ""), &effects, now)
        }
        switch step.next {
        case .batch(let batch):
            runs[k].batchNumber += 1
            runs[k].batch = batch
            runs[k].results = BatchResults(for: batch, dimension: batch.dimension)
            runs[k].batchSince = now
            if batch.kind == .ascend, runs[k].searchSince == nil { runs[k].searchSince = now }
            let limit = plan?.study.search.wallClock
            runs[k].searchEnd = batch.kind == .ascend ? limit.map { (runs[k].searchSince ?? now) + $0 } : nil
            runs[k].clearBatch()
            for fact in runs[k].recorded.removeValue(forKey: runs[k].batchNumber) ?? [] { apply(fact, at: now) }
            if case .label(let oracle, let points) = batch.content, !runs[k].submission.wantsFreshLabels {
                runs[k].awaitsLedger = true
                effects.append(
                    .lookUp(study, batch: runs[k].batchNumber, oracle, points: points, dimension: batch.dimension))
            } else {
                fillQueue(k, &effects)
                advanceIfComplete(k, &effects, now)
            }
        case .finished(let outcome):
            runs[k].batch = nil
            runs[k].results = nil
            effects.append(.write(study, outcome, runs[k].statistics))
        case .failed(let reason):
            end(study, .failed(reason), &effects, now)
        }
    }

    /// Takes what the ledger has of a batch, and queues the rest.
    mutating func known(
        _ study: StudyID, _ batch: Int, _ labels: [KnownLabels], _ effects: inout [Effect], _ now: Instant
    ) {
        guard let k = index(study), runs[k].awaitsLedger, runs[k].batchNumber == batch else { return }
        runs[k].awaitsLedger = false
        for known in labels {
            let items = known.first..<known.first + known.valuations.prices.count
            guard runs[k].results?.isOpen(items) == true else { continue }
            runs[k].statistics.reusedCalls += items.count
            let job = JobID(study: study, batch: batch, items: items)
            decide([.itemsCompleted(job, .labels(known.valuations))], &effects, now)
        }
        fillQueue(k, &effects)
        advanceIfComplete(k, &effects, now)
    }

    /// Queues what is open of a new batch: after an earlier life of the coordinator some items are done, some are held
    /// by workers that outlived it, and jobs that lost attempts stay as they were cut.
    private mutating func fillQueue(_ k: Int, _ effects: inout [Effect]) {
        var taken: [Range<Int>] = []
        for member in roster.all {
            for lease in member.held
            where lease.attempt.job.study == runs[k].id && lease.attempt.job.batch == runs[k].batchNumber
                && lease.attempt.job.call == nil
            {
                let items = lease.attempt.job.items
                if runs[k].results?.isOpen(items) == true, !taken.contains(where: { $0.overlaps(items) }) {
                    taken.append(items)
                } else {
                    _ = roster.release(lease.attempt.job, of: member.hello.incarnation)
                    effects.append(.send(.cancel(lease.attempt), to: member.peer))
                }
            }
        }
        var tried: [Range<Int>] = []
        // Of what was cut in parts, the parts; and items that were on their way go on.
        let before = runs[k].tries.filter { $0.key.call == nil }
            .flatMap { job, tries in tries.losses.isEmpty ? [job.items] : Self.parts(of: job.items) }
        for items in before.sorted(by: { ($0.count, $0.lowerBound) < ($1.count, $1.lowerBound) })
        where runs[k].results?.isOpen(items) == true && !(taken + tried).contains(where: { $0.overlaps(items) }) {
            tried.append(items)
        }
        let onCourse = runs[k].courses.keys.sorted().filter { item in
            !(taken + tried).contains { $0.contains(item) } && runs[k].results?.isOpen(item..<item + 1) == true
        }
        for item in onCourse { pursue(k, item, &effects) }
        tried.sort { $0.lowerBound < $1.lowerBound }
        var open = runs[k].results?.open ?? []
        for items in (taken + tried + onCourse.map { $0..<$0 + 1 }).sorted(by: { $0.lowerBound < $1.lowerBound }) {
            open = open.flatMap { range -> [Range<Int>] in
                guard range.overlaps(items) else { return [range] }
                return [
                    range.lowerBound..<max(range.lowerBound, items.lowerBound),
                    min(range.upperBound, items.upperBound)..<range.upperBound,
                ]
            }
        }
        runs[k].queue = ShardQueue(items: open)
        for items in tried.reversed() { runs[k].queue.giveBack(items) }
    }

    /// Ends a search whose time is over: with what it has found.
    mutating func endSearch(_ k: Int, _ effects: inout [Effect], _ now: Instant) {
        guard let batch = runs[k].batch, let results = runs[k].results, !results.isComplete else { return }
        let reason = "the budget of wall-clock time is over with \(results.remaining) of \(batch.count) seeds to go"
        giveUpBatch(k, reason, &effects, now)
    }

    /// When a study has waited too long for an oracle that only doubted workers have; nil if it does not wait for one.
    func forsakenAt(_ k: Int) -> Instant? {
        guard !doubts.isEmpty, runs[k].hasWork, let oracle = runs[k].batch?.baseOracle else { return nil }
        return doubts[oracle]?.since.map { $0 + settings.patience }
    }

    /// Ends the wait of such a study: without what is open.
    mutating func forsake(_ k: Int, _ effects: inout [Effect], _ now: Instant) {
        guard let oracle = runs[k].batch?.baseOracle, let doubt = doubts[oracle], let results = runs[k].results else {
            return
        }
        let names = doubt.workers.compactMap { roster[$0]?.hello.name }.sorted()
        let others = names.count > 3 ? " and \(names.count - 3) others" : ""
        let reason =
            "no worker has oracle \(oracle.name) (\(oracle.fingerprint)) as it was first seen: here it prices its test vectors "
            + "otherwise (\(names.prefix(3).joined(separator: ", "))\(others)); \(results.remaining) items were not done. An oracle "
            + "whose prices have changed needs another fingerprint; if those before were wrong, forget them (cairn labels "
            + "invalidate --oracle \(oracle.name) --fingerprint \(oracle.fingerprint)) and start the coordinator again"
        giveUpBatch(k, reason, &effects, now)
    }

    /// Goes on without what is open of a batch.
    private mutating func giveUpBatch(_ k: Int, _ reason: String, _ effects: inout [Effect], _ now: Instant) {
        guard let batch = runs[k].batch else { return }
        let job = JobID(study: runs[k].id, batch: runs[k].batchNumber, items: 0..<batch.count)
        decide([.jobAbandoned(job, reason: reason)], &effects, now)
        tell(k, .abandoned(reason), &effects, now)
        cancelLeases(of: runs[k].id, &effects)
        advanceIfComplete(k, &effects, now)
    }

    /// Tells everybody who works for a study to stop.
    private mutating func cancelLeases(of study: StudyID, _ effects: inout [Effect]) {
        for member in roster.all {
            for lease in member.held where lease.attempt.job.study == study {
                _ = roster.release(lease.attempt.job, of: member.hello.incarnation)
                effects.append(.send(.cancel(lease.attempt), to: member.peer))
            }
        }
    }

    mutating func advanceIfComplete(_ k: Int, _ effects: inout [Effect], _ now: Instant) {
        guard runs[k].results?.isComplete == true, let results = runs[k].results, let plan = runs[k].plan else {
            return
        }
        if runs[k].batch?.kind.role == .worker {
            runs[k].statistics.available += (now - runs[k].batchSince) * max(1, roster.count(.worker))
        }
        let id = runs[k].id
        runs[k].plan = nil
        runs[k].batch = nil
        runs[k].results = nil
        runs[k].searchEnd = nil
        effects.append(.advance(id, plan, results))
    }

    mutating func pause(
        _ study: StudyID, _ isPaused: Bool, _ peer: PeerID, _ effects: inout [Effect], _ now: Instant
    ) {
        if let k = index(study), runs[k].ending == nil, runs[k].isPaused != isPaused {
            decide([.studyPaused(study, isPaused)], &effects, now)
            tell(k, .phase(runs[k].phase, note: isPaused ? "paused" : "goes on"), &effects, now)
        }
        effects.append(.send(.studies(summaries), to: peer))
    }

    mutating func end(
        _ study: StudyID, _ ending: StudyEvent.Ending, _ effects: inout [Effect], _ now: Instant
    ) {
        guard let k = index(study), runs[k].ending == nil else { return }
        decide([.studyEnded(study, ending)], &effects, now)
        cancelLeases(of: study, &effects)
        if let k = index(study) {
            runs[k].enter(.done, now: now)
            tell(k, .ended(ending), &effects, now)
        }
        if !released.isEmpty { effects.append(.forget(released.sorted())) }
    }

    // MARK: What clients are told

    /// All studies that are known, the oldest first.
    var summaries: [StudySummary] {
        runs.map { run in
            let state: StudySummary.State =
                switch run.ending {
                case nil: run.isPaused ? .paused : .running
                case .done(_, let incomplete)?: incomplete ? .incomplete : .done
                case .failed?: .failed
                case .cancelled?: .cancelled
                }
            let total = run.batch?.count ?? 0
            return StudySummary(
                study: run.id, name: run.submission.name, state: state, phase: run.phase,
                done: total - (run.results?.remaining ?? 0), total: total, share: run.submission.share,
                priority: run.submission.priority,
                jobs: roster.all.reduce(0) { sum, member in
                    sum + member.held.count { $0.attempt.job.study == run.id }
                })
        }
    }

    mutating func watched(_ watch: ToCoordinator.Watch, _ peer: PeerID, _ effects: inout [Effect]) {
        guard let k = index(watch.study) else {
            effects.append(.send(.unknownPeer, to: peer))
            return
        }
        runs[k].watch(peer)
        // Also if there are none: whoever asks learns that the coordinator is there.
        let missed = runs[k].events.dropFirst(watch.term == term ? max(0, watch.after) : 0)
        effects.append(.send(.events(.init(study: watch.study, term: term, events: Array(missed))), to: peer))
    }

    mutating func tell(_ k: Int, _ what: StudyEvent.What, _ effects: inout [Effect], _ now: Instant) {
        let event = runs[k].record(what, now: now)
        for peer in runs[k].watchers {
            effects.append(.send(.events(.init(study: runs[k].id, term: term, events: [event])), to: peer))
        }
    }

    /// Tells of finished items, now and then and at the end.
    mutating func progressed(_ k: Int, _ effects: inout [Effect], _ now: Instant) {
        if let progress = runs[k].progress(now: now) { tell(k, progress, &effects, now) }
    }
}
