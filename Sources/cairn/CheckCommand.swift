import ArgumentParser
import Pricing
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
        for file in files {
            do throws(InputError) {
                let text = try StudyInputs.text(file)
                if text.split(separator: "\n").contains(where: { $0.hasPrefix("study:") }) {
                    _ = try StudyInputs(path: file, oracles: builtInOracles)
                } else {
                    _ = try ClusterFile(name: file, text: text)
                }
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
