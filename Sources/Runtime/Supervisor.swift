// Starts a cluster's processes on this machine, starts them again when they die, and says so.

package import Cluster
internal import FoundationEssentials
internal import Glibc
package import Logging

/// Why a cluster could not be started or kept up.
package struct SupervisorError: Error, Sendable, Hashable, CustomStringConvertible {
    package let description: String
    /// It is the configuration or the storage folder that is at fault.
    package var isBadInput = false
}

/// The processes of a cluster on this machine: one coordinator, one trainer, the workers of all pools.
///
/// Each child reads from a pipe whose other end is held here, and ends when that closes: processes never outlive the one
/// that started them, whatever becomes of it. Children are in process groups of their own, so that Ctrl-C at a terminal
/// reaches only their supervisor, which then takes them down in order.
package final class Supervisor {
    /// The end of a process.
    package struct Exit: Sendable {
        package var name: String
        package var incarnation: Incarnation
        package var cause: String
    }

    private struct Child {
        var name: String
        var arguments: [String]
        var incarnation = Incarnation(0)
        var process: pid_t = 0
        /// The end of its standard input that is held here.
        var input: Int32 = -1
        var started = Instant.now
        /// When to start it (again); nil while it runs.
        var due: Instant?
        var wait: Duration = .milliseconds(100)
        var quickDeaths = 0
        var words: LastWords?

        /// Its process is no more.
        mutating func noteEnd() {
            close(input)
            process = 0
            input = -1
        }
    }

    private var cluster: ClusterFile
    private let logger: Logger
    private let folder: String
    private var children: [Child] = []
    private var isStopping = false

    /// The exit code of a process that wants to be started again (EX_TEMPFAIL of sysexits.h).
    package static let restartCode: Int32 = 75

    /// A process that dies so soon after its start, and has not joined the cluster, was never up.
    private static let quick = Duration.seconds(2)
    /// After so many quick deaths in a row a process is not started again.
    private static let mostQuickDeaths = 5

    /// - Parameter folder: where the cluster's file is written for its processes; removed by `stop`.
    package init(cluster: ClusterFile, logger: Logger) throws {
        self.cluster = cluster
        self.logger = logger
        var template = Array("\(FileManager.default.temporaryDirectory.path)/cairn-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else {
            throw SupervisorError(
                description:
                    "\(FileManager.default.temporaryDirectory.path): no temporary folder can be made there: "
                    + "\(String(cString: strerror(errno))); set TMPDIR to a folder where one can", isBadInput: true)
        }
        folder = String(decoding: template.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        try writeCluster()
    }

    private func writeCluster() throws {
        try Data(cluster.effective.utf8).write(to: URL(filePath: "\(folder)/cluster.yaml"))
    }

    /// Starts all processes.
    ///
    /// - Returns: the coordinator's address.
    /// - Throws: `SupervisorError` if the coordinator does not come up.
    package func start() throws -> String {
        let address = try startCoordinator()
        // Whoever knows this address must find the coordinator's next life there.
        cluster.bind = address
        try writeCluster()
        let connected = common + ["--connect", address]
        children.append(Child(name: "trainer", arguments: ["trainer"] + connected, due: .now))
        for pool in cluster.pools {
            for k in 1...max(1, pool.workers) where pool.workers > 0 {
                let name = "\(pool.name)-\(k)"
                children.append(Child(name: name, arguments: ["worker", "--name", name] + connected, due: .now))
            }
        }
        try startWhatIsDue()
        return address
    }

    private var common: [String] {
        ["--cluster", "\(folder)/cluster.yaml", "--exit-on-end-of-input", "--log-level", logger.logLevel.rawValue]
    }

    /// Starts the first child, again if a signal ends it before it has an address.
    private func startCoordinator() throws -> String {
        children.append(Child(name: "coordinator", arguments: ["coordinator"] + common))
        while true {
            let (reading, writing) = try makePipe()
            defer { close(reading) }
            do {
                defer { close(writing) }
                try launch(&children[0], output: writing)
            }
            if let address = try readAddress(reading) { return address }
        }
    }

    /// The first line that a coordinator prints: its address. Nil if a signal ended it before: it can be started again.
    private func readAddress(_ descriptor: Int32) throws -> String? {
        var line: [UInt8] = []
        var item = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        // It starts every plug-in once, to ask for its descriptor.
        let limit = Instant.now + .seconds(10 + 30 * cluster.oracles.count)
        while line.last != UInt8(ascii: "\n") {
            let result = poll(&item, 1, Int32(clamping: limit.millisecondsFromNow))
            if result < 0 && errno == EINTR { continue }
            var byte: UInt8 = 0
            guard result > 0, read(descriptor, &byte, 1) == 1 else {
                var status: Int32 = 0
                var hasEnded = false
                for _ in 0..<1000 where !hasEnded {
                    hasEnded = waitpid(children[0].process, &status, WNOHANG) > 0
                    if !hasEnded { usleep(2000) }
                }
                if hasEnded {
                    children[0].noteEnd()
                    children[0].quickDeaths += 1
                    if Self.exitCode(status) == nil, children[0].quickDeaths < Self.mostQuickDeaths {
                        logger.warning(
                            "process ended", metadata: ["name": "coordinator", "cause": "\(Self.words(status))"])
                        return nil
                    }
                }
                let cause = hasEnded ? Self.words(status) : "it has no address after its time to start"
                throw SupervisorError(
                    description: "the coordinator did not start (\(cause)); its messages stand above, if it wrote any",
                    isBadInput: hasEnded && Self.exitCode(status) == 2)
            }
            line.append(byte)
        }
        return String(decoding: line.dropLast(), as: UTF8.self)
    }

    /// When a process is to be started.
    package var deadline: Instant? { isStopping ? nil : children.compactMap(\.due).min() }

    /// Starts what is to be started by now.
    package func startWhatIsDue() throws {
        for k in children.indices {
            if let due = children[k].due, due <= .now { try launch(&children[k], output: nil) }
        }
    }

    /// Takes note of processes that have ended, and plans to start them again.
    ///
    /// - Throws: `SupervisorError` if one keeps dying at its start.
    package func takeExits() throws -> [Exit] {
        var exits: [Exit] = []
        var status: Int32 = 0
        while true {
            let process = waitpid(-1, &status, WNOHANG)
            guard process > 0 else { return exits }
            guard let k = children.firstIndex(where: { $0.process == process }) else { continue }
            let isRestart = Self.exitCode(status) == Self.restartCode
            var cause = Self.words(status)
            if !isRestart, let words = children[k].words?.tail, !words.isEmpty { cause += ", after writing: \(words)" }
            exits.append(Exit(name: children[k].name, incarnation: children[k].incarnation, cause: cause))
            children[k].noteEnd()
            guard !isStopping else { continue }
            if isRestart {
                children[k].due = .now
                continue
            }
            // Its own words have just been written to standard error.
            let ending = Self.words(status)
            logger.warning("process ended", metadata: ["name": "\(children[k].name)", "cause": "\(ending)"])
            // The next life of a coordinator that cannot use its journal could not either. Workers may be missed.
            if k == 0, Self.exitCode(status) == 2 {
                throw SupervisorError(
                    description: "the coordinator cannot go on (\(ending)); its message stands above")
            }
            if .now < children[k].started + Self.quick {
                children[k].quickDeaths += 1
                children[k].wait = min(children[k].wait + children[k].wait, .seconds(5))
                guard children[k].quickDeaths < Self.mostQuickDeaths else {
                    throw SupervisorError(
                        description:
                            "\(children[k].name) died \(children[k].quickDeaths) times at its start (\(ending)); "
                            + "its messages stand above"
                    )
                }
            } else {
                children[k].quickDeaths = 0
                children[k].wait = .milliseconds(100)
            }
            children[k].due = children[k].quickDeaths == 0 ? .now : .now + children[k].wait
        }
    }

    /// Takes note of a process that the coordinator has heard of: it was up, however soon it dies.
    package func noteJoin(of name: String) {
        guard let k = children.firstIndex(where: { $0.name == name }) else { return }
        children[k].quickDeaths = 0
        children[k].wait = .milliseconds(100)
    }

    /// The names and process numbers of all that run.
    package var processes: [(name: String, process: Int32)] {
        children.filter { $0.process > 0 }.map { ($0.name, $0.process) }
    }

    /// Takes all processes down: asks them to end, and kills what does not within `grace`.
    package func stop(grace: Duration = .seconds(2)) {
        isStopping = true
        // Workers first, so that nobody sees its coordinator vanish.
        for child in children.reversed() where child.process > 0 { kill(child.process, SIGTERM) }
        let limit = Instant.now + grace
        while children.contains(where: { $0.process > 0 }) && .now < limit {
            _ = try? takeExits()
            if children.contains(where: { $0.process > 0 }) { usleep(2000) }
        }
        for child in children where child.process > 0 {
            kill(child.process, SIGKILL)
            var status: Int32 = 0
            waitpid(child.process, &status, 0)
            close(child.input)
        }
        children = []
        try? FileManager.default.removeItem(atPath: folder)
    }

    /// Nil if a signal ended the process.
    package static func exitCode(_ status: Int32) -> Int32? { status & 0x7f == 0 ? status >> 8 & 0xff : nil }

    /// How a process has ended, from what `waitpid` says.
    package static func words(_ status: Int32) -> String {
        exitCode(status).map { "exit code \($0)" } ?? "signal \(status & 0x7f)"
    }

    /// A pipe whose ends no child inherits by chance.
    private func makePipe() throws -> (reading: Int32, writing: Int32) {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else {
            throw SupervisorError(description: "no pipe can be made: \(String(cString: strerror(errno)))")
        }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        return (ends[0], ends[1])
    }

    /// Starts a child in a new life.
    private func launch(_ child: inout Child, output: Int32?) throws {
        let (reading, writing) = try makePipe()
        defer { close(reading) }
        child.incarnation = Incarnation(.random(in: 1 ... .max))
        var arguments = ["cairn"] + child.arguments
        if child.arguments[0] != "coordinator" { arguments += ["--incarnation", child.incarnation.description] }

        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, reading, 0)
        let (errors, complaining) = try makePipe()
        defer { close(complaining) }
        posix_spawn_file_actions_adddup2(&actions, complaining, 2)
        if let output {
            posix_spawn_file_actions_adddup2(&actions, output, 1)
        } else {
            posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
        }
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // Signals that are blocked here to be waited for must reach the child.
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setpgroup(&attributes, 0)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP))

        let pointers = arguments.map { strdup($0) } + [nil]
        defer { for pointer in pointers { free(pointer) } }
        var process: pid_t = 0
        let result = posix_spawn(&process, "/proc/self/exe", &actions, &attributes, pointers, environ)
        guard result == 0 else {
            close(writing)
            close(errors)
            throw SupervisorError(
                description: "\(child.name) cannot be started: \(String(cString: strerror(result)))")
        }
        child.words = LastWords(errors)
        child.process = process
        child.input = writing
        child.started = .now
        child.due = nil
    }
}
