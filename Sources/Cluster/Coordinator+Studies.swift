// The coordinator's side of clients and their studies.

internal import Regression

extension Coordinator {
    // MARK: Submission

    mutating func submitted(_ submission: ToCoordinator.Submission, _ peer: PeerID, _ effects: inout [Effect]) {
        if let k = runs.firstIndex(where: { $0.token == submission.token }) {
            if !runs[k].watchers.contains(peer) { runs[k].watchers.append(peer) }
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
        guard !runs.contains(where: { $0.token == submission.token }),
            !arriving.contains(where: { $0.submission.token == submission.token })
        else { return }
        let arrival = Arrival(submission: submission, study: study, peer: peer)
        arriving.append(arrival)
        for attachment in submission.attachments where !blobs.contains(attachment.blob.digest) {
            pull(attachment.blob, from: peer, &effects)
        }
        acceptIfWhole(arrival, &effects, now)
    }

    mutating func acceptIfWhole(_ arrival: Arrival, _ effects: inout [Effect], _ now: Instant) {
        let submission = arrival.submission
        guard submission.attachments.allSatisfy({ blobs.contains($0.blob.digest) }) else { return }
        arriving.removeAll { $0.submission.token == submission.token }
        decide(
            [
                .studyAccepted(
                    arrival.study, token: submission.token, study: submission.study,
                    attachments: submission.attachments)
            ], &effects, now)
        let k = runs.count - 1
        runs[k].watchers = [arrival.peer]
        runs[k].statistics.workers = roster.count(.worker)
        runs[k].statistics.numerics = Set(roster.all.filter { $0.hello.role == .worker }.map(\.hello.numerics))
        effects.append(.send(.accepted(.init(token: submission.token, study: arrival.study)), to: arrival.peer))
        effects.append(.begin(arrival.study, text: submission.study, submission.attachments))
    }

    // MARK: The course of a study

    mutating func planned(
        _ study: StudyID, _ plan: StudyPlan, _ step: PlanStep, _ effects: inout [Effect], _ now: Instant
    ) {
        guard let k = index(study), runs[k].ending == nil else { return }
        for bytes in step.blobs {
            effects.append(.store(bytes))
            blobs.insert(Digest(of: bytes))
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
            runs[k].results = BatchResults(for: batch, dimension: plan.study.domain.dimension)
            runs[k].queue = ShardQueue(count: batch.count)
            runs[k].batchSince = now
            if batch.kind == .ascend, runs[k].searchSince == nil { runs[k].searchSince = now }
            runs[k].tries = [:]
            advanceIfComplete(k, &effects, now)
        case .finished(let outcome):
            runs[k].batch = nil
            runs[k].results = nil
            effects.append(.write(study, outcome, runs[k].statistics))
        case .failed(let reason):
            end(study, .failed(reason), &effects, now)
        }
    }

    /// Ends a search whose time is over: with what it has found.
    mutating func endSearch(_ k: Int, _ effects: inout [Effect], _ now: Instant) {
        guard let batch = runs[k].batch, let results = runs[k].results, !results.isComplete else { return }
        let job = JobID(study: runs[k].id, batch: runs[k].batchNumber, items: 0..<batch.count)
        let reason = "the budget of wall-clock time is over with \(results.remaining) of \(batch.count) seeds to go"
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
        guard let results = runs[k].results, results.isComplete, let plan = runs[k].plan else { return }
        if runs[k].batch?.kind.role == .worker {
            runs[k].statistics.available += (now - runs[k].batchSince) * max(1, roster.count(.worker))
        }
        let id = runs[k].id
        runs[k].plan = nil
        runs[k].batch = nil
        runs[k].results = nil
        effects.append(.advance(id, plan, results))
    }

    mutating func end(
        _ study: StudyID, _ ending: StudyEvent.Ending, _ effects: inout [Effect], _ now: Instant
    ) {
        guard let k = index(study), runs[k].ending == nil else { return }
        decide([.studyEnded(study, ending)], &effects, now)
        runs[k].enter(.done, now: now)
        cancelLeases(of: study, &effects)
        tell(k, .ended(ending), &effects, now)
    }

    // MARK: What clients are told

    mutating func watched(_ watch: ToCoordinator.Watch, _ peer: PeerID, _ effects: inout [Effect]) {
        guard let k = index(watch.study) else {
            effects.append(.send(.unknownPeer, to: peer))
            return
        }
        if !runs[k].watchers.contains(peer) { runs[k].watchers.append(peer) }
        let missed = runs[k].events.dropFirst(max(0, watch.after))
        if !missed.isEmpty { effects.append(.send(.events(watch.study, Array(missed)), to: peer)) }
    }

    mutating func tell(_ k: Int, _ what: StudyEvent.What, _ effects: inout [Effect], _ now: Instant) {
        let event = runs[k].record(what, now: now)
        for peer in runs[k].watchers { effects.append(.send(.events(runs[k].id, [event]), to: peer)) }
    }

    /// Tells of finished items, at most four times a second and at the end.
    mutating func progressed(_ k: Int, _ effects: inout [Effect], _ now: Instant) {
        guard let batch = runs[k].batch, let results = runs[k].results, batch.count > 1 else { return }
        if !results.isComplete, let last = runs[k].lastProgress, now < last + .milliseconds(250) { return }
        runs[k].lastProgress = now
        tell(
            k, .progress(runs[k].phase, done: batch.count - results.remaining, total: batch.count), &effects, now)
    }
}
