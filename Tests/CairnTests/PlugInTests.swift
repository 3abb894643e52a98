import ChildProcess
import Foundation
import Testing

/// Plug-in oracles as their user meets them: cluster file, commands, studies. The plug-in is
/// `PlugInsTests/Resources/misbehaving.py`, which needs nothing but Python.
@Suite struct PlugInTests {
    private static let script = Cairn.root.appending(path: "Tests/PlugInsTests/Resources/misbehaving.py").path

    private static func cluster(_ kind: String, more: String = "") -> String {
        """
        coordinator: {bind: "tcp://127.0.0.1:*", publish: "tcp://127.0.0.1:*"}
        limits: {crashLimit: 2}
        pools:
          here: {launcher: local, workers: 2}
        oracles:
          mine:
            kind: process
            command: [python3, \(script), \(kind)]
            timeout: 20s
            workingFolder: work
        \(more)
        """
    }

    private static let study = """
        study: own-oracle
        oracle: mine
        labelScale: 1
        domain: {rate: [0, 1], maturityYears: [0.5, 2]}
        data: {base: 300, test: 50}
        surrogate: {layers: [8]}
        training: {epochs: 2}
        search:
          seeds: {worst: 0.1}
          stages: [{steps: 5}]
        """

    private func inFolder(_ kind: String, more: String = "", _ body: (URL) throws -> Void) throws {
        try Cairn.inFolder { folder in
            try FileManager.default.createDirectory(
                at: folder.appending(path: "work"), withIntermediateDirectories: true)
            try Data(Self.cluster(kind, more: more).utf8).write(to: folder.appending(path: "cluster.yaml"))
            try Data(Self.study.utf8).write(to: folder.appending(path: "study.yaml"))
            try body(folder)
        }
    }

    @Test func theCommandsKnowThem() throws {
        try inFolder("good") { folder in
            // cluster.yaml of the folder is taken without being named.
            let list = try Cairn.run(["oracle", "list"], in: folder)
            #expect(list.code == 0 && list.out.contains("mine") && list.out.contains("downAndOutPut"), "\(list.err)")
            let described = try Cairn.run(["oracle", "describe", "mine", "--cluster", "cluster.yaml"], in: folder)
            #expect(described.out.contains("fingerprint: mine/1+a"), "\(described.out) \(described.err)")
            try Data("maturityYears,rate\n2,0.25\n1,0.5\n".utf8).write(to: folder.appending(path: "p.csv"))
            let priced = try Cairn.run(["oracle", "price", "mine", "--input", "p.csv"], in: folder)
            #expect(priced.out == "price,standardError,status\n1.5,0.0,ok\n1.5,0.0,ok\n", "\(priced.out) \(priced.err)")
            let bench = try Cairn.run(
                ["oracle", "bench", "mine", "--batch", "1", "--instances", "1", "--instances", "2"], in: folder)
            let lines = bench.out.split(separator: "\n")
            #expect(
                lines.count == 4 && lines[0].hasPrefix("instances  batch  derivatives"), "\(bench.out) \(bench.err)")
            #expect(lines[1].hasPrefix("1  1  no  ") && lines[2].hasPrefix("2  1  no  "), "\(bench.out)")
            #expect(lines[3].hasPrefix("a job of one second: "), "\(bench.out)")
            let builtIn = try Cairn.run(["oracle", "bench", "barrier", "--instances", "2"], in: folder)
            #expect(builtIn.code == 2 && builtIn.err.contains("kind process"), "\(builtIn.err)")
            let unknown = try Cairn.run(["oracle", "describe", "yours"], in: folder)
            #expect(unknown.code == 2 && unknown.err.contains("mine"))
            let checked = try Cairn.run(["check", "cluster.yaml", "study.yaml"], in: folder)
            #expect(checked.code == 0, "\(checked.err)")
        }
    }

    @Test func aGoodOracleIsFitForUse() throws {
        try inFolder("good") { folder in
            let result = try Cairn.run(["oracle", "check", "mine"], in: folder)
            #expect(result.code == 0, "\(result.out) \(result.err)")
            for name in ["shape", "determinism", "batch invariance", "bounds", "speed", "restart"] {
                #expect(result.out.contains("ok       \(name)"), "\(name): \(result.out)")
            }
            #expect(result.out.contains("skipped  gradient"))
        }
    }

    @Test(arguments: [("not deterministic", "determinism"), ("batch", "batch invariance"), ("late life", "restart")])
    func aBadOracleIsNot(kind: String, verdict: String) throws {
        try inFolder(kind) { folder in
            let result = try Cairn.run(["oracle", "check", "mine", "--json"], in: folder)
            #expect(result.code == 2 && result.err.contains(verdict), "\(kind): \(result.out) \(result.err)")
            #expect(result.out.contains("FAILED"))
        }
    }

    @Test func everyProblemOfAnEntryIsSaidAtOnce() throws {
        let more = """
              bad name:
                kind: procces
              empty: {kind: process}
              lib: {kind: library, batch: 3, command: [x]}
              far: {kind: service, addresses: ["http://here"], timeout: 5}
              many: {kind: process, command: [x], batch: 0, limits: {memory: much, cpu: 1s}, standardError: loud}
              text: {kind: process, command: python3 x.py, instances: 0, timeout: 0s, environment: {"A=B": x}}
              less: {kind: process, command: [x], limits: {memory: 9000000000000GiB, cpuTime: 5, openFiles: 2}, path: x}
              twice: {kind: service, addresses: ["tcp://h:1", "tcp://h:1"], instances: 2, limits: {}}
              port: {kind: service, addresses: ["tcp://h:65536"], fingerprint: "no such"}
              none: {}
              more: {kind: process, command: [x], timeOut: 3s}
            """
        try inFolder("good", more: more) { folder in
            let result = try Cairn.run(["check", "cluster.yaml"], in: folder)
            #expect(result.code == 2)
            for words in [
                "an oracle's name has", "'procces' is not known; did you mean process?",
                "oracles.empty.command: is missing: the program", "oracles.lib.batch: has no meaning for a library",
                "oracles.lib.command: is for kind: process", "oracles.lib.path: is missing",
                "'http://here' must be tcp://HOST:PORT", "'5' is no duration", "oracles.many.batch: 0 is out of range",
                "oracles.many.limits.memory: 'much' is no size", "oracles.many.limits.cpu: unknown key",
                "oracles.many.standardError: 'loud' is not known", "oracles.text.command: must be a list",
                "oracles.text.instances: 0 is out of range", "oracles.text.timeout: '0s' is no duration",
                "oracles.text.environment.A=B: is no name of an environment variable",
                "oracles.less.limits.memory: '9000000000000GiB' is no size",
                "oracles.less.limits.cpuTime: '5' is no duration",
                "oracles.less.limits.openFiles: 2 is out of range", "oracles.less.path: is for kind: library",
                "oracles.twice.addresses: an address stands here twice",
                "oracles.twice.instances: is the number of addresses",
                "oracles.twice.limits: is for kind: process", "oracles.port.addresses: 'tcp://h:65536' must be",
                "oracles.port.fingerprint: 'no such' is none", "oracles.none.kind: is missing; one of: process",
                "oracles.more.timeOut: unknown key; did you mean timeout?",
            ] {
                #expect(result.err.contains(words), "\(words): \(result.err)")
            }
            #expect(result.err.split(separator: "\n").allSatisfy { $0.hasPrefix("cluster.yaml:") }, "\(result.err)")
        }
    }

    @Test func anOracleThatCannotBeStartedIsSaid() throws {
        try inFolder("good", more: "  broken: {kind: process, command: [/no/such/program]}") { folder in
            let list = try Cairn.run(["oracle", "list"], in: folder)
            #expect(list.code == 0 && list.out.contains("mine") && !list.out.contains("broken"))
            #expect(list.err.contains("cannot be started"), "\(list.err)")
            try Data(Self.study.replacing("oracle: mine", with: "oracle: broken").utf8)
                .write(to: folder.appending(path: "study.yaml"))
            let result = try Cairn.run(["run", "study.yaml", "--cluster", "cluster.yaml"], in: folder)
            #expect(result.code == 2 && result.err.contains("'/no/such/program' cannot be started"), "\(result.err)")
        }
    }

    // MARK: Studies

    private func files(_ folder: URL) throws -> [String: Data] {
        var files: [String: Data] = [:]
        for name in ["maximizers.csv", "training.csv", "surrogate.safetensors", "surrogate-mitigated.safetensors"] {
            files[name] = try Data(contentsOf: folder.appending(path: name))
        }
        return files
    }

    /// Processes that work in a folder.
    private static func processes(in folder: URL) -> [Int32] {
        let place = folder.resolvingSymlinksInPath().path
        let all = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return all.compactMap { Int32($0) }.filter {
            (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\($0)/cwd")) == place
        }
    }

    private struct Summary: Decodable {
        struct Search: Decodable {
            struct Calls: Decodable { var total, repeated, reused: Int }
            var oracleCalls: Calls
        }
        struct Cluster: Decodable {
            var copies: Int
            var incidents: [String: [String: Int]]
        }
        var search: Search
        var cluster: Cluster
        var incomplete: [String]

        init(in folder: URL) throws {
            self = try JSONDecoder().decode(
                Summary.self, from: Data(contentsOf: folder.appending(path: "summary.json")))
        }
    }

    /// Its processes are killed a hundred times at random: the same bytes as undisturbed, whatever the batch, and only
    /// what was in flight is paid for again. The plug-in itself writes down every price that it gives.
    @Test func killingPlugInsChangesNothing() throws {
        try inFolder("good") { folder in
            let study = Self.study.replacing("base: 300, test: 50", with: "base: 600, test: 100")
            try Data(study.utf8).write(to: folder.appending(path: "study.yaml"))
            let quiet = try Cairn.run(["run", "study.yaml", "--cluster", "cluster.yaml", "--out", "quiet"], in: folder)
            try #require(quiet.code == 0, "\(quiet.err)")
            let batch = 7
            let text = Self.cluster("slow and counted")
                .replacing("timeout: 20s", with: "timeout: 20s\n    batch: \(batch)")
                .replacing("crashLimit: 2", with: "crashLimit: 10")
            try Data(text.utf8).write(to: folder.appending(path: "cluster.yaml"))
            let work = folder.appending(path: "work")
            try FileManager.default.removeItem(at: work)
            try FileManager.default.createDirectory(at: work, withIntermediateDirectories: true)
            let running = try Cairn.start(
                ["run", "study.yaml", "--cluster", "cluster.yaml", "--out", "loud"], in: folder)
            #expect(running.waits(for: "worker here-2 joined"), "\(running.text(running.err))")
            var killed: Set<Int32> = []
            while running.status == nil && killed.count < 100 {
                usleep(.random(in: 40_000..<120_000))
                // Those that have come to life: to be killed before that again and again is to be unavailable.
                let living = try Self.lives(work).subtracting(killed)
                let victims = Self.processes(in: work).filter(living.contains)
                if let victim = victims.randomElement(), kill(victim, SIGKILL) == 0 { killed.insert(victim) }
            }
            let kills = killed.count
            let result = running.wait()
            #expect(result.code == 0, "after \(kills): \(result.err)")
            #expect(kills == 100, "it was over too early")
            let (a, b) = (try files(folder.appending(path: "quiet")), try files(folder.appending(path: "loud")))
            for name in a.keys { #expect(a[name] == b[name], "\(name) after \(kills) kills") }

            let summary = try Summary(in: folder.appending(path: "loud"))
            let calls = summary.search.oracleCalls
            func lines(_ name: String) throws -> Int {
                try String(contentsOf: work.appending(path: name), encoding: .utf8).split(separator: "\n").count
            }
            let (asked, answered) = (try lines("asked"), try lines("answered"))
            let lives = try Self.lives(work).count
            #expect(lives >= kills, "\(lives) lives")
            #expect(asked - answered <= kills * batch, "in flight: \(asked) asked, \(answered) answered")
            // What was answered, the study counts; beside that there is the witness of each life and of each 256 answers,
            // and what a second attempt at a job gave: each at most two seconds long.
            #expect(calls.repeated == 0 || summary.cluster.copies > 0)
            let unpaid = answered - (calls.total - calls.reused + calls.repeated)
            #expect(
                unpaid <= lives + answered / 256 + 200 * summary.cluster.copies,
                "\(answered) answered, \(calls), \(lives) lives, \(summary.cluster)")
        }
    }

    /// The numbers of the processes of `misbehaving.py` that have begun to work in a folder.
    private static func lives(_ folder: URL) throws -> Set<Int32> {
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
        return Set(names.filter { $0.hasPrefix("life-") }.compactMap { Int32($0.split(separator: "-").last!) })
    }

    /// A plug-in in the middle of a price that is not wanted any more ends, even if it does not want to; its worker stays, and
    /// serves the next study.
    @Test func aCancelledCallEndsThePlugInAndNotItsWorker() throws {
        try inFolder("ignored SIGTERM") { folder in
            let address = "ipc://\(folder.path)/c"
            let text = Self.cluster("ignored SIGTERM")
                .replacing("timeout: 20s", with: "timeout: 600s\n    environment: {CAIRN_TEST_WIDTH: \"0.1\"}")
                .replacing(
                    #"bind: "tcp://127.0.0.1:*", publish: "tcp://127.0.0.1:*""#,
                    with: #"bind: "\#(address)", publish: "\#(address)p""#)
            try Data(text.utf8).write(to: folder.appending(path: "cluster.yaml"))
            let harmless = Self.study.replacing("rate: [0, 1]", with: "rate: [0, 0.3]")
            try Data(harmless.utf8).write(to: folder.appending(path: "harmless.yaml"))
            let cluster = ["--cluster", "cluster.yaml"]
            let roles = try [["coordinator"], ["worker", "--name", "w"], ["trainer"]].map {
                try Cairn.start($0 + cluster, in: folder)
            }
            let worker = roles[1]
            defer { for role in roles { role.process.send(SIGTERM) } }
            let client = ["--connect", address, "--oracles", "cluster.yaml"]
            let running = try Cairn.start(["run", "study.yaml"] + client, in: folder)
            let work = folder.appending(path: "work")
            let sign = work.appending(path: "misbehaved").path
            for _ in 0..<3000 where !FileManager.default.fileExists(atPath: sign) { usleep(10_000) }
            let before = Set(Self.processes(in: work))
            #expect(!before.isEmpty, "\(running.text(running.err))")
            let list = try Cairn.run(["studies", "--connect", address], in: folder)
            let study = try #require(list.out.split(separator: " ").first, "\(list.out) \(list.err)")
            let cancelled = try Cairn.run(["studies", "cancel", String(study), "--connect", address], in: folder)
            #expect(cancelled.code == 0, "\(cancelled.err)")
            _ = running.wait()
            for _ in 0..<3000 where !before.isDisjoint(with: Self.processes(in: work)) { usleep(10_000) }
            #expect(before.isDisjoint(with: Self.processes(in: work)))
            let next = try Cairn.run(["run", "harmless.yaml", "--out", "next"] + client, in: folder)
            #expect(next.code == 0, "\(next.err)")
            #expect(try Summary(in: folder.appending(path: "next")).cluster.incidents == [:])
            worker.process.send(SIGTERM)
            #expect(worker.wait().code == 0, "\(worker.text(worker.err))")
            for _ in 0..<3000 where !Self.processes(in: work).isEmpty { usleep(10_000) }
            #expect(Self.processes(in: work).isEmpty)
        }
    }

    /// One input in the domain kills it: the job is tried elsewhere, then given up, and both the input and what the
    /// plug-in said last are in the message.
    @Test func aCulpritIsNamedInTheEnd() throws {
        try inFolder("crash everywhere") { folder in
            let result = try Cairn.run(["run", "study.yaml", "--cluster", "cluster.yaml", "--out", "r"], in: folder)
            #expect(result.code == 4, "\(result.err)")
            #expect(
                result.out.contains("incidents   mine died ") && result.out.contains("incomplete: label: items")
                    && result.out.contains("was ended by signal 11")
                    && result.out.contains("at rate ") && result.out.contains("its standard error ended: about to"),
                "\(result.out)")
            let summary = try Summary(in: folder.appending(path: "r"))
            #expect(summary.cluster.incidents["mine"]?["died"] ?? 0 >= 3, "\(summary.cluster)")
            // The others are what they were worth being trained on.
            let rows = try String(contentsOf: folder.appending(path: "r/training.csv"), encoding: .utf8)
                .split(separator: "\n").dropFirst()
            let rates = rows.compactMap { Double($0.split(separator: ",")[0]) }
            #expect((270..<300).contains(rows.count) && rates.allSatisfy { $0 <= 0.98 }, "\(rows.count) rows")
        }
    }

    // MARK: The ledger

    private struct Kind: Sendable {
        var name: String
        /// The incident that the summary counts; nil if none is one.
        var counted: String?
        var codes: Set<Int32> = [4]
        var limits = ""
        /// Long, where nothing but the load of this machine makes it wait.
        var timeout = "20s"
    }

    private static let kinds: [Kind] =
        [
            "crash", "exit 0", "truncated frame", "forked children", "escaped child", "closed stdout",
        ].map { Kind(name: $0, counted: "died") }
        + ["hang", "ignored SIGTERM", "stopped", "left its group", "late answer", "endless answer"].map {
            Kind(name: $0, counted: "late", timeout: "500ms")
        }
        + [
            "huge frame", "garbage on stdout", "too much", "a message of 1 MB", "wrong count", "no prices",
            "wrong order",
            "an older answer", "unknown status", "derivatives that nobody wants", "no message", "text that is none",
        ].map { Kind(name: $0, counted: "nonsense") }
        + ["not a number", "infinity"].map { Kind(name: $0, counted: "nonFinite") }
        + ["good", "slow", "flood on stderr", "in small pieces"].map {
            Kind(name: $0, counted: nil, codes: [0])
        }
        // Who changes is not asked again: what came before may be enough for an incomplete study, or may not.
        + ["changed answer", "changed fingerprint", "changed descriptor", "another fingerprint in mid-life"].map {
            Kind(name: $0, counted: "changed", codes: [1, 4])
        }
        + [
            Kind(name: "exception", counted: "refused"), Kind(name: "closed stdin", counted: "died", codes: [0, 4]),
            Kind(name: "memory leak", counted: "died", limits: "memory: 512MiB"),
            Kind(name: "descriptor leak", counted: "died", limits: "openFiles: 64"),
            Kind(name: "endless computation", counted: "died", limits: "cpuTime: 1s"),
        ]

    /// What the ledger of a folder holds.
    private func ledger(_ storage: URL) throws -> [(oracle: String, rate: Double, maturity: Double, price: Double)] {
        let output = storage.appending(path: "labels.csv").path
        let reading = """
            import sqlite3, struct, sys
            for oracle, point, price in sqlite3.connect(sys.argv[1]).execute("SELECT oracle, input, price FROM label"):
                print(oracle, *map(repr, struct.unpack("<2d", point)), repr(price), sep=",")
            """
        let python = try ChildProcess(
            ["python3", "-c", reading, storage.appending(path: "journal.sqlite").path], output: output)
        try #require(python.wait() == 0)
        return try String(contentsOfFile: output, encoding: .utf8).split(separator: "\n").map {
            let words = $0.split(separator: ",")
            return (String(words[0]), Double(words[1])!, Double(words[2])!, Double(words[3])!)
        }
    }

    /// A study for each way to misbehave, all at once on one cluster: each ends, the ones that could do without the bad
    /// input name it, and of what the ledger keeps every price is a good one of a good input.
    @Test func nothingOfAMisbehaviourIsKept() throws {
        try Cairn.inFolder { folder in
            let address = "ipc://\(folder.path)/c"
            var oracles: [String] = []
            for (k, kind) in Self.kinds.enumerated() {
                let work = folder.appending(path: "work\(k)")
                try FileManager.default.createDirectory(at: work, withIntermediateDirectories: true)
                oracles.append(
                    """
                      o\(k):
                        kind: process
                        command: [python3, \(Self.script), \(kind.name)]
                        environment: {CAIRN_TEST_WIDTH: "0.02", CAIRN_TEST_SECONDS: "0.002"}
                        limits: {\(kind.limits)}
                        timeout: \(kind.timeout)
                        workingFolder: work\(k)

                    """)
                let study = """
                    study: s\(k)
                    oracle: o\(k)
                    labelScale: 1
                    domain: {rate: [0, 1], maturityYears: [0.5, 2]}
                    data: {base: 11, test: 1}
                    surrogate: {layers: [2]}
                    training: {epochs: 1}
                    search: {seeds: {random: 1}, stages: [{steps: 1}]}
                    mitigation: {action: none}
                    """
                try Data(study.utf8).write(to: folder.appending(path: "s\(k).yaml"))
                // A client needs no other oracle than its study's.
                try Data("oracles:\n\(oracles[k])".utf8).write(to: folder.appending(path: "o\(k).yaml"))
            }
            let cluster = """
                coordinator: {bind: "\(address)", publish: "\(address)p"}
                storage: {dir: storage}
                limits: {crashLimit: 1}
                oracles:
                \(oracles.joined())
                """
            try Data(cluster.utf8).write(to: folder.appending(path: "cluster.yaml"))
            let roles = try [["coordinator"], ["trainer"], ["worker", "--name", "a"], ["worker", "--name", "b"]].map {
                try Cairn.start($0 + ["--cluster", "cluster.yaml"], in: folder)
            }
            defer { for role in roles { role.process.send(SIGKILL) } }
            // It asks every plug-in what it is, and then tells its address.
            for _ in 0..<30_000 where roles[0].text(roles[0].out).isEmpty { usleep(10_000) }
            let studies = try Self.kinds.indices.map {
                try Cairn.start(
                    ["run", "s\($0).yaml", "--connect", address, "--oracles", "o\($0).yaml", "--out", "r\($0)"],
                    in: folder)
            }
            for (k, kind) in Self.kinds.enumerated() {
                let result = studies[k].wait()
                #expect(kind.codes.contains(result.code), "\(kind.name): \(result.code) \(result.err)")
                guard result.code != 1 else { continue }
                let summary = try Summary(in: folder.appending(path: "r\(k)"))
                let counted = summary.cluster.incidents["o\(k)"] ?? [:]
                if let name = kind.counted {
                    // Who has closed its standard input is found out by the next request, if there is one.
                    #expect(result.code == 0 || counted[name] ?? 0 > 0, "\(kind.name): \(counted)")
                } else {
                    #expect(counted.isEmpty, "\(kind.name): \(counted)")
                }
                // Of one that has changed, workers that see it for the first time now are not believed either.
                let isNamed = summary.incomplete.contains {
                    $0.contains("rate 0.49") || $0.contains("rate 0.5")
                        || kind.counted == "changed" && $0.contains("as it was first seen")
                }
                #expect(isNamed == (result.code == 4), "\(kind.name): \(summary.incomplete)")
            }
            for role in roles {
                role.process.send(SIGTERM)
                _ = role.wait()
            }
            let kept = try ledger(folder.appending(path: "storage"))
            for label in kept {
                #expect(label.price == 1 + label.rate * label.maturity, "\(label)")
            }
            for (k, kind) in Self.kinds.enumerated() where kind.codes == [4] || kind.codes == [0] {
                let rates = kept.filter { $0.oracle.hasPrefix("o\(k)/") }.map(\.rate)
                #expect(rates.count >= 11, "\(kind.name): \(rates.count) labels")
                #expect(
                    rates.contains { abs($0 - 0.5) <= 0.02 } == (kind.codes == [0]), "\(kind.name): \(rates.sorted())")
            }
        }
    }

    /// Paid once, taken from the ledger by the next study, paid again when its labels were declared void.
    @Test func labelsArePaidOnceUntilTheyAreInvalidated() throws {
        try inFolder("slow and counted") { folder in
            let file = folder.appending(path: "cluster.yaml")
            let text = try String(contentsOf: file, encoding: .utf8) + "\nstorage: {dir: storage}\n"
            try Data(text.utf8).write(to: file)
            let study = Self.study.replacing("base: 300, test: 50", with: "base: 60, test: 10")
            /// Runs the study under another name; gives the oracle's calls as the study and as the plug-in count them.
            func run(_ name: String) throws -> (calls: Summary.Search.Calls, answered: Int) {
                let answers = folder.appending(path: "work/answered")
                func answered() -> Int {
                    ((try? String(contentsOf: answers, encoding: .utf8)) ?? "").split(separator: "\n").count
                }
                let before = answered()
                try Data(study.replacing("own-oracle", with: name).utf8).write(to: folder.appending(path: "study.yaml"))
                let result = try Cairn.run(
                    ["run", "study.yaml", "--cluster", "cluster.yaml", "--out", name], in: folder)
                #expect(result.code == 0, "\(result.err)")
                return (try Summary(in: folder.appending(path: name)).search.oracleCalls, answered() - before)
            }
            let first = try run("first")
            // A search may come to points that are labelled already.
            #expect(first.calls.reused < 20 && first.answered >= first.calls.total - first.calls.reused)
            let second = try run("second")
            #expect(second.calls.reused >= 70 && second.calls.total == first.calls.total, "\(second.calls)")
            #expect(second.answered <= first.answered - 60, "\(first.answered), then \(second.answered) answers")
            let labels = try ledger(folder.appending(path: "storage"))
            let list = try Cairn.run(["labels", "list", "--cluster", "cluster.yaml"], in: folder)
            #expect(
                list.out.contains("mine/1+a: ") && list.out.contains(" of worker 'here-"), "\(list.out) \(list.err)")
            let nobody = try Cairn.run(
                [
                    "labels", "invalidate", "--oracle", "mine", "--fingerprint", "a", "--worker", "nobody", "--storage",
                    "storage",
                ], in: folder)
            #expect(nobody.code == 2 && nobody.err.contains("no labels of mine"), "\(nobody.out) \(nobody.err)")
            let void = try Cairn.run(
                ["labels", "invalidate", "--oracle", "mine", "--fingerprint", "a", "--cluster", "cluster.yaml"],
                in: folder)
            #expect(void.code == 0 && void.out.hasPrefix("\(labels.count) labels of mine"), "\(void.out) \(void.err)")
            let third = try run("third")
            #expect(third.calls.reused < 20, "\(third.calls)")
            #expect(third.answered >= third.calls.total - third.calls.reused, "\(third.calls)")
        }
    }

    /// A shared library is part of its worker and takes it along: other workers come, the job is cut down to the input that
    /// is to blame, and that one is named in the end with the last words of the process.
    @Test func aLibraryThatCrashesIsNamedInTheEnd() throws {
        try Cairn.inFolder { folder in
            let sources = Cairn.root.appending(path: "Examples/c/forward.c")
            func build(ending: String) throws {
                let crash = #"if (rate[k] > 0.98) { fputs("no curve up there\n", stderr); \#(ending); }"#
                let text = try String(contentsOf: sources, encoding: .utf8)
                    .replacing("if (maturity[k] < 0) {", with: "\(crash) if (maturity[k] < 0) {")
                    .replacing("#include", with: "#include <stdio.h>\n#include <stdlib.h>\n#include")
                    .replacing(".upper = 0.1}", with: ".upper = 1}")
                try Data(text.utf8).write(to: folder.appending(path: "forward.c"))
                try ChildProcess.run(
                    [
                        "clang", "-std=gnu11", "-O2", "-fPIC", "-shared", "-DCAIRN_LIBRARY",
                        "-I\(Cairn.root.appending(path: "Sources/CPlugIn/include").path)", "-o", "libmine.so",
                        "forward.c",
                    ], in: folder.path)
            }
            let cluster = """
                coordinator: {bind: "tcp://127.0.0.1:*", publish: "tcp://127.0.0.1:*"}
                limits: {crashLimit: 2}
                pools:
                  here: {launcher: local, workers: 2}
                oracles:
                  mine: {kind: library, path: libmine.so}
                """
            try Data(cluster.utf8).write(to: folder.appending(path: "cluster.yaml"))
            try Data(Self.study.utf8).write(to: folder.appending(path: "study.yaml"))
            // A command that asks it in a process of its own lives to tell.
            for (ending, words) in [("exit(0)", "exit code 0"), ("abort()", "signal 6")] {
                try build(ending: ending)
                for command in [["check", "mine"], ["bench", "mine", "--batch", "512"]] {
                    let asked = try Cairn.run(["oracle"] + command, in: folder)
                    #expect(asked.code == 2 && asked.err.contains(words), "\(command) \(asked.code) \(asked.err)")
                    #expect(asked.err.contains("no curve up there"), "\(asked.err)")
                }
            }
            let result = try Cairn.run(["run", "study.yaml", "--cluster", "cluster.yaml", "--out", "r"], in: folder)
            #expect(result.code == 1 || result.code == 4, "\(result.code) \(result.err)")
            #expect(result.err.contains("no curve up there"), "\(result.err)")
            #expect(result.err.contains("rate 0.9"), "\(result.err)")
        }
    }
}
