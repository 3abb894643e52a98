// What does the cluster itself cost, and how soon does it react?

import CLimits
import Foundation

struct Scheduling {
    let cluster: Cluster
    let scratch: String

    init(cairn: String, scratch: String) {
        cluster = Cluster(cairn: cairn, scratch: scratch)
        self.scratch = scratch
    }

    // MARK: What a job costs

    func jobs(_ peers: Peers) -> Answer {
        var lines: [Line] = []
        let library = cluster.makeSleepingOracle()
        let cost = jobCost()
        if let cost {
            lines.append(
                Line(
                    what: "CPU of all processes per job of one closed form", figure: micro(cost.cpu),
                    ratio: "goal 15 µs: \(short(15e-6 / cost.cpu)) ×"))
            lines.append(
                Line(
                    what: "such jobs a second, 2 workers, journal on", figure: short(cost.rate),
                    ratio: "goal 40,000: \(short(cost.rate / 40_000)) ×"))
        }
        if let trip = library.flatMap(roundTrip) {
            lines.append(
                Line(
                    what: "from the end of a job to the start of the next one, which waited for it: median",
                    figure: micro(trip), ratio: "goal 80 µs: \(short(80e-6 / trip)) ×"))
            if let bare = peers.run("zeromq.py"), let theirs = bare.numbers["trip"] {
                lines.append(
                    Line(
                        what: "bare libzmq \(bare.names["version"] ?? ""), there and back after as long a rest: median",
                        figure: micro(theirs), ratio: "Cairn takes \(short(trip / theirs)) ×"))
            }
        }
        let naps = library.flatMap(naps)
        if let naps {
            lines.append(
                Line(what: "1,000 jobs of 20 ms, 2 workers", figure: "\(short(naps, 4)) s", ratio: over(naps, 10)))
        }
        for name in Self.peers {
            guard let peer = peers.run("scheduling.py", arguments: [name]) else { continue }
            let title = "\(name) \(peer.names["version"] ?? "")"
            if let theirs = peer.numbers["cpu"], let rate = peer.numbers["rate"] {
                lines.append(
                    Line(
                        what: "\(title), job that does nothing", figure: "\(micro(theirs)), \(short(rate))/s",
                        ratio: cost.map { "Cairn takes \(short(theirs / $0.cpu)) × less" } ?? ""))
            }
            if let theirs = peer.numbers["naps"] {
                lines.append(
                    Line(
                        what: "\(title), 1,000 jobs of 20 ms", figure: "\(short(theirs, 4)) s",
                        ratio: over(theirs, 10)))
            }
            if let theirs = peer.numbers["killed"] {
                lines.append(
                    Line(
                        what: "\(title), from the kill of a worker until its job runs again", figure: milli(theirs)))
            }
        }
        return Answer(
            question: "What does it cost to hand out a job?",
            method: """
                Studies through `cairn run`. The CPU time of a job (user and system, coordinator, workers, trainer and \
                client together) is the difference between a study cut into jobs of one row and the same study in jobs \
                of thousands of rows, over the difference in jobs; so start, data and files do not count. Jobs a second \
                are rows over the wall time of the labels. The journal is written before a result is acknowledged. Peers: \
                `Peers/scheduling.py`, two workers, all jobs submitted at once.
                """, lines: lines)
    }

    private static let peers = ["ray", "dask", "executorlib"]

    /// CPU seconds per job, and jobs a second.
    private func jobCost() -> (cpu: Double, rate: Double)? {
        let rows = 50_000
        let study = cluster.study("cost", oracle: "downAndOutPut", rows: rows)
        func run(_ rowsPerJob: Int?) -> Cluster.Run? {
            cluster.run("cost", study: study, cluster: cluster.file(workers: 2, rowsPerJob: rowsPerJob))
        }
        var best: (cpu: Double, rate: Double)?
        for _ in 0..<2 {
            guard let whole = run(nil), let single = run(1),
                let many = single.counts["attempts"], let few = whole.counts["attempts"],
                let labelling = single.seconds["label"]
            else { return nil }
            let (cpu, rate) = ((single.cpu - whole.cpu) / (many - few), Double(rows) / labelling)
            best = (min(best?.cpu ?? .infinity, cpu), max(best?.rate ?? 0, rate))
        }
        return best
    }

    /// Seconds that a worker waits between jobs that are too long for the next one to wait at it.
    private func roundTrip(_ library: String) -> Double? {
        let log = "\(scratch)/trip.log"
        try? FileManager.default.removeItem(atPath: log)
        let done = cluster.run(
            "trip", study: cluster.study("trip", oracle: "sleeping", rows: 25),
            cluster: cluster.file(workers: 1, rowsPerJob: 1, library: library),
            environment: ["SLEEPING_SECONDS": "0.12", "SLEEPING_LOG": log])
        guard done != nil else { return nil }
        // The calls of the search, which follow, have other work between them.
        let calls = cluster.calls(log).filter(\.isEnd).prefix(25)
        let gaps = zip(calls, calls.dropFirst()).map { $1.start - $0.end }.sorted()
        return gaps.isEmpty ? nil : gaps[gaps.count / 2]
    }

    /// Seconds of 1,000 jobs of 20 ms.
    private func naps(_ library: String) -> Double? {
        cluster.run(
            "naps", study: cluster.study("naps", oracle: "sleeping", rows: 1000),
            cluster: cluster.file(workers: 2, rowsPerJob: 1, library: library),
            environment: ["SLEEPING_SECONDS": "0.02"])?.seconds["label"]
    }

    // MARK: What a loss costs

    func losses(_ peers: Peers) -> Answer {
        guard let library = cluster.makeSleepingOracle() else {
            return Answer(question: Self.lossQuestion, method: "Not measured: there is no C compiler.", lines: [])
        }
        var lines: [Line] = []
        for (what, signal, goal, times) in [("killed", SIGKILL, 0.05, 5), ("stopped", SIGSTOP, 2, 1)] {
            let found = (0..<times).compactMap { _ in restart(library, after: signal) }.sorted()
            guard !found.isEmpty else {
                lines.append(Line(what: "its worker is \(what)", figure: "did not run again"))
                continue
            }
            let median = found[found.count / 2]
            lines.append(
                Line(
                    what: "its worker is \(what), \(found.count) of \(times) times: median, longest",
                    figure: "\(milli(median)), \(milli(found.last!))",
                    ratio: "goal \(milli(goal)): \(short(goal / median)) ×"))
        }
        if let copies = speculation(library) { lines += copies }
        return Answer(
            question: Self.lossQuestion,
            method: """
                An oracle sleeps for 2 s and writes down when it is called. Four workers, three such jobs; 0.3 s after \
                the first of them began, its process gets SIGKILL, or SIGSTOP, and the time is taken until the oracle is \
                asked for the same input again. Then 300 jobs that sleep log-normally (median 20 ms, σ = 1.5) on four \
                workers, one of them five times slower: the wall time against the sum of sleep over the sum of speeds, \
                and against the time at which the last of the first attempts would have ended. Ray, Dask and executorlib \
                stand in the table of jobs.
                """, lines: lines)
    }

    private static let lossQuestion = "How soon does a job run again, and what do stragglers cost?"

    /// Seconds from a signal to a worker until the job that it ran is run by another; nil if it is not.
    private func restart(_ library: String, after signal: Int32) -> Double? {
        let log = "\(scratch)/loss.log"
        try? FileManager.default.removeItem(atPath: log)
        let process = try? cluster.start(
            "loss", study: cluster.study("loss", oracle: "sleeping", rows: 3),
            cluster: cluster.file(workers: 4, rowsPerJob: 1, library: library),
            environment: ["SLEEPING_SECONDS": "2", "SLEEPING_LOG": log])
        guard let process else { return nil }
        defer {
            process.terminate()
            process.waitUntilExit()
        }
        guard let first = cluster.wait(atMost: 20, { cluster.calls(log).first }) else { return nil }
        usleep(UInt32(max(0, 1e6 * (first.start + 0.3 - Clock.wall))))
        let start = Clock.wall
        kill(first.process, signal)
        defer { if signal == SIGSTOP { kill(first.process, SIGCONT) } }
        let again = cluster.wait(atMost: 10) {
            cluster.calls(log).first { $0.input == first.input && $0.process != first.process }
        }
        return again.map { $0.start - start }
    }

    /// What second attempts do where jobs differ and a worker is slow.
    private func speculation(_ library: String) -> [Line]? {
        let log = "\(scratch)/copies.log"
        try? FileManager.default.removeItem(atPath: log)
        let rows = 300
        let run = cluster.run(
            "copies", study: cluster.study("copies", oracle: "sleeping", rows: rows),
            cluster: cluster.file(workers: 4, rowsPerJob: 1, library: library),
            environment: [
                "SLEEPING_SECONDS": "0.02", "SLEEPING_SIGMA": "1.5", "SLEEPING_LOG": log, "SLEEPING_SLOW": "here-1",
            ])
        guard let run, let wall = run.seconds["label"], let copies = run.counts["copies"],
            let won = run.counts["copiesWon"]
        else { return nil }
        // First attempts at the labels; the calls of the search come after them.
        var seen: Set<Substring> = []
        let first = cluster.calls(log).filter { !$0.isEnd && seen.count < rows && seen.insert($0.input).inserted }
        let work = first.reduce(0) { $0 + ($1.end - $1.start) / $1.pace }
        let ideal = work / 3.2
        let without = (first.map(\.end).max() ?? 0) - (first.map(\.start).min() ?? 0)
        return [
            Line(
                what: "300 uneven jobs, one worker of four 5 × slower", figure: "\(short(wall)) s",
                ratio: "\(short(wall / ideal)) × the ideal of \(short(ideal)) s"),
            Line(
                what: "the same, had there been no second attempts", figure: "\(short(without)) s",
                ratio: "\(short(without / ideal)) × the ideal"),
            Line(
                what: "second attempts, and how many came first", figure: "\(Int(copies)), \(Int(won))",
                ratio: "\(percent((copies - won) / Double(rows))) of the labels for nothing"),
        ]
    }

    // MARK: What parameters cost

    func parameters(_ peers: Peers) -> Answer {
        // 568 × 568 weights in single precision.
        let study = cluster.study("push", oracle: "downAndOutPut", rows: 1000, layers: [568, 568])
        var times: [Double] = []
        var bytes = 0.0
        for _ in 0..<10 {
            let log = "\(scratch)/push.log"
            let file = cluster.file(workers: 2, rowsPerJob: nil)
            guard let process = try? cluster.start("push", study: study, cluster: file, log: log) else { break }
            process.waitUntilExit()
            let lines = ((try? String(contentsOfFile: log, encoding: .utf8)) ?? "").split(separator: "\n")
            func number(_ line: Substring, _ key: String) -> Double? {
                line.split(separator: " ").first { $0.hasPrefix("\(key)=") }.flatMap {
                    Double($0.dropFirst(key.count + 1))
                }
            }
            guard let sent = lines.first(where: { $0.hasSuffix("parameters published") }),
                let digest = sent.split(separator: " ").first(where: { $0.hasPrefix("digest=") }),
                let start = number(sent, "nanoseconds")
            else { continue }
            let arrivals = lines.filter { $0.hasSuffix("blob at hand") && $0.contains(digest) && $0.contains(" here-") }
                .compactMap { number($0, "nanoseconds") }
            guard arrivals.count == 2 else { continue }
            bytes = number(sent, "bytes") ?? 0
            times.append(1e-9 * (arrivals.max()! - start))
        }
        times.sort()
        guard !times.isEmpty else { return Answer(question: Self.pushQuestion, method: "It failed.", lines: []) }
        let median = times[times.count / 2]
        return Answer(
            question: Self.pushQuestion,
            method: """
                A study through `cairn run` trains a surrogate; its processes write down when the coordinator publishes \
                the parameters, and when a worker has them and has checked their digest (`--log-level debug`). They \
                arrive at the thread that owns the worker's sockets; the one that computes goes on meanwhile.
                """,
            lines: [
                Line(
                    what:
                        "\(short(bytes / 1e6)) MB to 2 workers, until both can use them, \(times.count) times: median, "
                        + "longest",
                    figure: "\(milli(median)), \(milli(times.last!))",
                    ratio: "goal 3 ms: \(short(0.003 / median)) ×")
            ])
    }

    private static let pushQuestion = "How soon are new parameters where they are used?"

    // MARK: What size costs

    func size(_ peers: Peers) -> Answer {
        var lines: [Line] = []
        var first: Double?
        for (jobs, workers) in [
            (10_000, 10), (1_000_000, 10), (1_000_000, 100), (1_000_000, 1000), (1_000_000, 10_000), (10_000_000, 10),
        ] {
            guard let cost = endurance(jobs, workers), let nanoseconds = cost["nanosecondsPerEvent"],
                let before = cost["kilobytesBefore"], let queued = cost["kilobytesQueued"]
            else { continue }
            first = first ?? nanoseconds
            let bytes =
                jobs < 1_000_000 || workers > 10
                ? "" : ", \(short(1024 * (queued - before) / Double(jobs))) bytes a queued job"
            lines.append(
                Line(
                    what: "\(jobs) jobs, \(workers) workers",
                    figure: "\(short(nanoseconds / 1000)) µs an event\(bytes)",
                    ratio: "\(short(nanoseconds / first!)) × the first line; goal 1.5"))
        }
        return Answer(
            question: "Does the coordinator slow down with jobs and workers?",
            method: """
                `cairn simulate --endurance`: the coordinator's state machine and its side of the codec, fed by simulated \
                workers; thread CPU time of the coordinator alone, over the messages that it got.
                """, lines: lines)
    }

    private func endurance(_ jobs: Int, _ workers: Int) -> [String: Double]? {
        let process = Process()
        process.executableURL = URL(filePath: cluster.cairn)
        process.arguments = ["simulate", "--endurance", "\(jobs)", "--workers", "\(workers)", "--json"]
        let output = Pipe()
        process.standardOutput = output
        guard (try? process.run()) != nil else { return nil }
        let data = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (try? JSONSerialization.jsonObject(with: data)) as? [String: Double]
    }
}

private func micro(_ seconds: Double) -> String { "\(short(seconds * 1e6)) µs" }
private func milli(_ seconds: Double) -> String { "\(short(seconds * 1e3)) ms" }
private func over(_ seconds: Double, _ ideal: Double) -> String {
    "\(percent(seconds / ideal - 1)) over the ideal of \(short(ideal)) s"
}
