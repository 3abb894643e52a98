import Foundation

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
        let process = Process()
        process.executableURL = executable
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        process.currentDirectoryURL = folder
        let id = UUID().uuidString
        let files = ["out", "err"].map { folder.appending(path: ".\(id).\($0)") }
        for file in files { _ = FileManager.default.createFile(atPath: file.path, contents: nil) }
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = try FileHandle(forWritingTo: files[0])
        process.standardError = try FileHandle(forWritingTo: files[1])
        try process.run()
        return Running(process: process, out: files[0], err: files[1])
    }

    struct Running {
        let process: Process
        let out: URL
        let err: URL

        func text(_ file: URL) -> String { (try? String(contentsOf: file, encoding: .utf8)) ?? "" }

        func wait() -> Result {
            process.waitUntilExit()
            return Result(code: process.terminationStatus, out: text(out), err: text(err))
        }

        /// The process number that `cairn run` has told for one of its children.
        func child(_ name: String, within seconds: Double = 10) -> Int32? {
            let limit = Date().addingTimeInterval(seconds)
            while Date() < limit {
                for line in text(err).split(separator: "\n") where line.hasPrefix("  \(name): process ") {
                    return line.split(separator: " ").last.flatMap { Int32($0) }
                }
                usleep(5000)
            }
            return nil
        }

        /// Waits until standard error holds a text.
        func waits(for text: String, within seconds: Double = 30) -> Bool {
            let limit = Date().addingTimeInterval(seconds)
            while Date() < limit {
                if self.text(err).contains(text) { return true }
                if !process.isRunning { return self.text(err).contains(text) }
                usleep(5000)
            }
            return false
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
