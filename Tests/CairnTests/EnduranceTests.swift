import ChildProcess
import Foundation
import Testing

/// What only shows after a million jobs, or hundreds of studies, on a cluster that stays up, with its journal. Half a minute; on
/// with `CAIRN_LONG_TESTS`.
@Suite(.enabled(if: ProcessInfo.processInfo.environment["CAIRN_LONG_TESTS"] != nil)) struct EnduranceTests {
    private struct Summary: Decodable {
        struct Cluster: Decodable { var attempts: Int }
        var cluster: Cluster
    }

    /// The memory of a process that is resident, in kB.
    private func memory(_ running: Cairn.Running) throws -> Int {
        let status = try String(contentsOfFile: "/proc/\(running.process.processIdentifier)/status", encoding: .utf8)
        let line = try #require(status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") })
        return try #require(Int(line.split(separator: " ")[1]))
    }

    @Test func memoryStaysFlat() throws {
        try Cairn.inFolder { folder in
            let address = "ipc://\(folder.path)/c"
            let cluster = """
                coordinator: {bind: "\(address)", publish: "\(address)p"}
                storage: {dir: storage}
                limits: {rowsPerJob: 1}
                """
            try Data(cluster.utf8).write(to: folder.appending(path: "cluster.yaml"))
            func study(_ name: String, rows: Int) throws {
                let text = """
                    study: \(name)
                    data: {base: \(rows), test: 1}
                    surrogate: {layers: [1]}
                    training: {epochs: 1, batch: full}
                    search: {seeds: {random: 1}, stages: [{steps: 1}]}
                    mitigation: {action: none}
                    """
                try Data(text.utf8).write(to: folder.appending(path: "\(name).yaml"))
            }
            // As many predictions as labels, a job each.
            try study("long", rows: 9999)
            try study("short", rows: 9)
            let roles = try [["coordinator"], ["trainer"], ["worker", "--name", "a"], ["worker", "--name", "b"]].map {
                try Cairn.start($0 + ["--cluster", "cluster.yaml"], in: folder)
            }
            defer { for role in roles { role.process.send(SIGTERM) } }
            /// Runs a study, and counts its jobs.
            func run(_ study: String) throws -> Int {
                let result = try Cairn.run(["run", "\(study).yaml", "--connect", address, "--out", "r"], in: folder)
                try #require(result.code == 0, "\(result.err)")
                let results = folder.appending(path: "r")
                defer { try? FileManager.default.removeItem(at: results) }
                let summary = try Data(contentsOf: results.appending(path: "summary.json"))
                return try JSONDecoder().decode(Summary.self, from: summary).cluster.attempts
            }
            func expectFlat(_ early: [Int], _ what: String) throws {
                for (role, before) in zip(roles, early) {
                    let after = try memory(role)
                    #expect(
                        after < before + before / 16, "\(role.process.arguments): \(before) kB, \(after) kB \(what)")
                }
            }
            var jobs = 0
            for _ in 0..<10 { jobs += try run("long") }
            let early = try roles.map(memory)
            while jobs < 1_000_000 { jobs += try run("long") }
            try expectFlat(early, "after \(jobs) jobs")
            let busy = try roles.map(memory)
            for _ in 0..<250 { _ = try run("short") }
            try expectFlat(busy, "after 250 more studies")
            let journal = folder.appending(path: "storage/journal.sqlite").path
            let size = try FileManager.default.attributesOfItem(atPath: journal)[.size] as? Int ?? 0
            #expect(size < 100 << 20, "the journal has \(size) bytes")
        }
    }
}
