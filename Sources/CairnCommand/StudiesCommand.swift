import ArgumentParser
import Cluster
import Runtime

/// The studies of a running cluster: a list of them, and what can be said to them.
struct StudiesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "studies", abstract: "List, cancel, pause and resume the studies of a running cluster.",
        subcommands: [List.self, Cancel.self, Pause.self, Resume.self], defaultSubcommand: List.self)

    struct Connection: ParsableArguments {
        @Option(help: "The coordinator's address, such as tcp://127.0.0.1:5555.")
        var connect: String

        @OptionGroup var common: CommonOptions

        /// Tells the coordinator something.
        ///
        /// - Returns: its studies.
        func studies(telling message: ToCoordinator = .listStudies) throws -> [StudySummary] {
            let studies: [StudySummary]?
            do {
                studies = try StudyClient.studies(
                    address: connect, telling: message, longestFrame: ClusterFile().maxFrame)
            } catch {
                throw Ending.badInput("--connect \(connect): \(error)")
            }
            guard let studies else { throw Ending.unreachable("\(connect) does not answer") }
            return studies
        }

        /// Tells the coordinator something and prints its studies.
        func tell(_ message: ToCoordinator) throws {
            let studies = try studies(telling: message)
            if common.json {
                print(JSON.array(studies.map(\.json)).text())
                return
            }
            for study in studies {
                let progress = study.total > 0 ? ", \(study.phase.rawValue) \(study.done)/\(study.total)" : ""
                print(
                    "\(study.study)  \(study.name): \(study.state.rawValue)\(progress); \(study.jobs) jobs, "
                        + "share \(study.share), priority \(study.priority)")
            }
            if studies.isEmpty { print("no studies") }
        }
    }

    struct StudyArgument: ParsableArguments {
        @Argument(help: "The study: its name, or its sixteen hexadecimal digits, as `cairn studies` lists them.")
        var study: String

        func id(_ connection: Connection) throws -> StudyID {
            let studies = try connection.studies()
            let known = studies.filter { "\($0.study)" == study }
            let named = known.isEmpty ? studies.filter { $0.name == study } : known
            // Of studies of one name the one that goes on is meant.
            let open = named.filter { [.running, .paused].contains($0.state) }
            let meant = open.isEmpty ? named : open
            guard let only = meant.first, meant.count == 1 else {
                throw Ending.badInput(
                    meant.isEmpty
                        ? "'\(study)' is no study; `cairn studies` lists them"
                        : "'\(study)' is the name of \(meant.count) studies; say which by its digits: "
                            + meant.map { "\($0.study)" }.joined(separator: ", "))
            }
            guard [.running, .paused].contains(only.state) else {
                throw Ending.badInput(
                    "'\(study)' has ended (\(only.state.rawValue)): there is nothing to cancel or pause")
            }
            return only.study
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the studies, the oldest first.")
        @OptionGroup var connection: Connection
        func run() throws { try connection.tell(.listStudies) }
    }

    struct Cancel: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "End a study; nothing more of it is computed, and its result is lost.")
        @OptionGroup var study: StudyArgument
        @OptionGroup var connection: Connection
        func run() throws { try connection.tell(.cancelStudy(study.id(connection))) }
    }

    struct Pause: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Begin nothing more of a study until it is resumed; what runs goes on to its end.")
        @OptionGroup var study: StudyArgument
        @OptionGroup var connection: Connection
        func run() throws { try connection.tell(.pauseStudy(study.id(connection), true)) }
    }

    struct Resume: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Go on with a paused study.")
        @OptionGroup var study: StudyArgument
        @OptionGroup var connection: Connection
        func run() throws { try connection.tell(.pauseStudy(study.id(connection), false)) }
    }
}

extension StudySummary {
    fileprivate var json: JSON {
        .object([
            ("study", .text("\(study)")), ("name", .text(name)), ("state", .text(state.rawValue)),
            ("phase", .text(phase.rawValue)), ("done", .integer(done)), ("total", .integer(total)),
            ("share", .number(share)), ("priority", .integer(priority)), ("jobs", .integer(jobs)),
        ])
    }
}
