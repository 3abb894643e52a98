import ChildProcess
import Foundation
import Testing

/// Every process may die at any time: the study goes on, or is taken up again, to the same bytes.
@Suite(.serialized) struct RecoveryTests {
    private static let quick = Cairn.root.appending(path: "Studies/quick.yaml").path

    /// An oracle of about 40 ms a price, and a search of some hundred calls.
    private static let costly = """
        study: costly
        oracle: asian
        contract: {optionType: call, fixings: 1000, spot: 100, dividendYield: 0}
        labelScale: 1
        domain: {strike: [80, 120], maturityYears: [0.25, 2], volatility: [0.1, 0.5], rate: [0.0, 0.08]}
        data: {base: 60, test: 10}
        surrogate: {layers: [16, 16]}
        training: {batch: 16, epochs: 30}
        search:
          seeds: {random: 3}
          stages: [{steps: 6, stepSize: 0.05, decayEvery: 2}]
          gradient: differences
        mitigation: {action: none}
        """

    /// Files that depend on nothing but the study.
    private static let files = [
        "maximizers.csv", "flagged.csv", "training.csv", "study.yaml", "surrogate.safetensors",
        "surrogate-mitigated.safetensors",
    ]

    /// What an undisturbed run of the costly study gives.
    private static let costlyUndisturbed: [String: Data] = try! Cairn.inFolder { folder in
        try Data(costly.utf8).write(to: folder.appending(path: "costly.yaml"))
        let result = try Cairn.run(["run", "costly.yaml", "--out", "r"], in: folder)
        precondition(result.code == 0, result.err)
        return contents(folder.appending(path: "r"))
    }

    private static func contents(_ folder: URL) -> [String: Data] {
        Dictionary(
            uniqueKeysWithValues: files.compactMap { name in
                (try? Data(contentsOf: folder.appending(path: name))).map { (name, $0) }
            })
    }

    /// What an undisturbed run gives.
    private static let undisturbed: [String: Data] = try! Cairn.inFolder { folder in
        let result = try Cairn.run(["run", quick, "--out", "r"], in: folder)
        precondition(result.code == 0, result.err)
        return contents(folder.appending(path: "r"))
    }

    /// The running children of a process, by their role or name.
    private static func children(of process: Int32) -> [(role: String, process: Int32)] {
        Cairn.children(of: process).compactMap { child in
            guard let line = try? String(contentsOfFile: "/proc/\(child)/cmdline", encoding: .utf8) else { return nil }
            let words = line.split(separator: "\0")
            return words.count > 1 ? (String(words[1]), child) : nil
        }
    }

    private func expectSame(_ folder: URL, _ what: String, as undisturbed: [String: Data] = Self.undisturbed) {
        let contents = Self.contents(folder)
        for file in Self.files { #expect(contents[file] == undisturbed[file], "\(what): \(file)") }
        let state = folder.appending(path: "state").path
        #expect(!FileManager.default.fileExists(atPath: state), "\(what): what the run left is gone")
    }

    @Test(arguments: ["label: labelling", "train: training", "search: stage 1", "retrain: retraining"])
    func aCoordinatorKilledComesBackAndGoesOn(phase: String) throws {
        try Cairn.inFolder { folder in
            let running = try Cairn.start(["run", Self.quick, "--out", "r"], in: folder)
            let coordinator = try #require(running.child("coordinator"))
            #expect(running.waits(for: phase))
            kill(coordinator, SIGKILL)
            let result = running.wait()
            #expect(result.code == 0, "\(result.err)")
            expectSame(folder.appending(path: "r"), phase)
        }
    }

    @Test(arguments: ["train: training", "search: stage 1", "retrain: retraining"])
    func everythingKilledIsTakenUpAgain(phase: String) throws {
        try Cairn.inFolder { folder in
            let running = try Cairn.start(["run", Self.quick, "--out", "r"], in: folder)
            #expect(running.waits(for: phase))
            let all = Self.children(of: running.process.processIdentifier).map(\.process)
            for process in [running.process.processIdentifier] + all { kill(process, SIGKILL) }
            _ = running.wait()

            let without = try Cairn.run(["run", Self.quick, "--out", "r"], in: folder)
            #expect(without.code == 2 && without.err.contains("--resume"), "\(without.err)")
            let resumed = try Cairn.run(["run", Self.quick, "--out", "r", "--resume"], in: folder)
            #expect(resumed.code == 0, "\(resumed.err)")
            #expect(resumed.err.contains("going on with the run"))
            if phase != "train: training" {
                // What was paid for and acknowledged is not asked again.
                #expect(!resumed.err.contains("epoch 20 of 20, training on"))
            }
            expectSame(folder.appending(path: "r"), phase)
        }
    }

    @Test func anInterruptedRunGoesOn() throws {
        try Cairn.inFolder { folder in
            let running = try Cairn.start(["run", Self.quick, "--out", "r"], in: folder)
            #expect(running.waits(for: "search: stage 1"))
            running.process.send(SIGINT)
            let interrupted = running.wait()
            #expect(interrupted.code == 130 && interrupted.err.contains("--resume goes on"), "\(interrupted.err)")
            let text = try String(contentsOfFile: Self.quick, encoding: .utf8)
            try text.replacing("randomSeed: 1", with: "randomSeed: 2").write(
                to: folder.appending(path: "other.yaml"), atomically: true, encoding: .utf8)
            let other = try Cairn.run(["run", "other.yaml", "--out", "r", "--resume"], in: folder)
            #expect(other.code == 2 && other.err.contains("has changed"), "\(other.err)")
            let result = try Cairn.run(["run", Self.quick, "--out", "r", "--resume"], in: folder)
            #expect(result.code == 0, "\(result.err)")
            expectSame(folder.appending(path: "r"), "interrupted")
        }
    }

    @Test func resumeWithNothingToResumeBegins() throws {
        try Cairn.inFolder { folder in
            let result = try Cairn.run(["run", Self.quick, "--out", "r", "--resume"], in: folder)
            #expect(result.code == 0, "\(result.err)")
            expectSame(folder.appending(path: "r"), "nothing to resume")
        }
    }

    /// Which study a journal is of is in the ticket beside it.
    @Test(arguments: [["--resume"], []]) func aJournalWithoutItsTicketIsRefused(_ flags: [String]) throws {
        try Cairn.inFolder { folder in
            try FileManager.default.createDirectory(
                at: folder.appending(path: "r/state"), withIntermediateDirectories: true)
            try Data([1]).write(to: folder.appending(path: "r/state/journal.sqlite"))
            let result = try Cairn.run(["run", Self.quick, "--out", "r"] + flags, in: folder)
            #expect(result.code == 2 && result.err.contains("submission.json: is missing"), "\(result.err)")
            #expect(try Data(contentsOf: folder.appending(path: "r/state/journal.sqlite")) == Data([1]))
        }
    }

    /// An oracle that is asked what it is kills the coordinator that asks, which has no address yet; once.
    @Test func aCoordinatorThatIsKilledAtItsStartIsStartedAgain() throws {
        try Cairn.inFolder { folder in
            let oracle = """
                grep -qa coordinator /proc/$PPID/cmdline && mkdir killed && kill -9 $PPID
                exit 1
                """
            try Data(oracle.utf8).write(to: folder.appending(path: "oracle.sh"))
            let cluster =
                "oracles: {deadly: {kind: process, command: [sh, oracle.sh], workingFolder: \(folder.path)}}\n"
            try Data(cluster.utf8).write(to: folder.appending(path: "cluster.yaml"))
            let result = try Cairn.run(["run", Self.quick, "--cluster", "cluster.yaml", "--out", "r"], in: folder)
            #expect(result.code == 0 && result.err.contains("signal 9 name=coordinator"), "\(result.err)")
            expectSame(folder.appending(path: "r"), "killed at its start")
        }
    }

    /// A random process is killed, or stopped for a while, or all are killed at once and the run is resumed; at a random
    /// time, of a quick study and of one whose oracle is costly. `CAIRN_CHAOS_RUNS` says how often.
    @Test func chaosChangesNothing() throws {
        let runs = Int(ProcessInfo.processInfo.environment["CAIRN_CHAOS_RUNS"] ?? "") ?? 4
        var random = SystemRandomNumberGenerator()
        for run in 0..<runs {
            try Cairn.inFolder { folder in
                let isCostly = run % 2 == 1
                let delay = UInt32.random(in: 100_000..<(isCostly ? 6_000_000 : 2_000_000), using: &random)
                let fault = run / 2 % 4
                try Data(Self.costly.utf8).write(to: folder.appending(path: "costly.yaml"))
                let study = isCostly ? "costly.yaml" : Self.quick
                let running = try Cairn.start(["run", study, "--out", "r"], in: folder)
                _ = running.child("here-2")
                usleep(delay)
                let parent = running.process.processIdentifier
                let victims = Self.children(of: parent)
                var what = "run \(run), \(isCostly ? "costly" : "quick"), after \(delay) µs: "
                var resume = false
                var isNewLife = false
                switch (fault, victims.randomElement(using: &random)) {
                case (0, let victim?), (1, let victim?):
                    what += "\(victim.role) killed"
                    isNewLife = victim.role == "coordinator"
                    kill(victim.process, SIGKILL)
                case (2, let victim?):
                    what += "\(victim.role) stopped"
                    kill(victim.process, SIGSTOP)
                    usleep(5_000_000)
                    kill(victim.process, SIGCONT)
                default:
                    what += "all killed"
                    for process in [parent] + victims.map(\.process) { kill(process, SIGKILL) }
                    (resume, isNewLife) = (true, true)
                }
                var result = running.wait()
                // Unless it had just come to its end.
                if resume && FileManager.default.fileExists(atPath: folder.appending(path: "r/state").path) {
                    result = try Cairn.run(["run", study, "--out", "r", "--resume"], in: folder)
                    #expect(result.code == 0, "\(what): \(result.err)")
                } else if !resume {
                    #expect(result.code == 0, "\(what): \(result.err)")
                }
                expectSame(
                    folder.appending(path: "r"), what, as: isCostly ? Self.costlyUndisturbed : Self.undisturbed)
                if isCostly {
                    let repeated = try Self.repeatedCalls(folder.appending(path: "r"))
                    // What was in flight may be paid twice: one call for each worker. A coordinator that comes back counts what
                    // the one before took and had not acknowledged, too, since it cannot tell that from a second payment.
                    #expect(repeated <= (isNewLife ? 10 : 2), "\(what): \(repeated) calls were paid for twice")
                }
            }
        }
    }

    private static func repeatedCalls(_ folder: URL) throws -> Int {
        struct Summary: Decodable {
            struct Search: Decodable {
                struct Calls: Decodable { var repeated: Int }
                var oracleCalls: Calls
            }
            var search: Search
        }
        let data = try Data(contentsOf: folder.appending(path: "summary.json"))
        return try JSONDecoder().decode(Summary.self, from: data).search.oracleCalls.repeated
    }

    // MARK: Disks

    @Test func aJournalInUseIsRefused() throws {
        try Cairn.inFolder { folder in
            try Data("coordinator: {bind: \"ipc://\(folder.path)/c\"}\nstorage: {dir: store}\n".utf8)
                .write(to: folder.appending(path: "cluster.yaml"))
            let first = try Cairn.start(["coordinator", "--cluster", "cluster.yaml"], in: folder)
            defer { first.process.send(SIGTERM) }
            for _ in 0..<500 where first.text(first.out).isEmpty { usleep(10_000) }
            let second = try Cairn.run(["coordinator", "--cluster", "cluster.yaml"], in: folder)
            #expect(second.code == 2, "\(second.err)")
            #expect(second.err.contains("in use by another coordinator, process \(first.process.processIdentifier)"))
        }
    }

    /// A folder with a run that was killed in mid-search.
    private func killedRun(in folder: URL) throws {
        let running = try Cairn.start(["run", Self.quick, "--out", "r"], in: folder)
        #expect(running.waits(for: "retrain: retraining"))
        let all = Self.children(of: running.process.processIdentifier).map(\.process)
        for process in [running.process.processIdentifier] + all { kill(process, SIGKILL) }
        _ = running.wait()
    }

    @Test(arguments: ["truncated", "empty", "bit flipped", "no database", "blob flipped"])
    func aDamagedJournalIsRefused(damage: String) throws {
        try Cairn.inFolder { folder in
            try killedRun(in: folder)
            let state = folder.appending(path: "r/state")
            // Everything into the main file, as after a while.
            let path = state.appending(path: "journal.sqlite")
            try ChildProcess.run([
                "python3", "-c",
                "import sqlite3,sys; c = sqlite3.connect(sys.argv[1]); c.execute('PRAGMA wal_checkpoint(TRUNCATE)')",
                path.path,
            ])
            var bytes = try Data(contentsOf: path)
            switch damage {
            case "truncated": bytes = bytes.prefix(bytes.count / 2)
            case "empty": bytes = Data()
            case "bit flipped":
                // In the middle of a long row: its page is well formed, its content is not.
                bytes[bytes.count / 2 + 700] ^= 0x10
            case "no database": bytes.replaceSubrange(0..<16, with: Data("no SQLite at all".utf8))
            default:
                let blobs = state.appending(path: "blobs")
                let blob = try #require(try FileManager.default.contentsOfDirectory(atPath: blobs.path).sorted().first)
                var content = try Data(contentsOf: blobs.appending(path: blob))
                content[content.count / 2] ^= 1
                try content.write(to: blobs.appending(path: blob))
            }
            try bytes.write(to: path)
            let result = try Cairn.run(["run", Self.quick, "--out", "r", "--resume"], in: folder)
            #expect(result.code == 2, "\(damage): \(result.err)")
            #expect(result.err.contains("damaged") || result.err.contains("missing or empty"), "\(result.err)")
            // SQLite and GRDB touch a file that opens; one that does not is left as it was.
            if !damage.contains("flipped") { #expect(FileManager.default.contents(atPath: path.path) == bytes) }
        }
    }

    /// Mounting needs root; where the tests do not run as root these two do not run.
    @Test(.enabled(if: getuid() == 0)) func aFullDiskLosesNothing() throws {
        try Cairn.inFolder { folder in
            let disk = folder.appending(path: "disk").path
            try FileManager.default.createDirectory(atPath: disk, withIntermediateDirectories: true)
            try #require(mount("cairn-test", disk, "tmpfs", 0, "size=1m") == 0, "a small tmpfs")
            defer { umount2(disk, Int32(MNT_DETACH)) }
            let result = try Cairn.run(["run", Self.quick, "--out", "disk/r"], in: folder)
            #expect(result.code == 1, "\(result.err)")
            // Said by the coordinator that met it, and by the one after it.
            #expect((1...2).contains(result.err.components(separatedBy: "the disk is full").count - 1), "\(result.err)")
            #expect(result.err.contains("--resume"), "\(result.err)")
            // Room is made, and the run goes on.
            try #require(mount("cairn-test", disk, "tmpfs", UInt(MS_REMOUNT), "size=64m") == 0)
            let resumed = try Cairn.run(["run", Self.quick, "--out", "disk/r", "--resume"], in: folder)
            #expect(resumed.code == 0, "\(resumed.err)")
            expectSame(folder.appending(path: "disk/r"), "full disk")
        }
    }

    @Test(.enabled(if: getuid() == 0)) func aReadOnlyFolderIsRefused() throws {
        try Cairn.inFolder { folder in
            let disk = folder.appending(path: "disk").path
            try FileManager.default.createDirectory(atPath: disk, withIntermediateDirectories: true)
            try #require(mount("cairn-test", disk, "tmpfs", UInt(MS_RDONLY), nil) == 0)
            defer { umount2(disk, Int32(MNT_DETACH)) }
            try Data("storage: {dir: disk}\n".utf8).write(to: folder.appending(path: "cluster.yaml"))
            let result = try Cairn.run(["run", Self.quick, "--cluster", "cluster.yaml", "--out", "r"], in: folder)
            #expect(result.code == 2 && result.err.contains("choose another"), "\(result.err)")
        }
    }
}
