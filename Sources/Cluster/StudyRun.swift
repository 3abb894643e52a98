// A study on the cluster: its plan, its running batch, and what people are told of it.

internal import Regression

/// Counters of a study's jobs, for the summary.
package struct StudyStatistics: Sendable, Hashable {
    /// Jobs that gave their result, and items that came to the end of their course.
    package var jobs = 0
    /// Assignments.
    package var attempts = 0
    /// Attempts that were given to another worker because the first was lost.
    package var reassigned = 0
    package var abandoned = 0
    /// Results that came a second time.
    package var duplicatesDropped = 0
    /// Oracle calls that were made twice: of such results, those that are not the same one sent again.
    package var repeatedCalls = 0
    /// Second attempts at jobs that took long, while the first still ran, and those of them that came first.
    package var copies = 0
    package var copiesWon = 0
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
    /// What went wrong with plug-in oracles.
    package private(set) var incidents: IncidentCounts = [:]

    /// Who makes names up shall not fill the memory.
    private static let mostIncidents = 1000

    mutating func add(_ more: IncidentCounts) {
        for (oracle, counts) in more {
            for (kind, count) in counts
            where incidents[oracle]?[kind] != nil || incidents.reduce(0, { $0 + $1.value.count }) < Self.mostIncidents {
                incidents[oracle, default: [:]][kind, default: 0] += count
            }
        }
    }
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
    private(set) var shardSizes: [Work.Kind: Int] = [:]
    /// Seconds per item that jobs of a kind were seen to take on the average worker.
    var itemSeconds: [Work.Kind: Average] = [:]

    /// Whether the oracle calls of the batch's items are jobs of their own; nil while the cost of a call is not known.
    var isSteered: Bool?
    /// Items whose oracle calls are jobs.
    var courses: [Int: Steered] = [:]
    /// Of these, how many are being computed.
    var pursued = 0
    /// Calls of courses that wait to be leased.
    var calls: Queue<JobID> = Queue()
    /// Jobs whose holders are silent, and jobs that take long: they may be leased a second time, the first kind at once,
    /// the second when nothing else is left to do.
    var urgent: Queue<JobID> = Queue()
    var stragglers: Queue<JobID> = Queue()

    /// Seconds of slots that it was charged, over its share: whoever had the least goes next.
    var pass = 0.0
    private(set) var isPaused = false
    private var pausedSince: Instant?
    var batchSince: Instant
    /// When its first stage of ascent began.
    var searchSince: Instant?
    /// When the search's time is over, while it runs and has a limit.
    var searchEnd: Instant?
    /// Jobs that a worker held when it was lost: each may have been the one that ran. Nothing is given behind them, so that
    /// the next loss tells.
    private var suspects: Set<JobID> = []
    /// Last number and losses of jobs that were tried; gone when they are done.
    var tries: [JobID: Tries] = [:]
    /// Jobs of this batch and the last one that more than one attempt may answer, and those that did.
    private var contested: [JobID: Set<Answer>] = [:]
    /// Up to this batch, attempts may be under way that an earlier life of the coordinator gave out.
    var inherited = -1
    /// Facts of batches that are not planned yet: those of an earlier life, while the plan is made again.
    var recorded: [Int: [Fact]] = [:]
    /// Results that wait for a blob: an attempt's parameters that are still on their way.
    var awaited: [Digest: Awaited] = [:]

    var statistics = StudyStatistics()
    var events: [StudyEvent] = []
    private(set) var watchers: [PeerID] = []
    /// When people may be told again how many items are done.
    var nextProgress = Instant(nanoseconds: .min)
    var ending: StudyEvent.Ending?
    /// How many studies had ended with this one.
    var endNumber = 0

    /// Who answered a job, and with which attempt.
    private struct Answer: Sendable, Hashable {
        var incarnation: Incarnation
        var number: Int
    }

    struct Awaited: Sendable {
        var finished: ToCoordinator.Finished
        var peer: PeerID
    }

    /// An item whose oracle calls are jobs.
    struct Steered: Sendable {
        /// Nil while nobody knows what it asks: facts of an earlier life can come before its course.
        var course: Course?
        /// By the number of the call.
        var answers: [Int: Valuations] = [:]
        /// Its next questions are being computed.
        var isPursued = false

        var isUnderWay: Bool { isPursued || course != nil }

        /// Calls that have no answer yet.
        var missing: [Int] { course?.calls.filter { answers[$0] == nil } ?? [] }
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

    /// Shards grow while they take less than they may, and shrink when they take much more. What a job costs beside its
    /// items is not known, so sizes are compared with time, not divided by it.
    ///
    /// - Parameters:
    ///   - room: how many times as long as it took a job of so many items may take.
    ///   - first: the size of whoever has learned nothing yet.
    mutating func fitShards(of kind: Work.Kind, items: Int, room: Double, first: Int) {
        let size = shardSizes[kind] ?? first
        if room > 2, items >= size {
            shardSizes[kind] = min(1 << 20, size * (room > 16 ? 8 : 2))
        } else if room < 0.5 {
            shardSizes[kind] = max(1, min(size, Int(Double(items) * room)))
        }
    }

    /// When the search's time is over if nothing changes; nil while it has no limit, or stands still.
    var searchDeadline: Instant? { isPaused ? nil : searchEnd }

    /// Pauses it, or lets it go on: the time of its search stands still meanwhile.
    mutating func pause(_ isPaused: Bool, now: Instant) {
        if let since = pausedSince, !isPaused {
            let pause = now - max(since, searchSince ?? since)
            searchSince = searchSince.map { $0 + pause }
            searchEnd = searchEnd.map { $0 + pause }
        }
        self.isPaused = isPaused
        pausedSince = isPaused ? pausedSince ?? now : nil
    }

    /// Whether something waits to be leased, a copy if nothing else.
    var hasWork: Bool {
        batch != nil && ending == nil && !isPaused
            && (!queue.isEmpty || calls.first != nil || urgent.first != nil || stragglers.first != nil)
    }

    /// Forgets how far items had come: they are done.
    mutating func dropCourses(_ items: Range<Int>) {
        guard !courses.isEmpty else { return }
        if items.count == 1 {
            if courses.removeValue(forKey: items.lowerBound)?.isPursued == true { pursued -= 1 }
        } else {
            courses = courses.filter { !items.contains($0.key) }
            pursued = courses.values.count { $0.isPursued }
        }
    }

    /// Whether a job may have killed a worker.
    func isBlamed(_ job: JobID) -> Bool { !suspects.isEmpty && suspects.contains(job) }

    mutating func blame(_ job: JobID, _ isBlamed: Bool = true) {
        if isBlamed { suspects.insert(job) } else if !suspects.isEmpty { suspects.remove(job) }
    }

    /// Notes that a job may be answered by more than one attempt.
    mutating func contest(_ job: JobID) { if contested[job] == nil { contested[job] = [] } }

    /// Notes which attempt's result is taken.
    ///
    /// - Parameter isHeld: whether its worker had the lease.
    mutating func note(_ finished: ToCoordinator.Finished, isHeld: Bool) {
        let job = finished.attempt.job
        guard !isHeld || job.batch <= inherited || contested[job] != nil else { return }
        contested[job, default: []].insert(Answer(incarnation: finished.incarnation, number: finished.attempt.number))
    }

    /// Whether a result that is not needed comes from another attempt than the one that was taken. If nobody knows any more,
    /// it is said to.
    mutating func isAnother(_ finished: ToCoordinator.Finished) -> Bool {
        let job = finished.attempt.job
        guard let answers = contested[job] else { return job.batch < batchNumber - 1 || job.batch <= inherited }
        // Who makes names up shall not fill the memory.
        guard answers.count < 64 else { return false }
        return contested[job]!.insert(Answer(incarnation: finished.incarnation, number: finished.attempt.number))
            .inserted
    }

    /// Forgets what belonged to the batch before.
    mutating func clearBatch() {
        tries = [:]
        contested = contested.filter { $0.key.batch >= batchNumber - 1 }
        suspects = []
        queue = ShardQueue(count: 0)
        isSteered = nil
        courses = [:]
        pursued = 0
        calls = Queue()
        urgent = Queue()
        stragglers = Queue()
    }

    /// The most that are told of it; one more, and whoever asked first must ask again, as watchers do now and then.
    private static let mostWatchers = 64

    mutating func watch(_ peer: PeerID) {
        guard !watchers.contains(peer) else { return }
        watchers.append(peer)
        if watchers.count > Self.mostWatchers { watchers.removeFirst() }
    }

    mutating func unwatch(_ peer: PeerID) { watchers.removeAll { $0 == peer } }

    mutating func record(_ what: StudyEvent.What, now: Instant) -> StudyEvent {
        let event = StudyEvent(number: events.count + 1, at: now - accepted, what: what)
        events.append(event)
        return event
    }

    /// What is to be told of finished items: at most four times a second, and at the end.
    mutating func progress(now: Instant) -> StudyEvent.What? {
        guard let remaining = results?.remaining, remaining == 0 || now >= nextProgress else { return nil }
        guard let count = batch?.count, count > 1 else { return nil }
        nextProgress = now + .milliseconds(250)
        return .progress(phase, done: count - remaining, total: count)
    }

    mutating func enter(_ phase: Phase, now: Instant) {
        statistics.seconds[self.phase, default: .zero] += now - phaseSince
        self.phase = phase
        phaseSince = now
    }
}
