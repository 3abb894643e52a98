import Foundation
import PlugIns
import Regression
import Synchronization
import Testing

/// A plug-in may do anything. Whatever it does, good inputs get their prices, bad ones a status and a reason that names
/// them and shows the end of standard error, and nobody hangs. The plug-in is `Resources/misbehaving.py`.
@Suite struct MisbehaviourTests {
    /// The good price of the plug-in.
    private static func price(_ rate: Double, _ maturity: Double) -> Double { 1 + rate * maturity }

    private final class Reports: Sendable {
        let lines = Mutex<[String]>([])
        var text: String { lines.withLock { $0.joined(separator: "\n") } }
    }

    /// A plug-in of a kind, in a folder of its own.
    private func inFolder(
        _ kind: String, change: (inout PlugInSettings, inout PlugInSettings.Command) -> Void = { _, _ in },
        _ body: (PlugIn, Reports, URL) throws -> Void
    ) throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "cairn-plugin-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let script = try #require(Bundle.module.url(forResource: "Resources/misbehaving", withExtension: "py"))
        var command = PlugInSettings.Command(arguments: ["python3", script.path, kind])
        command.folder = folder.path
        var settings = PlugInSettings(name: "forward", kind: .process(command))
        settings.timeout = .seconds(20)
        change(&settings, &command)
        settings.kind = .process(command)
        let reports = Reports()
        let plugIn = try PlugIn(settings) { line in reports.lines.withLock { $0.append(line) } }
        defer { plugIn.close() }
        try body(plugIn, reports, folder)
    }

    /// Six points, of which the fourth is the bad one.
    private static let rates = [0.01, 0.02, 0.03, 0.5, 0.04, 0.05]
    private static let points = rates.flatMap { [$0, 2.0] }

    private func expectGoodPrices(_ valuations: Valuations, _ kind: String) {
        for (k, rate) in Self.rates.enumerated() where k != 3 {
            #expect(valuations.statuses[k] == .ok, "\(kind): \(rate): \(valuations.failure ?? "no reason")")
            #expect(valuations.prices[k] == Self.price(rate, 2), "\(kind): \(rate)")
        }
    }

    /// Kinds that cost the bad input its price: what the reason says, the incident that is counted, and whether what
    /// happened is told with the end of standard error.
    private static let fatal: [(kind: String, words: String, counted: String)] = [
        ("crash", "was ended by signal 11", "died"),
        ("exit 0", "ended with exit code 0", "died"),
        ("hang", "gave no answer within", "late"),
        ("ignored SIGTERM", "gave no answer within", "late"),
        ("late answer", "gave no answer within", "late"),
        ("wrong count", "prices", "nonsense"),
        ("wrong order", "answered request", "nonsense"),
        ("unknown status", "answered with status 9", "nonsense"),
        ("huge frame", "announced an answer of 4294967280 bytes", "nonsense"),
        ("truncated frame", "in the middle of an answer", "died"),
        ("garbage on stdout", "does it print to standard output?", "nonsense"),
        ("too much", "answered more than it was asked", "nonsense"),
        ("forked children", "ended with exit code 4", "died"),
        ("memory leak", "ended with exit code 1", "died"),
    ]

    @Test(arguments: fatal.map(\.kind)) func theCulpritIsNamedAndTheOthersArePriced(kind: String) throws {
        let expected = Self.fatal.first { $0.kind == kind }!
        try inFolder(kind) { settings, command in
            if expected.counted == "late" { settings.timeout = .seconds(1) }
            if kind == "memory leak" { command.memory = 1 << 29 }
        } _: { plugIn, reports, folder in
            let valuations = plugIn.evaluate(Self.points, gradient: false)
            expectGoodPrices(valuations, kind)
            #expect(valuations.statuses[3] == .failed && valuations.prices[3].isNaN)
            let reason = try #require(valuations.failure)
            #expect(reason.contains("rate 0.5, maturityYears 2.0"), "\(reason)")
            #expect(reason.contains(expected.words), "\(reason)")
            #expect(reason.contains("about to: \(kind)"), "its standard error: \(reason)")
            if kind == "memory leak" { #expect(reason.contains("MemoryError"), "\(reason)") }
            let counts = try #require(plugIn.incidents)
            #expect(counts.contains(expected.counted), "\(counts)")
            #expect(reports.text.contains(expected.words) && reports.text.contains("tried again"), "\(reports.text)")
            // The next ones are priced as if nothing had been.
            let later = plugIn.evaluate([0.01, 3, 0.02, 3], gradient: false)
            #expect(later.prices == [Self.price(0.01, 3), Self.price(0.02, 3)] && later.failure == nil)
            if kind == "forked children" {
                let child = Int32(try String(contentsOf: folder.appending(path: "child"), encoding: .utf8))!
                // Whoever reaps orphans on this machine may take its time.
                let state = try? String(contentsOfFile: "/proc/\(child)/stat", encoding: .utf8)
                #expect(state?.contains(") Z ") != false, "process \(child) is still there: \(state ?? "")")
            }
        }
    }

    @Test(arguments: ["not a number", "infinity"]) func whatIsNoNumberIsNoPrice(kind: String) throws {
        try inFolder(kind) { plugIn, reports, _ in
            let valuations = plugIn.evaluate(Self.points, gradient: false)
            expectGoodPrices(valuations, kind)
            #expect(valuations.statuses[3] == .nonFinite && valuations.prices[3].isNaN)
            #expect(reports.text.contains("no finite numbers"), "\(reports.text)")
        }
    }

    @Test(arguments: ["slow", "flood on stderr"]) func whatIsOnlyATroubleIsBorne(kind: String) throws {
        try inFolder(kind) { plugIn, _, _ in
            let valuations = plugIn.evaluate(Self.points, gradient: false)
            #expect(valuations.prices == Self.rates.map { Self.price($0, 2) } && valuations.failure == nil)
            #expect(plugIn.incidents == nil)
        }
    }

    @Test func anExceptionFailsItsInputAlone() throws {
        try inFolder("exception") { plugIn, _, _ in
            let valuations = plugIn.evaluate(Self.points, gradient: false)
            expectGoodPrices(valuations, "exception")
            #expect(valuations.statuses[3] == .failed)
            #expect(valuations.failure?.contains("ValueError: no curve") == true, "\(valuations.failure ?? "")")
        }
    }

    /// It answers, then never reads again: the answer counts, and the next request finds out.
    @Test func aClosedStandardInputIsADeath() throws {
        try inFolder("closed stdin") { plugIn, _, _ in
            #expect(plugIn.evaluate([0.01, 2], gradient: false).prices == [Self.price(0.01, 2)])
            #expect(plugIn.evaluate([0.5, 1], gradient: false).prices == [1.5])
            #expect(plugIn.evaluate([0.01, 3], gradient: false).prices == [Self.price(0.01, 3)])
            #expect(plugIn.incidents == "died 1", "\(plugIn.incidents ?? "nothing")")
        }
    }

    /// It comes back from a crash as another oracle: nothing that it says then is used, now or later.
    @Test(arguments: ["changed answer", "changed fingerprint"]) func whoChangesIsNotAskedAgain(kind: String) throws {
        try inFolder(kind) { plugIn, reports, _ in
            #expect(plugIn.evaluate([0.01, 2], gradient: false).prices == [Self.price(0.01, 2)])
            let valuations = plugIn.evaluate(Self.points, gradient: false)
            #expect(valuations.statuses.allSatisfy { $0 == .failed })
            let reason = try #require(valuations.failure)
            let words =
                kind == "changed answer"
                ? "changed its answer at rate 0.01, maturityYears 2.0" : "changed its fingerprint from a to b"
            #expect(reason.contains(words), "\(reason)")
            #expect(plugIn.incidents?.contains("changed 1") == true)
            #expect(plugIn.evaluate([0.02, 2], gradient: false).statuses == [.failed])
        }
    }

    @Test func aMissingExecutableIsSaid() throws {
        let settings = PlugInSettings(
            name: "forward", kind: .process(.init(arguments: ["/no/such/program", "argument"])))
        let error = try #require(throws: PlugInError.self) { _ = try PlugIn(settings) { _ in } }
        #expect(error.description.contains("'/no/such/program argument' cannot be started"), "\(error)")
        #expect(error.description.contains("No such file"), "\(error)")
    }

    @Test func anotherFingerprintThanThePinnedOneIsRefused() throws {
        let error = #expect(throws: PlugInError.self) {
            try inFolder("good") { settings, _ in
                settings.fingerprint = "other"
            } _: { _, _, _ in
            }
        }
        #expect(error?.description.contains("has fingerprint a, not other") == true, "\(String(describing: error))")
    }

    // MARK: What holds while all goes well

    @Test func anInputThatIsNoNumberIsNotAsked() throws {
        try inFolder("good") { plugIn, _, _ in
            let given = plugIn.evaluate([0.1, 2, .nan, 2, 0.2, .infinity, 0.3, 2], gradient: false)
            #expect(given.statuses == [.ok, .invalid, .invalid, .ok] && given.failure == nil)
            #expect(given.prices[0] == 1.2 && given.prices[1].isNaN && given.prices[3] == Self.price(0.3, 2))
        }
    }

    @Test func batchesAndInstancesLeaveNoTrace() throws {
        let points = (0..<500).flatMap { (k: Int) -> [Double] in [Double(k) / 1000 + 1e-4, Double(1 + k % 7)] }
        let expected = (0..<500).map { Self.price(points[2 * $0], points[2 * $0 + 1]) }
        for (batch, instances) in [(1, 1), (7, 3), (64, 2), (1000, 1)] {
            try inFolder("good") { settings, _ in
                settings.batch = batch
                settings.instances = instances
            } _: { plugIn, _, _ in
                #expect(plugIn.evaluate(points, gradient: false).prices == expected, "\(batch) × \(instances)")
                #expect(plugIn.evaluate([], gradient: false).prices.isEmpty)
            }
        }
    }

    /// Killed again and again from outside, it prices the same, and nothing fails.
    @Test func killedAHundredTimesItGivesTheSamePrices() throws {
        let points = (0..<20).flatMap { (k: Int) -> [Double] in [Double(k) / 100 + 1e-4, 2] }
        let expected = (0..<20).map { Self.price(points[2 * $0], 2) }
        try inFolder("good") { settings, _ in
            settings.instances = 2
        } _: { plugIn, _, folder in
            var kills = 0
            while kills < 100 {
                let victims = Self.processes(in: folder)
                let running = Thread { _ = plugIn.evaluate(points, gradient: false) }
                running.start()
                usleep(.random(in: 0..<3000))
                for victim in victims where Bool.random() {
                    if kill(victim, SIGKILL) == 0 { kills += 1 }
                }
                let valuations = plugIn.evaluate(points, gradient: false)
                #expect(valuations.prices == expected, "after \(kills): \(valuations.failure ?? "")")
            }
        }
    }

    /// Python processes that work in a folder.
    private static func processes(in folder: URL) -> [Int32] {
        let all = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        let place = folder.resolvingSymlinksInPath().path
        return all.compactMap { Int32($0) }.filter {
            (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\($0)/cwd")) == place
        }
    }

    @Test func closingEndsAllProcesses() throws {
        try inFolder("good") { settings, _ in
            settings.instances = 3
        } _: { plugIn, _, folder in
            let points = (0..<300).flatMap { (k: Int) -> [Double] in [Double(k) / 1000, 2] }
            _ = plugIn.evaluate(points, gradient: false)
            // As many as it took: on a busy machine one can be done before another is there.
            #expect((1...3).contains(Self.processes(in: folder).count))
            plugIn.close()
            #expect(Self.processes(in: folder).isEmpty)
            #expect(plugIn.evaluate([0.1, 1], gradient: false).statuses == [.failed])
        }
    }

    /// Whoever closes it does not wait for a call that hangs, nor leaves anything of it behind.
    @Test func closingEndsACallInProgress() throws {
        try inFolder("hanging family") { settings, _ in
            settings.timeout = .seconds(600)
        } _: { plugIn, _, folder in
            let outcome = Mutex<Valuations?>(nil)
            let calling = Thread {
                let valuations = plugIn.evaluate([0.1, 2, 0.2, 2], gradient: false)
                outcome.withLock { $0 = valuations }
            }
            calling.start()
            let sign = folder.appending(path: "misbehaved").path
            for _ in 0..<3000 where !FileManager.default.fileExists(atPath: sign) { usleep(10_000) }
            #expect(!Self.processes(in: folder).isEmpty)
            plugIn.close()
            // Its child was killed too, and may take a moment to be gone.
            for _ in 0..<3000 where !Self.processes(in: folder).isEmpty { usleep(10_000) }
            #expect(Self.processes(in: folder).isEmpty)
            for _ in 0..<3000 where outcome.withLock({ $0 == nil }) { usleep(10_000) }
            let valuations = try #require(outcome.withLock { $0 })
            #expect(valuations.statuses == [.failed, .failed])
            #expect(valuations.failure?.contains("is closed") == true, "\(valuations.failure ?? "")")
        }
    }

    @Test func limitsReachTheProcess() throws {
        try inFolder("good") { _, command in
            command.openFiles = 64
            command.cpuTime = .seconds(100)
            command.memory = 1 << 30
            command.environment = ["CAIRN_TEST": "yes"]
        } _: { _, _, folder in
            let process = try #require(Self.processes(in: folder).first)
            let limits = try String(contentsOfFile: "/proc/\(process)/limits", encoding: .utf8)
            let words = limits.split(separator: " ").joined(separator: " ")
            for limit in ["open files 64", "cpu time 100", "address space 1073741824", "core file size 0"] {
                #expect(words.contains("Max \(limit) "), "\(limit): \(words)")
            }
            let environment = try String(contentsOfFile: "/proc/\(process)/environ", encoding: .utf8)
            #expect(environment.contains("CAIRN_TEST=yes") && environment.contains("PATH="))
        }
    }
}
