import ArgumentParser
import Cluster
import Glibc
import Logging
import Runtime

/// Options of a process that is a part of a cluster.
struct RoleOptions: ParsableArguments {
    @Option(help: "The cluster file.")
    var cluster: String

    @Flag(help: "End when standard input ends: for a process that must not outlive the one that started it.")
    var exitOnEndOfInput = false

    func file() throws(Ending) -> ClusterFile { try clusterFile(cluster) }
}

/// Options of a process that works for a coordinator.
struct ConnectedOptions: ParsableArguments {
    @Option(help: "The coordinator's address, where the cluster file leaves the port to the system.")
    var connect: String?

    @Option(help: "What this life of the process is called, in hexadecimal: given by its supervisor.")
    var incarnation: String?

    /// The coordinator's address.
    func address(_ cluster: ClusterFile) throws(Ending) -> String {
        if let connect { return connect }
        guard !cluster.bind.hasSuffix("*") else {
            throw .badInput("coordinator.bind leaves the port to the system; name a port there, or use --connect")
        }
        return cluster.bind
    }

    func life() throws(Ending) -> Incarnation {
        guard let incarnation else { return Incarnation(.random(in: 1 ... .max)) }
        guard let value = UInt64(incarnation, radix: 16) else {
            throw .badInput("--incarnation \(incarnation) is no hexadecimal number")
        }
        return Incarnation(value)
    }
}

struct CoordinatorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "coordinator", abstract: "Be the coordinator of a cluster, in the foreground.",
        discussion: "Prints its address as one line on standard output when it listens.")

    @OptionGroup var role: RoleOptions
    @OptionGroup var common: CommonOptions

    func run() throws {
        let file = try role.file()
        let logger = common.logger("coordinator")
        let service: CoordinatorService
        // It checks studies and prices nothing: descriptors are enough.
        let oracles = KnownOracles(of: file, areTested: false, logger: logger)
        oracles.close()
        do {
            service = try CoordinatorService(cluster: file, oracles: oracles.all, logger: logger)
        } catch {
            throw Ending.badInput("coordinator: \(error)")
        }
        print(service.address)
        fflush(nil)
        do {
            try service.run(exitOnEndOfInput: role.exitOnEndOfInput)
        } catch {
            throw Ending.failed("coordinator: \(error)")
        }
    }
}

struct WorkerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "worker", abstract: "Be a worker of a cluster, in the foreground.")

    @Option(help: "What people call it.")
    var name: String?

    @OptionGroup var role: RoleOptions
    @OptionGroup var connected: ConnectedOptions
    @OptionGroup var common: CommonOptions

    func run() throws { try serve(.worker, name ?? "worker-\(getpid())", role, connected, common) }
}

struct TrainerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "trainer", abstract: "Be the trainer of a cluster, in the foreground.")

    @OptionGroup var role: RoleOptions
    @OptionGroup var connected: ConnectedOptions
    @OptionGroup var common: CommonOptions

    func run() throws { try serve(.trainer, "trainer", role, connected, common) }
}

private func serve(
    _ role: Role, _ name: String, _ options: RoleOptions, _ connected: ConnectedOptions, _ common: CommonOptions
) throws {
    var file = try options.file()
    // A trainer calls no oracle.
    if role == .trainer { file.oracles = [] }
    let logger = common.logger(name)
    let oracles = KnownOracles(of: file, logger: logger)
    defer { oracles.close() }
    let service: WorkerService
    do {
        service = try WorkerService(
            role: role, name: name, incarnation: try connected.life(), address: try connected.address(file),
            cluster: file, oracles: oracles, threads: role == .trainer ? file.trainerThreads : 1, logger: logger)
    } catch let ending as Ending {
        throw ending
    } catch {
        throw Ending.badInput("\(name): \(error)")
    }
    guard service.run(exitOnEndOfInput: options.exitOnEndOfInput) == .stuck else { return }
    // A supervisor knows; where there is none somebody should.
    if connected.incarnation == nil {
        logger.warning("a job does not stop: this process ends with code \(Supervisor.restartCode), start it again")
    }
    throw Ending.restart
}
