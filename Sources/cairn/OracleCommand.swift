import ArgumentParser
import FoundationEssentials
import Pricing
import Regression
import Runtime

struct OracleCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "oracle", abstract: "The oracles: what there is, what they take, what they say.",
        subcommands: [List.self, Describe.self, Price.self])

    private static func named(_ name: String) throws(Ending) -> any Oracle {
        guard let oracle = builtInOracles.first(where: { $0.descriptor.name == name }) else {
            let names = builtInOracles.map(\.descriptor.name).joined(separator: ", ")
            throw .badInput("oracle \(name) is not known; there are: \(names)")
        }
        return oracle
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the oracles.")

        @OptionGroup var common: CommonOptions

        func run() throws {
            let all = builtInOracles.map(\.descriptor)
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

        @OptionGroup var common: CommonOptions

        func run() throws {
            let descriptor = try OracleCommand.named(name).descriptor
            if common.json {
                print(
                    JSON.object([
                        ("name", .text(descriptor.name)), ("version", .text(descriptor.version)),
                        ("fingerprint", .text(descriptor.fingerprint)), ("summary", .text(descriptor.summary)),
                        ("citation", .text(descriptor.citation)),
                        ("gradient", .bool(descriptor.providesGradient)),
                        ("stochastic", .bool(descriptor.isStochastic)),
                        (
                            "inputs",
                            .array(
                                descriptor.inputs.map { input in
                                    .object([
                                        ("name", .text(input.name)), ("unit", .text(input.unit)),
                                        ("meaning", .text(input.meaning)), ("lower", .number(input.lower)),
                                        ("upper", .number(input.upper)),
                                    ])
                                })
                        ),
                        ("constraints", .array(descriptor.constraints.map { .text($0.name) })),
                    ]).text())
                return
            }
            print("\(descriptor.name) (version \(descriptor.version)): \(descriptor.summary)")
            print("source: \(descriptor.citation)")
            print("derivatives: \(descriptor.providesGradient ? "its own" : "by differences")")
            print("inputs:")
            for input in descriptor.inputs {
                print("  \(input.name) [\(input.lower), \(input.upper)] \(input.unit)  \(input.meaning)")
            }
            for constraint in descriptor.constraints { print("constraint: \(constraint.name)") }
        }
    }

    struct Price: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Price the rows of a CSV file.",
            discussion: """
                The file has one column per input, in raw units, in any order. Written, one row per row: price, \
                standardError, status and, with --gradient, d_INPUT for every input.
                """)

        @Argument(help: "The oracle's name.")
        var name: String

        @Option(help: "The CSV file to read.")
        var input: String

        @Option(help: "The CSV file to write. Default: standard output.")
        var out: String?

        @Flag(help: "Write the derivatives too.")
        var gradient = false

        @OptionGroup var common: CommonOptions

        func run() throws {
            let oracle = try OracleCommand.named(name)
            if gradient && !oracle.descriptor.providesGradient {
                throw Ending.badInput("oracle \(name) has no derivatives; leave out --gradient")
            }
            let text = try reading { () throws(InputError) in
                try priceTable(oracle, csv: input, gradient: gradient)
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
}
