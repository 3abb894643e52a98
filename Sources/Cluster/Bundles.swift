// Messages that leave for the same peer at the same time, joined to few.
//
// The problem: a job of some microseconds costs more to name than to compute when it travels alone: a frame, a wake-up of
// four threads and a protobuf message each for the assignment, the result and the acknowledgement. State machines speak of
// one job at a time. Their shells gather what is said in one turn of their loop and join it here; what was joined has one
// form on the wire, whether it is of one job or of many.

internal import Regression

/// The most jobs, and the most numbers in their inputs or results, of a joined message: it stays far below the longest
/// frame, and whoever reads it is soon back at its loop.
private let mostJobs = 1 << 12
private let mostNumbers = 1 << 17

extension FromCoordinator {
    /// The same messages in fewer: neighbouring ones of jobs of one batch that ask for the same.
    package static func joined(_ messages: [FromCoordinator]) -> [FromCoordinator] {
        guard messages.count > 1 else { return messages }
        var joined: [FromCoordinator] = []
        /// Those that are alike, and the numbers in them.
        var run: [FromCoordinator] = []
        var numbers = 0
        func close() {
            if run.count > 1 { joined.append(FromCoordinator(of: run)) } else { joined += run }
            run = []
            numbers = 0
        }
        for message in messages {
            if let last = run.last, !last.isLike(message) || run.count == mostJobs || numbers > mostNumbers { close() }
            run.append(message)
            if case .assign(let assignment) = message { numbers += assignment.work.numbers }
        }
        close()
        return joined
    }

    private func isLike(_ other: FromCoordinator) -> Bool {
        switch (self, other) {
        case (.assign(let a), .assign(let b)): a.isLike(b)
        case (.acknowledge(let a), .acknowledge(let b)), (.cancel(let a), .cancel(let b)): a.isLike(b)
        default: false
        }
    }

    /// - Parameter run: messages that are alike.
    private init(of run: [FromCoordinator]) {
        var (assignments, attempts): ([Assignment], [Attempt]) = ([], [])
        for message in run {
            switch message {
            case .assign(let assignment): assignments.append(assignment)
            case .acknowledge(let attempt), .cancel(let attempt): attempts.append(attempt)
            default: break
            }
        }
        if case .cancel = run[0] {
            self = .cancellations(attempts)
        } else {
            self = attempts.isEmpty ? .assignments(assignments) : .acknowledgements(attempts)
        }
    }

    /// What it is made of.
    package var parts: [FromCoordinator] {
        switch self {
        case .assignments(let list): list.map { .assign($0) }
        case .acknowledgements(let list): list.map { .acknowledge($0) }
        case .cancellations(let list): list.map { .cancel($0) }
        default: [self]
        }
    }
}

extension ToCoordinator {
    /// The same messages in fewer: results of one kind of one batch.
    package static func joined(_ messages: [ToCoordinator]) -> [ToCoordinator] {
        guard messages.count > 1 else { return messages }
        var joined: [ToCoordinator] = []
        var results: [Finished] = []
        var numbers = 0
        func close() {
            if results.count == 1 { joined.append(.finished(results[0])) }
            if results.count > 1 { joined.append(.results(results)) }
            results = []
            numbers = 0
        }
        for message in messages {
            guard case .finished(let finished) = message else {
                close()
                joined.append(message)
                continue
            }
            if let last = results.last,
                !last.isLike(finished) || results.count == mostJobs || numbers > mostNumbers
            {
                close()
            }
            results.append(finished)
            numbers += finished.numbers
        }
        close()
        return joined
    }

    /// What it is made of.
    package var parts: [ToCoordinator] {
        if case .results(let list) = self { list.map { .finished($0) } } else { [self] }
    }
}

extension Attempt {
    /// Whether both are of jobs of one batch.
    fileprivate func isLike(_ other: Attempt) -> Bool {
        job.study == other.job.study && job.batch == other.job.batch
    }
}

extension FromCoordinator.Assignment {
    fileprivate func isLike(_ other: Self) -> Bool {
        guard attempt.isLike(other.attempt) else { return false }
        switch (work, other.work) {
        case (.label(let oracle, _, let gradient), .label(let other, _, let othersGradient)):
            return oracle == other && gradient == othersGradient
        case (.predict(let parameters, _), .predict(let other, _)): return parameters == other
        default: return false
        }
    }
}

extension Work {
    fileprivate var numbers: Int {
        switch self {
        case .label(_, let points, _): points.count
        case .predict(_, let inputs): inputs.count
        case .train, .ascend, .probe: 0
        }
    }
}

extension ToCoordinator.Finished {
    fileprivate func isLike(_ other: Self) -> Bool {
        guard incarnation == other.incarnation, attempt.isLike(other.attempt), fits, other.fits, incidents.isEmpty,
            other.incidents.isEmpty,
            case .success(let result) = outcome, case .success(let others) = other.outcome
        else { return false }
        switch (result, others) {
        case (.labels(let a), .labels(let b)):
            return a.standardErrors.isEmpty == b.standardErrors.isEmpty
                && a.gradients.count * b.prices.count == b.gradients.count * a.prices.count
        case (.predictions, .predictions): return true
        default: return false
        }
    }

    /// Whether its result has a row for each item: then rows tell where one ends and the next begins.
    private var fits: Bool {
        let count = attempt.job.items.count
        guard case .success(let result) = outcome else { return false }
        switch result {
        case .labels(let labels):
            return labels.prices.count == count && labels.statuses.count == count
                && (labels.standardErrors.isEmpty || labels.standardErrors.count == count)
                && labels.gradients.count.isMultiple(of: count)
        case .predictions(let predictions): return predictions.count == count
        case .trained, .maximizers, .gains: return false
        }
    }

    fileprivate var numbers: Int {
        guard case .success(let result) = outcome else { return 0 }
        switch result {
        case .labels(let labels): return labels.prices.count + labels.gradients.count
        case .predictions(let predictions): return predictions.count
        case .trained, .maximizers, .gains: return 0
        }
    }
}

extension Fact {
    /// The same facts in fewer: of neighbouring jobs of one batch the whole. Results are kept per item, so nobody can tell
    /// afterwards; but for the calls of an item, which have names of their own.
    package static func joined(_ facts: [Fact]) -> [Fact] {
        guard facts.count > 1 else { return facts }
        var joined: [Fact] = []
        var run: [(job: JobID, result: WorkResult)] = []
        func close() {
            run.sort { $0.job.items.lowerBound < $1.job.items.lowerBound }
            var whole: (job: JobID, result: WorkResult)?
            for (job, result) in run {
                if let items = whole?.job.items, items.upperBound == job.items.lowerBound,
                    whole!.result.append(result)
                {
                    whole!.job.items = items.lowerBound..<job.items.upperBound
                } else {
                    if let whole { joined.append(.itemsCompleted(whole.job, whole.result)) }
                    whole = (job, result)
                }
            }
            if let whole { joined.append(.itemsCompleted(whole.job, whole.result)) }
            run = []
        }
        for fact in facts {
            guard case .itemsCompleted(let job, let result) = fact, job.call == nil, result.isPerRow else {
                close()
                joined.append(fact)
                continue
            }
            if let first = run.first?.job, first.study != job.study || first.batch != job.batch { close() }
            run.append((job, result))
        }
        close()
        return joined
    }
}

extension WorkResult {
    /// Whether it is a row for each item and nothing else.
    fileprivate var isPerRow: Bool {
        switch self {
        case .labels(let labels): labels.gradients.isEmpty
        case .predictions: true
        case .trained, .maximizers, .gains: false
        }
    }

    /// Takes the rows of another behind its own.
    ///
    /// - Returns: false, and nothing changes, if they are not alike.
    fileprivate mutating func append(_ other: WorkResult) -> Bool {
        switch (self, other) {
        case (.labels(var labels), .labels(let more))
        where labels.standardErrors.isEmpty == more.standardErrors.isEmpty
            && labels.prices.count + more.prices.count <= mostNumbers:
            // Alone, so that it grows in place.
            self = .predictions([])
            labels.prices += more.prices
            labels.standardErrors += more.standardErrors
            labels.statuses += more.statuses
            self = .labels(labels)
            return true
        case (.predictions(var numbers), .predictions(let more)) where numbers.count + more.count <= mostNumbers:
            self = .predictions([])
            numbers += more
            self = .predictions(numbers)
            return true
        default: return false
        }
    }
}
