// Searches with a costly oracle: the calls of an item are jobs of their own; see Course.swift.

internal import Regression

extension Coordinator {
    /// Whether the calls of a batch's items are jobs of their own: where they cost much more than a job does. Nil while
    /// nobody knows what they cost; then the first item's calls tell.
    func steers(_ k: Int) -> Bool? {
        guard let batch = runs[k].batch, batch.kind == .ascend || batch.kind == .probe, let oracle = batch.oracle else {
            return false
        }
        guard let cost = callSeconds[oracle]?.value else { return nil }
        // Not to and fro where it is about the same.
        return cost >= settings.steeredCost * (runs[k].isSteered == true ? 0.5 : 1)
    }

    /// Lets the next item that waits set out.
    ///
    /// - Returns: false if none waits.
    mutating func pursueNext(_ k: Int, _ effects: inout [Effect]) -> Bool {
        guard let item = runs[k].queue.takeOne() else { return false }
        // It may be under way or done already, by a call or a result that came from an earlier life.
        if runs[k].courses[item]?.isUnderWay != true, runs[k].results?.isOpen(item..<item + 1) == true {
            pursue(k, item, &effects)
        }
        return true
    }

    /// Takes an item on its course, with the answers to all that it asked.
    mutating func pursue(_ k: Int, _ item: Int, _ effects: inout [Effect]) {
        guard let batch = runs[k].batch, batch.kind == .ascend || batch.kind == .probe else { return }
        var steered = runs[k].courses[item] ?? StudyRun.Steered()
        guard !steered.isPursued else { return }
        steered.isPursued = true
        var answers = Valuations(prices: [], statuses: [])
        for call in steered.course?.calls ?? 0..<0 {
            guard let answer = steered.answers.removeValue(forKey: call) else { return }
            answers.prices += answer.prices
            answers.standardErrors.append(answer.standardErrors.first ?? 0)
            answers.gradients += answer.gradients
            answers.statuses += answer.statuses
        }
        runs[k].courses[item] = steered
        runs[k].pursued += 1
        effects.append(
            .pursue(
                runs[k].id, batch: runs[k].batchNumber, batch, item: item, steered.course, answers,
                asksLedger: !runs[k].submission.wantsFreshLabels))
    }

    /// An item's course has come to its next questions, or to its end.
    mutating func pursued(
        _ study: StudyID, _ batch: Int, _ item: Int, _ result: Result<Course, WorkFailure>, _ labels: [KnownLabels],
        _ effects: inout [Effect], _ now: Instant
    ) {
        guard let k = index(study), runs[k].batchNumber == batch, runs[k].courses[item]?.isPursued == true else {
            return
        }
        runs[k].courses[item]!.isPursued = false
        runs[k].pursued -= 1
        let whole = JobID(study: study, batch: batch, items: item..<item + 1)
        switch result {
        case .failure(let failure): abandon(whole, reason: failure.description, &effects, now)
        case .success(let course):
            if let result = course.result {
                decide([.itemsCompleted(whole, result)], &effects, now)
                progressed(k, &effects, now)
                advanceIfComplete(k, &effects, now)
                return
            }
            runs[k].courses[item]!.course = course
            for (place, answer) in labels.flatMap(\.single) where place < course.calls.count {
                let call = JobID(study: study, batch: batch, items: whole.items, call: course.firstCall + place)
                guard isOpen(call, k) else { continue }
                runs[k].statistics.reusedCalls += 1
                decide([.itemsCompleted(call, .labels(answer))], &effects, now)
            }
            for call in runs[k].courses[item]!.missing {
                let job = JobID(study: study, batch: batch, items: whole.items, call: call)
                if !roster.isHeld(job) { runs[k].calls.append(job) }
            }
            advanceCourses(of: whole, &effects)
        }
    }

    /// Takes a job's item on if all its questions are answered.
    mutating func advanceCourses(of job: JobID, _ effects: inout [Effect]) {
        let item = job.items.lowerBound
        guard let k = index(job.study), runs[k].batchNumber == job.batch, let steered = runs[k].courses[item],
            steered.course != nil, !steered.isPursued, steered.missing.isEmpty
        else { return }
        pursue(k, item, &effects)
    }

    /// What a label job priced: rows in raw units.
    func points(_ job: JobID, _ k: Int) -> [Double]? {
        guard let batch = runs[k].batch else { return nil }
        if let call = job.call { return runs[k].courses[job.items.lowerBound]?.course?.question(call) }
        guard case .label(_, let points) = batch.content else { return nil }
        return Array(points[job.items.lowerBound * batch.dimension..<job.items.upperBound * batch.dimension])
    }
}
