import Cluster
import Foundation
import Pricing
import Regression
import Testing

/// What the scheduler promises, in virtual time: the real state machines, jobs that only take time.
@Suite struct SchedulingTests {
    /// A search with a costly oracle: so many seeds, each of a few steps, from files, so that nothing else takes time.
    private func search(seeds: Int, steps: Int, gradient: Study.GradientChoice) -> (
        study: Study, parts: [(ToCoordinator.Attachment, [UInt8])], content: StudyAttachments
    ) {
        let study = smallStudy {
            $0.attack = nil
            $0.data = .attached(test: nil)
            $0.surrogate = .attached
            $0.search.seeds = .attached
            $0.search.gradient = gradient
            $0.search.stages = [AscentStage(steps: steps, stopStep: 0)]
            $0.mitigation.action = .none
        }
        var stream = RandomStream(seed: 5, purpose: .other)
        let rows = try! study.domain.sample(seeds, from: &stream)
        let training = Samples(dimension: 5, inputs: rows, labels: [Double](repeating: 1, count: seeds))
        let model = Surrogate(dimension: 5, hidden: [6], randomSeed: 8)
        let contents: [(ToCoordinator.Attachment.Part, [UInt8])] = [
            (.training, training.encoded), (.test, training.encoded), (.model, model.safetensors()),
            (.seeds, training.encoded),
        ]
        return (
            study, contents.map { (.init(part: $0, blob: BlobReference(to: $1)), $1) },
            StudyAttachments(training: training, test: training, model: model, seeds: rows)
        )
    }

    /// Runs it on workers that take `seconds(points)` for labels and nothing for the rest.
    private func run(
        seeds: Int, steps: Int, gradient: Study.GradientChoice = .differences, workers: Int,
        settings: Coordinator.Settings = .init(), prepare: (World) -> Void = { _ in },
        seconds: @escaping ([Double], String) -> Double
    ) -> World {
        let (study, parts, content) = search(seeds: seeds, steps: steps, gradient: gradient)
        let world = World(workers: workers, settings: settings)
        world.cost = { work, name in
            switch work {
            case .label(_, let points, _):
                stride(from: 0, to: points.count, by: 5).reduce(.zero) {
                    $0 + .seconds(seconds(Array(points[$1..<$1 + 5]), name))
                }
            // As many calls in a row.
            case .ascend(_, _, let stage, let seeds): .seconds(Double(seeds.count / 5 * (11 * stage.steps + 1)))
            case .probe(_, _, let probe, let maximizers): .seconds(Double(maximizers.count * probe.directions))
            case .train, .predict: .milliseconds(1)
            }
        }
        prepare(world)
        #expect(world.run(study, attachments: parts))
        #expect(world.outcome.map(Essence.init) == Essence(try! alone(study, content).get()), "the same answer")
        return world
    }

    private func searchSeconds(_ world: World) -> Double { world.statistics!.seconds[.search]!.seconds }

    @Test(arguments: [Study.GradientChoice.own, .differences], [1, 3])
    func theAnswerIsTheSameWhoeverAsksTheOracle(_ gradient: Study.GradientChoice, _ workers: Int) throws {
        let study = smallStudy { $0.search.gradient = gradient }
        let expected = Essence(try alone(study).get())
        for cost in [0, .infinity] {
            var settings = Coordinator.Settings()
            settings.steeredCost = cost
            let world = World(workers: workers, settings: settings)
            #expect(world.run(study))
            #expect(world.outcome.map(Essence.init) == expected, "\(gradient), \(cost)")
        }
    }

    @Test func workThatDoesNotFitItsOracleIsRefused() throws {
        let bytes = Surrogate(dimension: 2, hidden: [3], randomSeed: 1).safetensors()
        let domain = try Domain(inputs: [.init(name: "a", lower: 0, upper: 1), .init(name: "b", lower: 0, upper: 1)])
        let surface = SurfaceSettings(
            oracle: OracleReference(DownAndOutPut()), domain: domain, labelScale: 1, gradient: .own)
        let work = Work.ascend(
            surface, parameters: BlobReference(to: bytes), stage: AscentStage(steps: 2), seeds: [0.5, 0.5])
        let bench = Workbench(oracles: builtInOracles, threads: 1)
        do throws(WorkFailure) {
            _ = try bench.perform(work, blob: { _ in bytes }, progress: { _ in }, isCancelled: { false })
            Issue.record("two coordinates for an oracle of five")
        } catch {
            #expect(error.description.contains("different numbers of inputs"))
        }
    }

    /// A point of a curve of Docs/Scheduling.md, which CAIRN_CURVES=1 prints.
    private func tell(_ curve: String, _ point: any CustomStringConvertible, _ value: Double) {
        guard ProcessInfo.processInfo.environment["CAIRN_CURVES"] != nil else { return }
        print("\(curve), \(point): \((1000 * value).rounded() / 1000)")
    }

    /// Only workers that differ from each other are fast or slow; work that is cheaper than it seemed is so for all.
    @Test(arguments: [0.1, 1, 8]) func thePaceOfAWorkerIsAgainstTheOthers(surprise: Double) {
        var roster = Roster()
        for k in 1...4 {
            let hello = ToCoordinator.Hello(
                incarnation: Incarnation(UInt64(k)), role: .worker, name: "w\(k)", processID: 1, slots: 1, credit: 2,
                oracles: [], testimonies: [:], numerics: "", held: [])
            _ = roster.enter(hello, peer: PeerID(UInt64(k)), held: [], now: Instant(nanoseconds: 0))
        }
        let places = (1...4).map { roster.place(of: Incarnation($0))! }
        for round in 0..<200 {
            for (k, place) in places.enumerated() {
                // The last takes three times as long. What is expected follows what was seen, as for any average.
                let expected = (round < 20 ? 1 / surprise : 1.5) * roster.pace(at: place)
                roster.note(k == 3 ? 3 : 1, expected: expected, at: place)
            }
        }
        for (place, pace) in zip(places, [2.0 / 3, 2.0 / 3, 2.0 / 3, 2]) {
            #expect(abs(roster.pace(at: place) - pace) < 0.01 * pace, "\(roster.pace(at: place))")
        }
        // Who leaves takes its part of the average along, and who comes is average.
        _ = roster.remove(Incarnation(4))
        #expect(abs(roster.pace(at: places[0]) - 1) < 0.01)
    }

    @Test(arguments: [1, 2, 4, 6, 12]) func aStepOfOneSeedTakesLittleMoreThanItsRoundsOfCalls(workers: Int) {
        // Eleven points of two seconds for each of five steps, and one for the end.
        let world = run(seeds: 1, steps: 5, workers: workers) { _, _ in 2 }
        let step = (searchSeconds(world) - 2) / 5 / 2
        tell("time of a step over one call by workers", workers, step)
        let rounds = (11 + workers - 1) / workers
        #expect(step <= 1.3 * Double(rounds), "\(step)")
    }

    @Test(arguments: [(1, 0.63), (2, 0.9), (4, 0.95), (8, 0.95), (30, 0.95)])
    func manySeedsKeepAllWorkersBusy(seeds: Int, atLeast: Double) {
        let world = run(seeds: seeds, steps: 6, workers: 8) { _, _ in 2 }
        let work = 2.0 * Double(seeds * (11 * 6 + 1))
        let share = work / (8 * searchSeconds(world))
        tell("share of the slots' time in use by seeds", seeds, share)
        #expect(share >= atLeast, "\(share)")
    }

    /// Costs of calls: a fixed function of the point, log-normal with a median of one second.
    private func cost(_ point: [Double], sigma: Double) -> Double {
        var stream = RandomStream(seed: point.reduce(17) { $0 &* 31 &+ $1.bitPattern }, purpose: .other)
        let normal = (-2 * log(1 - stream.uniform())).squareRoot() * cos(2 * .pi * stream.uniform())
        return min(60, exp(sigma * normal))
    }

    @Test(arguments: [0, 0.5, 1, 1.5]) func costsThatVaryAndASlowWorkerCostLittle(sigma: Double) {
        var work = 0.0
        var seen: Set<[Double]> = []
        let world = run(seeds: 60, steps: 8, workers: 8) { point, name in
            let own = cost(point, sigma: sigma)
            if seen.insert(point).inserted { work += own }
            return name == "worker-0" ? 5 * own : own
        }
        let all = world.statistics!.seconds.filter { [.search, .certify].contains($0.key) }.values
        let ideal = work / 7.2
        let seconds = all.reduce(0) { $0 + $1.seconds }
        tell("time over the ideal by σ", sigma, seconds / ideal)
        #expect(seconds <= 1.15 * ideal, "\(seconds) for \(ideal)")
        let statistics = world.statistics!
        tell("second attempts of a hundred by σ", sigma, 100 * Double(statistics.copies) / Double(statistics.attempts))
        #expect(Double(statistics.copies) <= 2 + 0.05 * Double(statistics.attempts) + 2 * Double(statistics.copiesWon))
    }

    @Test func aStoppedWorkerDelaysTheEndByOneJobAtMost() {
        let undisturbed = run(seeds: 1, steps: 4, workers: 12) { _, _ in 2 }
        var isFrozen = false
        func freezeOnce(_ world: World) {
            world.freeze = { work, name in
                guard case .label = work, name == "worker-3", !isFrozen else { return false }
                isFrozen = true
                return true
            }
        }
        let world = run(seeds: 1, steps: 4, workers: 12, prepare: freezeOnce, seconds: { _, _ in 2 })
        #expect(isFrozen)
        let delay = searchSeconds(world) - searchSeconds(undisturbed)
        #expect(delay > 0 && delay <= 2, "\(delay)")
    }

    // MARK: Several studies

    /// A coordinator and workers that only take time, for studies that only label.
    private final class Floor {
        var coordinator: Coordinator
        var now = Instant(nanoseconds: 0)
        private var running: [(end: Instant, worker: Int, attempt: Attempt)] = []
        private var waiting: [Int: [Attempt]] = [:]
        private(set) var ended: Set<StudyID> = []
        /// Seconds of slots, by study.
        private(set) var had: [StudyID: Double] = [:]
        /// Labels that were paid for, and items that were begun after a study was cancelled.
        private(set) var paid: [StudyID: Int] = [:]
        let seconds: Double
        let oracle = OracleReference(name: "o", fingerprint: "o/1")

        init(workers: Int, seconds: Double) {
            self.seconds = seconds
            var settings = Coordinator.Settings()
            settings.secondsPerJob = seconds
            coordinator = Coordinator(settings: settings)
            perform(coordinator.step(.started, at: now))
            for k in 0..<workers {
                say(
                    .hello(
                        .init(
                            incarnation: Incarnation(UInt64(k + 1)), role: .worker, name: "w\(k)", processID: 1,
                            slots: 1,
                            credit: 4, oracles: [oracle], numerics: "", held: [])), k)
            }
        }

        func say(_ message: ToCoordinator, _ worker: Int) {
            perform(coordinator.step(.received(message, from: PeerID(UInt64(worker + 1))), at: now))
        }

        func add(_ study: StudyID, items: Int, share: Double = 1, priority: Int = 0) {
            let submission = ToCoordinator.Submission(
                token: study.value, study: "", attachments: [], share: share, priority: priority)
            perform(coordinator.step(.validated(submission, study, from: PeerID(99)), at: now))
            let batch = Batch(.label(oracle, points: [Double](repeating: 0, count: items)), dimension: 1)
            let plan = StudyPlan(
                study: smallStudy(),
                descriptor: .init(name: "o", version: "1", summary: "", citation: "", inputs: []), attachments: .init())
            perform(coordinator.step(.planned(study, plan, PlanStep(next: .batch(batch), phase: .label)), at: now))
            perform(coordinator.step(.known(study, batch: 0, []), at: now))
        }

        private func perform(_ effects: [Coordinator.Effect]) {
            for effect in effects {
                switch effect {
                case .send(.assign(let assignment), let peer):
                    waiting[Int(peer.number) - 1, default: []].append(assignment.attempt)
                case .send(.cancel(let attempt), let peer):
                    waiting[Int(peer.number) - 1]?.removeAll { $0 == attempt }
                    running.removeAll { $0.attempt == attempt && $0.worker == Int(peer.number) - 1 }
                case .persist(let facts):
                    for case .itemsCompleted(let job, _) in facts { paid[job.study, default: 0] += job.items.count }
                case .advance(let study, _, _): ended.insert(study)
                default: break
                }
            }
            coordinator.checkInvariants()
            for worker in waiting.keys.sorted() where !running.contains(where: { $0.worker == worker }) {
                guard let attempt = waiting[worker]!.first else { continue }
                waiting[worker]!.removeFirst()
                let time = seconds * Double(attempt.job.items.count)
                running.append((now + .seconds(time), worker, attempt))
            }
        }

        var slots: [StudyID: Int] {
            running.reduce(into: [:]) { $0[$1.attempt.job.study, default: 0] += 1 }
        }

        /// Runs until a time.
        func run(until limit: Instant) {
            while now < limit {
                // Everybody says that he is there, four times a second.
                let next = min(limit, now + .milliseconds(250), running.map(\.end).min() ?? limit)
                for (study, count) in slots { had[study, default: 0] += Double(count) * (next - now).seconds }
                now = next
                for done in running where done.end <= now {
                    running.removeAll { $0.attempt == done.attempt && $0.worker == done.worker }
                    let count = done.attempt.job.items.count
                    say(
                        .finished(
                            .init(
                                incarnation: Incarnation(UInt64(done.worker + 1)), attempt: done.attempt,
                                duration: .seconds(seconds * Double(count)),
                                outcome: .success(.labels(Valuations(prices: [Double](repeating: 1, count: count)))))),
                        done.worker)
                }
                for k in 0..<8 {
                    let held = running.filter { $0.worker == k }.map(\.attempt) + (waiting[k] ?? [])
                    say(.heartbeat(.init(incarnation: Incarnation(UInt64(k + 1)), held: held)), k)
                }
            }
        }
    }

    private let first = StudyID(1)
    private let second = StudyID(2)
    private let third = StudyID(3)

    @Test func slotsAreSharedAsAsked() {
        let floor = Floor(workers: 8, seconds: 0.5)
        floor.add(first, items: 4000, share: 3)
        floor.add(second, items: 4000, share: 1)
        floor.run(until: Instant(nanoseconds: 100_000_000_000))
        let ratio = floor.had[first]! / floor.had[second]!
        #expect(abs(ratio - 3) <= 0.15, "\(ratio)")
        // Who comes late gets its share from then on, and no more.
        let before = floor.had
        floor.add(third, items: 4000, share: 4)
        floor.run(until: Instant(nanoseconds: 200_000_000_000))
        let gains = [first, second, third].map { floor.had[$0]! - (before[$0] ?? 0) }
        #expect(abs(gains[2] / gains[0] - 4.0 / 3) <= 0.07 && abs(gains[0] / gains[1] - 3) <= 0.15, "\(gains)")
    }

    @Test func higherPrioritiesGoFirst() {
        let floor = Floor(workers: 8, seconds: 0.5)
        floor.add(first, items: 400)
        floor.run(until: Instant(nanoseconds: 3_000_000_000))
        floor.add(second, items: 100, priority: 1)
        floor.run(until: Instant(nanoseconds: 8_000_000_000))
        #expect(floor.slots[second] == 8 && floor.slots[first] == nil, "\(floor.slots)")
        floor.run(until: Instant(nanoseconds: 60_000_000_000))
        #expect(floor.ended == [first, second])
    }

    @Test func whatIsCancelledIsNotPaidForAndItsSlotsAreFree() {
        let floor = Floor(workers: 8, seconds: 2)
        floor.add(first, items: 400)
        floor.add(second, items: 400)
        floor.run(until: Instant(nanoseconds: 9_000_000_000))
        let paid = floor.paid[first]
        floor.say(.cancelStudy(first), 98)
        #expect(floor.slots == [second: 8], "at once")
        floor.run(until: Instant(nanoseconds: 100_000_000_000))
        #expect(floor.paid[first] == paid && floor.paid[second]! > 300)
    }

    @Test func whatIsPausedWaits() {
        let floor = Floor(workers: 8, seconds: 0.5)
        floor.add(first, items: 100)
        floor.run(until: Instant(nanoseconds: 2_000_000_000))
        floor.say(.pauseStudy(first, true), 98)
        floor.run(until: Instant(nanoseconds: 60_000_000_000))
        #expect(floor.slots.isEmpty && floor.ended.isEmpty)
        floor.say(.pauseStudy(first, false), 98)
        floor.run(until: Instant(nanoseconds: 120_000_000_000))
        #expect(floor.ended == [first])
    }
}
