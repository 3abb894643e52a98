import ChildProcess
import Foundation
import PlugIns
import Regression
import Synchronization
import Testing

/// The other ways to reach an oracle: a shared library, and services behind ZeroMQ sockets.
@Suite struct TransportTests {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    private func inFolder(_ body: (URL) throws -> Void) throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "cairn-transport-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        try body(folder)
    }

    private func run(_ program: String, _ arguments: [String]) throws {
        try ChildProcess.run([program] + arguments)
    }

    /// Compiles a C file to a shared library; `change` edits its text first.
    private func library(_ folder: URL, _ change: (String) -> String = { $0 }) throws -> String {
        let source = try String(contentsOf: Self.root.appending(path: "Examples/c/forward.c"), encoding: .utf8)
        let file = folder.appending(path: "forward.c")
        try change(source).write(to: file, atomically: true, encoding: .utf8)
        let library = folder.appending(path: "libforward.so").path
        let header = Self.root.appending(path: "Sources/CPlugIn/include").path
        try run(
            "clang",
            ["-std=c11", "-O2", "-fPIC", "-shared", "-DCAIRN_LIBRARY", "-I\(header)", "-o", library, file.path])
        return library
    }

    // MARK: Waiting

    @Test func whoLooksInVainLooksLessOften() {
        var spin = AdaptiveSpin()
        let looked = (0..<300).filter { _ in
            var looks = 0
            spin.look {
                looks += 1
                return false
            }
            return looks > 0
        }
        // One call is left out, then 3, 7 and so on.
        #expect(looked == [0, 2, 6, 14, 30, 62, 126, 254])
        // After 255 without a look there is one, and if that is not in vain they come every time again.
        let found = (300..<530).filter { _ in
            var isLooked = false
            spin.look {
                isLooked = true
                return true
            }
            return isLooked
        }
        #expect(found == Array(510..<530))
    }

    // MARK: Shared libraries

    @Test func aLibraryIsAnOracle() throws {
        try inFolder { folder in
            let plugIn = try PlugIn(PlugInSettings(name: "mine", kind: .library(path: library(folder)))) { _ in }
            #expect(plugIn.descriptor.name == "mine" && plugIn.descriptor.fingerprint == "mine/1+c-1")
            #expect(plugIn.descriptor.inputs.map(\.name) == ["rate", "maturityYears"])
            #expect(plugIn.testimony == [(1 + 0.05 * 2).bitPattern])
            let given = plugIn.evaluate([0.05, 2, 0.025, 0.5, 0.1, -1], gradient: true)
            #expect(given.prices.prefix(2) == [1.1, 1.0125] && given.prices[2].isNaN)
            #expect(given.statuses == [.ok, .ok, .invalid] && given.failure == nil)
            #expect(given.gradients.prefix(4) == [2, 0.05, 0.5, 0.025] && given.gradients[4].isNaN)
            #expect(plugIn.evaluate([], gradient: false).prices.isEmpty)
        }
    }

    @Test func whatALibraryGivesIsChecked() throws {
        try inFolder { folder in
            let path = try library(folder) {
                $0.replacing(
                    "    return 0;\n}",
                    with: """
                            for (size_t k = 0; k < batch->count; k++) {
                                if (rate[k] == 0.01) result->prices[k] = 0.0 / (rate[k] - 0.01);
                                if (rate[k] == 0.02) result->statuses[k] = 77;
                                if (rate[k] == 0.03) {
                                    __builtin_memcpy(result->message, "no curve", 9);
                                    return 5;
                                }
                            }
                            return 0;
                        }
                        """)
            }
            let plugIn = try PlugIn(PlugInSettings(name: "mine", kind: .library(path: path))) { _ in }
            let given = plugIn.evaluate([0.05, 2, 0.01, 2, 0.02, 2], gradient: false)
            #expect(given.statuses == [.ok, .nonFinite, .failed])
            #expect(given.failure?.contains("rate 0.02, maturityYears 2.0: answered with status 77") == true)
            let failed = plugIn.evaluate([0.05, 2, 0.03, 2], gradient: false)
            #expect(failed.statuses == [.failed, .failed] && failed.failure?.contains("no curve") == true)
        }
    }

    @Test func librariesThatAreNoneAreRefused() throws {
        try inFolder { folder in
            func problem(_ path: String, fingerprint: String? = nil) -> String {
                var settings = PlugInSettings(name: "mine", kind: .library(path: path))
                settings.fingerprint = fingerprint
                do throws(PlugInError) {
                    _ = try PlugIn(settings) { _ in }
                    return "none"
                } catch {
                    return error.description
                }
            }
            #expect(problem(folder.appending(path: "no.so").path).contains("no.so"))
            try Data("no library".utf8).write(to: folder.appending(path: "text.so"))
            #expect(problem(folder.appending(path: "text.so").path).contains("text.so"))
            #expect(try problem(library(folder), fingerprint: "x").contains("has fingerprint c-1, not x"))
            // The library of before is loaded still: each has a folder of its own.
            for (k, change) in [
                ("CAIRN_ORACLE_ABI,", "CAIRN_ORACLE_ABI + 1,"), ("cairn_oracle_entry", "another_entry"),
                (".upper = 0.1", ".upper = -1"), ("return &oracle;", "return 0;"), ("1.1, 1e-15", "1.2, 1e-15"),
            ].enumerated() {
                let own = folder.appending(path: "\(k)")
                try FileManager.default.createDirectory(at: own, withIntermediateDirectories: true)
                let words = problem(try library(own) { $0.replacing(change.0, with: change.1) })
                let expected = [
                    "built for version 2", "exports no cairn_oracle_entry", "[0.0, -1.0] is no interval",
                    "returned nothing", "does not pass its own test",
                ][k]
                #expect(words.contains(expected), "\(words)")
            }
        }
    }

    // MARK: Services

    /// A service in a process of its own: `Examples/c/service.c`.
    private func service(_ folder: URL) throws -> String {
        let program = folder.appending(path: "service").path
        let sdk = Self.root.appending(path: "Examples/c")
        let sources = ["service.c", "forward.c", "cairn_oracle.c", "oracle.pb-c.c"].map { sdk.appending(path: $0).path }
        let header = Self.root.appending(path: "Sources/CPlugIn/include").path
        try run(
            "clang",
            ["-std=gnu11", "-O2", "-DCAIRN_LIBRARY", "-I\(header)", "-I\(sdk.path)", "-o", program] + sources
                + ["-lzmq", "-lprotobuf-c"])
        return program
    }

    private func start(_ program: String, _ address: String) throws -> ChildProcess {
        try ChildProcess([program, address])
    }

    /// Whoever is there does not wait for those who are not, neither at the start nor when they are looked for again.
    @Test func addressesWhereNobodyIsCostLittle() throws {
        try inFolder { folder in
            let address = "ipc://\(folder.path)/b"
            let only = try start(try service(folder), address)
            defer {
                only.send(SIGKILL)
                only.wait()
            }
            var settings = PlugInSettings(
                name: "mine", kind: .service(addresses: ["ipc://\(folder.path)/nobody", address]))
            settings.timeout = .seconds(600)
            settings.batch = 4
            let points = (0..<100).flatMap { (k: Int) -> [Double] in [Double(k) / 1000, 2] }
            let expected = (0..<100).map { 1 + Double($0) / 1000 * 2 }
            let begin = SuspendingClock.now
            let plugIn = try PlugIn(settings) { _ in }
            for _ in 0..<10 { #expect(plugIn.evaluate(points, gradient: false).prices == expected) }
            // A second here and there; not one of the ten minutes that an answer may take.
            #expect(SuspendingClock.now - begin < .seconds(120))
        }
    }

    /// A program is looked for where the PATH says that its entry gives it.
    @Test func theEnvironmentSaysWhereTheProgramIs() throws {
        try inFolder { folder in
            let tools = folder.appending(path: "tools")
            try FileManager.default.createDirectory(at: tools, withIntermediateDirectories: true)
            let sdk = Self.root.appending(path: "Examples/c")
            let sources = ["forward.c", "cairn_oracle.c", "oracle.pb-c.c"].map { sdk.appending(path: $0).path }
            let header = Self.root.appending(path: "Sources/CPlugIn/include").path
            try run(
                "clang",
                ["-std=gnu11", "-O2", "-I\(header)", "-I\(sdk.path)", "-o", tools.appending(path: "pricer").path]
                    + sources
                    + ["-lprotobuf-c"])
            var command = PlugInSettings.Command(arguments: ["pricer"])
            command.environment = ["PATH": "\(folder.path):\(tools.path)"]
            let plugIn = try PlugIn(PlugInSettings(name: "mine", kind: .process(command))) { _ in }
            #expect(plugIn.evaluate([0.01, 2], gradient: false).prices == [1.02])
        }
    }

    @Test func servicesAreFoundLostAndFoundAgain() throws {
        try inFolder { folder in
            let program = try service(folder)
            let addresses = ["a", "b"].map { "ipc://\(folder.path)/\($0)" }
            var first = try start(program, addresses[0])
            var second = try start(program, addresses[1])
            defer {
                first.send(SIGTERM)
                second.send(SIGTERM)
            }
            var settings = PlugInSettings(name: "mine", kind: .service(addresses: addresses))
            settings.batch = 8
            settings.timeout = .seconds(2)
            let reports = Mutex<[String]>([])
            let plugIn = try PlugIn(settings) { line in reports.withLock { $0.append(line) } }
            let points = (0..<100).flatMap { (k: Int) -> [Double] in [Double(k) / 1000, 2] }
            let expected = (0..<100).map { 1 + Double($0) / 1000 * 2 }
            #expect(plugIn.evaluate(points, gradient: false).prices == expected && plugIn.incidents == nil)
            // One of the two goes: the other does it all.
            first.send(SIGKILL)
            first.wait()
            for _ in 0..<200 where plugIn.incidents == nil {
                // The other may have done all of it before the dead one was asked.
                #expect(plugIn.evaluate(points, gradient: false).prices == expected)
            }
            #expect(plugIn.incidents?.contains("late") == true, "\(plugIn.incidents ?? "")")
            // It comes back at its address, and then it is the only one.
            first = try start(program, addresses[0])
            second.send(SIGKILL)
            second.wait()
            plugIn.restart()
            #expect(plugIn.evaluate(points, gradient: false).prices == expected)
            // Nobody is left.
            first.send(SIGKILL)
            first.wait()
            let nothing = plugIn.evaluate([0.01, 2], gradient: false)
            #expect(nothing.statuses == [.failed] && nothing.failure?.contains("gave no answer within") == true)
            // And back again: it is found without a word of anybody, within the five seconds that an absent one is left alone.
            second = try start(program, addresses[1])
            var again = plugIn.evaluate([0.01, 2], gradient: false)
            for _ in 0..<200 where again.failure != nil {
                usleep(100_000)
                again = plugIn.evaluate([0.01, 2], gradient: false)
            }
            #expect(again.prices == [1.02], "\(again.failure ?? "")")
        }
    }
}
