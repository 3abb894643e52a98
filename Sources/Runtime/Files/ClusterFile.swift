// cluster.yaml: where the processes of a cluster run, and how they find each other.

internal import Cluster
internal import FoundationEssentials
package import PlugIns

/// A cluster as its file describes it, every default filled in.
package struct ClusterFile: Sendable, Hashable {
    /// Worker processes on this machine, started and restarted by the supervisor.
    package struct Pool: Sendable, Hashable {
        package var name: String
        package var workers: Int

        package init(name: String, workers: Int) {
            self.name = name
            self.workers = workers
        }
    }

    package var name = "cairn"
    /// Where the coordinator listens for workers and clients; port `*` lets the system choose.
    package var bind = "tcp://127.0.0.1:*"
    /// Where it publishes parameters.
    package var publish = "tcp://127.0.0.1:*"
    /// Threads of the trainer.
    package var trainerThreads: Int
    package var heartbeat: Duration = .milliseconds(250)
    package var lost: Duration = .seconds(10)
    package var crashLimit = 3
    package var drainGrace: Duration = .seconds(30)
    package var maxWorkers = 500
    package var maxFrame = 64 << 20
    /// The most seeds per ascent job.
    package var shardSize = 1024
    /// The most rows per job of labels or predictions.
    package var rowsPerJob = 32_768
    /// Where the coordinator keeps its journal; nil for nowhere.
    package var storage: String?
    package var pools: [Pool]
    /// Plug-ins, each with its place in the file.
    package var oracles: [PlugInSettings] = []

    /// One worker per core, everything else at its default.
    package init(cores: Int = ClusterFile.cores) {
        trainerThreads = cores
        pools = [Pool(name: "here", workers: cores)]
    }

    /// Cores that this process may use.
    package static var cores: Int { max(1, ProcessInfo.processInfo.activeProcessorCount) }

    /// Reads a cluster file.
    ///
    /// - Throws: `InputError` with every problem.
    package init(name: String, text: String) throws(InputError) {
        self.init()
        let file = YAMLFile(name: name, text: text)
        if let root = file.root() { read(root) }
        try file.finish()
    }

    /// Keys of the cluster file that belong to other ways to launch and to secure a cluster; this version knows the
    /// local launcher on loopback only, and says so instead of ignoring them.
    private static let later = ["security", "metrics"]

    private mutating func read(_ root: Section) {
        defer { root.close() }
        if let version = root.integer("version", in: 1...Int.max), version != 1 {
            root.report("version", "version \(version) of the cluster file is not known; this Cairn reads version 1")
        }
        if let name = root.text("name") {
            if name.wholeMatch(of: /[a-z0-9-]{1,30}/) == nil {
                root.report("name", "a cluster's name has 1 to 30 of a-z, 0-9 and -")
            }
            self.name = name
        }
        for key in Self.later where root.has(key) { root.report(key, "is not available in this version; leave it out") }
        if let section = root.section("coordinator") {
            if let address = section.text("bind") { bind = checked(address, "bind", section) }
            if let address = section.text("publish") { publish = checked(address, "publish", section) }
            section.close()
        }
        if let section = root.section("trainer") {
            if section.text("threads") != "auto", let threads = section.integer("threads", in: 1...1024) {
                trainerThreads = threads
            }
            section.close()
        }
        if let section = root.section("storage") {
            if let folder = section.text("dir"), !folder.isEmpty {
                // Relative to the file, like every path in it.
                let base = URL(filePath: section.file.name).deletingLastPathComponent()
                storage = URL(filePath: folder, relativeTo: base).path
            } else {
                section.report("dir", "is missing: the folder of the coordinator's journal, on a local disk")
            }
            section.close()
        }
        if let section = root.section("limits") {
            heartbeat = section.duration("heartbeat") ?? heartbeat
            lost = section.duration("lost") ?? lost
            crashLimit = section.integer("crashLimit", in: 1...1000) ?? crashLimit
            drainGrace = section.duration("drainGrace") ?? drainGrace
            maxWorkers = section.integer("maxWorkers", in: 1...100_000) ?? maxWorkers
            maxFrame = section.size("maxFrame") ?? maxFrame
            shardSize = section.integer("shardSize", in: 1...1_000_000) ?? shardSize
            rowsPerJob = section.integer("rowsPerJob", in: 1...1_000_000) ?? rowsPerJob
            if heartbeat + heartbeat > lost {
                section.report(
                    "lost", "must be at least two heartbeats (\(heartbeat) each), or one late one loses a worker")
            }
            if maxFrame < 4 << 20 { section.report("maxFrame", "must be at least 4MiB") }
            section.close()
        }
        if let section = root.section("oracles") {
            for name in section.keys {
                guard let entry = section.section(name) else { continue }
                if let oracle = PlugInSettings(name: name, entry) { oracles.append(oracle) }
            }
            section.close()
        }
        if let section = root.section("pools") {
            pools = []
            for name in section.keys {
                guard let pool = section.section(name) else { continue }
                pools.append(self.pool(pool, name))
            }
            if pools.isEmpty {
                root.report("pools", "needs at least one pool, such as here: {launcher: local, workers: auto}")
            }
            let total = pools.reduce(0) { $0 + $1.workers }
            if total > maxWorkers { root.report("pools", "\(total) workers, above limits.maxWorkers (\(maxWorkers))") }
            section.close()
        }
    }

    private func pool(_ section: Section, _ name: String) -> Pool {
        defer { section.close() }
        if name.wholeMatch(of: /[a-z0-9-]{1,30}/) == nil {
            section.file.report(section.mark, section.path, "a pool's name has 1 to 30 of a-z, 0-9 and -")
        }
        if let launcher = section.text("launcher"), launcher != "local" {
            let known = ["ssh", "slurm", "kubernetes"]
            section.report(
                "launcher",
                known.contains(launcher)
                    ? "\(launcher) is not available in this version; write local"
                    : "'\(launcher)' is not known; write local")
        }
        var workers = Self.cores
        if section.text("workers") != "auto", let count = section.integer("workers", in: 1...100_000) {
            workers = count
        }
        return Pool(name: name, workers: workers)
    }

    /// An address that needs no keys: loopback, or a socket in the file system.
    private func checked(_ address: String, _ key: String, _ section: Section) -> String {
        if address.wholeMatch(of: /tcp:\/\/(127\.\d+\.\d+\.\d+|localhost):(\*|\d{1,5})/) != nil {
            let port = address.split(separator: ":").last.flatMap { Int($0) } ?? 0
            if port > 65_535 { section.report(key, "port \(port) is above 65535") }
        } else if address.wholeMatch(of: /ipc:\/\/\/.{1,90}/) == nil {
            section.report(
                key,
                "'\(address)' must be tcp://127.0.0.1:PORT (PORT may be *) or ipc:///PATH: "
                    + "without keys a cluster listens on this machine only")
        }
        return address.replacing("localhost", with: "127.0.0.1")
    }

    /// The cluster file with every default filled in. Reading it gives the same cluster.
    package var effective: String {
        func milliseconds(_ duration: Duration) -> String { "\(duration.nanoseconds / 1_000_000)ms" }
        var lines = [
            "version: 1",
            "name: \(name)",
            "coordinator: {bind: \"\(bind)\", publish: \"\(publish)\"}",
            "trainer: {threads: \(trainerThreads)}",
        ]
        if let storage { lines.append("storage: {dir: \(yaml(storage))}") }
        lines += [
            "limits:",
            "  heartbeat: \(milliseconds(heartbeat))",
            "  lost: \(milliseconds(lost))",
            "  crashLimit: \(crashLimit)",
            "  drainGrace: \(milliseconds(drainGrace))",
            "  maxWorkers: \(maxWorkers)",
            "  maxFrame: \(maxFrame)B",
            "  shardSize: \(shardSize)",
            "  rowsPerJob: \(rowsPerJob)",
            "pools:",
        ]
        lines += pools.map { "  \($0.name): {launcher: local, workers: \($0.workers)}" }
        if !oracles.isEmpty { lines.append("oracles:") }
        lines += oracles.flatMap(\.effective)
        return lines.joined(separator: "\n") + "\n"
    }
}
