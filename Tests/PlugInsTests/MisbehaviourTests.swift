import ChildProcess
import Foundation
import PlugIns
import Regression
import Synchronization
import Testing

/// A plug-in may do anything. Whatever it does, good inputs get their prices, bad ones a status and a reason that names
/// them and shows the end of standard error, and nobody hangs. The plug-in is `Resources/misbehaving.py`, as a process
/// and as a service.
@Suite struct MisbehaviourTests {
    /// The good price of the plug-in.
    private static func price(_ rate: Double, _ maturity: Double) -> Double { 1 + rate * maturity }

    final class Reports: Sendable {
        let lines = Mutex<[String]>([])
        var text: String { lines.withLock { $0.joined(separator: "\n") } }
    }

    enum Way: Sendable { case process, service }

    private func inFolder(_ body: (URL, _ script: String) throws -> Void) throws {
        // Short: the path of a Unix socket is.
        let folder = FileManager.default.temporaryDirectory.appending(path: "cairn-\(UUID().uuidString.prefix(8))")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let script = try #require(Bundle.module.url(forResource: "Resources/misbehaving", withExtension: "py"))
        try body(folder, script.path)
    }

    /// A plug-in of a kind, in a folder of its own.
    private func inFolder(
        _ kind: String, change: (inout PlugInSettings, inout PlugInSettings.Command) -> Void = { _, _ in },
        _ body: (PlugIn, Reports, URL) throws -> Void
    ) throws {
        try inFolder { folder, script in
            var command = PlugInSettings.Command(arguments: ["python3", script, kind])
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
    }

    /// Services of some kinds, at addresses of their own.
    private func asServices(
        _ kinds: [String], change: (inout PlugInSettings) -> Void = { _ in },
        _ body: (PlugIn, Reports, [ChildProcess]) throws -> Void
    ) throws {
        try inFolder { folder, script in
            var services: [ChildProcess] = []
            defer {
                for service in services {
                    service.send(SIGKILL)
                    service.wait()
                }
            }
            var addresses: [String] = []
            for (k, kind) in kinds.enumerated() {
                let place = folder.appending(path: "\(k)")
                try FileManager.default.createDirectory(at: place, withIntermediateDirectories: true)
                let socket = place.appending(path: "s").path
                services.append(
                    try ChildProcess(["python3", script, kind, socket], in: place.path, error: "/dev/null"))
                for _ in 0..<3000 where !FileManager.default.fileExists(atPath: socket) { usleep(10_000) }
                addresses.append("ipc://\(socket)")
            }
            var settings = PlugInSettings(name: "forward", kind: .service(addresses: addresses))
            settings.timeout = .seconds(20)
            change(&settings)
            let reports = Reports()
            let plugIn = try PlugIn(settings) { line in reports.lines.withLock { $0.append(line) } }
            defer { plugIn.close() }
            try body(plugIn, reports, services)
        }
    }

    private func started(
        _ way: Way, _ kind: String,
        change: (inout PlugInSettings, inout PlugInSettings.Command) -> Void = { _, _ in },
        _ body: (PlugIn, Reports, URL?) throws -> Void
    ) throws {
        switch way {
        case .process:
            try inFolder(kind) {
                change(&$0, &$1)
            } _: { plugIn, reports, folder in
                try body(plugIn, reports, folder)
            }
        case .service:
            var unused = PlugInSettings.Command(arguments: [])
            try asServices([kind]) {
                change(&$0, &unused)
            } _: { plugIn, reports, _ in
                try body(plugIn, reports, nil)
            }
        }
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

    struct Fatal: Sendable, CustomTestStringConvertible {
        let way: Way
        let kind: String
        /// What the reason says.
        let words: String
        /// The incident that is counted.
        let counted: String

        init(_ way: Way, _ kind: String, _ words: String, _ counted: String) {
            (self.way, self.kind, self.words, self.counted) = (way, kind, words, counted)
        }

        var testDescription: String { "\(way): \(kind)" }
    }

    private static let late = "gave no answer within"

    /// What costs the bad input its price.
    private static let fatal: [Fatal] =
        [
            Fatal(.process, "crash", "was ended by signal 11", "died"),
            Fatal(.process, "exit 0", "ended with exit code 0", "died"),
            Fatal(.process, "hang", late, "late"),
            Fatal(.process, "ignored SIGTERM", late, "late"),
            Fatal(.process, "stopped", late, "late"),
            Fatal(.process, "left its group", late, "late"),
            Fatal(.process, "late answer", late, "late"),
            Fatal(.process, "endless answer", late, "late"),
            Fatal(.process, "huge frame", "announced an answer of 4294967280 bytes", "nonsense"),
            Fatal(.process, "truncated frame", "in the middle of an answer", "died"),
            Fatal(.process, "garbage on stdout", "does it print to standard output?", "nonsense"),
            Fatal(.process, "too much", "answered more than it was asked", "nonsense"),
            Fatal(.process, "a message of 1 MB", "where at most", "nonsense"),
            Fatal(.process, "forked children", "ended with exit code 4", "died"),
            Fatal(.process, "escaped child", "ended with exit code 4", "died"),
            Fatal(.process, "closed stdout", "closed its standard output", "died"),
            Fatal(.process, "memory leak", "ended with exit code 1", "died"),
            Fatal(.process, "descriptor leak", "ended with exit code 1", "died"),
            Fatal(.process, "endless computation", "CPU time limit exceeded", "died"),
            Fatal(.service, "crash", late, "late"),
            Fatal(.service, "hang", late, "late"),
            Fatal(.service, "late answer", late, "late"),
            Fatal(.service, "endless answer", late, "late"),
            Fatal(.service, "huge frame", late, "late"),
            Fatal(.service, "truncated frame", late, "late"),
            Fatal(.service, "garbage on stdout", late, "late"),
            Fatal(.service, "no empty frame", "answered 1 frames", "nonsense"),
            Fatal(.service, "too much", "answered 3 frames", "nonsense"),
            Fatal(.service, "a message of 1 MB", "where at most", "nonsense"),
        ]
        + [Way.process, .service].flatMap { way in
            [
                Fatal(way, "wrong count", "2 prices", "nonsense"),
                Fatal(way, "no prices", "0 prices", "nonsense"),
                Fatal(way, "wrong order", "answered request", "nonsense"),
                Fatal(way, "an older answer", "answered request", "nonsense"),
                Fatal(way, "unknown status", "answered with status 9", "nonsense"),
                Fatal(way, "derivatives that nobody wants", "2 derivatives", "nonsense"),
                Fatal(way, "no message", "bytes that are no reply", "nonsense"),
                Fatal(way, "text that is none", "bytes that are no reply", "nonsense"),
            ]
        }

    @Test(arguments: fatal) func theCulpritIsNamedAndTheOthersArePriced(_ fatal: Fatal) throws {
        try started(fatal.way, fatal.kind) { settings, command in
            if fatal.counted == "late" { settings.timeout = .seconds(1) }
            if fatal.kind == "memory leak" { command.memory = 1 << 29 }
            if fatal.kind == "descriptor leak" { command.openFiles = 64 }
            if fatal.kind == "endless computation" { command.cpuTime = .seconds(1) }
        } _: { plugIn, reports, folder in
            // It knows its pace, so that a hanging batch is found out soon.
            #expect(plugIn.evaluate([0.01, 2], gradient: false).prices == [Self.price(0.01, 2)])
            let valuations = plugIn.evaluate(Self.points, gradient: false)
            expectGoodPrices(valuations, fatal.kind)
            #expect(valuations.statuses[3] == .failed && valuations.prices[3].isNaN)
            let reason = try #require(valuations.failure)
            #expect(reason.contains("rate 0.5, maturityYears 2.0"), "\(reason)")
            #expect(reason.contains(fatal.words), "\(reason)")
            // The end of its standard error: of a long traceback, its last line.
            let last = ["memory leak": "MemoryError", "descriptor leak": "Too many open files"][fatal.kind]
            if fatal.way == .process {
                #expect(reason.contains(last ?? "about to: \(fatal.kind)"), "its standard error: \(reason)")
            }
            let counts = try #require(plugIn.incidents)
            #expect(counts.contains(fatal.counted), "\(counts)")
            #expect(reports.text.contains(fatal.words) && reports.text.contains("tried again"), "\(reports.text)")
            // The next ones are priced as if nothing had been.
            let later = plugIn.evaluate([0.01, 3, 0.02, 3], gradient: false)
            #expect(later.prices == [Self.price(0.01, 3), Self.price(0.02, 3)] && later.failure == nil)
            guard let folder, fatal.kind == "forked children" || fatal.kind == "escaped child" else { return }
            let child = Int32(try String(contentsOf: folder.appending(path: "child"), encoding: .utf8))!
            // One that has left its process group is beyond reach, and holds nobody up.
            if fatal.kind == "escaped child" {
                #expect(kill(child, SIGKILL) == 0)
                return
            }
            // Whoever reaps orphans on this machine may take its time.
            let state = try? String(contentsOfFile: "/proc/\(child)/stat", encoding: .utf8)
            #expect(state?.contains(") Z ") != false, "process \(child) is still there: \(state ?? "")")
        }
    }

    @Test(arguments: [Way.process, .service], ["not a number", "infinity"])
    func whatIsNoNumberIsNoPrice(way: Way, kind: String) throws {
        try started(way, kind) { plugIn, reports, _ in
            let valuations = plugIn.evaluate(Self.points, gradient: false)
            expectGoodPrices(valuations, kind)
            #expect(valuations.statuses[3] == .nonFinite && valuations.prices[3].isNaN)
            let report = reports.text
            #expect(
                report.contains("no finite number") && report.contains("at rate 0.5, maturityYears 2.0;"), "\(report)")
            if way == .process { #expect(report.contains("its standard error ended: about to: \(kind)"), "\(report)") }
            #expect(plugIn.incidents == "nonFinite 1", "\(plugIn.incidents ?? "")")
        }
    }

    @Test(
        arguments: [
            (.process, "slow"), (.process, "flood on stderr"), (.process, "closed stderr"),
            (.process, "in small pieces"),
            (.service, "slow"), (.service, "in small pieces"),
        ] as [(Way, String)])
    func whatIsOnlyATroubleIsBorne(way: Way, kind: String) throws {
        try started(way, kind) { plugIn, _, _ in
            let before = cpuTime()
            let valuations = plugIn.evaluate(Self.points, gradient: false)
            #expect(valuations.prices == Self.rates.map { Self.price($0, 2) } && valuations.failure == nil)
            #expect(plugIn.incidents == nil)
            // For a second there was nothing to read, and nothing to do.
            if kind == "closed stderr" { #expect(cpuTime() - before < 100_000_000) }
        }
    }

    /// Of this thread, in nanoseconds.
    private func cpuTime() -> Int {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return Int(time.tv_sec) * 1_000_000_000 + Int(time.tv_nsec)
    }

    /// Whoever describes itself badly is not used at all.
    @Test(
        arguments: [Way.process, .service],
        [
            ("a fingerprint of 1 MB", "fingerprint 'aaaaaaaa"), ("input names twice", "input 2 'rate' is there twice"),
            ("bounds that are no numbers", "[nan, 5.0] is no interval"),
            ("bounds the wrong way", "[5.0, 0.1] is no interval"),
            ("a descriptor of 5 MB", "where at most 4194304 can be"),
            ("prices instead of a descriptor", "answered with no descriptor"), ("a banner", ""),
        ])
    func aBadDescriptionIsRefused(way: Way, bad: (kind: String, words: String)) throws {
        let error = #expect(throws: PlugInError.self) {
            try started(way, bad.kind) { settings, _ in
                if bad.kind == "a banner" { settings.timeout = .seconds(1) }
            } _: { _, _, _ in
            }
        }
        var words = bad.words
        if bad.kind == "a banner" {
            // A service's is read as a frame.
            words = way == .process ? "does it print to standard output?" : "answered 1 frames"
        }
        #expect(error?.description.contains(words) == true, "\(error?.description.prefix(300) ?? "")")
        #expect((error?.description.utf8.count ?? 0) < 2000)
    }

    @Test func anExceptionFailsItsInputAlone() throws {
        try inFolder("exception") { plugIn, _, _ in
            let valuations = plugIn.evaluate(Self.points, gradient: false)
            expectGoodPrices(valuations, "exception")
            #expect(valuations.statuses[3] == .failed)
            let reason = valuations.failure ?? ""
            #expect(reason.contains("ValueError: no curve; its standard error ended: about to: exception"), "\(reason)")
            #expect(plugIn.incidents == "refused 1", "\(plugIn.incidents ?? "")")
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
    @Test(
        arguments: [Way.process, .service],
        [
            ("changed answer", "changed its answer at rate 0.01, maturityYears 2.0"),
            ("changed fingerprint", "changed its fingerprint from a to b"),
            ("changed descriptor", "describes itself differently under the same fingerprint a"),
            ("another fingerprint in mid-life", "changed its fingerprint from a to b"),
        ])
    func whoChangesIsNotAskedAgain(way: Way, change: (kind: String, words: String)) throws {
        try started(way, change.kind) { settings, _ in
            if way == .service { settings.timeout = .seconds(1) }
        } _: { plugIn, reports, _ in
            #expect(plugIn.evaluate([0.01, 2], gradient: false).prices == [Self.price(0.01, 2)])
            let valuations = plugIn.evaluate(Self.points, gradient: false)
            #expect(valuations.statuses.allSatisfy { $0 == .failed } && valuations.prices.allSatisfy(\.isNaN))
            let reason = try #require(valuations.failure)
            #expect(reason.contains(change.words), "\(reason)")
            #expect(plugIn.incidents?.contains("changed 1") == true)
            #expect(plugIn.evaluate([0.02, 2], gradient: false).statuses == [.failed])
        }
    }

    // MARK: Several services

    private static let many = (0..<200).flatMap { (k: Int) -> [Double] in [Double(k) / 1000, 2] }

    /// Two services that should be one oracle give different prices: no price of a batch that both had a part in is kept.
    @Test func aSecondServiceWithOtherPricesIsFoundOut() throws {
        try asServices(["good", "other prices"]) {
            $0.batch = 10
        } _: { plugIn, _, _ in
            var valuations = plugIn.evaluate(Self.many, gradient: false)
            // The first may have answered all before the second's connection stood.
            for _ in 0..<500 where valuations.failure == nil {
                usleep(10_000)
                valuations = plugIn.evaluate(Self.many, gradient: false)
            }
            for (k, price) in valuations.prices.enumerated() {
                #expect(price.isNaN || price == Self.price(Self.many[2 * k], 2), "the other's price at \(k)")
            }
            #expect(
                valuations.failure?.contains("changed its answer at rate 0.0, ") == true, "\(valuations.failure ?? "")")
            #expect(plugIn.incidents == "changed 1", "\(plugIn.incidents ?? "")")
            #expect(plugIn.evaluate([0.02, 2], gradient: false).statuses == [.failed])
        }
    }

    /// One of two services dies with the work of a batch in its hands: the other does it all.
    @Test func oneOfTwoServicesDiesInTheMiddle() throws {
        try asServices(["slow everywhere", "slow everywhere"]) {
            $0.batch = 10
            $0.timeout = .seconds(2)
        } _: { plugIn, _, services in
            let killer = Thread {
                usleep(600_000)
                services[1].send(SIGKILL)
            }
            killer.start()
            let valuations = plugIn.evaluate(Self.many, gradient: false)
            #expect(valuations.failure == nil && valuations.statuses.allSatisfy { $0 == .ok })
            for (k, price) in valuations.prices.enumerated() { #expect(price == Self.price(Self.many[2 * k], 2)) }
            #expect(plugIn.incidents?.contains("late") == true, "\(plugIn.incidents ?? "nothing")")
        }
    }

    /// All of a service dies at one input, and nobody starts it again: the input has no price, nor have those after it.
    @Test func aServiceThatIsGoneIsSaid() throws {
        try asServices(["the service crashes"]) {
            $0.timeout = .seconds(1)
        } _: { plugIn, _, _ in
            #expect(plugIn.evaluate([0.01, 2], gradient: false).prices == [Self.price(0.01, 2)])
            let valuations = plugIn.evaluate(Self.points, gradient: false)
            #expect(valuations.statuses.allSatisfy { $0 == .failed }, "\(valuations)")
            #expect(valuations.failure?.contains(Self.late) == true, "\(valuations.failure ?? "")")
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

    /// What is not wanted any more is given up, whatever the plug-in does: its process ends, that is no incident of its, and the
    /// next call is answered by another one.
    @Test(arguments: [
        (Way.process, "hang"), (.process, "ignored SIGTERM"), (.process, "hanging family"),
        (.process, "endless answer"),
        (.service, "hang"), (.service, "late answer"),
    ])
    func aCallThatIsNotWantedIsGivenUp(_ way: Way, _ kind: String) throws {
        try started(way, kind) { settings, _ in
            settings.timeout = .seconds(600)
        } _: { plugIn, reports, folder in
            let isCancelled = Atomic(false)
            let outcome = Mutex<Valuations?>(nil)
            let before = Set(folder.map(Self.processes) ?? [])
            plugIn.setCancellation { isCancelled.load(ordering: .relaxed) }
            let calling = Thread {
                let valuations = plugIn.evaluate(Self.points, gradient: false)
                outcome.withLock { $0 = valuations }
            }
            calling.start()
            usleep(300_000)
            #expect(outcome.withLock { $0 == nil })
            isCancelled.store(true, ordering: .relaxed)
            for _ in 0..<3000 where outcome.withLock({ $0 == nil }) { usleep(10_000) }
            let valuations = try #require(outcome.withLock { $0 })
            #expect(valuations.statuses[3] == .failed)
            #expect(valuations.failure?.contains("is not waited for any more") == true, "\(valuations.failure ?? "")")
            if let folder {
                for _ in 0..<3000 where !before.isDisjoint(with: Self.processes(in: folder)) { usleep(10_000) }
                #expect(before.isDisjoint(with: Self.processes(in: folder)))
            }
            // As long as nothing else is said nothing is asked.
            #expect(plugIn.evaluate([0.01, 2], gradient: false).statuses == [.failed])
            plugIn.setCancellation(nil)
            // A service that hangs is one that its user has to look after; and a family hangs at every input.
            if way == .process && kind != "hanging family" || kind == "late answer" {
                let next = plugIn.evaluate([0.01, 2], gradient: false)
                #expect(next.prices == [Self.price(0.01, 2)], "\(next.failure ?? "")")
            }
            #expect(plugIn.incidents == nil && reports.text == "", "\(plugIn.incidents ?? "") \(reports.text)")
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
