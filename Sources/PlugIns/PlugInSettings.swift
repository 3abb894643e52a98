// What the user of a plug-in says of it.

/// How an oracle outside of Cairn is reached, and what it may take: an entry of `oracles:` in `cluster.yaml`.
public struct PlugInSettings: Sendable, Hashable {
    /// A program and what surrounds it.
    public struct Command: Sendable, Hashable {
        /// The program, looked up in `PATH` unless it holds a slash, and its arguments.
        public var arguments: [String]
        /// Beside what this process has in its own.
        public var environment: [String: String] = [:]
        /// To work in.
        public var folder = "."
        /// Bytes of address space of one process; nil: no limit.
        public var memory: Int?
        /// CPU time of one life of a process, after which it is started again; nil: no limit.
        public var cpuTime: Duration?
        /// Descriptors of one process; nil: no limit of its own.
        public var openFiles: Int?
        /// Whether every line of its standard error is reported; otherwise only its end is, when something goes wrong.
        public var reportsStandardError = false

        /// - Parameter arguments: the program and its arguments; at least one.
        public init(arguments: [String]) { self.arguments = arguments }
    }

    /// Where the oracle runs.
    public enum Kind: Sendable, Hashable {
        /// In child processes that Cairn starts, and starts again when they die.
        case process(Command)
        /// In this process: a shared library. Fast, and as trusted as Cairn itself: if it crashes, so does the worker.
        case library(path: String)
        /// Behind ZeroMQ sockets (ROUTER or REP) that the user has bound somewhere, all of them alike.
        case service(addresses: [String])
    }

    /// What studies call it.
    public var name: String
    public var kind: Kind
    /// The only fingerprint that is accepted; nil: the one that it has when it is first met.
    public var fingerprint: String?
    /// The most inputs in one request.
    public var batch = 64
    /// The longest that the price of one input may take.
    public var timeout: Duration = .seconds(60)
    /// Child processes in each worker.
    public var instances = 1

    /// - Parameter name: what studies call it.
    public init(name: String, kind: Kind) {
        self.name = name
        self.kind = kind
    }
}

/// Why a plug-in cannot be used.
public struct PlugInError: Error, Sendable, Hashable, CustomStringConvertible {
    public let description: String

    public init(description: String) { self.description = description }
}
