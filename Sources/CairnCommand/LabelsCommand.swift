import ArgumentParser
import FoundationEssentials
import Runtime

struct LabelsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "labels", abstract: "The ledger of labels that were paid for.",
        discussion: "The cluster must not be running.", subcommands: [List.self, Invalidate.self])

    struct LedgerOptions: ParsableArguments {
        @Option(help: "The cluster file, for its storage folder.")
        var cluster: String?

        @Option(help: "The storage folder.")
        var storage: String?

        func validate() throws {
            if (cluster == nil) == (storage == nil) { throw ValidationError("Name one of --cluster and --storage.") }
        }

        /// Does something with the ledger.
        func with<Result>(_ body: (Journal) throws(JournalError) -> Result) throws -> Result {
            guard let folder = try storage ?? clusterFile(cluster!).storage else {
                throw Ending.badInput("\(cluster!): has no storage.dir, so it keeps no labels")
            }
            do throws(JournalError) {
                return try body(Journal.ledger(in: folder))
            } catch {
                throw Ending.badInput("\(error)")
            }
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Count the labels by oracle and by the worker that priced them.")

        @OptionGroup var ledger: LedgerOptions
        @OptionGroup var common: CommonOptions

        func run() throws {
            let counts = try ledger.with { journal throws(JournalError) in try journal.labelCounts() }
            func time(_ seconds: Int) -> String? {
                seconds == 0 ? nil : Date(timeIntervalSince1970: Double(seconds)).formatted(.iso8601)
            }
            if common.json {
                print(
                    JSON.array(
                        counts.map {
                            .object([
                                ("oracle", .text($0.oracle)), ("worker", .text($0.worker)),
                                ("labels", .integer($0.labels)),
                                ("first", time($0.first).map(JSON.text) ?? .null),
                                ("last", time($0.last).map(JSON.text) ?? .null),
                            ])
                        }
                    ).text())
                return
            }
            for count in counts {
                let when = time(count.first).map { ", \($0) to \(time(count.last)!)" } ?? ""
                print("\(count.oracle): \(count.labels) of worker '\(count.worker)'\(when)")
            }
            if counts.isEmpty { print("no labels") }
        }
    }

    struct Invalidate: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Forget the labels of an oracle that turned out to be wrong: later studies price them anew.")

        @Option(help: "The oracle's name.")
        var oracle: String

        @Option(
            help:
                "Its fingerprint, as `cairn oracle describe` or `cairn labels list` tells it, or as the plug-in calls it."
        )
        var fingerprint: String

        @Option(help: "Only those that this worker has priced.")
        var worker: String?

        @OptionGroup var ledger: LedgerOptions
        @OptionGroup var common: CommonOptions

        func run() throws {
            let gone = try ledger.with { journal throws(JournalError) in
                try journal.invalidate(oracle: oracle, fingerprint: fingerprint, worker: worker)
            }
            guard gone > 0 else {
                throw Ending.badInput(
                    "there are no labels of \(oracle) with fingerprint \(fingerprint)"
                        + (worker.map { " of worker '\($0)'" } ?? "") + "; `cairn labels list` shows what there is")
            }
            if common.json {
                print(JSON.object([("labels", .number(Double(gone)))]).text())
            } else {
                let whose = worker.map { " of worker '\($0)'" } ?? ""
                print("\(gone) labels of \(oracle) with fingerprint \(fingerprint)\(whose) are forgotten")
            }
        }
    }
}
