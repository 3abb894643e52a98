import Cluster
import Foundation
import Pricing
import Regression
import Testing
import Wire

/// The first promise: the answer of the one-process run, whatever the workers, the shards, and what went wrong.
@Suite struct SameAnswerTests {
    private static let study = smallStudy()
    private static let expected = Essence(try! alone(study).get())

    @Test(arguments: [1, 2, 5], [1, 7, 64, 10_000]) func forAnyWorkersAndShards(_ workers: Int, _ shardSize: Int) {
        var settings = Coordinator.Settings()
        settings.shardSize = shardSize
        settings.rowsPerJob = 3 * shardSize
        let world = World(workers: workers, settings: settings)
        #expect(world.run(Self.study))
        #expect(world.outcome.map(Essence.init) == Self.expected)
        #expect(world.statistics?.abandoned == 0)
        let losses = world.facts.compactMap { fact -> String? in
            if case .attemptLost(let attempt, let cause) = fact { "\(attempt): \(cause)" } else { nil }
        }
        #expect(losses == [])
    }

    @Test(arguments: 0..<25) func underFaults(_ seed: Int) {
        var settings = Coordinator.Settings()
        settings.shardSize = 9
        settings.rowsPerJob = 200
        settings.firstCalls = 8
        settings.crashLimit = 1000
        let world = World(
            workers: 3, settings: settings,
            faults: .init(
                drop: seed % 5 == 0 ? 0 : 0.08, duplicate: 0.1, delay: .milliseconds(400), reorder: seed % 2 == 0,
                crash: seed % 3 == 0 ? 0.15 : 0, hang: seed % 4 == 0 ? 0.1 : 0),
            seed: UInt64(seed))
        #expect(world.run(Self.study), "seed \(seed): no end")
        #expect(world.outcome.map(Essence.init) == Self.expected, "seed \(seed)")
    }

    @Test func theSmallStudyHasSomethingToSay() {
        // Guards against a study in which everything is trivially equal.
        let essence = Self.expected
        #expect(essence.maximizers.count > 10 && essence.variants.count == 2 && essence.parameters.count == 3)
        #expect(essence.flagged.count > 0 && essence.suspicious.contains(true))
        #expect(Set(essence.parameters).count == 3)
        #expect(try! alone(smallStudy { $0.randomSeed = 4 }).get().maximizers != essence.maximizers)
    }

    @Test(arguments: Study.Action.allCases) func forEveryAction(_ action: Study.Action) throws {
        let study = smallStudy { $0.mitigation.action = action }
        let expected = try alone(study).get()
        let world = World(workers: 2)
        #expect(world.run(study))
        #expect(world.outcome.map(Essence.init) == Essence(expected))
        switch action {
        case .none: #expect(expected.chosen == nil && expected.flagged.isEmpty)
        case .verify, .relabel:
            #expect(expected.flagged.allSatisfy { $0.reason == .wrongLabel && $0.label != nil })
        case .purge: #expect(expected.flagged.allSatisfy { $0.reason == .overfull && $0.label == nil })
        }
        // No base sample has another label than it had; wrong ones are corrected to the truth.
        for sample in expected.flagged where expected.origins[sample.row] != .mislabelled {
            if let label = sample.label { #expect(abs(label - expected.training.labels[sample.row]) < 1e-9) }
        }
    }
}

@Suite struct CoordinatorTests {
    @Test func aJobThatKillsItsWorkersIsAbandonedAndNamed() throws {
        // Whoever climbs from the very first seed dies; the others give their results all the same.
        let study = smallStudy()
        let first = try alone(study).get()
        var settings = Coordinator.Settings()
        settings.shardSize = 4
        settings.steeredCost = .infinity
        let world = World(workers: 2, settings: settings)
        var poison: [Double]?
        world.murder = { work, _ in
            guard case .ascend(_, _, let stage, let seeds) = work, stage.steps == 12 else { return false }
            if poison == nil { poison = Array(seeds.prefix(5)) }
            return Array(seeds.prefix(5)) == poison
        }
        #expect(world.run(study))
        let outcome = try #require(world.outcome)
        // A result that is still on its way when its worker dies looks like the job that ran: one death may be blamed on
        // the job before.
        #expect((3...5).contains(world.deaths) && world.statistics?.abandoned == 1)
        #expect(outcome.incomplete.count == 1, "\(outcome.incomplete) \(world.deaths)")
        #expect(outcome.incomplete[0].contains("signal 9") && outcome.incomplete[0].contains("3 attempts"))
        #expect(outcome.maximizers.count > 0 && outcome.maximizers.count <= first.maximizers.count)
    }

    @Test func aStudyThatCannotDoWithoutAnAbandonedJobFails() {
        let world = World(workers: 2)
        world.murder = { work, _ in if case .label = work { true } else { false } }
        #expect(world.run(smallStudy()))
        #expect(world.failure?.contains("label") == true && world.failure?.contains("3 attempts were lost") == true)
    }

    @Test func aFailureThatWouldRepeatIsNotRepeated() {
        let study = smallStudy {
            $0.training = TrainingSettings(
                optimizer: .sgd(momentum: 0.9), batch: .rows(8), epochs: 20, learningRate: 900, schedule: .constant)
        }
        let world = World(workers: 1)
        #expect(world.run(study))
        #expect(world.failure?.contains("diverged") == true, "\(world.failure ?? "none")")
        #expect(world.facts.count { if case .attemptLost = $0 { true } else { false } } == 0)
    }

    @Test func resultsThatDoNotFitAreRefused() {
        let world = World(workers: 2)
        world.corrupt = { result, _ in
            if case .predictions(let numbers) = result { return .predictions(Array(numbers.dropLast())) }
            return result
        }
        #expect(world.run(smallStudy()))
        #expect(world.failure?.contains("does not fit") == true, "\(world.failure ?? "none")")
    }

    /// Its plug-in has changed, or its licence is gone: it fails at once and would take one job after another, until each is
    /// given up.
    @Test func aWorkerThatAlwaysFailsSpoilsNothing() throws {
        let study = smallStudy()
        var settings = Coordinator.Settings()
        settings.rowsPerJob = 4
        let world = World(workers: 2, settings: settings)
        world.cost = { work, name in
            guard case .label = work else { return .milliseconds(1) }
            return name == "worker-0" ? .zero : .milliseconds(200)
        }
        world.corrupt = { result, name in
            if name == "worker-0", case .labels = result { .predictions([1]) } else { result }
        }
        #expect(world.run(study))
        #expect(world.outcome.map(Essence.init) == Essence(try alone(study).get()), "\(world.failure ?? "")")
        // It is tried again after rests of up to ten seconds, in vain.
        let statistics = try #require(world.statistics)
        #expect(statistics.abandoned == 0 && (3...100).contains(statistics.reassigned), "\(statistics)")
    }

    /// The put, but for inputs whose second one lies high: there it has no price.
    private struct Patchy: Oracle {
        let put = DownAndOutPut()
        let limit: Double
        var descriptor: OracleDescriptor { put.descriptor }

        func evaluate(_ points: [Double], gradient: Bool) -> Valuations {
            var given = put.evaluate(points, gradient: gradient)
            for k in given.prices.indices where points[5 * k + 1] > limit {
                given.prices[k] = .nan
                given.statuses[k] = .nonFinite
            }
            return given
        }
    }

    /// Samples without a price are left out and named, up to a hundred of them; without any the study fails.
    @Test func aSampleWithoutAPriceCostsTheSample() throws {
        let study = smallStudy { $0.attack = nil }
        let whole = try alone(study).get()
        let second = DownAndOutPut().descriptor.inputs[1]
        func limit(_ share: Double) -> Double { second.lower + share * (second.upper - second.lower) }
        for share in [0.95, 0.5] {
            let outcome = try alone(study, oracles: [Patchy(limit: limit(share))]).get()
            let expected = (0..<whole.training.count).filter {
                study.domain.raw(rows: Array(whole.training.input($0)))[1] <= limit(share)
            }
            #expect(outcome.training == whole.training.rows(expected), "\(share)")
            #expect(outcome.origins.count == expected.count && expected.count < 700)
            let named = outcome.incomplete.filter { $0.hasPrefix("label: the oracle has no price (nonFinite) at ") }
            #expect(named.first?.contains("\(second.name) ") == true, "\(outcome.incomplete)")
            let rest = outcome.incomplete.last!.split(separator: " ").compactMap { Int($0) }.first ?? 0
            #expect(share > 0.9 ? named.count >= 700 - expected.count : named.count == 100 && rest > 0)
        }
        let nothing = alone(study, oracles: [Patchy(limit: -1)])
        #expect(throws: WorkFailure.self) { try nothing.get() }
        if case .failure(let failure) = nothing {
            #expect(failure.description.contains("no price for any training sample"), "\(failure)")
        }
    }

    @Test func budgetsEndASearchCleanly() throws {
        let budget = smallStudy { $0.search.oracleCalls = 200 }
        let outcome = try alone(budget).get()
        #expect(outcome.oracleCalls.search <= 200 && outcome.seeds < outcome.seedsAsked)
        #expect(outcome.incomplete.contains { $0.contains("budget of 200 oracle calls") })
        let world = World(workers: 3)
        #expect(world.run(budget))
        #expect(world.outcome.map(Essence.init) == Essence(outcome))

        var settings = Coordinator.Settings()
        settings.shardSize = 2
        settings.steeredCost = .infinity
        let slow = World(workers: 1, settings: settings)
        #expect(slow.run(smallStudy { $0.search.wallClock = .seconds(1) }))
        #expect(slow.outcome?.incomplete.contains { $0.contains("wall-clock") } == true)
        #expect(slow.outcome.map { $0.maximizers.count > 0 } == true)
    }

    @Test func attachedFilesAreUsed() throws {
        var stream = RandomStream(seed: 1, purpose: .other)
        let study = smallStudy {
            $0.data = .attached(test: 50)
            $0.surrogate = .attached
            $0.search.seeds = .attached
            $0.attack = nil
        }
        let inputs = try study.domain.sample(200, from: &stream)
        let samples = Samples(dimension: 5, inputs: inputs, labels: (0..<200).map { Double($0) })
        let model = Surrogate(dimension: 5, hidden: [6], randomSeed: 8)
        let seeds = Samples(
            dimension: 5, inputs: try study.domain.sample(20, from: &stream), labels: [Double](repeating: 0, count: 20))
        let expected = try alone(
            study, StudyAttachments(training: samples, model: model, seeds: seeds.inputs)
        ).get()
        #expect(expected.seeds == 20 && expected.training == samples && expected.oracleCalls.training == 0)
        let world = World(workers: 2)
        let parts: [(ToCoordinator.Attachment.Part, [UInt8])] = [
            (.training, samples.encoded), (.model, model.safetensors()), (.seeds, seeds.encoded),
        ]
        #expect(world.run(study, attachments: parts.map { (.init(part: $0, blob: BlobReference(to: $1)), $1) }))
        #expect(world.outcome.map(Essence.init) == Essence(expected))
    }

    // MARK: By hand

    private let peer = PeerID(7)
    private let start = Instant(nanoseconds: 0)

    private func hello(_ incarnation: UInt64, held: [Attempt] = [], credit: Int = 2) -> ToCoordinator {
        .hello(
            .init(
                incarnation: Incarnation(incarnation), role: .worker, name: "w\(incarnation)", processID: 1,
                slots: credit, credit: credit,
                oracles: [OracleReference(name: "downAndOutPut", fingerprint: "downAndOutPut/1")],
                numerics: "test", held: held))
    }

    private func messages(_ effects: [Coordinator.Effect], to peer: PeerID) -> [FromCoordinator] {
        effects.compactMap { if case .send(let message, peer) = $0 { message } else { nil } }
    }

    private func assignments(_ effects: [Coordinator.Effect], to peer: PeerID) -> [FromCoordinator.Assignment] {
        messages(effects, to: peer).compactMap { if case .assign(let assignment) = $0 { assignment } else { nil } }
    }

    /// A coordinator with one study whose first batch is 1000 labels.
    private func labelling(crashLimit: Int = 3, maxWorkers: Int = 500, rowsPerJob: Int = 100) -> (
        CoordinatorBox, StudyID
    ) {
        var settings = Coordinator.Settings()
        settings.maxWorkers = maxWorkers
        settings.crashLimit = crashLimit
        settings.rowsPerJob = rowsPerJob
        settings.firstShard = 100
        settings.firstCalls = 100
        let coordinator = CoordinatorBox(settings: settings)
        _ = coordinator.step(.started, at: start)
        let study = StudyID(9)
        let submission = ToCoordinator.Submission(token: 1, study: "", attachments: [])
        _ = coordinator.step(.validated(submission, study, from: PeerID(99)), at: start)
        let batch = Batch(
            .label(
                OracleReference(name: "downAndOutPut", fingerprint: "downAndOutPut/1"),
                points: [Double](repeating: 0.5, count: 5000)),
            dimension: 5)
        let plan = StudyPlan(
            study: smallStudy(),
            descriptor: .init(
                name: "downAndOutPut", version: "1", summary: "", citation: "", inputs: [], providesGradient: true),
            attachments: .init())
        _ = coordinator.step(.planned(study, plan, PlanStep(next: .batch(batch), phase: .label)), at: start)
        _ = coordinator.step(.known(study, batch: 0, []), at: start)
        return (coordinator, study)
    }

    private func result(_ attempt: Attempt, from incarnation: UInt64) -> ToCoordinator {
        let count = attempt.job.items.count
        return .finished(
            .init(
                incarnation: Incarnation(incarnation), attempt: attempt, duration: .milliseconds(1),
                outcome: .success(.labels(Valuations(prices: [Double](repeating: 1, count: count))))))
    }

    @Test func helloIsAnsweredAndFilledUpToTheCredit() {
        let (coordinator, _) = labelling()
        let effects = coordinator.step(.received(hello(1, credit: 3), from: peer), at: start)
        guard case .welcome(let welcome)? = messages(effects, to: peer).first else {
            Issue.record("no welcome")
            return
        }
        #expect(welcome.term == 1)
        let jobs = assignments(effects, to: peer)
        #expect(jobs.count == 3 && jobs.allSatisfy { $0.attempt.number == 1 })
        #expect(Set(jobs.map(\.attempt.job)).count == 3)
        // No credit, no work.
        #expect(assignments(coordinator.step(.tick, at: start), to: peer).isEmpty)
    }

    /// Or the ledger would not say who has priced a label.
    @Test func labelsOfAnUnknownWorkerWaitForItsName() {
        let (coordinator, study) = labelling()
        let attempt = Attempt(job: JobID(study: study, batch: 0, items: 0..<100), number: 1)
        let first = coordinator.step(.received(result(attempt, from: 1), from: peer), at: start)
        #expect(messages(first, to: peer) == [.unknownPeer])
        _ = coordinator.step(.received(hello(1, held: [attempt]), from: peer), at: start)
        let second = coordinator.step(.received(result(attempt, from: 1), from: peer), at: start)
        #expect(messages(second, to: peer).contains(.acknowledge(attempt)))
        // One that has been here and is gone is known by name.
        let (other, sameStudy) = labelling()
        let jobs = assignments(other.step(.received(hello(1), from: peer), at: start), to: peer)
        #expect(jobs.first?.attempt.job.study == sameStudy)
        _ = other.step(.unreachable(peer), at: start)
        let late = other.step(.received(result(jobs[0].attempt, from: 1), from: peer), at: start)
        #expect(messages(late, to: peer).contains(.acknowledge(jobs[0].attempt)))
    }

    @Test func theShellPersistsBeforeItAcknowledges() {
        let (coordinator, _) = labelling()
        let job = assignments(coordinator.step(.received(hello(1), from: peer), at: start), to: peer)[0].attempt
        let effects = coordinator.step(.received(result(job, from: 1), from: peer), at: start)
        let persist = effects.firstIndex { if case .persist = $0 { true } else { false } }
        let acknowledge = effects.firstIndex { if case .send(.acknowledge(job), peer) = $0 { true } else { false } }
        #expect(persist != nil && acknowledge != nil && persist! < acknowledge!)
    }

    @Test func aLostWorkersJobsGoToTheFrontAndOnlyTheRunningOneCounts() {
        let (coordinator, _) = labelling()
        let jobs = assignments(coordinator.step(.received(hello(1), from: peer), at: start), to: peer).map(\.attempt)
        _ = coordinator.step(
            .received(.exited(.init(incarnation: Incarnation(1), cause: "signal 11")), from: PeerID(99)), at: start)
        // What ran may be to blame, and comes in eighths; what waited comes as it was. Nothing new goes before them, and
        // nothing behind any of them: if its worker dies, it is known why.
        var again: [Attempt] = []
        let greeting = ToCoordinator.hello(
            .init(
                incarnation: Incarnation(2), role: .worker, name: "w", processID: 1, slots: 1, credit: 9,
                oracles: [OracleReference(name: "downAndOutPut", fingerprint: "downAndOutPut/1")], numerics: "",
                held: []))
        var given = assignments(coordinator.step(.received(greeting, from: PeerID(8)), at: start), to: PeerID(8))
        while again.count < 9, given.count == 1 {
            again.append(given[0].attempt)
            given = assignments(
                coordinator.step(.received(result(given[0].attempt, from: 2), from: PeerID(8)), at: start),
                to: PeerID(8))
        }
        #expect(given.count > 1, "then jobs wait at it again")
        #expect(jobs.map(\.job.items) == [0..<100, 100..<200])
        #expect(again.map(\.job.items) == stride(from: 0, to: 100, by: 13).map { $0..<min(100, $0 + 13) } + [100..<200])
        #expect(again.map(\.number) == [1, 1, 1, 1, 1, 1, 1, 1, 2])
    }

    /// What the journal gets of many short jobs: one fact of neighbours, in whatever order they came; calls and whatever else
    /// stay as they are.
    @Test func factsOfNeighboursAreOne() {
        func fact(_ items: Range<Int>, batch: Int = 0, call: Int? = nil) -> Fact {
            let prices = items.map { Double($0) }
            return .itemsCompleted(
                JobID(study: StudyID(1), batch: batch, items: items, call: call), .labels(Valuations(prices: prices)))
        }
        let lost = Fact.attemptLost(
            Attempt(job: JobID(study: StudyID(1), batch: 0, items: 9..<10), number: 1), cause: "signal 9")
        let joined = Fact.joined([
            fact(2..<3), fact(0..<2), fact(5..<6), lost, fact(3..<5), fact(5..<9, batch: 1), fact(7..<8, call: 0),
            fact(8..<9, call: 0),
        ])
        let expected = [
            fact(0..<3), fact(5..<6), lost, fact(3..<5), fact(5..<9, batch: 1), fact(7..<8, call: 0),
            fact(8..<9, call: 0),
        ]
        #expect(joined.map { Codec.encode($0) } == expected.map { Codec.encode($0) })
    }

    @Test func silenceLosesAWorkerAndItsLateResultIsWelcome() {
        let (coordinator, _) = labelling()
        let job = assignments(coordinator.step(.received(hello(1), from: peer), at: start), to: peer)[0].attempt
        // Three missed heartbeats make it suspect, and ten seconds lose it.
        #expect(coordinator.deadline == start + .milliseconds(750))
        #expect(coordinator.step(.tick, at: start + .milliseconds(750)).isEmpty)
        let limit = coordinator.deadline!
        #expect(limit == start + .seconds(10))
        _ = coordinator.step(.tick, at: limit)
        // It is still there: its result counts, and it is asked to say hello.
        let effects = coordinator.step(.received(result(job, from: 1), from: peer), at: limit)
        #expect(messages(effects, to: peer) == [.unknownPeer, .acknowledge(job)])
        #expect(
            effects.contains {
                if case .persist(let facts) = $0, case .itemsCompleted? = facts.first { true } else { false }
            })
        // With what it still holds it takes up where it was: the lease is its own again.
        let other = Attempt(job: JobID(study: job.job.study, batch: 0, items: 100..<200), number: 1)
        let greeted = coordinator.step(.received(hello(1, held: [other]), from: peer), at: limit)
        #expect(assignments(greeted, to: peer).map(\.attempt.job.items) == [200..<300])
        // And a second time it is dropped, with an acknowledgement.
        let twice = coordinator.step(.received(result(job, from: 1), from: peer), at: limit)
        #expect(messages(twice, to: peer).contains(.acknowledge(job)))
        #expect(!twice.contains { if case .persist = $0 { true } else { false } })
    }

    @Test func aCoordinatorThatDidNotRunJudgesNobodyByIt() {
        let (coordinator, _) = labelling()
        let job = assignments(coordinator.step(.received(hello(1), from: peer), at: start), to: peer)[0].attempt
        // Stopped for a minute: what its worker sent meanwhile is read after the first tick.
        let woken = start + .seconds(60)
        #expect(losses(coordinator.wake(.tick, at: woken)) == 0)
        let beat = ToCoordinator.heartbeat(.init(incarnation: Incarnation(1), held: [job]))
        #expect(!messages(coordinator.wake(.received(beat, from: peer), at: woken), to: peer).contains(.unknownPeer))
        // From then on silence counts as ever.
        let limit = woken + .seconds(10)
        #expect(losses(coordinator.step(.tick, at: limit + .milliseconds(-1))) == 0)
        #expect(losses(coordinator.step(.tick, at: limit)) == 1)
        // One that comes to run late again and again, for its disk is slow, notices all the same who is gone.
        let slow = labelling().0
        _ = slow.wake(.received(hello(1), from: peer), at: start)
        let lost = (1...60).reduce(0) { $0 + losses(slow.wake(.tick, at: start + .seconds(2 * $1))) }
        #expect(lost == 1)
    }

    /// What the summary of the study would say now.
    private func statistics(_ coordinator: CoordinatorBox, _ study: StudyID) throws -> StudyStatistics {
        let outcome = try alone(smallStudy()).get()
        let effects = coordinator.step(
            .planned(study, nil, PlanStep(next: .finished(outcome), phase: .done)), at: start)
        return try #require(
            effects.lazy.compactMap { if case .write(_, _, let statistics) = $0 { statistics } else { nil } }.first)
    }

    @Test func aResultThatIsSentAgainIsNotPaidAgain() throws {
        let (coordinator, study) = labelling()
        let job = assignments(coordinator.step(.received(hello(1), from: peer), at: start), to: peer)[0].attempt
        for _ in 0..<4 { _ = coordinator.step(.received(result(job, from: 1), from: peer), at: start) }
        let counted = try statistics(coordinator, study)
        #expect(counted.duplicatesDropped == 3 && counted.repeatedCalls == 0)
    }

    @Test func aJobThatTwoWorkersDidIsPaidTwice() throws {
        let (coordinator, study) = labelling()
        let job = assignments(coordinator.step(.received(hello(1), from: peer), at: start), to: peer)[0].attempt
        // All three claim the same attempt, and one is lost.
        for (worker, peer) in [(3, PeerID(9)), (4, PeerID(10))] as [(UInt64, PeerID)] {
            _ = coordinator.step(.received(hello(worker, held: [job]), from: peer), at: start)
        }
        let gone = ToCoordinator.exited(.init(incarnation: Incarnation(1), cause: "connection lost"))
        _ = coordinator.step(.received(gone, from: PeerID(99)), at: start)
        for worker in [3, 4, 3, 4, 4] as [UInt64] {
            _ = coordinator.step(.received(result(job, from: worker), from: PeerID(worker + 6)), at: start)
        }
        let counted = try statistics(coordinator, study)
        #expect(counted.duplicatesDropped == 4 && counted.repeatedCalls == 100)
    }

    @Test func ofAJobThatIsDoneInPartTheRestIsPaidOnce() throws {
        let (coordinator, study) = labelling()
        let job = assignments(coordinator.step(.received(hello(1), from: peer), at: start), to: peer)[0].attempt
        let gone = ToCoordinator.exited(.init(incarnation: Incarnation(1), cause: "connection lost"))
        _ = coordinator.step(.received(gone, from: PeerID(99)), at: start)
        // It is given out in parts; one is done when the whole comes late.
        let other = PeerID(8)
        let part = assignments(coordinator.step(.received(hello(2), from: other), at: start), to: other)[0].attempt
        _ = coordinator.step(.received(result(part, from: 2), from: other), at: start)
        for _ in 0..<3 { _ = coordinator.step(.received(result(job, from: 1), from: peer), at: start) }
        let counted = try statistics(coordinator, study)
        #expect(part.job.items.count == 13 && counted.repeatedCalls == 13 && counted.duplicatesDropped == 2)
    }

    /// A coordinator that reads late finds a second hello, said for want of an answer to the first: it is older than what was
    /// assigned after that, and takes none of it back.
    @Test func aHelloThatIsSaidTwiceTakesNothingBack() {
        let (coordinator, _) = labelling()
        let given = assignments(coordinator.step(.received(hello(1), from: peer), at: start), to: peer).map(\.attempt)
        #expect(!given.isEmpty)
        let again = coordinator.step(.received(hello(1), from: peer), at: start + .milliseconds(1))
        #expect(assignments(again, to: peer) == [])
        // On another connection it says what there is: the old one may not have delivered it.
        let other = PeerID(33)
        let anew = coordinator.step(.received(hello(1), from: other), at: start + .milliseconds(2))
        #expect(assignments(anew, to: other).map(\.attempt.job).contains(given[0].job))
    }

    /// What the workers of a coordinator's last life hold is not given to whoever comes back first.
    @Test func aNewLifeWaitsForThoseWhoWorkedForTheLastOne() throws {
        let (before, _) = labelling()
        let given = assignments(before.step(.received(hello(1), from: peer), at: start), to: peer).map(\.attempt)
        let job = try #require(given.first)
        let submission = ToCoordinator.Submission(token: 1, study: "", attachments: [])
        var settings = Coordinator.Settings()
        (settings.rowsPerJob, settings.firstShard, settings.firstCalls) = (100, 100, 100)
        var after = Coordinator(
            settings: settings, facts: [.termBegan(1), .studyAccepted(job.job.study, submission)], at: start)
        _ = after.step(.started, at: start)
        let batch = Batch(
            .label(
                OracleReference(name: "downAndOutPut", fingerprint: "downAndOutPut/1"),
                points: [Double](repeating: 0.5, count: 5000)), dimension: 5)
        _ = after.step(.planned(job.job.study, nil, PlanStep(next: .batch(batch), phase: .label)), at: start)
        _ = after.step(.known(job.job.study, batch: 0, []), at: start)
        let stranger = PeerID(21)
        #expect(assignments(after.step(.received(hello(2), from: stranger), at: start), to: stranger) == [])
        let back = after.step(.received(hello(1, held: [job]), from: peer), at: start + .milliseconds(300))
        #expect(assignments(back, to: peer) == [])
        let due = try #require(after.deadline)
        let effects = after.step(.tick, at: max(due, start + .seconds(1)))
        let others = assignments(effects, to: stranger) + assignments(effects, to: peer)
        #expect(!others.isEmpty && others.allSatisfy { !$0.attempt.job.items.overlaps(job.job.items) })
    }

    @Test func heartbeatsKeepAWorkerAndFindLostAssignments() {
        let (coordinator, _) = labelling()
        let jobs = assignments(coordinator.step(.received(hello(1), from: peer), at: start), to: peer).map(\.attempt)
        // A heartbeat that does not name the second assignment may be older than that, and only read late; or it was lost.
        let later = start + .seconds(9)
        func beat(_ heard: ToCoordinator.Heard) -> [Attempt] {
            let beat = ToCoordinator.Heartbeat(incarnation: Incarnation(1), held: [jobs[0]], heard: heard)
            let effects = coordinator.step(.received(.heartbeat(beat), from: peer), at: later)
            return assignments(effects, to: peer).map(\.attempt)
        }
        for old in [.init(), .init(term: 1, serial: 1), .init(term: 2, serial: 9)] as [ToCoordinator.Heard] {
            #expect(beat(old) == [])
        }
        #expect(beat(.init(term: 1, serial: 2)) == [Attempt(job: jobs[1].job, number: 2)])
        #expect(coordinator.step(.tick, at: start + .seconds(12)).isEmpty, "it was heard of three seconds ago")
        // A heartbeat of nobody asks for a hello.
        let stranger = coordinator.step(
            .received(.heartbeat(.init(incarnation: Incarnation(5), held: [])), from: PeerID(50)), at: later)
        #expect(messages(stranger, to: PeerID(50)) == [.unknownPeer])
    }

    @Test func aPlannedLeaveIsNotBlamedOnTheJob() {
        let (coordinator, _) = labelling(crashLimit: 1)
        let jobs = assignments(coordinator.step(.received(hello(1), from: peer), at: start), to: peer).map(\.attempt)
        let effects = coordinator.step(.received(.goodbye(Incarnation(1)), from: peer), at: start)
        #expect(!effects.contains { if case .persist = $0 { true } else { false } })
        let again = assignments(coordinator.step(.received(hello(2), from: PeerID(8)), at: start), to: PeerID(8))
        #expect(again.map(\.attempt.job) == jobs.map(\.job))
    }

    @Test func aGoodbyeForSomebodyElseIsIgnored() {
        let (coordinator, _) = labelling()
        _ = coordinator.step(.received(hello(1), from: peer), at: start)
        _ = coordinator.step(.received(.goodbye(Incarnation(1)), from: PeerID(50)), at: start)
        let effects = coordinator.step(
            .received(.heartbeat(.init(incarnation: Incarnation(1), held: [])), from: peer), at: start)
        #expect(!messages(effects, to: peer).contains(.unknownPeer))
    }

    @Test func workGoesToWhoeverHasTheVeryOracle() {
        let (coordinator, _) = labelling()
        let other = ToCoordinator.hello(
            .init(
                incarnation: Incarnation(1), role: .worker, name: "w", processID: 1, slots: 2, credit: 2,
                oracles: [OracleReference(name: "downAndOutPut", fingerprint: "downAndOutPut/2")], numerics: "",
                held: []))
        #expect(assignments(coordinator.step(.received(other, from: peer), at: start), to: peer).isEmpty)
        #expect(
            assignments(coordinator.step(.received(hello(2), from: PeerID(8)), at: start), to: PeerID(8)).count == 2)
    }

    /// Same fingerprint, other prices of the test vectors: the later one gets no work of it, and people are told, those
    /// too whose study begins later.
    @Test func ofTwoWorkersThatDisagreeTheLaterOneIsRefused() {
        let (coordinator, study) = labelling()
        let oracle = OracleReference(name: "downAndOutPut", fingerprint: "downAndOutPut/1")
        func hello(_ number: UInt64, says: [UInt8]) -> ToCoordinator {
            .hello(
                .init(
                    incarnation: Incarnation(number), role: .worker, name: "w\(number)", processID: 1, slots: 2,
                    credit: 2,
                    oracles: [oracle], testimonies: [oracle: Digest(of: says)], numerics: "", held: []))
        }
        func given(_ number: UInt64, says: [UInt8]) -> Int {
            let peer = PeerID(number)
            return assignments(
                coordinator.step(.received(hello(number, says: says), from: peer), at: start), to: peer
            ).count
        }
        #expect(given(1, says: [1]) == 2)
        #expect(given(2, says: [2]) == 0)
        #expect(given(3, says: [1]) == 2)
        // It keeps being refused when it says hello again, and when the first one is gone.
        _ = coordinator.step(.received(.goodbye(Incarnation(1)), from: PeerID(1)), at: start)
        #expect(given(2, says: [2]) == 0)

        func refusals(_ study: StudyID) -> [String] {
            let effects = coordinator.step(
                .received(.watch(.init(study: study, term: 0, after: 0)), from: PeerID(60)), at: start)
            return messages(effects, to: PeerID(60)).flatMap { message -> [String] in
                guard case .events(let list) = message else { return [] }
                return list.events.compactMap {
                    if case .worker(.refused, let name, let detail) = $0.what { "\(name) \(detail)" } else { nil }
                }
            }
        }
        #expect(refusals(study).first?.hasPrefix("w2 oracle downAndOutPut: prices its test vectors otherwise") == true)
        let next = ToCoordinator.Submission(token: 2, study: "", attachments: [])
        _ = coordinator.step(.validated(next, StudyID(10), from: PeerID(99)), at: start)
        #expect(refusals(StudyID(10)).count == 1)
    }

    /// A study that only doubted workers could serve waits for others for a while, not for ever: not by the age of the doubt
    /// but of the others' absence, and not while one of them is there, stopped or slow.
    @Test func aStudyDoesNotWaitForEverForAnOracleThatHasChanged() {
        let (coordinator, _) = labelling()
        let oracle = OracleReference(name: "downAndOutPut", fingerprint: "downAndOutPut/1")
        var now = start
        func join(_ number: UInt64, says: [UInt8]) {
            let hello = ToCoordinator.Hello(
                incarnation: Incarnation(number), role: .worker, name: "w\(number)", processID: 1, slots: 2, credit: 2,
                oracles: [oracle], testimonies: [oracle: Digest(of: says)], numerics: "", held: [])
            _ = coordinator.step(.received(.hello(hello), from: PeerID(number)), at: now)
        }
        /// Lets time go by, in which some workers are heard of.
        func pass(_ seconds: Int, hearing workers: [UInt64]) -> [FromCoordinator] {
            (0..<seconds).flatMap { _ in
                now = now + .seconds(1)
                var effects = coordinator.step(.tick, at: now)
                for number in workers {
                    effects += coordinator.step(
                        .received(.heartbeat(.init(incarnation: Incarnation(number), held: [])), from: PeerID(number)),
                        at: now)
                }
                return messages(effects, to: PeerID(99))
            }
        }
        func abandoned(_ messages: [FromCoordinator]) -> [String] {
            messages.flatMap { message -> [String] in
                guard case .events(let list) = message else { return [] }
                return list.events.compactMap { if case .abandoned(let reason) = $0.what { reason } else { nil } }
            }
        }
        join(1, says: [1])
        join(2, says: [2])
        #expect(abandoned(pass(100, hearing: [1, 2])) == [])
        _ = coordinator.step(.received(.goodbye(Incarnation(1)), from: PeerID(1)), at: now)
        #expect(abandoned(pass(25, hearing: [2])) == [])
        // One of the others is back for a moment: the wait begins anew.
        join(3, says: [1])
        _ = coordinator.step(.received(.goodbye(Incarnation(3)), from: PeerID(3)), at: now)
        #expect(abandoned(pass(25, hearing: [2])) == [])
        let end = abandoned(pass(10, hearing: [2]))
        #expect(
            end.count == 1
                && end[0].contains("no worker has oracle downAndOutPut (downAndOutPut/1) as it was first seen")
                && end[0].contains("(w2)") && end[0].contains("cairn labels invalidate"), "\(end)")

        // Where nobody is there at all, somebody is waited for.
        let (empty, _) = labelling()
        for seconds in 0..<100 {
            #expect(abandoned(messages(empty.step(.tick, at: start + .seconds(seconds)), to: PeerID(99))) == [])
        }
    }

    @Test func jobsOfStudiesThatNobodyKnowsAreCancelled() {
        let (coordinator, _) = labelling()
        let old = Attempt(job: JobID(study: StudyID(1234), batch: 2, items: 0..<5), number: 1)
        let effects = coordinator.step(.received(hello(1, held: [old]), from: peer), at: start)
        #expect(messages(effects, to: peer).contains(.cancel(old)))
    }

    @Test func aSubmissionThatIsRepeatedIsOneStudy() {
        let (coordinator, study) = labelling()
        let submission = ToCoordinator.Submission(token: 1, study: "", attachments: [])
        let effects = coordinator.step(.received(.submit(submission), from: peer), at: start)
        #expect(messages(effects, to: peer) == [.accepted(.init(token: 1, study: study))])
        let fresh = coordinator.step(
            .received(.submit(.init(token: 2, study: "", attachments: [])), from: peer), at: start)
        #expect(fresh.contains { if case .validate = $0 { true } else { false } })
    }

    @Test func attachmentsAreFetchedInChunksBeforeAStudyIsAccepted() {
        let coordinator = CoordinatorBox(settings: .init())
        _ = coordinator.step(.started, at: start)
        let blob = BlobReference(to: [UInt8](repeating: 5, count: 10))
        let submission = ToCoordinator.Submission(
            token: 3, study: "", attachments: [.init(part: .training, blob: blob)])
        let asked = coordinator.step(.validated(submission, StudyID(2), from: peer), at: start)
        #expect(messages(asked, to: peer) == [.want(BlobRequest(blob: blob, offset: 0))])
        func chunk(_ offset: Int, _ count: Int, _ from: PeerID) -> [Coordinator.Effect] {
            coordinator.step(
                .received(
                    .blob(BlobChunk(blob: blob, offset: offset, bytes: [UInt8](repeating: 5, count: count))), from: from
                ),
                at: start)
        }
        #expect(chunk(0, 4, PeerID(50)).isEmpty, "from somebody else")
        #expect(chunk(4, 4, peer).isEmpty, "out of order")
        #expect(chunk(0, 11, peer).isEmpty, "more than there is")
        #expect(messages(chunk(0, 4, peer), to: peer) == [.want(BlobRequest(blob: blob, offset: 4))])
        #expect(chunk(0, 4, peer).isEmpty, "repeated")
        let last = chunk(4, 6, peer)
        #expect(last.count == 1 && messages(last, to: peer).isEmpty)
        let accepted = coordinator.step(.stored(blob), at: start)
        #expect(messages(accepted, to: peer) == [.accepted(.init(token: 3, study: StudyID(2)))])
    }

    /// Submissions whose attachments never come: the one that waits longest goes when there are too many, with what came of
    /// its attachment; sent again, it is looked at again.
    @Test func submissionsThatNeverArriveAreForgotten() {
        let coordinator = CoordinatorBox(settings: .init())
        _ = coordinator.step(.started, at: start)
        let shared = BlobReference(to: [UInt8](repeating: 7, count: 10))
        func submission(_ k: Int) -> (ToCoordinator.Submission, BlobReference) {
            let own = BlobReference(to: [UInt8](repeating: UInt8(k), count: 20))
            let parts = [own, shared].map { ToCoordinator.Attachment(part: .training, blob: $0) }
            return (.init(token: UInt64(k), study: "", attachments: parts), own)
        }
        func forgotten(_ effects: [Coordinator.Effect]) -> [Digest] {
            effects.flatMap { effect -> [Digest] in if case .dropParts(let digests) = effect { digests } else { [] } }
        }
        for k in 0..<Coordinator.mostArriving {
            let effects = coordinator.step(.validated(submission(k).0, StudyID(UInt64(k)), from: peer), at: start)
            #expect(forgotten(effects).isEmpty)
        }
        // What others wait for, too, stays.
        let more = submission(100)
        let last = coordinator.step(.validated(more.0, StudyID(100), from: peer), at: start)
        #expect(forgotten(last) == [submission(0).1.digest])
        func chunk(_ blob: BlobReference, _ fill: UInt8) -> [Coordinator.Effect] {
            let bytes = [UInt8](repeating: fill, count: blob.size)
            return coordinator.step(
                .received(.blob(BlobChunk(blob: blob, offset: 0, bytes: bytes)), from: peer), at: start)
        }
        #expect(chunk(submission(0).1, 0).isEmpty && chunk(more.1, 100).count == 1 && chunk(shared, 7).count == 1)
        _ = coordinator.step(.stored(more.1), at: start)
        let accepted = coordinator.step(.stored(shared), at: start)
        #expect(messages(accepted, to: peer) == [.accepted(.init(token: 100, study: StudyID(100)))])
        let again = coordinator.step(.received(.submit(submission(0).0), from: peer), at: start)
        #expect(again.contains { if case .validate = $0 { true } else { false } })
    }

    /// What a trainer that died had sent of its parameters is dropped.
    @Test func whatCameOfALostWorkersBlobIsForgotten() {
        let coordinator = CoordinatorBox(settings: .init())
        _ = coordinator.step(.started, at: start)
        let blob = BlobReference(to: [UInt8](repeating: 5, count: 10))
        let submission = ToCoordinator.Submission(
            token: 3, study: "", attachments: [.init(part: .training, blob: blob)])
        _ = coordinator.step(.received(hello(1), from: peer), at: start)
        _ = coordinator.step(.validated(submission, StudyID(2), from: peer), at: start)
        let lost = coordinator.step(
            .received(.exited(.init(incarnation: Incarnation(1), cause: "signal 9")), from: PeerID(99)), at: start)
        #expect(lost.contains { if case .dropParts([blob.digest]) = $0 { true } else { false } })
    }

    @Test func ofManyWatchersTheLatestAreTold() {
        let (coordinator, study) = labelling()
        for k in 100..<200 {
            let watch = ToCoordinator.watch(.init(study: study, term: 0, after: 0))
            _ = coordinator.step(.received(watch, from: PeerID(UInt64(k))), at: start)
        }
        let effects = coordinator.step(.received(hello(1), from: peer), at: start)
        let told = Set(
            effects.compactMap { effect -> PeerID? in
                if case .send(.events, let to) = effect { to } else { nil }
            })
        #expect(told.count == 64 && told.contains(PeerID(199)) && !told.contains(PeerID(100)))
    }

    @Test func clientsGetTheEventsTheyMissed() {
        let (coordinator, study) = labelling()
        _ = coordinator.step(.received(hello(1), from: peer), at: start)
        let effects = coordinator.step(
            .received(.watch(.init(study: study, term: 0, after: 0)), from: PeerID(60)), at: start)
        guard case .events(let list)? = messages(effects, to: PeerID(60)).first else {
            Issue.record("no events")
            return
        }
        #expect(
            list.study == study && list.events.map(\.number) == Array(1...list.events.count) && !list.events.isEmpty)
        let none = coordinator.step(
            .received(.watch(.init(study: study, term: list.term, after: list.events.count)), from: PeerID(60)),
            at: start)
        // Nothing new, but an answer: a client must tell a busy coordinator from one that is gone.
        #expect(messages(none, to: PeerID(60)) == [.events(.init(study: study, term: list.term, events: []))])
        let unknown = coordinator.step(
            .received(.watch(.init(study: StudyID(1), term: 0, after: 0)), from: PeerID(60)), at: start)
        #expect(messages(unknown, to: PeerID(60)) == [.unknownPeer])
    }

    @Test func aCancelledStudyFreesItsWorkersAtOnce() {
        let (coordinator, study) = labelling()
        let jobs = assignments(coordinator.step(.received(hello(1), from: peer), at: start), to: peer).map(\.attempt)
        let effects = coordinator.step(.received(.cancelStudy(study), from: PeerID(99)), at: start)
        #expect(messages(effects, to: peer) == jobs.map { .cancel($0) })
        #expect(
            messages(effects, to: PeerID(99)).contains { message in
                if case .events(let list) = message, case .ended(.cancelled)? = list.events.last?.what {
                    true
                } else {
                    false
                }
            })
    }

    private func failure(_ attempt: Attempt, from incarnation: UInt64, isFinal: Bool = false) -> ToCoordinator {
        .finished(
            .init(
                incarnation: Incarnation(incarnation), attempt: attempt, duration: .zero,
                outcome: .failure(WorkFailure("no memory", isFinal: isFinal))))
    }

    private func losses(_ effects: [Coordinator.Effect]) -> Int {
        effects.reduce(0) { count, effect in
            guard case .persist(let facts) = effect else { return count }
            return count + facts.count { if case .attemptLost = $0 { true } else { false } }
        }
    }

    @Test func aFailureCountsOnceAndFromItsHolderOnly() {
        let (coordinator, _) = labelling(crashLimit: 2)
        let job = assignments(coordinator.step(.received(hello(1), from: peer), at: start), to: peer)[0].attempt
        // Forged: by a stranger, by a stranger in the holder's name, of an attempt that nobody holds.
        for (message, from) in [
            (failure(job, from: 2, isFinal: true), PeerID(50)), (failure(job, from: 1, isFinal: true), PeerID(50)),
            (failure(Attempt(job: job.job, number: 7), from: 1, isFinal: true), peer),
        ] {
            let effects = coordinator.step(.received(message, from: from), at: start)
            #expect(!effects.contains { if case .persist = $0 { true } else { false } })
        }
        let first = coordinator.step(.received(failure(job, from: 1), from: peer), at: start)
        #expect(losses(first) == 1)
        // Sent again because its acknowledgement was lost.
        #expect(losses(coordinator.step(.received(failure(job, from: 1), from: peer), at: start)) == 0)
    }

    @Test func anAttemptThatIsLostTwiceCountsOnceAndItsNumberIsNotUsedAgain() {
        let (coordinator, _) = labelling(crashLimit: 2, rowsPerJob: 1)
        let job = assignments(coordinator.step(.received(hello(1), from: peer), at: start), to: peer)[0].attempt
        let silent = start + .seconds(11)
        #expect(losses(coordinator.step(.tick, at: silent)) == 1)
        // It was only slow: it holds the attempt again, and falls silent again.
        let back = coordinator.step(.received(hello(1, held: [job]), from: peer), at: silent)
        #expect(assignments(back, to: peer).allSatisfy { $0.attempt.job != job.job })
        #expect(losses(coordinator.step(.tick, at: silent + .seconds(11))) == 0)
        let other = PeerID(8)
        let again = assignments(
            coordinator.step(.received(hello(2, credit: 20), from: other), at: silent + .seconds(12)), to: other)
        #expect(again.first { $0.attempt.job == job.job }?.attempt.number == 2)
    }

    @Test func helloIsNotBelievedAboutJobsThatNobodyWants() {
        let (coordinator, study) = labelling()
        let job = assignments(coordinator.step(.received(hello(1), from: peer), at: start), to: peer)[0].attempt
        _ = coordinator.step(.received(result(job, from: 1), from: peer), at: start)
        let future = Attempt(job: JobID(study: study, batch: 5, items: 0..<4), number: 1)
        let beyond = Attempt(job: JobID(study: study, batch: 0, items: 990..<5_000_000), number: 1)
        let effects = coordinator.step(
            .received(hello(3, held: [job, future, beyond]), from: PeerID(9)), at: start)
        let answers = messages(effects, to: PeerID(9))
        for attempt in [job, future, beyond] { #expect(answers.contains(.cancel(attempt)), "\(attempt)") }
    }

    @Test func noMoreProcessesThanAllowed() {
        let (coordinator, _) = labelling(maxWorkers: 3)
        for k in UInt64(1)...5 {
            let answers = messages(coordinator.step(.received(hello(k), from: PeerID(k)), at: start), to: PeerID(k))
            #expect(answers.contains { if case .welcome = $0 { true } else { false } } == (k <= 3), "\(k)")
        }
        // One who is there already may say hello again; when one leaves there is room.
        #expect(!coordinator.step(.received(hello(2), from: PeerID(2)), at: start).isEmpty)
        _ = coordinator.step(.received(.goodbye(Incarnation(1)), from: PeerID(1)), at: start)
        #expect(!coordinator.step(.received(hello(5), from: PeerID(5)), at: start).isEmpty)
    }

    @Test func progressInAnothersNameKeepsNobodyAlive() {
        let (coordinator, _) = labelling()
        let job = assignments(coordinator.step(.received(hello(1), from: peer), at: start), to: peer)[0].attempt
        let report = EpochReport(epoch: 1, trainingMSE: 1, learningRate: 1, isLast: false)
        let progress = ToCoordinator.progress(.init(incarnation: Incarnation(1), attempt: job, epoch: report))
        _ = coordinator.step(.received(progress, from: PeerID(50)), at: start + .seconds(9))
        #expect(losses(coordinator.step(.tick, at: start + .seconds(10))) == 1)
    }

    @Test func hostileMessagesChangeNothing() {
        // Numbers that no honest peer sends: studies, batches and items that are not there, blobs nobody asked for.
        let (coordinator, study) = labelling()
        _ = coordinator.step(.received(hello(1), from: peer), at: start)
        for job in [
            JobID(study: study, batch: 99, items: 0..<5), JobID(study: study, batch: 0, items: 990..<5_000_000),
            JobID(study: StudyID(3), batch: 0, items: 0..<5),
            JobID(study: study, batch: 0, items: (1 << 40)..<(1 << 41)),
        ] {
            let attempt = Attempt(job: job, number: 4_000_000)
            _ = coordinator.step(
                .received(
                    .finished(
                        .init(
                            incarnation: Incarnation(1), attempt: attempt, duration: .zero,
                            outcome: .success(.predictions([])))), from: peer), at: start)
            _ = coordinator.step(
                .received(.heartbeat(.init(incarnation: Incarnation(1), held: [attempt])), from: peer), at: start)
            let report = EpochReport(epoch: 1, trainingMSE: 1, learningRate: 1, isLast: false)
            _ = coordinator.step(
                .received(.progress(.init(incarnation: Incarnation(1), attempt: attempt, epoch: report)), from: peer),
                at: start)
        }
        let blob = BlobReference(to: [1])
        #expect(
            coordinator.step(.received(.blob(.init(blob: blob, offset: 0, bytes: [1])), from: peer), at: start).isEmpty)
    }
}

@Suite struct WorkerTests {
    private let start = Instant(nanoseconds: 0)

    private func worker(_ change: (inout Worker.Settings) -> Void = { _ in }) -> WorkerBox {
        var settings = Worker.Settings(
            incarnation: Incarnation(6), role: .worker, name: "w", processID: 1, oracles: [], numerics: "")
        change(&settings)
        return WorkerBox(settings: settings)
    }

    private func sent(_ effects: [Worker.Effect]) -> [ToCoordinator] {
        effects.compactMap { if case .send(let message) = $0 { message } else { nil } }
    }

    private func started(_ effects: [Worker.Effect]) -> [Attempt] {
        effects.compactMap { if case .start(let attempt, _) = $0 { attempt } else { nil } }
    }

    private let welcome = FromCoordinator.welcome(.init(term: 1, heartbeat: .seconds(2), publisher: "tcp://x"))

    private func assignment(_ first: Int, needs blob: BlobReference? = nil) -> FromCoordinator {
        let attempt = Attempt(job: JobID(study: StudyID(1), batch: 0, items: first..<first + 1), number: 1)
        let work: Work =
            blob.map { .predict(parameters: $0, inputs: [0.5]) }
            ?? .label(OracleReference(name: "o", fingerprint: "f"), points: [1], gradient: false)
        return .assign(.init(attempt: attempt, work: work))
    }

    @Test func helloIsRepeatedWithDoublingWaits() {
        let worker = worker()
        #expect(sent(worker.step(.started, at: start)).count == 1)
        var waits: [Duration] = []
        var now = start
        for _ in 0..<8 {
            let due = worker.deadline!
            waits.append(due - now)
            now = due
            #expect(sent(worker.step(.tick, at: now)).count == 1)
        }
        #expect(waits.prefix(3) == [.milliseconds(100), .milliseconds(200), .milliseconds(400)])
        #expect(waits.last == .seconds(5))
    }

    @Test func heartbeatsNameWhatIsHeld() {
        let worker = worker()
        _ = worker.step(.started, at: start)
        _ = worker.step(.received(welcome), at: start)
        _ = worker.step(.received(assignment(0)), at: start)
        let beat = sent(worker.step(.tick, at: start + .seconds(2)))
        guard case .heartbeat(let heartbeat)? = beat.first else {
            Issue.record("no heartbeat")
            return
        }
        #expect(heartbeat.held.count == 1)
    }

    @Test func oneJobRunsAndOneWaits() {
        let worker = worker()
        _ = worker.step(.started, at: start)
        _ = worker.step(.received(welcome), at: start)
        #expect(started(worker.step(.received(assignment(0)), at: start)).count == 1)
        #expect(started(worker.step(.received(assignment(1)), at: start)).isEmpty)
        let attempt = Attempt(job: JobID(study: StudyID(1), batch: 0, items: 0..<1), number: 1)
        let effects = worker.step(
            .finished(attempt, .seconds(1), .success(.predictions([1])), blobs: []), at: start)
        #expect(started(effects).count == 1)
        // Once it is known what a job takes, one is handed over ahead; of short ones it were many.
        #expect(started(worker.step(.received(assignment(2)), at: start)).count == 1)
        #expect(started(worker.step(.received(assignment(3)), at: start)).isEmpty)
        // A result is sent again until it is acknowledged.
        #expect(
            sent(worker.step(.tick, at: start + .seconds(2))).contains {
                if case .finished = $0 { true } else { false }
            })
        _ = worker.step(.received(.acknowledge(attempt)), at: start)
        #expect(
            !sent(worker.step(.tick, at: start + .seconds(4))).contains {
                if case .finished = $0 { true } else { false }
            })
    }

    @Test func blobsAreFetchedInOrderAndAskedForAgain() {
        let worker = worker()
        _ = worker.step(.started, at: start)
        _ = worker.step(.received(welcome), at: start)
        let blob = BlobReference(to: [1, 2, 3])
        // Its bytes may be under way: published, and longer than the assignment.
        #expect(sent(worker.step(.received(assignment(0, needs: blob)), at: start)).isEmpty)
        let soon = start + .milliseconds(25)
        #expect(worker.deadline == soon)
        #expect(sent(worker.step(.tick, at: soon)) == [.want(BlobRequest(blob: blob, offset: 0))])
        let next = sent(worker.step(.received(.blob(.init(blob: blob, offset: 0, bytes: [1]))), at: start))
        #expect(next == [.want(BlobRequest(blob: blob, offset: 1))])
        #expect(worker.step(.received(.blob(.init(blob: blob, offset: 0, bytes: [1]))), at: start).isEmpty)
        let again = sent(worker.step(.tick, at: start + .seconds(2)))
        #expect(again.contains(.want(BlobRequest(blob: blob, offset: 1))))
        // Damaged on the way: from the beginning.
        _ = worker.step(.received(.blob(.init(blob: blob, offset: 1, bytes: [2, 9]))), at: start)
        _ = worker.step(.damaged(blob), at: start)
        #expect(
            sent(worker.step(.tick, at: start + .seconds(4))).contains(.want(BlobRequest(blob: blob, offset: 0))))
        #expect(started(worker.step(.stored(blob), at: start)).count == 1)
    }

    @Test func pushedParametersSaveTheFetch() {
        let worker = worker()
        _ = worker.step(.started, at: start)
        _ = worker.step(.received(welcome), at: start)
        let blob = BlobReference(to: [1, 2, 3])
        let pushed = worker.step(
            .received(.parameters(.init(study: StudyID(1), version: 1, blob: blob, bytes: [1, 2, 3]))), at: start)
        #expect(pushed.contains { if case .accept = $0 { true } else { false } })
        _ = worker.step(.stored(blob), at: start)
        let effects = worker.step(.received(assignment(0, needs: blob)), at: start)
        #expect(started(effects).count == 1 && sent(effects).isEmpty)
    }

    @Test func oldBlobsAreForgottenButNotThoseInUse() {
        let worker = worker { $0.blobMemory = 5 }
        _ = worker.step(.started, at: start)
        _ = worker.step(.received(welcome), at: start)
        let blobs = (0..<4).map { BlobReference(to: [1, 2, UInt8($0)]) }
        _ = worker.step(.stored(blobs[0]), at: start)
        #expect(started(worker.step(.received(assignment(0, needs: blobs[0])), at: start)).count == 1)
        var forgotten: [Digest] = []
        for blob in blobs.dropFirst() {
            for effect in worker.step(.stored(blob), at: start) {
                if case .forget(let digest) = effect { forgotten.append(digest) }
            }
        }
        #expect(forgotten == [blobs[1].digest, blobs[2].digest, blobs[3].digest])
    }

    @Test func cancelStopsAndDrainLeaves() {
        let worker = worker()
        _ = worker.step(.started, at: start)
        _ = worker.step(.received(welcome), at: start)
        _ = worker.step(.received(assignment(0)), at: start)
        _ = worker.step(.received(assignment(1)), at: start)
        let running = Attempt(job: JobID(study: StudyID(1), batch: 0, items: 0..<1), number: 1)
        let effects = worker.step(.received(.cancel(running)), at: start)
        #expect(effects.contains { if case .stop(running) = $0 { true } else { false } })
        #expect(started(effects).isEmpty, "its slot is taken until it has really stopped")
        let freed = worker.step(.finished(running, .zero, .failure(WorkFailure("cancelled")), blobs: []), at: start)
        #expect(started(freed).count == 1 && sent(freed).isEmpty, "what is not wanted is not reported")

        let drained = worker.step(.drain, at: start)
        #expect(!drained.contains { if case .leave = $0 { true } else { false } }, "first what runs")
        let second = Attempt(job: JobID(study: StudyID(1), batch: 0, items: 1..<2), number: 1)
        _ = worker.step(.finished(second, .zero, .success(.predictions([])), blobs: []), at: start)
        let left = worker.step(.received(.acknowledge(second)), at: start)
        #expect(sent(left) == [.goodbye(Incarnation(6))])
        #expect(left.contains { if case .leave = $0 { true } else { false } })
        #expect(worker.step(.tick, at: start).isEmpty)
    }

    @Test func aNewCoordinatorHearsOfOldResults() {
        let worker = worker()
        _ = worker.step(.started, at: start)
        _ = worker.step(.received(welcome), at: start)
        _ = worker.step(.received(assignment(0)), at: start)
        _ = worker.step(.disconnected, at: start)
        let attempt = Attempt(job: JobID(study: StudyID(1), batch: 0, items: 0..<1), number: 1)
        #expect(
            sent(worker.step(.finished(attempt, .zero, .success(.predictions([1])), blobs: []), at: start)).isEmpty)
        let hello = sent(worker.step(.tick, at: start + .seconds(1)))
        guard case .hello(let greeting)? = hello.first else {
            Issue.record("no hello")
            return
        }
        #expect(greeting.held == [attempt])
        let after = sent(worker.step(.received(welcome), at: start + .seconds(1)))
        #expect(after.contains { if case .finished(let finished) = $0 { finished.attempt == attempt } else { false } })
    }
}
