import ArgumentParser
import Runtime

struct CheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check", abstract: "Check a cluster file, or study files, without starting anything.",
        discussion: "All problems are printed, each with its line and column; exit code 2 if there are any.")

    @Argument(help: "Cluster files and study files (a file with the key `study` is a study).")
    var files: [String]

    @OptionGroup var common: CommonOptions

    func run() throws {
        var problems: [String] = []
        var studies: [String] = []
        var clusters = ClusterFile()
        for file in files {
            do throws(InputError) {
                let text = try StudyInputs.text(file)
                if text.split(separator: "\n").contains(where: { $0.hasPrefix("study:") }) {
                    studies.append(file)
                } else {
                    clusters.oracles += try ClusterFile(name: file, text: text).oracles
                }
            } catch {
                problems += error.problems.map(\.description)
            }
        }
        // Studies may name the oracles of the clusters beside them. Nothing is started for clusters alone.
        if studies.isEmpty { clusters.oracles = [] }
        let oracles = KnownOracles(of: clusters, areTested: false, logger: common.logger("cairn"))
        oracles.close()
        problems += oracles.problems
        for study in studies {
            do throws(InputError) {
                _ = try StudyInputs(path: study, oracles: oracles.all)
            } catch {
                problems += error.problems.map(\.description)
            }
        }
        if common.json {
            print(
                JSON.object([("ok", .bool(problems.isEmpty)), ("problems", .array(problems.map(JSON.text)))]).text())
        }
        guard problems.isEmpty else { throw Ending.badInput(problems.joined(separator: "\n")) }
    }
}
