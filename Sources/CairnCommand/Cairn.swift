// The command line: `cairn SUBCOMMAND`. One file per subcommand; the work is in Runtime.

import ArgumentParser
@preconcurrency import Glibc
import Logging
public import Regression
import Runtime

/// Does what the command line says, with oracles of one's own beside the built-in ones. All that `cairn` does, this does:
/// a cluster that it starts consists of processes of the same executable, so every worker has the oracles.
///
/// - Parameter oracles: with names that no built-in oracle has.
public func runCairn(oracles: [any Oracle] = []) -> Never {
    provide(oracles)
    Cairn.main()
    exit(0)
}

struct Cairn: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cairn",
        abstract: "Finds where a pricing surrogate is wrong, and who made it so.",
        discussion: """
            Exit codes: 0 done; 1 the work failed; 2 bad input or configuration; 3 cluster not reachable; \
            4 done, but incomplete; 130 interrupted.
            """,
        version: cairnVersion,
        subcommands: [
            RunCommand.self, StudiesCommand.self, OracleCommand.self, CheckCommand.self, CoordinatorCommand.self,
            WorkerCommand.self, TrainerCommand.self, SimulateCommand.self, LabelsCommand.self,
        ])

    /// Lets the process have 4,096 files open, if it may. Sockets are files: where they run out, libzmq lets nobody in and says
    /// nothing.
    ///
    /// - Returns: what is wrong if there may be too few.
    private static func allowFiles() -> String? {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return nil }
        limit.rlim_cur = min(limit.rlim_max, max(limit.rlim_cur, 4096))
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        return limit.rlim_cur < 64
            ? "no more than \(limit.rlim_cur) files may be open, and Cairn needs 64; raise that with `ulimit -n`" : nil
    }

    /// Ends the process, and not well if what it has printed went nowhere.
    private static func end(_ code: Int32) -> Never {
        var code = code
        if fflush(stdout) != 0 || ferror(stdout) != 0 {
            complain("standard output: not all could be written to it; is the disk full?")
            if code == 0 || code == 4 { code = 1 }
        }
        ProcessApart.noteEnd()
        Glibc.exit(code)
    }

    static func main() {
        do {
            if let problem = chooseKernels() { throw Ending.badInput(problem) }
            if let problem = allowFiles() { throw Ending.badInput(problem) }
            var command = try parseAsRoot()
            try command.run()
            end(0)
        } catch let ending as Ending {
            if let message = ending.message { complain(message) }
            end(ending.code)
        } catch {
            // Asking for help is no mistake; a mistake on the command line is bad input.
            let code = exitCode(for: error)
            let message = fullMessage(for: error)
            if code == .success {
                print(message)
                end(0)
            }
            if !message.isEmpty { complain(message) }
            end(code == .validationFailure ? 2 : code.rawValue)
        }
    }
}

/// How a command ends, other than well.
enum Ending: Error {
    case failed(String)
    case badInput(String)
    case unreachable(String)
    case incomplete
    case interrupted
    /// The process is to be started again: nothing failed.
    case restart
    /// Another process has done the work, and said what there was to say.
    case said(Int32)

    var code: Int32 {
        switch self {
        case .failed: 1
        case .badInput: 2
        case .unreachable: 3
        case .incomplete: 4
        case .interrupted: 130
        case .restart: Supervisor.restartCode
        case .said(let code): code
        }
    }

    var message: String? {
        switch self {
        case .failed(let message), .badInput(let message), .unreachable(let message): message
        case .incomplete, .interrupted, .restart, .said: nil
        }
    }
}

/// Writes a line to standard error.
func complain(_ message: String) { writeError(message + "\n") }

/// Writes to standard error as it is.
func writeError(_ text: String) {
    let bytes = Array(text.utf8)
    var start = 0
    while start < bytes.count {
        let count = bytes.withUnsafeBytes { write(2, $0.baseAddress! + start, bytes.count - start) }
        if count < 0 && errno != EINTR { return }
        start += max(0, count)
    }
}

/// Does something that reads a user's files, and ends with all their problems if there are any.
func reading<Value>(_ body: () throws(InputError) -> Value) throws(Ending) -> Value {
    do {
        return try body()
    } catch {
        throw .badInput(error.description)
    }
}

/// The cluster that a file describes.
func clusterFile(_ path: String) throws(Ending) -> ClusterFile {
    try reading { () throws(InputError) in try ClusterFile(name: path, text: try StudyInputs.text(path)) }
}

/// A study and the files that it names. Plug-ins are only asked for what they are, and ended; if the study names one that
/// cannot be used, the problem says why.
func readStudy(_ path: String, oracles: KnownOracles) throws(Ending) -> StudyInputs {
    oracles.close()
    do throws(Ending) {
        return try reading { () throws(InputError) in try StudyInputs(path: path, oracles: oracles.all) }
    } catch {
        throw .badInput(([error.message ?? ""] + oracles.problems).joined(separator: "\n"))
    }
}

/// Options of every command.
struct CommonOptions: ParsableArguments {
    @Flag(help: "Print the result as JSON on standard output; progress and logs go to standard error.")
    var json = false

    @Option(
        help: "Log messages at and above this level: trace, debug, info, notice, warning, error or critical.",
        transform: { word in
            guard let level = Logger.Level(rawValue: word) else {
                throw ValidationError("'\(word)' is no log level.")
            }
            return level
        })
    var logLevel: Logger.Level = .warning

    @Flag(name: .customLong("no-progress"), help: "Show no progress.")
    var noProgress = false

    func logger(_ label: String) -> Logger {
        var logger = Logger(label: label, factory: { StreamLogHandler.standardError(label: $0) })
        logger.logLevel = logLevel
        return logger
    }
}
