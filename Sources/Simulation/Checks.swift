// What must be true of a cluster, whatever goes wrong.

internal import Cluster
internal import Regression

/// Something that must not be.
package struct Divergence: Sendable {
    package enum Kind: String, Sendable {
        /// Another answer than the one-process run's, than the facts', or than another client's.
        case equality
        /// An item that was completed twice, an attempt that was lost twice, an abandonment without a reason.
        case ledger
        /// Something was acknowledged before it was persisted.
        case order
        /// A queue or a message grew beyond its bound.
        case bounds
        /// It did not end after the faults did.
        case noEnd
        case livelock
        /// Something is still held when all is done.
        case leak
        /// A message that the codec writes and does not read.
        case codec
        case invariant
    }

    package let kind: Kind
    package let text: String
    /// The job that it is about, if it is about one.
    package let job: String?
}

/// Watches a world, and judges it when it has come to its end.
struct Checks {
    private(set) var divergence: Divergence?
    private let schedule: Schedule

    private var facts: [StudyID: [Fact]] = [:]
    private var tokens: [UInt64: StudyID] = [:]
    private var studies: [StudyID] = []
    private var closed: [StudyID: [Int: Set<Int>]] = [:]
    private var completed: [StudyID: [Int: Set<Int>]] = [:]
    /// Jobs that were completed, and studies that lost attempts.
    private var answered: Set<JobID> = []
    private var losers: Set<StudyID> = []
    private var ended: [StudyID: StudyEvent.Ending] = [:]
    private var lost: [JobID: [Attempt]] = [:]
    private var assigned: [JobID: Set<Int>] = [:]
    private var jobs: [JobID] = []
    private var failed: Set<JobID> = []
    private var running: [StudyID: Int] = [:]
    private var hasRestarted = false
    private var statistics: [StudyID: StudyStatistics] = [:]
    /// Oracle calls that workers made, per study, and those in facts.
    private var made: [StudyID: Int] = [:]
    private var counted: [StudyID: Int] = [:]

    init(_ schedule: Schedule) { self.schedule = schedule }

    /// Notes what must not be; the first counts.
    mutating func diverge(_ kind: Divergence.Kind, _ text: String, _ job: JobID? = nil) {
        if divergence == nil { divergence = Divergence(kind: kind, text: text, job: job.map { "\($0)" }) }
    }

    // MARK: While it runs

    mutating func persisted(_ fact: Fact) {
        switch fact {
        case .termBegan, .labelsPaid, .studyPaused: break
        case .studyAccepted(let id, let submission):
            let token = submission.token
            if tokens[token] != nil { diverge(.ledger, "token \(token) was accepted twice") }
            tokens[token] = id
            studies.append(id)
            facts[id] = []
        case .itemsCompleted(let job, let result):
            note(fact, of: job.study)
            if !answered.insert(job).inserted { diverge(.ledger, "a job was completed twice", job) }
            if job.call != nil { return }
            let items = Set(job.items)
            // Another life of the coordinator may cut jobs differently, and so may this one once an attempt was lost:
            // what workers still hold can overlap.
            if !hasRestarted, !losers.contains(job.study),
                !completed[job.study, default: [:]][job.batch, default: []].isDisjoint(with: items)
            {
                diverge(.ledger, "items were completed twice", job)
            }
            completed[job.study, default: [:]][job.batch, default: []].formUnion(items)
            closed[job.study, default: [:]][job.batch, default: []].formUnion(items)
            counted[job.study, default: 0] += result.calls
        case .attemptLost(let attempt, let cause):
            note(fact, of: attempt.job.study)
            if lost[attempt.job]?.contains(attempt) == true {
                diverge(.ledger, "\(attempt) was lost twice", attempt.job)
            }
            lost[attempt.job, default: []].append(attempt)
            losers.insert(attempt.job.study)
            if cause.hasSuffix(": left") { diverge(.ledger, "\(attempt) counts as lost, its worker left", attempt.job) }
            if cause == "a lie" { diverge(.ledger, "a stranger's word counts against \(attempt)", attempt.job) }
        case .jobAbandoned(let job, let reason):
            note(fact, of: job.study)
            closed[job.study, default: [:]][job.batch, default: []].formUnion(job.items)
            let losses = lost[job]?.count ?? 0
            if !isFinal(reason), !reason.contains("wall-clock"), losses < schedule.settings.crashLimit {
                diverge(.ledger, "\(job) was abandoned after \(losses) losses: \(reason)", job)
            }
        case .studyEnded(let id, let ending):
            if ended[id] != nil { diverge(.ledger, "study \(id) ended twice") }
            ended[id] = ending
        }
    }

    private mutating func note(_ fact: Fact, of study: StudyID) {
        if ended[study] != nil { diverge(.ledger, "a fact of study \(study) after its end") }
        facts[study, default: []].append(fact)
    }

    /// Whether an abandonment says that trying again would not help.
    private func isFinal(_ reason: String) -> Bool {
        !reason.contains("attempts were lost") && !reason.contains("wall-clock")
    }

    mutating func sends(_ message: FromCoordinator, _ world: World) {
        switch message {
        case .assignments, .acknowledgements, .cancellations: for part in message.parts { sends(part, world) }
        case .acknowledge(let attempt):
            // What is acknowledged is forgotten by its worker: it must be in the store, or be wanted no more.
            let job = attempt.job
            guard ended[job.study] == nil, tokens.values.contains(job.study), !failed.contains(job),
                assigned[job] != nil,
                job.batch == running[job.study]
            else { return }
            if !answered.contains(job), closed[job.study]?[job.batch]?.isSuperset(of: job.items) != true {
                diverge(.order, "\(attempt) is acknowledged and not persisted", job)
            }
        case .assign(let assignment):
            let job = assignment.attempt.job
            if assigned[job] == nil { jobs.append(job) }
            if !assigned[job, default: []].insert(assignment.attempt.number).inserted {
                diverge(.ledger, "\(assignment.attempt) is assigned twice", job)
            }
            running[job.study] = job.batch
        default: break
        }
    }

    /// Effects of one step of the coordinator.
    mutating func stepped(_ effects: [Coordinator.Effect]) {
        var causes: Set<String> = []
        for effect in effects {
            guard case .persist(let facts) = effect else { continue }
            for fact in facts {
                guard case .attemptLost(let attempt, let cause) = fact, cause.contains(": ") else { continue }
                // Of what a lost worker held, only the job that ran can have killed it.
                if !causes.insert(cause).inserted { diverge(.ledger, "two jobs are blamed for \(cause)", attempt.job) }
            }
        }
    }

    /// Numbers of attempts that were under way are not durable: those of the next life start behind the last lost one.
    mutating func coordinatorDied() {
        hasRestarted = true
        assigned = [:]
    }

    mutating func arrives(_ message: ToCoordinator) {
        if case .results(let list) = message { for finished in list { arrives(.finished(finished)) } }
        if case .finished(let finished) = message {
            let isMisfit =
                switch finished.outcome {
                case .failure: true
                case .success: schedule.faults.misfit > 0 || schedule.faults.forge > 0
                }
            if isMisfit { failed.insert(finished.attempt.job) }
        }
    }

    /// The canary's way to disable the check of the batch.
    mutating func forgetBatch(_ message: inout ToCoordinator) {
        if case .finished(var finished) = message, let batch = running[finished.attempt.job.study] {
            finished.attempt.job.batch = batch
            message = .finished(finished)
        }
    }

    mutating func holds(_ held: [Attempt], _ process: Process) {
        process.lastHeld = held
        if held.count > 4 * (schedule.slots + schedule.prefetch) + 16 {
            diverge(.bounds, "\(process.name) holds \(held.count) attempts", held.last?.job)
        }
    }

    mutating func performed(_ attempt: Attempt, _ outcome: ToCoordinator.Outcome) {
        if case .success(let result) = outcome { made[attempt.job.study, default: 0] += result.calls }
    }

    mutating func writes(_ study: StudyID, _ statistics: StudyStatistics) { self.statistics[study] = statistics }

    func someJob(_ dice: inout RandomStream) -> JobID? { jobs.isEmpty ? nil : jobs[dice.below(jobs.count)] }

    // MARK: At the end

    mutating func conclude(_ world: World) {
        for client in world.clients {
            guard let study = client.study, let answer = client.answer else {
                return diverge(.noEnd, client.words)
            }
            guard let ending = ended[study] else {
                return diverge(.order, "study \(study) has ended and no fact says so")
            }
            let facts = self.facts[study] ?? []
            let expected: Client.Answer
            if case .cancelled = ending {
                expected = .cancelled
            } else {
                let index = client.request.study
                guard let replayed = world.laboratory.replay(index, facts) else {
                    return diverge(.equality, "the facts of study \(study) (\(index)) do not lead to its end")
                }
                let reference = world.laboratory.reference(index, losses(facts))
                guard replayed == reference else {
                    return diverge(
                        .equality,
                        "study \(study) (\(index)): the facts say \(words(replayed)), one process says \(words(reference))"
                    )
                }
                switch reference {
                case .done(let bytes): expected = .done(bytes)
                case .failed(let reason): expected = .failed(reason)
                }
            }
            if answer != expected {
                return diverge(
                    .equality,
                    "client-\(client.number), study \(study) (\(client.request.study)): got \(words(answer)), "
                        + "should be \(words(expected))")
            }
            checkStatistics(study, facts)
        }
    }

    private mutating func checkStatistics(_ study: StudyID, _ facts: [Fact]) {
        // A coordinator's later life counts anew.
        guard let statistics = statistics[study], !hasRestarted
        else { return }
        let jobs = facts.count { if case .itemsCompleted = $0 { true } else { false } }
        let abandoned = facts.count { if case .jobAbandoned = $0 { true } else { false } }
        if statistics.jobs != jobs || statistics.abandoned != abandoned {
            diverge(
                .ledger,
                "study \(study): \(statistics.jobs) jobs, \(statistics.abandoned) abandoned; the facts have "
                    + "\(jobs) and \(abandoned)")
        }
        if statistics.copiesWon > statistics.copies {
            diverge(
                .ledger,
                "study \(study): \(statistics.copiesWon) second attempts came first, of \(statistics.copies) that there were"
            )
        }
        // In a good world each call is made once, and counts once; but for second attempts at what took long.
        let (made, counted) = (made[study] ?? 0, (counted[study] ?? 0) - statistics.reusedCalls)
        if schedule.faults == Faults(lastingLike: schedule.faults),
            !facts.contains(where: { if case .jobAbandoned = $0 { true } else { false } }),
            statistics.copies == 0 ? made != counted : made < counted
        {
            diverge(.ledger, "study \(study): \(made) oracle calls were made and \(counted) count")
        }
    }

    /// What was given up for good reasons, as a one-process run must be told.
    private func losses(_ facts: [Fact]) -> Laboratory.Losses {
        var losses: Laboratory.Losses = [:]
        var closed: [Int: Set<Int>] = [:]
        for fact in facts {
            switch fact {
            case .itemsCompleted(let job, _) where job.call == nil:
                closed[job.batch, default: []].formUnion(job.items)
            case .jobAbandoned(let job, let reason) where !isFinal(reason):
                // Of a search whose time is over, only what was not done yet.
                let open = job.items.filter { closed[job.batch]?.contains($0) != true }
                losses[job.batch, default: ([], [])].reasons.append(.init(items: job.items, reason: reason))
                losses[job.batch]!.items.formUnion(open)
                closed[job.batch, default: []].formUnion(open)
            default: break
            }
        }
        return losses
    }

    private func words(_ ending: Laboratory.Ending) -> String {
        switch ending {
        case .done(let bytes): "\(bytes.count) bytes \(Digest(of: bytes).description.prefix(8))"
        case .failed(let reason): "failed: \(reason)"
        }
    }

    private func words(_ answer: Client.Answer) -> String {
        switch answer {
        case .done(let bytes): words(.done(bytes) as Laboratory.Ending)
        case .failed(let reason): words(.failed(reason) as Laboratory.Ending)
        case .cancelled: "cancelled"
        }
    }
}

extension Faults {
    /// No faults, for as long as others last.
    fileprivate init(lastingLike other: Faults) {
        self.init()
        lasting = other.lasting
    }
}

extension WorkResult {
    /// Oracle calls that it took.
    fileprivate var calls: Int {
        switch self {
        case .maximizers(_, let calls), .gains(_, let calls): calls.reduce(0, +)
        case .labels(let valuations): valuations.prices.count
        case .trained, .predictions: 0
        }
    }
}
