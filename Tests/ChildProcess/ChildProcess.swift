// A program that a test starts. Foundation's `Process` serves all children of a program from one thread, and that thread can
// hang after it has taken a child's exit code and before it has told of it (seen in two runs of several hundred tests): the
// child then runs for ever, as far as anybody can tell. Here nobody waits but the one who asks.

import Foundation
import Synchronization

/// A child in a process group of its own, with no signal blocked and no open file but the standard streams, as from a shell.
public final class ChildProcess: Sendable {
    public let arguments: [String]
    public let processIdentifier: Int32
    private let end = Mutex<Int32?>(nil)

    public struct CannotStart: Error, CustomStringConvertible {
        public let description: String
    }

    /// Starts a program.
    ///
    /// - Parameters:
    ///   - arguments: the program, looked for in `PATH` if it has no slash, and its arguments.
    ///   - environment: all of it; nil for that of the tests.
    ///   - folder: where it runs; nil for where the tests do.
    ///   - output, error: files that are made or emptied first; nil for the streams of the tests. There is no standard input.
    /// - Throws: `CannotStart`.
    public init(
        _ arguments: [String], environment: [String: String]? = nil, in folder: String? = nil, output: String? = nil,
        error: String? = nil
    ) throws {
        self.arguments = arguments
        var actions = posix_spawn_file_actions_t()
        var attributes = posix_spawnattr_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawnattr_init(&attributes)
        defer {
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
        }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        for (stream, file) in [(Int32(1), output), (2, error)] {
            guard let file else { continue }
            posix_spawn_file_actions_addopen(&actions, stream, file, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0o644)
        }
        for descriptor in Int32(3)..<1024 { posix_spawn_file_actions_addclose(&actions, descriptor) }
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK))

        let words = ((folder.map { ["env", "-C", $0] } ?? []) + arguments).map { strdup($0) } + [nil]
        let variables = (environment ?? ProcessInfo.processInfo.environment).map { strdup("\($0)=\($1)") } + [nil]
        defer { for text in words + variables { free(text) } }
        var process = pid_t()
        let problem = posix_spawnp(&process, words[0]!, &actions, &attributes, words, variables)
        guard problem == 0 else {
            throw CannotStart(description: "\(arguments): \(String(cString: strerror(problem)))")
        }
        processIdentifier = process
    }

    /// Its exit code or the signal that ended it; nil while it runs.
    public var status: Int32? { end.withLock { take(&$0, WNOHANG) } }

    /// Waits for its end, and gives its exit code or the signal that ended it.
    @discardableResult public func wait() -> Int32 {
        while true {
            if let status { return status }
            usleep(2000)
        }
    }

    /// Sends a signal, unless it has ended.
    public func send(_ signal: Int32) {
        end.withLock { if take(&$0, WNOHANG) == nil { kill(processIdentifier, signal) } }
    }

    private func take(_ end: inout Int32?, _ options: Int32) -> Int32? {
        var status: Int32 = 0
        if end == nil && waitpid(processIdentifier, &status, options) == processIdentifier {
            end = status & 0x7f == 0 ? status >> 8 & 0xff : status & 0x7f
        }
        return end
    }

    /// Runs a program to its end.
    ///
    /// - Throws: `CannotStart`, also if it ends with another code than 0.
    public static func run(_ arguments: [String], in folder: String? = nil) throws {
        let status = try ChildProcess(arguments, in: folder).wait()
        guard status == 0 else { throw CannotStart(description: "\(arguments) ended with \(status)") }
    }
}
