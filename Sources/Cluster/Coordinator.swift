// The coordinator: decides who computes what, and what counts as done.
//
// The problem: workers die, hang, come back and repeat themselves; messages arrive late, twice or never. Keeping track of
// who has been told what, and rolling it back when they fail, has a case for every pair of faults. Here a job's result
// is a pure function of its name, so nothing needs to be rolled back: a job is leased to whoever is idle, leased again
// when its holder is lost, and the first result to come is taken, whoever sends it. Leases make the work end sooner;
// correctness does not rest on them.

package import Regression

package struct Coordinator: Sendable {
    package struct Settings: Sendable, Hashable {
        /// How often workers say that they are alive; less often where there are very many. Whoever misses three is
        /// suspect: what it holds may be given to others.
        package var heartbeat: Duration = .milliseconds(250)
        /// Silence after which a worker is lost and its leases end.
        package var lost: Duration = .seconds(10)
        /// A job whose attempts were lost so often is abandoned.
        package var crashLimit = 3
        /// The most processes at a time; who comes after them is not answered.
        package var maxWorkers = 500
        /// The most seeds per ascent job.
        package var shardSize = 1024
        /// The most inputs per label or prediction job.
        package var rowsPerJob = 32_768
        /// The most items of a job while nobody knows what an item costs.
        package var firstShard = 8
        /// The same where an item calls an oracle, which may take minutes.
        package var firstCalls = 1
        /// What a job is cut to last, in seconds, when that is known.
        package var secondsPerJob = 1.0
        /// Where an oracle call takes so many seconds, each call of an ascent is a job of its own. A job costs about
        /// 0.1 ms.
        package var steeredCost = 0.01
        /// Labels that cost this much each, in seconds, are kept for other studies: a row of the ledger costs about
        /// 10 µs to write and to find.
        package var ledgerCost = 1e-3
        /// Studies that have ended and can still be asked about.
        package var keptStudies = 64
        /// How long a study waits for a worker whose oracle is believed while only others are there.
        package var patience: Duration = .seconds(30)
        /// Where parameters are published.
        package var publisher = ""

        package init() {}
    }

    package enum Event: Sendable {
        // What is large and rare is kept beside, here and in effects: most events are a short job's end.
        /// The first event of a life: its term is one above the last one's, and unfinished studies go on.
        case started
        case received(ToCoordinator, from: PeerID)
        /// A message could not be sent to this peer: it is gone.
        case unreachable(PeerID)
        /// A submission was found good; its study gets this name.
        indirect case validated(ToCoordinator.Submission, StudyID, from: PeerID)
        /// A submission was found wanting.
        indirect case refused(ToCoordinator.Submission, [String], from: PeerID)
        /// A blob that was on its way is complete and is what it claims to be; or it is not.
        case stored(BlobReference)
        case damaged(BlobReference)
        /// The next step of a study's plan, and the plan after it; nil if there is none.
        indirect case planned(StudyID, StudyPlan?, PlanStep)
        /// What the ledger has of a label batch.
        case known(StudyID, batch: Int, [KnownLabels])
        /// An item's course after its answers, and what the ledger has of its next questions, by their place.
        indirect case pursued(StudyID, batch: Int, item: Int, Result<Course, WorkFailure>, [KnownLabels])
        case written(StudyID, files: [StudyEvent.File], incomplete: Bool)
        case tick
    }

    /// Labels of consecutive items of a batch.
    package struct KnownLabels: Sendable {
        package var first: Int
        package var valuations: Valuations

        package init(first: Int, valuations: Valuations) {
            self.first = first
            self.valuations = valuations
        }

        /// One by one, with their places.
        var single: [(place: Int, label: Valuations)] {
            valuations.prices.indices.map { k in
                let errors = valuations.standardErrors.isEmpty ? [] : [valuations.standardErrors[k]]
                return (
                    first + k,
                    Valuations(
                        prices: [valuations.prices[k]], standardErrors: errors, statuses: [valuations.statuses[k]])
                )
            }
        }
    }

    package enum Effect: Sendable {
        /// Keep these for good, with the blobs that they name, before any later message is sent: but for assignments, which
        /// promise nothing and need not wait for the disk.
        case persist([Fact])
        case send(FromCoordinator, to: PeerID)
        /// Publish a version with its bytes, which the store has.
        case publish(StudyID, version: Int, BlobReference)
        /// Check the text of a submission; answer with `validated` or `refused`.
        indirect case validate(ToCoordinator.Submission, from: PeerID)
        /// Compute the first step of a study's plan, or the one after these results; answer with `planned`.
        indirect case begin(StudyID, ToCoordinator.Submission)
        indirect case advance(StudyID, StudyPlan, BatchResults)
        /// Look labels of a batch up in the ledger; answer with `known`.
        indirect case lookUp(StudyID, batch: Int, OracleReference, points: [Double], dimension: Int)
        /// Take an item on its course; answer with `pursued`.
        indirect case pursue(StudyID, batch: Int, Batch, item: Int, Course?, Valuations, asksLedger: Bool)
        /// Make the files of the result; answer with `written`.
        indirect case write(StudyID, StudyOutcome, StudyStatistics)
        /// Keep these bytes.
        case store([UInt8])
        /// Keep a part of a blob; answer with `stored` or `damaged` after its last.
        indirect case accept(BlobChunk)
        /// Send a part of a blob, or say that it is not here.
        indirect case sendBlob(BlobRequest, to: PeerID)
        /// These bytes are not needed any more.
        case forget([Digest])
        /// What has come of these blobs is not needed any more; one that is whole stays, since `stored` follows.
        case dropParts([Digest])
    }

    let settings: Settings
    /// Silence after which a worker is suspect.
    private var suspicion: Duration = .zero
    /// When it ran last, and for how long it did not though it was due: its process was stopped, or its machine slept.
    private var lastStep: Instant?
    private var asleep: Duration = .zero
    var term: UInt64 = 0
    /// Until then a new life gives nothing out: those that worked for the last one come back, and say what they hold.
    private var reunion: Instant?
    var roster = Roster()
    /// Workers that were here lately: their last results may still come.
    var departed: [(incarnation: Incarnation, name: String)] = []
    /// In the order in which they were accepted.
    var runs: [StudyRun] = []
    /// How many have ended.
    private var endings = 0
    /// Good submissions whose attachments are on their way.
    var arriving: [Arrival] = []
    /// Those that are at hand.
    var blobs: Set<Digest> = []
    /// Those that went with the study that ended last.
    var released: Set<Digest> = []
    var pulls: [Digest: Pull] = [:]
    /// Seconds per call that oracles were seen to take.
    var callSeconds: [OracleReference: Average] = [:]
    /// When leases will have lasted too long.
    var overdue: Heap<Overdue> = Heap()
    /// The pass of the study that was served last.
    var virtualTime = 0.0

    struct Overdue: Sendable, Comparable {
        var due: Instant
        var attempt: Attempt
        var holder: Incarnation

        static func < (a: Overdue, b: Overdue) -> Bool { a.due < b.due }
    }
    /// What the first worker that had an oracle said of its test vectors: the others must say the same.
    var testimonies: [OracleReference: Digest] = [:]
    /// Workers whose oracle says something else, for studies that begin.
    var refusals: [(name: String, detail: String)] = []
    /// Those of them that are here.
    var doubts: [OracleReference: Doubt] = [:]

    struct Doubt: Sendable {
        var workers: Set<Incarnation> = []
        /// Since when nobody else has the oracle; nil if somebody does.
        var since: Instant?
    }

    struct Arrival: Sendable {
        var submission: ToCoordinator.Submission
        var study: StudyID
        var peer: PeerID
    }

    /// A blob on its way here.
    struct Pull: Sendable {
        var blob: BlobReference
        var offset: Int
        var peer: PeerID
    }

    /// - Parameter facts: of earlier lives, in order; their state is taken up, and studies go on with `started`.
    package init(settings: Settings, facts: [Fact] = [], at now: Instant = Instant(nanoseconds: 0)) {
        self.settings = settings
        rosterChanged()
        for fact in facts { apply(fact, at: now) }
    }

    /// When `step(.tick)` is due at the latest.
    package var deadline: Instant? { due.map { $0 + asleep } }

    /// The same in its own time.
    private var due: Instant? {
        var due = roster.nextSilence(suspect: suspicion, lost: settings.lost)
        if let time = overdue.first?.due { due = min(due ?? time, time) }
        if let time = reunion { due = min(due ?? time, time) }
        for k in runs.indices {
            if let time = runs[k].searchDeadline { due = min(due ?? time, time) }
            if let time = forsakenAt(k) { due = min(due ?? time, time) }
        }
        return due
    }

    /// Its own time, by which it judges silence and what takes long: of a time in which it did not run though it was due it
    /// counts one heartbeat. What was sent to it meanwhile waits to be read, and nobody was silent.
    private mutating func ownTime(_ time: Instant) -> Instant {
        var now = time - asleep
        if let last = lastStep, last + heartbeat < now, let due, due + heartbeat < now {
            asleep += now - (last + heartbeat)
            now = last + heartbeat
        }
        lastStep = max(now, lastStep ?? now)
        return now
    }

    /// Takes an event and says what to do, in order.
    package mutating func step(_ event: Event, at time: Instant) -> [Effect] {
        let now = ownTime(time)
        var effects: [Effect] = []
        switch event {
        case .started:
            decide([.termBegan(term + 1)], &effects, now)
            for k in runs.indices {
                runs[k].inherited = (runs[k].recorded.keys.max() ?? -1) + 1
                resume(k, &effects, now)
            }
            if term > 1, runs.contains(where: { $0.ending == nil }) {
                reunion = now + max(.seconds(1), heartbeat * 4)
            }
        case .received(let message, let peer): receive(message, peer, &effects, now)
        case .unreachable(let peer): disconnected(peer, &effects, now)
        case .validated(let submission, let study, let peer): validated(submission, study, peer, &effects, now)
        case .refused(let submission, let problems, let peer):
            effects.append(.send(.rejected(.init(token: submission.token, problems: problems)), to: peer))
        case .stored(let blob): stored(blob, &effects, now)
        case .damaged(let blob): pulls[blob.digest] = nil
        case .planned(let study, let plan, let step): planned(study, plan, step, &effects, now)
        case .known(let study, let batch, let labels): known(study, batch, labels, &effects, now)
        case .pursued(let study, let batch, let item, let result, let labels):
            pursued(study, batch, item, result, labels, &effects, now)
        case .written(let study, let files, let incomplete):
            end(study, .done(files: files, incomplete: incomplete), &effects, now)
        case .tick: break
        }
        notice(&effects, now)
        if reunion == nil { dispatch(&effects, now) }
        return effects
    }

    /// What time brings.
    private mutating func notice(_ effects: inout [Effect], _ now: Instant) {
        if let end = reunion, end <= now { reunion = nil }
        for incarnation in roster.suspected(after: suspicion, now: now) { suspect(incarnation) }
        for incarnation in roster.silent(for: settings.lost, now: now) {
            lose(incarnation, cause: "silent for \(settings.lost)", isPlanned: false, &effects, now)
        }
        for k in runs.indices {
            if let end = runs[k].searchDeadline, end <= now { endSearch(k, &effects, now) }
            if let time = forsakenAt(k), time <= now { forsake(k, &effects, now) }
        }
        noteOverdue(now)
    }

    /// Whoever has come or gone: where there are many, each says less often that he is there.
    mutating func rosterChanged() { suspicion = min(settings.lost, heartbeat * 3) }

    /// How often workers are asked to say that they are alive.
    var heartbeat: Duration { max(settings.heartbeat, .milliseconds(roster.count)) }

    /// Persists facts and makes them so.
    mutating func decide(_ facts: [Fact], _ effects: inout [Effect], _ now: Instant) {
        effects.append(.persist(facts))
        for fact in facts { apply(fact, at: now) }
    }

    /// The only writer of durable state. A fact that fits nothing any more (of a study that has ended) changes nothing.
    package mutating func apply(_ fact: Fact, at now: Instant) {
        switch fact {
        case .termBegan(let term): self.term = term
        case .studyAccepted(let id, let submission):
            runs.append(StudyRun(id: id, submission: submission, accepted: now))
            blobs.formUnion(submission.attachments.map(\.blob.digest))
        case .itemsCompleted(let job, let result):
            if case .trained(let parameters, _) = result {
                blobs.insert(parameters.digest)
                withRun(job.study) { $0.blobs.insert(parameters.digest) }
            }
            withRun(of: job, fact) { run in
                if let call = job.call {
                    guard run.results?.isOpen(job.items) == true, case .labels(let answer) = result else { return }
                    run.courses[job.items.lowerBound, default: .init()].answers[call] = answer
                } else {
                    guard run.results?.record(job.items, result) == true else { return }
                    run.dropCourses(job.items)
                }
                run.statistics.jobs += 1
                run.tries[job] = nil
                run.blame(job, false)
            }
        case .labelsPaid: break
        case .attemptLost(let attempt, let cause):
            withRun(of: attempt.job, fact) { run in
                run.tries[attempt.job, default: .init()].number = max(
                    attempt.number, run.tries[attempt.job]?.number ?? 0)
                guard run.tries[attempt.job]!.lost.insert(attempt.number).inserted else { return }
                run.tries[attempt.job]!.losses.append(cause)
            }
        case .jobAbandoned(let job, let reason):
            withRun(of: job, fact) { run in
                run.results?.abandon(job.items, reason: reason)
                run.dropCourses(job.items)
                run.tries[job] = nil
                run.statistics.abandoned += 1
            }
        case .studyPaused(let id, let isPaused): withRun(id) { $0.pause(isPaused, now: now) }
        case .studyEnded(let id, let ending):
            var old: Set<Digest> = []
            endings += 1
            let number = endings
            withRun(id) { run in
                old = run.blobs
                run.ending = ending
                run.endNumber = number
                run.plan = nil
                run.batch = nil
                run.searchEnd = nil
                run.results = nil
                run.clearBatch()
                run.awaited = [:]
                run.recorded = [:]
                run.blobs = ending.blobs
            }
            // In the order in which they ended, not in that of their beginnings: whoever waited for this one shall find it.
            let ended = runs.filter { $0.ending != nil }.sorted { $0.endNumber < $1.endNumber }
            for run in ended.dropLast(settings.keptStudies) {
                old.formUnion(run.blobs)
                runs.removeAll { $0.id == run.id }
            }
            // What only this study needed, and what went with the studies that are too old to be kept.
            let needed = runs.reduce(into: ending.blobs) { $0.formUnion($1.blobs) }
            released = old.subtracting(needed).subtracting(
                arriving.flatMap { $0.submission.attachments.map(\.blob.digest) })
            blobs.formUnion(ending.blobs)
            blobs.subtract(released)
        }
    }

    /// Changes the run that a job belongs to, if its batch is the current one. What was decided of a later batch, in an
    /// earlier life, is applied when the plan has come there.
    private mutating func withRun(of job: JobID, _ fact: Fact, _ body: (inout StudyRun) -> Void) {
        withRun(job.study) { run in
            if job.batch == run.batchNumber {
                body(&run)
            } else if job.batch > run.batchNumber, run.ending == nil {
                run.recorded[job.batch, default: []].append(fact)
            }
        }
    }

    /// By position: a run is large, and copying one costs more than most messages do.
    func index(_ study: StudyID) -> Int? {
        var k = runs.count - 1
        while k >= 0, runs[k].id != study { k -= 1 }
        return k < 0 ? nil : k
    }

    mutating func withRun(_ study: StudyID, _ body: (inout StudyRun) -> Void) {
        if let k = index(study) { body(&runs[k]) }
    }

    private mutating func receive(_ message: ToCoordinator, _ peer: PeerID, _ effects: inout [Effect], _ now: Instant) {
        switch message {
        case .hello(let hello): greet(hello, peer, &effects, now)
        case .heartbeat(let heartbeat): heartbeatReceived(heartbeat, peer, &effects, now)
        case .finished(let finished): self.finished(finished, peer, &effects, now)
        case .results(let list): for finished in list { self.finished(finished, peer, &effects, now) }
        case .progress(let progress): progressReceived(progress, peer, &effects, now)
        case .goodbye(let incarnation):
            guard roster.incarnation(of: peer) == incarnation else { return }
            lose(incarnation, cause: "left", isPlanned: true, &effects, now)
        case .exited(let exit): lose(exit.incarnation, cause: exit.cause, isPlanned: false, &effects, now)
        case .submit(let submission): submitted(submission, peer, &effects)
        case .watch(let watch): watched(watch, peer, &effects)
        case .cancelStudy(let study):
            end(study, .cancelled, &effects, now)
            effects.append(.send(.studies(summaries), to: peer))
        case .pauseStudy(let study, let isPaused): pause(study, isPaused, peer, &effects, now)
        case .listStudies: effects.append(.send(.studies(summaries), to: peer))
        case .want(let request): effects.append(.sendBlob(request, to: peer))
        case .blob(let chunk): chunkReceived(chunk, peer, &effects)
        }
    }

    // MARK: Blobs on their way here

    mutating func pull(_ blob: BlobReference, from peer: PeerID, _ effects: inout [Effect]) {
        // Asked again (by a result that was sent again, say), it goes on from where it stands: an answer may have been
        // lost. Were it to start over, what takes longer than the time between two wishes would never arrive.
        if pulls[blob.digest]?.peer != peer || pulls[blob.digest]?.blob != blob {
            pulls[blob.digest] = Pull(blob: blob, offset: 0, peer: peer)
        }
        effects.append(.send(.want(BlobRequest(blob: blob, offset: pulls[blob.digest]!.offset)), to: peer))
    }

    /// Gives up blobs on their way here, and what has come of them.
    mutating func dropPulls(_ digests: [Digest], _ effects: inout [Effect]) {
        let dropped = digests.filter { pulls.removeValue(forKey: $0) != nil }
        if !dropped.isEmpty { effects.append(.dropParts(dropped.sorted())) }
    }

    private mutating func chunkReceived(_ chunk: BlobChunk, _ peer: PeerID, _ effects: inout [Effect]) {
        guard var pull = pulls[chunk.blob.digest], pull.peer == peer, pull.blob == chunk.blob,
            pull.offset == chunk.offset, !chunk.bytes.isEmpty, chunk.bytes.count <= pull.blob.size - pull.offset
        else { return }
        pull.offset += chunk.bytes.count
        pulls[chunk.blob.digest] = pull
        effects.append(.accept(chunk))
        if pull.offset < pull.blob.size {
            effects.append(.send(.want(BlobRequest(blob: pull.blob, offset: pull.offset)), to: peer))
        }
    }

    private mutating func stored(_ blob: BlobReference, _ effects: inout [Effect], _ now: Instant) {
        blobs.insert(blob.digest)
        pulls[blob.digest] = nil
        for k in runs.indices {
            if let awaited = runs[k].awaited.removeValue(forKey: blob.digest) {
                complete(awaited.finished, awaited.peer, &effects, now)
            }
        }
        for arrival in arriving { acceptIfWhole(arrival, &effects, now) }
    }

    /// Whether the state holds together. Called after every step in simulations.
    package func checkInvariants() {
        roster.checkInvariants()
        for k in runs.indices where runs[k].ending == nil && (runs[k].results?.remaining ?? 0) > 0 {
            precondition(
                runs[k].queue.waiting > 0 || !runs[k].awaited.isEmpty || runs[k].awaitsLedger
                    || runs[k].calls.first != nil || runs[k].pursued > 0
                    || roster.holdsAny(of: runs[k].id, batch: runs[k].batchNumber),
                "study \(runs[k].id) waits for items that nobody has")
        }
    }
}
