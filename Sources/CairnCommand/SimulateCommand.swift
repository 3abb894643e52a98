import ArgumentParser
import Glibc
import Runtime
import Simulation
import Synchronization

struct SimulateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "simulate",
        abstract: "Put the cluster's own code through simulated faults, and compare every answer with one process's.",
        discussion: """
            A schedule is drawn from its seed alone: studies, cluster, faults. A failing one is repeated, made smaller, and \
            told with the story of the job that went wrong. Docs/Simulation.md has the faults and the checks. Exit \
            code 1 if a schedule fails.
            """)

    @Option(help: "The first seed.")
    var seed: UInt64 = 1

    @Option(help: "How many schedules: this seed and those after it.")
    var count: UInt64 = 1

    @Option(help: "Threads.")
    var threads = ClusterFile.cores

    @Option(
        help: "Kinds of faults that there may be, separated by commas, instead of all; `none` for a good world.")
    var faults: String?

    @Option(name: .customLong("for"), help: "For how many seconds of virtual time faults act, at the most.")
    var lasting: Double?

    @Option(help: ArgumentHelp("Take a guard away, which must be found.", visibility: .hidden))
    var canary: String?

    @Option(
        help: ArgumentHelp(
            "Instead: one study of so many jobs in a good world, and the memory and time that it takes on the way.",
            valueName: "jobs"))
    var endurance: Int?

    @Option(help: "With --endurance: how many workers.")
    var workers = 8

    @Flag(help: "Write down everything that happens.")
    var story = false

    @OptionGroup var common: CommonOptions

    func validate() throws {
        let names = Set(Faults.kinds.map(\.name))
        if let wrong = kinds.subtracting(names).sorted().first {
            throw ValidationError(
                "'\(wrong)' is no kind of fault. There are: \(Faults.kinds.map(\.name).joined(separator: ", ")).")
        }
        if let endurance, !(1...100_000_000).contains(endurance) {
            throw ValidationError("--endurance is from 1 to 100000000 jobs.")
        }
        guard (1...100_000).contains(workers) else { throw ValidationError("--workers is from 1 to 100000.") }
        guard (1...1024).contains(threads), count >= 1, seed <= .max - count else {
            throw ValidationError("--threads is from 1 to 1024, --count at least 1.")
        }
        if let canary, Schedule.Canary(rawValue: canary) == nil {
            throw ValidationError("There are: \(Schedule.Canary.allCases.map(\.rawValue).joined(separator: ", ")).")
        }
    }

    private func endure(_ jobs: Int) {
        let before = residentKilobytes
        var endurance = Endurance(jobs: jobs, workers: workers, clock: { processSeconds })
        let queued = residentKilobytes
        var most = queued
        var next = 0
        endurance.run { done in
            guard done >= next else { return }
            most = max(most, residentKilobytes)
            if !common.json { print("\(done) jobs: \(residentKilobytes) kB resident") }
            next += max(1, jobs / 10)
        }
        let nanoseconds = 1e9 * endurance.cost.seconds / Double(endurance.cost.events)
        if common.json {
            print(
                JSON.object([
                    ("jobs", .integer(jobs)), ("workers", .integer(workers)),
                    ("events", .integer(endurance.cost.events)), ("nanosecondsPerEvent", .number(nanoseconds)),
                    ("kilobytesBefore", .integer(before)), ("kilobytesQueued", .integer(queued)),
                    ("kilobytesAtMost", .integer(most)),
                ]).text())
        } else {
            print("\(jobs) jobs done: \(residentKilobytes) kB resident")
            print("the coordinator took \(Int(nanoseconds)) ns for each of \(endurance.cost.events) events")
        }
    }

    private var kinds: Set<String> {
        guard let faults else { return Faults.usual }
        return faults == "none" ? [] : Set(faults.split(separator: ",").map(String.init))
    }

    private func schedule(_ seed: UInt64) -> Schedule {
        var schedule = Schedule(seed: seed, allowed: kinds)
        if let lasting { schedule.faults.lasting = min(schedule.faults.lasting, lasting) }
        schedule.canary = canary.flatMap(Schedule.Canary.init)
        return schedule
    }

    func run() throws {
        if let endurance { return endure(endurance) }
        sayWhichSeedTraps(threads)
        let work = Work(self)
        work.run()
        let total = work.total.withLock { $0 }
        if let failure = total.failures.min(by: { $0.seed < $1.seed }) {
            explain(failure)
            throw Ending.failed("\(total.failures.count) of \(total.schedules) schedules failed")
        }
        if common.json {
            print(
                JSON.object([
                    ("schedules", .integer(total.schedules)), ("divergences", .integer(0)),
                    ("virtualSeconds", .number(total.seconds)), ("events", .integer(total.steps)),
                    ("facts", .integer(total.facts)),
                ]).text())
        } else {
            let days = Int(total.seconds / 86_400)
            print(
                "\(total.schedules) schedules from seed \(seed): no divergence. \(total.steps) events, "
                    + "\(total.facts) facts, \(days) days of virtual time.")
        }
        if count == 1 { print(schedule(seed).words, total.fingerprint, separator: "\n") }
    }

    /// Schedules, shared out among threads by the remainders of their seeds: a thread's studies are its own.
    private final class Work: @unchecked Sendable {
        struct Total {
            var schedules = 0
            var steps = 0
            var facts = 0
            var seconds = 0.0
            var fingerprint = ""
            var failures: [(seed: UInt64, verdict: Simulator.Verdict)] = []
        }

        let command: SimulateCommand
        let total = Mutex(Total())

        init(_ command: SimulateCommand) { self.command = command }

        func run() {
            inThreads(command.threads) { [self] thread in
                let simulator = Simulator()
                let (first, end) = (command.seed, command.seed + command.count)
                let step = UInt64(command.threads)
                // The smallest seed of this thread's class.
                var seed = first + (UInt64(thread) + step - first % step) % step
                while seed < end, !total.withLock({ $0.failures.count >= 10 }) {
                    noteSeed(seed, of: thread)
                    let verdict = simulator.run(command.schedule(seed), tells: command.story)
                    for line in verdict.story { print(line.description) }
                    total.withLock { total in
                        total.schedules += 1
                        total.steps += verdict.steps
                        total.facts += verdict.facts
                        total.seconds += verdict.seconds
                        total.fingerprint = verdict.fingerprint
                        if verdict.divergence != nil { total.failures.append((seed, verdict)) }
                        if total.schedules.isMultiple(of: 20_000), command.count > 20_000, !command.common.noProgress {
                            complain("\(total.schedules) of \(command.count)")
                        }
                    }
                    seed += step
                }
            }
        }
    }

    /// Repeats a failing schedule, makes it smaller, and tells what happened.
    private func explain(_ failure: (seed: UInt64, verdict: Simulator.Verdict)) {
        guard let first = failure.verdict.divergence else { return }
        let simulator = Simulator()
        let schedule = schedule(failure.seed)
        complain("seed \(failure.seed): \(first.kind.rawValue): \(first.text)")
        complain("  \(schedule.words)")
        let again = simulator.run(schedule)
        guard again.fingerprint == failure.verdict.fingerprint else {
            return complain("  run again it does something else: the simulation itself is not deterministic")
        }
        let smallest = Simulator.minimised(schedule) { candidate in
            simulator.run(candidate).divergence?.kind == first.kind
        }
        let verdict = simulator.run(smallest, tells: true)
        complain("smallest schedule that fails so: \(smallest.words)")
        complain("  \(verdict.divergence?.text ?? "")")
        if let job = verdict.divergence?.job {
            complain("story of \(job):")
            for line in verdict.story.story(job) { complain("  \(line.description)") }
        }
        complain("last things that happened:")
        for line in verdict.story.suffix(40) { complain("  \(line.description)") }
        complain("repeat with: cairn simulate --seed \(failure.seed) --story")
    }
}

/// Memory of this process.
private var residentKilobytes: Int {
    guard let file = fopen("/proc/self/statm", "r") else { return 0 }
    defer { fclose(file) }
    var (total, resident) = (0, 0)
    _ = withUnsafeMutablePointer(to: &total) { total in
        withUnsafeMutablePointer(to: &resident) { resident in
            withVaList([total, resident]) { vfscanf(file, "%ld %ld", $0) }
        }
    }
    return resident * Int(sysconf(Int32(_SC_PAGESIZE))) / 1024
}

// MARK: Threads

/// Calls `body` in so many threads at once, and returns when all are done.
private func inThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
    final class Start: Sendable {
        let thread: Int
        let body: @Sendable (Int) -> Void
        init(_ thread: Int, _ body: @escaping @Sendable (Int) -> Void) { (self.thread, self.body) = (thread, body) }
    }
    var threads: [pthread_t] = []
    for thread in 0..<count {
        var id = pthread_t()
        let start = Unmanaged.passRetained(Start(thread, body))
        let result = pthread_create(
            &id, nil,
            { argument in
                let start = Unmanaged<Start>.fromOpaque(argument!).takeRetainedValue()
                start.body(start.thread)
                return nil
            }, start.toOpaque())
        precondition(result == 0, "no thread can be started: \(String(cString: strerror(result)))")
        threads.append(id)
    }
    for id in threads { pthread_join(id, nil) }
}

// MARK: Traps

// A broken invariant ends the process, as it would end a real coordinator. Then the last thing to say is at which seed.

/// What each thread is at.
nonisolated(unsafe) private var seeds: UnsafeMutableBufferPointer<UInt64> = .init(start: nil, count: 0)

private func noteSeed(_ seed: UInt64, of thread: Int) { seeds[thread] = seed }

private func sayWhichSeedTraps(_ threads: Int) {
    seeds = .allocate(capacity: threads)
    seeds.initialize(repeating: 0)
    for signal in [SIGILL, SIGTRAP, SIGSEGV, SIGBUS, SIGABRT] {
        Glibc.signal(signal) { signal in
            // Only what a signal handler may do: digits by hand, and write.
            func say(_ text: StaticString) { _ = write(2, text.utf8Start, text.utf8CodeUnitCount) }
            say("a broken invariant: one of the seeds")
            for seed in seeds {
                say(" ")
                var rest = seed
                var place: UInt64 = 1
                while rest / place >= 10 { place *= 10 }
                while place > 0 {
                    var digit = UInt8(48 + rest / place)
                    _ = write(2, &digit, 1)
                    rest %= place
                    place /= 10
                }
            }
            say("\nrepeat each with: cairn simulate --seed N --threads 1\n")
            _exit(1)
        }
    }
}

/// CPU time of this process, which is that of its one busy thread.
private var processSeconds: Double { Double(Glibc.clock()) / 1e6 }
