// An oracle in a process of its own: frames on its standard streams, and its end whatever it does.

internal import CPlugIn
internal import Glibc

/// One instance of a plug-in that is asked with bytes and answers with bytes. One thread at a time.
protocol Transport: AnyObject {
    /// Which one this is, for messages.
    var who: String { get }
    /// Whether it is in the life that `open` began.
    var isOpen: Bool { get }

    /// Begins a life.
    ///
    /// - Throws: `Incident` if there is nobody.
    func open() throws(Incident)

    /// Asks, and waits for the answer.
    ///
    /// - Parameters:
    ///   - longest: the most bytes that the answer may have.
    ///   - limit: how long to wait for it.
    ///   - isWanted: asked after `attention` milliseconds, and again at least so often; false ends the wait. What is answered
    ///     sooner is taken: a new life costs more.
    /// - Throws: `Incident` if there is no answer; then this life must be ended.
    func exchange(
        _ request: [UInt8], longest: Int, within limit: Duration, isWanted: () -> Bool
    ) throws(Incident) -> [UInt8]

    /// What else is known of this life, such as the end of its standard error; may be empty.
    func lastWords() -> String

    /// Ends this life.
    ///
    /// - Returns: its last words.
    func close() -> String
}

/// The longest that a transport waits without asking whether its answer is still wanted, in milliseconds.
let attention = 20

/// A child process that leads a process group of its own.
final class ChildProcess: Transport {
    private let command: PlugInSettings.Command
    private let report: @Sendable (String) -> Void

    /// The process that runs or has not been waited for yet.
    private var process: plugin_process?
    /// What has come and is not taken yet.
    private var received: [UInt8] = []
    /// The end of what it wrote to standard error.
    private var tail: [UInt8] = []
    private var line: [UInt8] = []
    /// Whether it has closed its standard error.
    private var isSilent = false
    /// A request on its way, after its length.
    private var outgoing: [UInt8] = []
    private var spin = AdaptiveSpin()
    private var buffer = [UInt8](repeating: 0, count: 1 << 16)

    private static let longestTail = 600
    /// From the wish that it ends to its end.
    private static let grace = 200
    /// Writing to a process that is gone is an error to handle, not a signal to die of.
    private static let brokenPipesAreErrors: Void = { _ = signal(SIGPIPE, SIG_IGN) }()

    /// - Parameter report: told of lines of standard error, if they are asked for.
    init(_ command: PlugInSettings.Command, report: @escaping @Sendable (String) -> Void) {
        self.command = command
        self.report = report
        Self.brokenPipesAreErrors
    }

    deinit { _ = close() }

    var who: String { process.map { "process \($0.process)" } ?? "process" }

    var isOpen: Bool { process != nil }

    func open() throws(Incident) {
        _ = close()
        var environment: [String: String] = [:]
        var entry = environ
        while let text = entry.pointee.map({ String(cString: $0) }) {
            if let split = text.firstIndex(of: "=") { environment[String(text[..<split])] = String(text[split...]) }
            entry += 1
        }
        for (name, value) in command.environment { environment[name] = "=\(value)" }
        var started = plugin_process()
        var arguments = command.arguments
        // Its own PATH says where its program is.
        if let path = command.environment["PATH"], !arguments[0].contains("/") {
            let places = path.split(separator: ":").map { "\($0)/\(arguments[0])" }
            arguments[0] = places.first { access($0, X_OK) == 0 } ?? arguments[0]
        }
        let result = withStrings(arguments) { arguments in
            withStrings(environment.keys.sorted().map { $0 + environment[$0]! }) { environment in
                command.folder.withCString { folder in
                    var wanted = plugin_command(
                        arguments: arguments, environment: environment, folder: folder,
                        memory: Int64(command.memory ?? -1),
                        cpu_seconds: command.cpuTime.map { max(1, $0.components.seconds) } ?? -1,
                        open_files: Int64(command.openFiles ?? -1))
                    return plugin_start(&wanted, &started)
                }
            }
        }
        guard result == 0 else {
            throw Incident(
                kind: .unavailable,
                words: "'\(command.arguments.joined(separator: " "))' cannot be started in \(command.folder): "
                    + String(cString: strerror(result)))
        }
        process = started
        received = []
        tail = []
        line = []
        isSilent = false
    }

    func exchange(
        _ request: [UInt8], longest: Int, within limit: Duration, isWanted: () -> Bool
    ) throws(Incident) -> [UInt8] {
        guard let process else { throw Incident(kind: .died, words: "is not there") }
        guard received.isEmpty else {
            throw Incident(kind: .nonsense, words: "answered before it was asked")
        }
        let began = milliseconds()
        let deadline = began + max(1, limit.wholeMilliseconds)
        // Length and request in one piece: one wake-up for whoever waits.
        outgoing.removeAll(keepingCapacity: true)
        withUnsafeBytes(of: UInt32(request.count).littleEndian) { outgoing.append(contentsOf: $0) }
        outgoing += request
        var sent = 0
        while true {
            if sent < outgoing.count {
                let count = outgoing.withUnsafeBytes { write(process.input, $0.baseAddress! + sent, $0.count - sent) }
                if count > 0 {
                    sent += count
                    if sent == outgoing.count {
                        spin.look { readOutput() || !received.isEmpty }
                        if let answer = try frameReceived(longest: longest) { return answer }
                    }
                } else if count < 0, errno != EAGAIN, errno != EINTR {
                    // It closed its standard input, perhaps because it died.
                    throw Incident(kind: .died, words: ended(waiting: 100) ?? "closed its standard input")
                }
            }
            let now = milliseconds()
            let left = deadline - now
            guard left > 0 else {
                throw Incident(kind: .late, words: "gave no answer within \(limit)")
            }
            guard now - began < attention || isWanted() else { throw .unwanted }
            let news = self.news(of: process, isSending: sent < outgoing.count, atMost: min(left, attention))
            if news.error { readStandardError() }
            if news.output {
                let isOver = readOutput()
                if let answer = try frameReceived(longest: longest) { return answer }
                if isOver {
                    let what = ended(waiting: 100) ?? "closed its standard output"
                    throw Incident(
                        kind: .died, words: what + (received.isEmpty ? "" : ", in the middle of an answer"))
                }
            } else if news.end, let what = ended(waiting: 100) {
                // Whoever inherited its output may keep that open.
                throw Incident(kind: .died, words: what)
            }
        }
    }

    /// Waits until there is something to read, to write, or to bury.
    private func news(
        of process: plugin_process, isSending: Bool, atMost milliseconds: Int
    ) -> (output: Bool, error: Bool, end: Bool) {
        func item(_ descriptor: Int32, _ events: Int32) -> pollfd {
            pollfd(fd: descriptor, events: Int16(events), revents: 0)
        }
        var items = (
            item(process.output, POLLIN), item(isSilent ? -1 : process.error, POLLIN), item(process.handle, POLLIN),
            item(isSending ? process.input : -1, POLLOUT)
        )
        let found = withUnsafeMutableBytes(of: &items) {
            poll($0.assumingMemoryBound(to: pollfd.self).baseAddress!, 4, Int32(milliseconds))
        }
        guard found > 0 else { return (false, false, false) }
        return (items.0.revents != 0, items.1.revents != 0, items.2.revents != 0)
    }

    /// Takes what has come on standard output.
    ///
    /// - Returns: whether no more will come.
    private func readOutput() -> Bool {
        let count = read(process!.output, &buffer, buffer.count)
        if count > 0 { received += buffer[..<count] }
        return count == 0 || count < 0 && errno != EAGAIN && errno != EINTR
    }

    private func frameReceived(longest: Int) throws(Incident) -> [UInt8]? {
        guard received.count >= 4 else { return nil }
        let size = (0..<4).reduce(0) { $0 | Int(received[$1]) << (8 * $1) }
        guard size <= longest else {
            throw Incident(
                kind: .nonsense,
                words: "announced an answer of \(size) bytes, where at most \(longest) can be; does it print to "
                    + "standard output? That belongs to the protocol")
        }
        guard received.count >= 4 + size else { return nil }
        guard received.count == 4 + size else {
            throw Incident(kind: .nonsense, words: "answered more than it was asked")
        }
        let answer = Array(received[4...])
        received.removeAll(keepingCapacity: true)
        return answer
    }

    private func readStandardError() {
        let count = read(process!.error, &buffer, buffer.count)
        guard count > 0 else {
            isSilent = count == 0
            return
        }
        tail += buffer[..<count]
        if tail.count > Self.longestTail { tail.removeFirst(tail.count - Self.longestTail) }
        guard command.reportsStandardError else { return }
        for byte in buffer[..<count] {
            if byte == UInt8(ascii: "\n") || line.count >= Self.longestTail {
                report("\(who) says: \(shown(String(decoding: line, as: UTF8.self)))")
                line.removeAll(keepingCapacity: true)
            } else {
                line.append(byte)
            }
        }
    }

    /// How it ended, in words; nil if it has not, even after some milliseconds.
    private func ended(waiting milliseconds: Int) -> String? {
        guard let process else { return nil }
        for wait in 0...milliseconds {
            var information = siginfo_t()
            // Not reaped yet: as long as it is there nobody else gets its number, nor its group's.
            if waitid(P_PID, id_t(process.process), &information, WEXITED | WNOHANG | WNOWAIT) == 0,
                plugin_ended_process(&information) == process.process
            {
                return words(&information)
            }
            if wait < milliseconds { usleep(1000) }
        }
        return nil
    }

    private func words(_ information: inout siginfo_t) -> String {
        let status = plugin_ended_status(&information)
        if information.si_code == CLD_EXITED { return "ended with exit code \(status)" }
        return "was ended by signal \(status) (\(String(cString: strsignal(status))))"
    }

    func lastWords() -> String {
        guard let process else { return "" }
        // Not all that it has to say: a flood would never end.
        for _ in 0..<64 {
            var item = pollfd(fd: process.error, events: Int16(POLLIN), revents: 0)
            guard poll(&item, 1, 0) > 0, item.revents & Int16(POLLIN) != 0 else { break }
            readStandardError()
        }
        let text = shown(String(decoding: tail, as: UTF8.self), Self.longestTail)
        return text.isEmpty ? "" : "its standard error ended: \(text)"
    }

    func close() -> String {
        guard let process else { return "" }
        let words = lastWords()
        Glibc.close(process.input)
        if ended(waiting: 0) == nil {
            for target in [-process.process, process.process] { kill(target, SIGTERM) }
            _ = ended(waiting: Self.grace)
        }
        // Its children too, and whoever ignores the other signal or has left its group.
        for target in [-process.process, process.process] { kill(target, SIGKILL) }
        while waitpid(process.process, nil, 0) < 0 && errno == EINTR {}
        Glibc.close(process.output)
        Glibc.close(process.error)
        if process.handle >= 0 { Glibc.close(process.handle) }
        self.process = nil
        received = []
        return words
    }
}

/// On a clock that nobody sets.
func nanoseconds() -> Int {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Int(time.tv_sec) * 1_000_000_000 + Int(time.tv_nsec)
}

/// On the same clock.
func milliseconds() -> Int { nanoseconds() / 1_000_000 }

extension Duration {
    /// Rounded up; at least 0 and some centuries at most.
    var wholeMilliseconds: Int {
        let (seconds, attoseconds) = components
        let rest = Int((attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000)
        return max(0, Int(min(seconds, 10_000_000_000)) * 1000 + rest)
    }

    var seconds: Double { Double(components.seconds) + 1e-18 * Double(components.attoseconds) }
}

/// Texts as C wants them: pointers that end with a null pointer.
private func withStrings<Result>(
    _ texts: [String], _ body: (UnsafePointer<UnsafePointer<CChar>?>) -> Result
) -> Result {
    let copies = texts.map { strdup($0) }
    defer { for copy in copies { free(copy) } }
    return (copies.map { UnsafePointer($0) } + [nil]).withUnsafeBufferPointer { body($0.baseAddress!) }
}
