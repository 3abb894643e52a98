import ChildProcess
import Foundation
import Testing

/// The command as a user runs it.
enum Cairn {
    /// Beside the tests, where the build put it.
    static let executable = URL(filePath: CommandLine.arguments[0]).deletingLastPathComponent().appending(path: "cairn")

    /// The repository, for its study files.
    static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    struct Result {
        var code: Int32
        var out: String
        var err: String
    }

    /// Starts `cairn`; its output goes to files.
    static func start(_ arguments: [String], environment: [String: String] = [:], in folder: URL) throws -> Running {
        let id = UUID().uuidString
        let files = ["out", "err"].map { folder.appending(path: ".\(id).\($0)") }
        let process = try ChildProcess(
            [executable.path] + arguments, environment: ProcessInfo.processInfo.environment.merging(environment) { $1 },
            in: folder.path, output: files[0].path, error: files[1].path)
        return Running(process: process, out: files[0], err: files[1])
    }

    struct Running {
        let process: ChildProcess
        let out: URL
        let err: URL

        func text(_ file: URL) -> String { (try? String(contentsOf: file, encoding: .utf8)) ?? "" }

        /// Its exit code or the signal that ended it; nil while it runs.
        var status: Int32? { process.status }

        /// The result once the process has ended. One that does not end is a failure with its story, never a wait without
        /// end: what it wrote last, and who of its family lives and where each stands. Time in which the machine slept does not
        /// count.
        func wait(within seconds: Double = 600) -> Result {
            let limit = SuspendingClock.now + .seconds(seconds)
            while status == nil && SuspendingClock.now < limit { usleep(2000) }
            if status == nil {
                let family = Self.family(of: process.processIdentifier)
                Issue.record(
                    """
                    \(process.arguments) has not ended after \(seconds) s
                    \(family.map(Self.description).joined(separator: "\n"))
                    \(text(err).suffix(4000))
                    """)
                for member in family { kill(member, SIGKILL) }
            }
            return Result(code: status ?? -1, out: text(out), err: text(err))
        }

        /// A process and all that descend from it.
        private static func family(of process: Int32) -> [Int32] {
            [process] + Cairn.children(of: process).flatMap(family)
        }

        /// The command, state and place in the kernel of each thread of a process.
        private static func description(_ process: Int32) -> String {
            func read(_ file: String) -> String {
                ((try? String(contentsOfFile: "/proc/\(process)/\(file)", encoding: .utf8)) ?? "")
                    .replacing("\0", with: " ").trimmingCharacters(in: .whitespacesAndNewlines)
            }
            let threads = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(process)/task")) ?? []
            let places = threads.map {
                let state = read("task/\($0)/stat").split(separator: ")").last?.prefix(2) ?? ""
                return "\(read("task/\($0)/comm"))\(state) \(read("task/\($0)/wchan"))"
            }
            return "\(process) \(read("cmdline")): \(places.joined(separator: ", "))"
        }

        /// The process number that `cairn run` has told for one of its children.
        func child(_ name: String, within seconds: Double = 10) -> Int32? {
            let limit = SuspendingClock.now + .seconds(seconds)
            while SuspendingClock.now < limit {
                for line in text(err).split(separator: "\n") where line.hasPrefix("  \(name): process ") {
                    return line.split(separator: " ").last.flatMap { Int32($0) }
                }
                usleep(5000)
            }
            return nil
        }

        /// Waits until standard error holds a text.
        func waits(for text: String, within seconds: Double = 30) -> Bool {
            let limit = SuspendingClock.now + .seconds(seconds)
            while SuspendingClock.now < limit {
                if self.text(err).contains(text) { return true }
                if status != nil { return self.text(err).contains(text) }
                usleep(5000)
            }
            return false
        }
    }

    /// The running children of a process, whichever of its threads started them.
    static func children(of process: Int32) -> [Int32] {
        let threads = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(process)/task")) ?? []
        return threads.flatMap { thread in
            let list = try? String(contentsOfFile: "/proc/\(process)/task/\(thread)/children", encoding: .utf8)
            return (list ?? "").split(separator: " ").compactMap { Int32($0) }
        }
    }

    static func run(_ arguments: [String], environment: [String: String] = [:], in folder: URL) throws -> Result {
        try start(arguments, environment: environment, in: folder).wait()
    }

    /// A folder of its own, removed afterwards.
    static func inFolder<Value>(_ body: (URL) throws -> Value) throws -> Value {
        let folder = FileManager.default.temporaryDirectory.appending(path: "cairn-test-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        return try body(folder)
    }
}
