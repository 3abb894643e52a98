import ArgumentParser
import FoundationEssentials
import Glibc
import PlugIns
import Regression
import Runtime

struct OracleCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "oracle", abstract: "The oracles: what there is, what they take, what they say.",
        subcommands: [List.self, Describe.self, Price.self, Bench.self, Check.self])

    /// The cluster file whose plug-ins there are, too.
    struct PlugInOptions: ParsableArguments {
        @Option(
            help:
                "The cluster file whose oracles there are beside the built-in ones. Default: cluster.yaml, if it is here."
        )
        var cluster: String?

        func file() throws(Ending) -> ClusterFile {
            if let cluster { return try clusterFile(cluster) }
            let isHere = FileManager.default.fileExists(atPath: "cluster.yaml")
            return isHere ? try clusterFile("cluster.yaml") : ClusterFile()
        }

        /// - Parameters:
        ///   - name: of the only one that is started if it is a plug-in; nil for all.
        ///   - instances: of a plug-in of kind process; nil: as many as the file says.
        func oracles(
            _ common: CommonOptions, name: String? = nil, areTested: Bool = true, instances: Int? = nil
        ) throws(Ending) -> KnownOracles {
            var file = try file()
            if let name { file.oracles.removeAll { $0.name != name } }
            if let instances {
                for k in file.oracles.indices { file.oracles[k].instances = instances }
            }
            return KnownOracles(of: file, areTested: areTested, logger: common.logger("cairn"))
        }

        /// Where the oracle is a shared library, has another process do what this one was told to: a library can end the
        /// process that it is in.
        func apart(_ name: String) throws(Ending) {
            let entry = try file().oracles.first { $0.name == name }
            guard case .library? = entry?.kind else { return }
            try ProcessApart.run { "oracle \(name) \($0) the process that asked it; what it wrote before is above" }
        }

        /// - Parameter areTested: whether a plug-in prices its test vectors before it is used.
        func named(
            _ name: String, _ common: CommonOptions, areTested: Bool = true, instances: Int? = nil
        ) throws(Ending) -> any Oracle {
            let known = try oracles(common, name: name, areTested: areTested, instances: instances)
            if let oracle = known.all.first(where: { $0.descriptor.name == name }) { return oracle }
            if !known.problems.isEmpty { throw .badInput(known.problems.joined(separator: "\n")) }
            let names = known.all.map(\.descriptor.name) + (try file().oracles.map(\.name))
            throw .badInput("oracle \(name) is not known; there are: \(names.joined(separator: ", "))")
        }
    }

    private static func kind(_ input: OracleDescriptor.Input) -> String {
        switch input.kind {
        case .continuous: "continuous"
        case .integer: "integer"
        case .choice: "choice"
        }
    }

    private static func choices(_ input: OracleDescriptor.Input) -> JSON {
        guard case .choice(let words) = input.kind else { return .null }
        return .array(words.map(JSON.text))
    }

    private static func constraints(_ descriptor: OracleDescriptor) -> [String] {
        descriptor.constraints.map(\.name)
            + descriptor.conditionalConstraints.map { conditional in
                let input = descriptor.inputs[conditional.input]
                let words = conditional.words.sorted().map { input.text(of: Double($0)) }
                return "\(conditional.constraint.name) for \(input.name) \(words.joined(separator: ", "))"
            }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the oracles.")

        @OptionGroup var plugIns: PlugInOptions
        @OptionGroup var common: CommonOptions

        func run() throws {
            let known = try plugIns.oracles(common, areTested: false)
            known.close()
            let all = known.all.map(\.descriptor)
            if common.json {
                print(
                    JSON.array(
                        all.map { .object([("name", .text($0.name)), ("summary", .text($0.summary))]) }
                    ).text())
            } else {
                for descriptor in all { print("\(descriptor.name)  \(descriptor.summary)") }
            }
        }
    }

    struct Describe: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Say what an oracle is and what it takes.")

        @Argument(help: "The oracle's name.")
        var name: String

        @OptionGroup var plugIns: PlugInOptions
        @OptionGroup var common: CommonOptions

        func run() throws {
            let descriptor = try plugIns.named(name, common, areTested: false).descriptor
            if common.json {
                print(
                    JSON.object([
                        ("name", .text(descriptor.name)), ("version", .text(descriptor.version)),
                        ("fingerprint", .text(descriptor.fingerprint)), ("summary", .text(descriptor.summary)),
                        ("citation", .text(descriptor.citation)), ("licence", .text(descriptor.licence)),
                        ("gradient", .text(descriptor.gradientMethod.rawValue)),
                        ("costSeconds", .number(descriptor.costSeconds)),
                        ("stochastic", .bool(descriptor.isStochastic)),
                        (
                            "inputs",
                            .array(
                                descriptor.inputs.map { input in
                                    .object([
                                        ("name", .text(input.name)), ("unit", .text(input.unit)),
                                        ("meaning", .text(input.meaning)), ("kind", .text(OracleCommand.kind(input))),
                                        ("lower", .number(input.lower)), ("upper", .number(input.upper)),
                                        ("scale", .text(input.scale.rawValue)),
                                        ("choices", OracleCommand.choices(input)),
                                        ("usual", input.usual.map { .text(input.text(of: $0)) } ?? .null),
                                    ])
                                })
                        ),
                        ("constraints", .array(OracleCommand.constraints(descriptor).map(JSON.text))),
                        (
                            "testVectors",
                            .array(
                                descriptor.testVectors.map { vector in
                                    .object([
                                        (
                                            "inputs",
                                            .object(
                                                zip(descriptor.inputs, vector.inputs).map {
                                                    ($0.name, .text($0.text(of: $1)))
                                                })
                                        ),
                                        ("price", .number(vector.price)), ("tolerance", .number(vector.tolerance)),
                                    ])
                                })
                        ),
                    ]).text())
                return
            }
            print("\(descriptor.name) (version \(descriptor.version)): \(descriptor.summary)")
            print("source: \(descriptor.citation)")
            print("licence: \(descriptor.licence)")
            print("fingerprint: \(descriptor.fingerprint)")
            print(
                "derivatives: \(descriptor.providesGradient ? "its own (\(descriptor.gradientMethod.rawValue))" : "none")"
            )
            print("prices: \(descriptor.isStochastic ? "with a standard error" : "deterministic")")
            print("cost: about \(descriptor.costSeconds) s per price on one core")
            print("inputs:")
            for input in descriptor.inputs {
                let range =
                    switch input.kind {
                    case .choice(let words): words.joined(separator: "|")
                    case .integer: "[\(Int(input.lower)) ... \(Int(input.upper))]"
                    case .continuous: "[\(input.lower), \(input.upper)] \(input.unit)"
                    }
                let usual = input.usual.map { "; \(input.text(of: $0)) if left out" } ?? ""
                print("  \(input.name) \(range)  \(input.meaning)\(usual)")
            }
            for constraint in OracleCommand.constraints(descriptor) { print("constraint: \(constraint)") }
            for vector in descriptor.testVectors {
                let terms = zip(descriptor.inputs, vector.inputs).map { "\($0.name)=\($0.text(of: $1))" }
                print("test: \(terms.joined(separator: " ")) → \(vector.price) ± \(vector.tolerance)")
            }
        }
    }

    struct Check: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Ask an oracle whether it keeps what an oracle promises.",
            discussion: "A verdict per line; exit code 2 if one of them is FAILED.")

        @Argument(help: "The oracle's name.")
        var name: String

        @OptionGroup var plugIns: PlugInOptions
        @OptionGroup var common: CommonOptions

        func run() throws {
            try plugIns.apart(name)
            let oracle = try plugIns.named(name, common, areTested: false)
            var check = OracleCheck(oracle)
            let verdicts = check.run { verdict in
                guard !common.json else { return }
                print("\(padded(verdict.outcome.rawValue, 8)) \(padded(verdict.name, 17)) \(verdict.words)")
                fflush(nil)
            }
            let incidents = (oracle as? PlugIn)?.incidents
            (oracle as? PlugIn)?.close()
            if common.json {
                print(
                    JSON.object([
                        ("oracle", .text(oracle.descriptor.fingerprint)),
                        (
                            "verdicts",
                            .array(
                                verdicts.map {
                                    .object([
                                        ("name", .text($0.name)), ("outcome", .text($0.outcome.rawValue)),
                                        ("words", .text($0.words)),
                                    ])
                                })
                        ), ("incidents", incidents.map(JSON.text) ?? .null),
                    ]).text())
            } else if let incidents {
                print("incidents: \(incidents)")
            }
            let failed = verdicts.filter { $0.outcome == .failed }.map(\.name)
            guard failed.isEmpty else {
                throw Ending.badInput("oracle \(name) is not fit for use: \(failed.joined(separator: ", "))")
            }
        }

        private func padded(_ text: String, _ width: Int) -> String {
            text + String(repeating: " ", count: max(0, width - text.count))
        }
    }

    struct Price: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Price the rows of a CSV file.",
            discussion: """
                The file has one column per input, in raw units, in any order. Written, one row per row: price, \
                standardError, status and, with --gradient, d_INPUT for every continuous input.
                """)

        @Argument(help: "The oracle's name.")
        var name: String

        @Option(help: "The CSV file to read.")
        var input: String

        @Option(help: "The CSV file to write. Default: standard output.")
        var out: String?

        @Flag(help: "Write the derivatives too.")
        var gradient = false

        @Option(
            help:
                "Add paths until a price has this standard error; from `paths` on, doubling. For oracles with `paths`.")
        var standardError: Double?

        @OptionGroup var plugIns: PlugInOptions
        @OptionGroup var common: CommonOptions

        func run() throws {
            try plugIns.apart(name)
            let oracle = try plugIns.named(name, common)
            if gradient && !oracle.descriptor.providesGradient {
                throw Ending.badInput("oracle \(name) has no derivatives; leave out --gradient")
            }
            if let standardError {
                guard standardError > 0 else { throw Ending.badInput("--standard-error must be positive") }
                guard oracle.resized(assets: 3) != nil else {
                    throw Ending.badInput("oracle \(name) has no paths to add; leave out --standard-error")
                }
            }
            let text = try reading { () throws(InputError) in
                try priceTable(oracle, csv: input, gradient: gradient, standardError: standardError)
            }
            guard let out else {
                print(text, terminator: "")
                return
            }
            do {
                try Data(text.utf8).write(to: URL(filePath: out), options: .atomic)
            } catch {
                throw Ending.badInput("\(out): cannot be written")
            }
        }
    }

    struct Bench: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Measure how many prices an oracle makes in a second.",
            discussion: """
                Inputs are drawn from the intervals that `describe` tells; choices and whole numbers take their usual \
                value. One caller, wall time, the best of three runs: on a machine that does nothing else. The last line \
                is the size of the jobs that follows: the coordinator cuts them to last about a second.
                """)

        @Argument(help: "The oracle's name.")
        var name: String

        @Option(
            name: .customLong("batch"), help: "Rows per batch; may be given more than once. Default: 1, 16 and 256.")
        var batches: [Int] = []

        @Option(
            name: .customLong("instances"),
            help: """
                Processes that share a batch, for a plug-in of kind process; may be given more than once. Default: as the \
                cluster file says.
                """)
        var instances: [Int] = []

        @Option(help: "The number of shares, for an oracle on several.")
        var assets: Int?

        @OptionGroup var plugIns: PlugInOptions
        @OptionGroup var common: CommonOptions

        private struct Measurement {
            /// Nil: as many as there are.
            var instances: Int?
            var batch: Int
            var gradient: Bool
            var pricesPerSecond: Double
            var withoutPrice: Int
        }

        func validate() throws {
            guard batches.allSatisfy({ (1...1_000_000).contains($0) }) else {
                throw ValidationError("--batch takes 1 to 1000000 rows")
            }
            guard instances.allSatisfy({ (1...1024).contains($0) }) else {
                throw ValidationError("--instances takes 1 to 1024 processes")
            }
        }

        func run() throws {
            try plugIns.apart(name)
            if !instances.isEmpty {
                let entry = try plugIns.file().oracles.first { $0.name == name }
                guard case .process? = entry?.kind else {
                    throw Ending.badInput("--instances is for a plug-in of kind process; \(name) is none")
                }
            }
            var found: [Measurement] = []
            for instances in instances.isEmpty ? [nil] : instances.map(Optional.some) {
                var oracle = try plugIns.named(name, common, instances: instances)
                defer { (oracle as? PlugIn)?.close() }
                if let assets {
                    guard let resized = oracle.resized(assets: assets) else {
                        throw Ending.badInput("oracle \(name) cannot have \(assets) shares")
                    }
                    oracle = resized
                }
                for batch in batches.isEmpty ? [1, 16, 256] : batches {
                    for gradient in oracle.descriptor.providesGradient ? [false, true] : [false] {
                        var line = measure(oracle, batch, gradient)
                        line.instances = instances
                        found.append(line)
                    }
                }
            }
            if common.json {
                print(
                    JSON.array(
                        found.map {
                            .object([
                                ("instances", $0.instances.map(JSON.integer) ?? .null),
                                ("batch", .integer($0.batch)), ("gradient", .bool($0.gradient)),
                                ("pricesPerSecond", .number($0.pricesPerSecond)),
                                ("withoutPrice", .integer($0.withoutPrice)),
                            ])
                        }
                    ).text())
                return
            }
            print((instances.isEmpty ? "" : "instances  ") + "batch  derivatives  prices/s  µs/price  without a price")
            for line in found {
                let (rate, micros) = (Double(Int(line.pricesPerSecond * 10)) / 10, 1e6 / line.pricesPerSecond)
                let instances = line.instances.map { "\($0)  " } ?? ""
                print(
                    "\(instances)\(line.batch)  \(line.gradient ? "yes" : "no")  \(rate)  \(Double(Int(micros * 1000)) / 1000)  "
                        + "\(line.withoutPrice)")
            }
            let best = found.filter { !$0.gradient }.map(\.pricesPerSecond).max() ?? 0
            print("a job of one second: \(max(1, Int(min(best, 1e9)))) prices")
        }

        private func measure(_ oracle: any Oracle, _ batch: Int, _ gradient: Bool) -> Measurement {
            var stream = RandomStream(seed: 1, purpose: .other)
            let points = (0..<batch).flatMap { _ in
                oracle.descriptor.inputs.map { input in
                    guard input.kind == .continuous else { return input.usual ?? input.lower }
                    return input.lower + (input.upper - input.lower) * stream.uniform()
                }
            }
            let clock = ContinuousClock()
            var best = Double.infinity
            var withoutPrice = 0
            for _ in 0..<3 {
                // Long enough for the clock: fast oracles go round several times.
                var rounds = 0
                let start = clock.now
                var seconds = 0.0
                repeat {
                    let valuations = oracle.evaluate(points, gradient: gradient)
                    withoutPrice = valuations.statuses.count { !$0.hasPrice }
                    rounds += 1
                    seconds = (clock.now - start) / .seconds(1)
                } while seconds < 0.05
                best = min(best, seconds / Double(rounds))
            }
            return Measurement(
                batch: batch, gradient: gradient, pricesPerSecond: Double(batch) / best, withoutPrice: withoutPrice)
        }
    }
}
