// The same command in a process of its own, for what may end the process that does it.

import Glibc
import Runtime

/// A second process of this executable, which is told to do what this one was told.
enum ProcessApart {
    /// Names the descriptor on which such a process says that it has come to its own end.
    private static let variable = "CAIRN_APART"

    /// Does this command in another process, with the same streams, and ends as that did; in that process, nothing.
    ///
    /// - Parameter complaint: what to say of a process that somebody else ended, from how that was.
    /// - Throws: `Ending` always, but in the other process.
    static func run(complaint: (String) -> String) throws(Ending) {
        guard getenv(variable) == nil else { return }
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else { throw .failed("no pipe: \(String(cString: strerror(errno)))") }
        _ = fcntl(ends[0], F_SETFD, FD_CLOEXEC)
        setenv(variable, "\(ends[1])", 1)
        var arguments = CommandLine.arguments.map { strdup($0) } + [nil]
        defer { for argument in arguments { free(argument) } }
        var process: pid_t = 0
        let code = posix_spawn(&process, "/proc/self/exe", nil, nil, &arguments, environ)
        close(ends[1])
        guard code == 0 else { throw .failed("no process: \(String(cString: strerror(code)))") }
        var status: Int32 = 0
        while waitpid(process, &status, 0) < 0 && errno == EINTR {}
        // Whoever it has left behind may hold the other end.
        _ = fcntl(ends[0], F_SETFL, O_NONBLOCK)
        var word: UInt8 = 0
        let hasEnded = read(ends[0], &word, 1) == 1
        close(ends[0])
        if hasEnded, let code = Supervisor.exitCode(status) { throw .said(code) }
        throw .badInput(complaint("ended (\(Supervisor.words(status)))"))
    }

    /// Says that this process ends by its own will, if one of them waits to hear that.
    static func noteEnd() {
        guard let text = getenv(variable), let descriptor = Int32(String(cString: text)) else { return }
        var word: UInt8 = 1
        _ = write(descriptor, &word, 1)
    }
}
