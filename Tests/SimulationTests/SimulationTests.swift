import Simulation
import Testing

/// The simulation itself under test: it repeats itself, and it finds what it must find. That the cluster survives it is
/// checked by `cairn simulate --count 20000`, which `make test` runs.
@Suite struct SimulationTests {
    @Test func aSeedIsASchedule() {
        // Two simulators that know nothing of each other, and one that has already run other schedules.
        let (first, second) = (Simulator(), Simulator())
        for seed in UInt64(50)..<80 {
            let schedule = Schedule(seed: seed, allowed: Faults.usual)
            let once = first.run(schedule)
            #expect(once.divergence == nil, "\(seed): \(once.divergence?.text ?? "")")
            #expect(once.fingerprint == second.run(schedule, tells: true).fingerprint, "seed \(seed)")
            #expect(once.fingerprint == first.run(schedule).fingerprint, "seed \(seed)")
        }
    }

    @Test func schedulesDiffer() {
        let schedules = (0..<200).map { Schedule(seed: $0, allowed: Faults.usual) }
        #expect(Set(schedules.map(\.words)).count == 200)
        for kind in Faults.kinds {
            let share = schedules.count { $0.faults[keyPath: kind.field] > 0 }
            if Faults.usual.contains(kind.name) {
                #expect(share > 10, "\(kind.name) is in \(share) of 200 schedules")
            } else {
                #expect(share == 0, "\(kind.name) is in a schedule that may not have it")
            }
        }
        #expect(schedules.contains { $0.faults.words == "no faults" })
    }

    /// A guard that is taken away must be found, soon.
    @Test(arguments: Schedule.Canary.allCases) func canariesAreFound(_ canary: Schedule.Canary) {
        let simulator = Simulator()
        var found: Divergence?
        for seed in UInt64(1)...1000 where found == nil {
            var schedule = Schedule(seed: seed, allowed: Faults.usual)
            schedule.canary = canary
            found = simulator.run(schedule).divergence
        }
        #expect(found != nil, "\(canary) was not found in 1,000 schedules")
    }

    @Test func aFailingScheduleIsMadeSmaller() throws {
        let simulator = Simulator()
        func fails(_ schedule: Schedule) -> Bool { simulator.run(schedule).divergence?.kind == .ledger }
        let failing = try #require(
            (UInt64(1)...1000).lazy.map { seed in
                var schedule = Schedule(seed: seed, allowed: Faults.usual)
                schedule.canary = .paidTwice
                return schedule
            }.first(where: fails))
        let smallest = Simulator.minimised(failing, fails: fails)
        // That canary takes no fault at all.
        #expect(smallest.faults.words == "no faults", "\(smallest.words)")
        let verdict = simulator.run(smallest, tells: true)
        let job = try #require(verdict.divergence?.job)
        let story = verdict.story.story(job)
        #expect(story.first?.description.contains("assign") == true)
        #expect(story.contains { $0.description.contains("completed") })
        #expect(story.count < verdict.story.count)
    }
}
