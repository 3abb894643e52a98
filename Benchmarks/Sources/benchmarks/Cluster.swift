// Cairn's cluster as a user runs it: studies and cluster files that are written here, and the real command.

import CLimits
import Foundation

/// Runs generated studies through `cairn run`.
struct Cluster {
    let cairn: String
    let scratch: String

    /// What a study took.
    struct Run {
        /// Wall time of its phases.
        var seconds: [String: Double]
        /// Counts of `summary.json`'s section `cluster`.
        var counts: [String: Double]
        /// CPU time of all processes, start and end included.
        var cpu: Double
    }

    /// A line of what the sleeping oracle (Oracles/sleeping.c) writes down.
    struct Call {
        var isEnd: Bool
        var process: Int32
        var input: Substring
        /// On `Clock.wall`.
        var start: Double
        /// When it is due to end, or has ended.
        var end: Double
        /// How many times slower its worker is.
        var pace: Double
    }

    /// Makes an oracle that sleeps, as a shared library.
    ///
    /// - Returns: its path; nil if there is no C compiler.
    func makeSleepingOracle() -> String? {
        let path = "\(scratch)/libsleeping.so"
        let compiler = Process()
        compiler.executableURL = URL(filePath: "/usr/bin/env")
        compiler.arguments = [
            "cc", "-O2", "-std=gnu11", "-Wall", "-shared", "-fPIC", "-I", Peers.package + "../Sources/CPlugIn/include",
            Peers.package + "Oracles/sleeping.c", "-o", path, "-lm", "-lpthread",
        ]
        guard (try? compiler.run()) != nil else { return nil }
        compiler.waitUntilExit()
        return compiler.terminationStatus == 0 ? path : nil
    }

    /// A study of so many labels, and next to nothing else.
    func study(_ name: String, oracle: String, rows: Int, layers: [Int] = [1]) -> String {
        """
        study: \(name)
        oracle: \(oracle)
        data: {base: \(rows - 1), test: 1}
        surrogate: {layers: \(layers)}
        training: {epochs: 1, batch: full}
        search: {seeds: {random: 1}, stages: [{steps: 1}]}
        mitigation: {action: none}

        """
    }

    /// A cluster of so many workers on this machine.
    ///
    /// - Parameters:
    ///   - rowsPerJob: the most rows of a job; nil for Cairn's own choice.
    ///   - library: of the sleeping oracle.
    func file(workers: Int, rowsPerJob: Int?, library: String? = nil) -> String {
        """
        trainer: {threads: 1}
        pools: {here: {launcher: local, workers: \(workers)}}

        """ + (rowsPerJob.map { "limits: {rowsPerJob: \($0)}\n" } ?? "")
            + (library.map { "oracles: {sleeping: {kind: library, path: \($0)}}\n" } ?? "")
    }

    /// Starts a study in a folder of its own.
    ///
    /// - Parameter log: a file for what its processes say, debugging included; nil for none.
    func start(
        _ name: String, study: String, cluster: String, environment: [String: String] = [:], log: String? = nil
    ) throws -> Process {
        let folder = "\(scratch)/\(name)"
        try? FileManager.default.removeItem(atPath: folder)
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try study.write(toFile: "\(folder)/in.yaml", atomically: true, encoding: .utf8)
        try cluster.write(toFile: "\(folder)/cluster.yaml", atomically: true, encoding: .utf8)
        let process = Process()
        process.executableURL = URL(filePath: cairn)
        process.arguments = [
            "run", "\(folder)/in.yaml", "--cluster", "\(folder)/cluster.yaml", "--no-progress", "--out",
            "\(folder)/out",
        ]
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        process.standardOutput = FileHandle.nullDevice
        if let log {
            process.arguments! += ["--log-level", "debug"]
            _ = FileManager.default.createFile(atPath: log, contents: nil)
            process.standardError = FileHandle(forWritingAtPath: log)
        }
        try process.run()
        return process
    }

    /// Runs a study to its end; nil if it failed.
    func run(_ name: String, study: String, cluster: String, environment: [String: String] = [:]) -> Run? {
        let before = cpuOfChildren
        guard let process = try? start(name, study: study, cluster: cluster, environment: environment) else {
            return nil
        }
        process.waitUntilExit()
        let cpu = cpuOfChildren - before
        guard process.terminationStatus == 0,
            let data = FileManager.default.contents(atPath: "\(scratch)/\(name)/out/summary.json"),
            let summary = try? JSONSerialization.jsonObject(with: data) as? [String: Any],
            let seconds = summary["seconds"] as? [String: Double],
            let counts = summary["cluster"] as? [String: Any]
        else { return nil }
        return Run(seconds: seconds, counts: counts.compactMapValues { ($0 as? NSNumber)?.doubleValue }, cpu: cpu)
    }

    /// What the sleeping oracle has written down so far.
    func calls(_ log: String) -> [Call] {
        let text = (try? String(contentsOfFile: log, encoding: .utf8)) ?? ""
        return text.split(separator: "\n").compactMap { line in
            let words = line.split(separator: " ")
            guard words.count == 6, let process = Int32(words[1]), let start = Double(words[3]),
                let end = Double(words[4]), let pace = Double(words[5])
            else { return nil }
            return Call(
                isEnd: words[0] == "ended", process: process, input: words[2], start: start, end: end, pace: pace)
        }
    }

    /// Waits for something that is looked for every half millisecond; nil after `limit` seconds.
    func wait<T>(atMost limit: Double, _ look: () -> T?) -> T? {
        let end = Clock.wall + limit
        while Clock.wall < end {
            if let found = look() { return found }
            usleep(500)
        }
        return nil
    }

    /// CPU seconds of all processes that this one has started, and that they have started, and that have ended.
    private var cpuOfChildren: Double {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_CHILDREN.rawValue), &usage)
        func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + 1e-6 * Double(time.tv_usec) }
        return seconds(usage.ru_utime) + seconds(usage.ru_stime)
    }
}
