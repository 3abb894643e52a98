// Runs the benchmarks, all or those named, and writes their answers as one page.

import CLimits
import Foundation
import Regression

@main
struct Benchmarks {
    static func main() {
        var arguments = Array(CommandLine.arguments.dropFirst())
        func option(_ name: String) -> String? {
            guard let k = arguments.firstIndex(of: name), k + 1 < arguments.count else { return nil }
            defer { arguments.removeSubrange(k...k + 1) }
            return arguments[k + 1]
        }
        let root = URL(filePath: Peers.package).deletingLastPathComponent().path()
        let output = option("--output")
        let cairn = option("--cairn") ?? root + ".build/release/cairn"
        let scratch = FileManager.default.temporaryDirectory.path() + "/cairn-bench-\(getpid())"
        try! FileManager.default.createDirectory(atPath: scratch, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: scratch) }

        let scheduling = Scheduling(cairn: cairn, scratch: scratch)
        let mainJob = MainJob(cairn: cairn, root: root, scratch: scratch)
        let all: [(name: String, run: (Peers) -> Answer)] = [
            ("training", trainingStep), ("ascent", ascentStep), ("put", put), ("himalaya", himalaya),
            ("oracles", exoticPrices), ("unique", uniqueMaximizers), ("proximal", proximalCounts),
            ("shared", sharedCores),
            ("plug-ins", plugIns), ("jobs", scheduling.jobs), ("losses", scheduling.losses),
            ("parameters", scheduling.parameters),
            ("coordinator", scheduling.size),
            ("main-job", mainJob.answer), ("journal", mainJob.journal),
        ]
        let names = all.map(\.name)
        for argument in arguments where !names.contains(argument) {
            print("\(argument) is no benchmark; there are \(names.joined(separator: ", "))")
            exit(2)
        }
        let peers = Peers()
        var page = header(peers)
        print(page)
        for benchmark in all where arguments.isEmpty || arguments.contains(benchmark.name) {
            let text = benchmark.run(peers).markdown
            print(text)
            page += "\n" + text
        }
        guard let output else { return }
        do {
            let folder = URL(filePath: output).deletingLastPathComponent()
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            try page.write(toFile: output, atomically: true, encoding: .utf8)
        } catch {
            print("\(output) cannot be written: \(error.localizedDescription)")
            exit(1)
        }
    }

    private static func header(_ peers: Peers) -> String {
        let cpu =
            (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8))?.split(separator: "\n")
            .reduce(into: [Substring: Substring]()) { fields, line in
                let parts = line.split(separator: ":", maxSplits: 1)
                if parts.count == 2 { fields[parts[0].prefix { $0 != "\t" }] = parts[1].dropFirst() }
            } ?? [:]
        let load = (try? String(contentsOfFile: "/proc/loadavg", encoding: .utf8))?.split(separator: " ").first ?? "?"
        let day = Date().formatted(.iso8601.year().month().day())
        let system = ProcessInfo.processInfo.operatingSystemVersionString
        return """
            # Benchmarks

            Written by `make bench`. Every ratio is taken in one run on one machine; a line that names a peer was measured \
            minutes from Cairn's own, each side at the settings said. On another CPU the ratios differ: run it there.

            - CPU: \(cpu["model name"] ?? "unknown"), family \(cpu["cpu family"] ?? "?") model \(cpu["model"] ?? "?"), \
            \(ProcessInfo.processInfo.activeProcessorCount) cores; kernels \(KernelPath.current)
            - system: \(system), \(day); load average at the start \(load): a busy machine costs every figure
            - peers: \(peers.python == nil ? "none installed (Benchmarks/peers.sh)" : "installed by Benchmarks/peers.sh")

            """
    }
}
