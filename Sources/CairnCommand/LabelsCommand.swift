import ArgumentParser
import Runtime

struct LabelsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "labels", abstract: "The ledger of labels that were paid for.", subcommands: [Invalidate.self])

    struct Invalidate: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Forget the labels of an oracle that turned out to be wrong: later studies price them anew.",
            discussion: "The cluster must not be running.")

        @Option(help: "The oracle's name.")
        var oracle: String

        @Option(help: "Its fingerprint, as `cairn oracle describe` tells it, or as the plug-in calls it.")
        var fingerprint: String

        @Option(help: "The cluster file, for its storage folder.")
        var cluster: String?

        @Option(help: "The storage folder.")
        var storage: String?

        @OptionGroup var common: CommonOptions

        func validate() throws {
            if (cluster == nil) == (storage == nil) { throw ValidationError("Name one of --cluster and --storage.") }
        }

        func run() throws {
            let named = try storage ?? clusterFile(cluster!).storage
            guard let folder = named else {
                throw Ending.badInput("\(cluster!): has no storage.dir, so it keeps no labels")
            }
            let gone: Int
            do throws(JournalError) {
                gone = try Journal.invalidate(in: folder, oracle: oracle, fingerprint: fingerprint)
            } catch {
                throw Ending.badInput("\(error)")
            }
            if common.json {
                print(JSON.object([("labels", .number(Double(gone)))]).text())
            } else {
                print("\(gone) labels of \(oracle) with fingerprint \(fingerprint) are forgotten")
            }
        }
    }
}
