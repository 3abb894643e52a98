// A study on the cluster: its plan, its running batch, and what people are told of it.

/// Counters of a study's jobs, for the summary.
package struct StudyStatistics: Sendable, Hashable {
    /// Jobs that gave their result.
    package var jobs = 0
    /// Assignments.
    package var attempts = 0
    /// Attempts that were given to another worker because the first was lost.
    package var reassigned = 0
    package var abandoned = 0
    /// Results that came a second time.
    package var duplicatesDropped = 0
    /// Oracle calls of such results.
    package var repeatedCalls = 0
    /// Labels that the ledger had.
    package var reusedCalls = 0
    /// The most workers at a time.
    package var workers = 0
    /// Compute time of workers, and the time that they could have computed in: workers × time with worker batches open.
    package var busy: Duration = .zero
    package var available: Duration = .zero
    package var seconds: [Phase: Duration] = [:]
    /// CPU path and libraries of every worker that took part.
    package var numerics: Set<String> = []
}

struct StudyRun: Sendable {
    let id: StudyID
    let submission: ToCoordinator.Submission
    let accepted: Instant

    /// Blobs that its jobs and its result need.
    var blobs: Set<Digest>

    /// Nil while the next step is being computed.
    var plan: StudyPlan?
    var phase = Phase.label
    var phaseSince: Instant
    /// Number of the running batch, from 0; −1 before the first.
    var batchNumber = -1
    var batch: Batch?
    var results: BatchResults?
    var queue = ShardQueue(count: 0)
    /// The ledger is being asked for labels of the batch; nothing is queued until it has answered.
    var awaitsLedger = false
    /// The most items of a job, by what its kind was seen to cost.
    var shardSizes: [Work.Kind: Int] = [:]
    var batchSince: Instant
    /// When its first stage of ascent began.
    var searchSince: Instant?
    /// Last number and losses of jobs that were tried; gone when they are done.
    var tries: [JobID: Tries] = [:]
    /// Facts of batches that are not planned yet: those of an earlier life, while the plan is made again.
    var recorded: [Int: [Fact]] = [:]
    /// Results that wait for a blob: an attempt's parameters that are still on their way.
    var awaited: [Digest: Awaited] = [:]

    var statistics = StudyStatistics()
    var events: [StudyEvent] = []
    var watchers: [PeerID] = []
    var lastProgress: Instant?
    var ending: StudyEvent.Ending?

    struct Awaited: Sendable {
        var finished: ToCoordinator.Finished
        var peer: PeerID
    }

    struct Tries: Sendable {
        var number = 0
        /// Causes of the attempts that count against the job.
        var losses: [String] = []
        /// Their numbers: none counts twice.
        var lost: Set<Int> = []
    }

    init(id: StudyID, submission: ToCoordinator.Submission, accepted: Instant) {
        self.id = id
        self.submission = submission
        self.accepted = accepted
        blobs = Set(submission.attachments.map(\.blob.digest))
        phaseSince = accepted
        batchSince = accepted
    }

    /// When the search's time is over, while it runs and has a limit.
    var searchEnd: Instant? {
        guard batch?.kind == .ascend, let limit = plan?.study.search.wallClock else { return nil }
        return (searchSince ?? batchSince) + limit
    }

    mutating func record(_ what: StudyEvent.What, now: Instant) -> StudyEvent {
        let event = StudyEvent(number: events.count + 1, at: now - accepted, what: what)
        events.append(event)
        return event
    }

    mutating func enter(_ phase: Phase, now: Instant) {
        statistics.seconds[self.phase, default: .zero] += now - phaseSince
        self.phase = phase
        phaseSince = now
    }
}
