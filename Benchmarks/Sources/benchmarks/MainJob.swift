// How long does the main job take, from data to clean surrogate, through the real cluster, and what is its journal's part?

import CLimits
import Foundation
import Regression

struct MainJob {
    let cairn: String
    let root: String
    let scratch: String

    /// The seconds of each phase of a study, from its summary; nil if it failed.
    ///
    /// - Parameter cluster: arguments that say which cluster runs it; nil for one that is started for it.
    private func run(_ study: String, _ name: String, on cluster: [String]? = nil) -> [String: Double]? {
        let process = Process()
        process.executableURL = URL(filePath: cairn)
        process.arguments =
            ["run", study, "--no-progress", "--log-level", "info", "--out", "\(scratch)/\(name)"]
            + (cluster ?? ["--cluster", root + "cluster.yaml"])
        process.standardOutput = FileHandle.nullDevice
        let log = "\(scratch)/\(name).log"
        _ = FileManager.default.createFile(atPath: log, contents: nil)
        process.standardError = FileHandle(forWritingAtPath: log)
        let start = Clock.wall
        guard (try? process.run()) != nil else { return nil }
        process.waitUntilExit()
        let wall = Clock.wall - start
        guard process.terminationStatus == 0,
            let data = FileManager.default.contents(atPath: "\(scratch)/\(name)/summary.json"),
            let summary = try? JSONSerialization.jsonObject(with: data) as? [String: Any],
            var seconds = summary["seconds"] as? [String: Double]
        else { return nil }
        seconds["wall"] = wall
        for (name, value) in Self.journal(in: log) { seconds[name] = value }
        return seconds
    }

    /// What a coordinator says of its journal when it ends: how many commits, and the seconds that it waited for them.
    private static func journal(in log: String) -> [String: Double] {
        let words = ((try? String(contentsOfFile: log, encoding: .utf8)) ?? "").split(whereSeparator: \.isWhitespace)
        var values: [String: Double] = [:]
        for (key, name) in [("commits=", "commits"), ("secondsOfWriting=", "journal")] {
            values[name] = words.last { $0.hasPrefix(key) }.flatMap { Double($0.dropFirst(key.count)) }
        }
        return values
    }

    /// The search alone, of the surrogate that the main job has trained, with so many workers.
    private func search(workers: Int) -> Double? {
        let original = try? String(contentsOfFile: root + "Studies/barrier-backdoor.yaml", encoding: .utf8)
        guard var text = original else { return nil }
        for section in ["surrogate", "training"] {
            text.replace(try! Regex("(?m)^\(section):.*\n"), with: "")
        }
        text.replace(/mitigation:\n( .*\n)+/, with: "mitigation: {action: none}\n")
        text += "surrogate: {file: \(scratch)/whole/surrogate.safetensors}\n"
        let path = "\(scratch)/search.yaml"
        guard (try? text.write(toFile: path, atomically: true, encoding: .utf8)) != nil else { return nil }
        let cluster = ["--cluster", root + "cluster.yaml", "--workers", "\(workers)"]
        return run(path, "search\(workers)", on: cluster)?["search"]
    }

    /// A cluster of processes that are started one by one, as a cluster has a journal only where its file names a folder.
    private final class ByHand {
        private var processes: [Process] = []
        private(set) var address = ""
        let log: String

        /// Nil if the coordinator does not start.
        init?(cairn: String, folder: String, hasJournal: Bool) {
            try? FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            log = "\(folder)/coordinator.log"
            _ = FileManager.default.createFile(atPath: log, contents: nil)
            let text = "trainer: {threads: auto}\n" + (hasJournal ? "storage: {dir: \(folder)/storage}\n" : "")
            let cluster = "\(folder)/cluster.yaml"
            guard (try? text.write(toFile: cluster, atomically: true, encoding: .utf8)) != nil else { return nil }
            let workers = Array(repeating: "worker", count: ProcessInfo.processInfo.activeProcessorCount)
            for role in ["coordinator", "trainer"] + workers {
                let process = Process()
                process.executableURL = URL(filePath: cairn)
                process.arguments = [role, "--cluster", cluster, "--log-level", "info"]
                process.standardInput = FileHandle.nullDevice
                let output = Pipe()
                process.standardOutput = output
                process.standardError =
                    role == "coordinator" ? FileHandle(forWritingAtPath: log) : FileHandle.nullDevice
                if role != "coordinator" { process.arguments! += ["--connect", address] }
                guard (try? process.run()) != nil else { return nil }
                processes.append(process)
                guard role == "coordinator" else { continue }
                address = String(decoding: output.fileHandleForReading.availableData, as: UTF8.self)
                    .trimmingCharacters(in: .whitespacesAndNewlines)
                guard !address.isEmpty else { return nil }
            }
        }

        func stop() {
            for process in processes.reversed() {
                process.terminate()
                process.waitUntilExit()
            }
            processes = []
        }

        deinit { stop() }
    }

    /// What does it cost that nothing is lost?
    func journal(_ peers: Peers) -> Answer {
        var walls: [Bool: [Double]] = [:]
        var waiting = 0.0
        // What drifts on the machine meanwhile is shared out alike.
        for (k, hasJournal) in [true, false, false, true].enumerated() {
            let folder = "\(scratch)/journal\(k)"
            guard let cluster = ByHand(cairn: cairn, folder: folder, hasJournal: hasJournal) else { continue }
            let job = run(root + "Studies/barrier-backdoor.yaml", "journal\(k)", on: ["--connect", cluster.address])
            cluster.stop()
            if hasJournal { waiting += Self.journal(in: cluster.log)["journal"] ?? .infinity }
            if let wall = job?["wall"] { walls[hasJournal, default: []].append(wall) }
        }
        let question = "What does the journal cost the main job?"
        guard let with = walls[true], let without = walls[false] else {
            return Answer(question: question, method: "The job failed: see above.", lines: [])
        }
        let mean = { (times: [Double]) in times.reduce(0, +) / Double(times.count) }
        let list = { (times: [Double]) in times.map { short($0) }.joined(separator: ", ") + " s" }
        return Answer(
            question: question,
            method: """
                `Studies/barrier-backdoor.yaml` through a cluster of processes started by hand, twice with a storage folder \
                and twice without, in the order with, without, without, with. Two runs of one kind tell how much a ratio \
                of two kinds is worth. All that the journal does is done while the coordinator waits for it, so that time is \
                the most that it can add.
                """,
            lines: [
                Line(what: "without a journal", figure: list(without)),
                Line(
                    what: "with one", figure: list(with),
                    ratio: "\(percent(mean(with) / mean(without) - 1)) more, goal 2 %"),
                Line(
                    what: "of that the coordinator waiting for it, mean",
                    figure: short(waiting / Double(with.count)) + " s",
                    ratio: "\(percent(waiting / with.reduce(0, +))), goal 2 %"),
            ])
    }

    func answer(_ peers: Peers) -> Answer {
        var lines: [Line] = []
        var sink: Float = 0
        let peak = (0..<5).map { _ in
            let start = Clock.thread
            return limit_fma(2_000_000, &sink) / (Clock.thread - start)
        }.max()!
        let cores = Double(ProcessInfo.processInfo.activeProcessorCount)
        let flops =
            16 * Double(Paper.samples) * Paper.training + 100 * Double(Paper.seeds) * Paper.ascent
            + 2 * Double(Paper.samples) * Paper.forward
        let floor = flops / (peak * cores)
        let phases = [
            "label", "train", "predict", "search", "certify", "scan", "mitigate", "retrain", "judge", "write",
        ]
        guard let whole = run(root + "Studies/barrier-backdoor.yaml", "whole") else {
            return Answer(
                question: "How long does the main job take?", method: "`cairn run` failed: see above.", lines: [])
        }
        let wall = whole["wall"]!
        lines.append(
            Line(
                what: "Cairn, start to end", figure: "\(short(wall)) s",
                ratio: "floor \(short(floor)) s: \(percent(floor / wall)) of \(Int(cores)) cores' peak"))
        for phase in phases where (whole[phase] ?? 0) >= 0.005 * wall {
            lines.append(
                Line(what: "of it \(phase)", figure: "\(short(whole[phase]!)) s", ratio: percent(whole[phase]! / wall)))
        }
        if let journal = whole["journal"] {
            lines.append(
                Line(
                    what: "of it the coordinator waiting for its journal, \(Int(whole["commits"] ?? 0)) commits",
                    figure: "\(short(journal)) s", ratio: "\(percent(journal / wall)), goal 2 %"))
        }
        if let one = search(workers: 1), let two = search(workers: 2) {
            lines.append(
                Line(
                    what: "the search with 1 and with 2 workers", figure: "\(short(one)) s, \(short(two)) s",
                    ratio: "\(short(one / two)) × as fast"))
        }
        for mkl in Peers.MKL.allCases {
            guard let result = peers.run("main_job.py", threads: Int(cores), mkl: mkl) else { continue }
            let total = ["train", "search", "retrain"].reduce(0.0) { $0 + (result.numbers[$1] ?? .nan) }
            lines.append(
                Line(
                    what: "PyTorch \(result.names["version"] ?? ""), \(mkl.rawValue), extrapolated: training "
                        + "\(short(result.numbers["train"] ?? .nan)) s, search \(short(result.numbers["search"] ?? .nan)) s, "
                        + "retraining \(short(result.numbers["retrain"] ?? .nan)) s",
                    figure: "\(short(total)) s", ratio: "Cairn is \(short(total / wall)) × as fast"))
        }
        return Answer(
            question: "How long does the main job take?",
            method: """
                `Studies/barrier-backdoor.yaml` through the real cluster on this machine (wall time, processes' start and \
                end, labels, scan, verification and files included): 210,000 samples, 14 epochs in batches of 256, \
                21,000 seeds × 100 steps, retraining for 2 epochs. The floor is that arithmetic at the measured peak of \
                all cores. PyTorch does training, search and retraining alone, in one process with as many threads as \
                cores, on scaled parts that are extrapolated linearly: 205 of 820 steps of one epoch, and 6 of 100 steps \
                of the search.
                """, lines: lines)
    }
}
