import ArgumentParser
import Cluster
import FoundationEssentials
import Glibc
import Runtime

struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Run a study: data, attack, training, search, scan, mitigation.",
        discussion: """
            Without --cluster and --connect, a cluster of processes is started on this machine for the study and taken \
            down after it.
            """)

    @Argument(help: "The study file (YAML).")
    var study: String

    @Option(help: "Start the cluster that this file describes, for this study.")
    var cluster: String?

    @Option(help: "Use the cluster whose coordinator has this address, such as tcp://127.0.0.1:5555.")
    var connect: String?

    @Option(help: "With --connect: the cluster file whose oracles the study may name.")
    var oracles: String?

    @Option(help: "The folder for the result; made if it is not there. Default: results/STUDY.")
    var out: String?

    @Option(help: "The number of worker processes, instead of the cluster's own.")
    var workers: Int?

    @Option(help: "The most seeds per ascent job, instead of the cluster's own.")
    var shardSize: Int?

    @Option(help: "How long a coordinator that does not answer is waited for, such as 30s.")
    var patience: String = "30s"

    @Flag(help: "Go on with what an interrupted run left in the result folder; if it left nothing, begin.")
    var resume = false

    @Flag(help: "Price every label anew, also those that were paid for in an earlier study.")
    var freshLabels = false

    @Option(help: "Its share of the workers against other studies of the cluster.")
    var share = 1.0

    @Option(help: "Studies of a higher priority go first.")
    var priority = 0

    @OptionGroup var common: CommonOptions

    func validate() throws {
        if cluster != nil && connect != nil { throw ValidationError("--cluster and --connect exclude each other.") }
        if oracles != nil && connect == nil {
            throw ValidationError("--oracles is for --connect; a cluster that is started here has those of --cluster.")
        }
        if connect != nil && (workers != nil || shardSize != nil) {
            throw ValidationError(
                "--workers and --shard-size are for a cluster that is started here, not for --connect.")
        }
        if let workers, !(1...10_000).contains(workers) { throw ValidationError("--workers must be from 1 to 10000.") }
        if Duration(words: patience) == nil {
            throw ValidationError("--patience '\(patience)' is no duration; write a number and a unit, such as 30s.")
        }
        if !(0.001...1_000_000).contains(share) { throw ValidationError("--share must be from 0.001 to 1000000.") }
        if !(-1000...1000).contains(priority) { throw ValidationError("--priority must be from -1000 to 1000.") }
        if let shardSize, shardSize < 1 { throw ValidationError("--shard-size must be at least 1.") }
    }

    func run() throws {
        var file = try cluster.map { path throws(Ending) in try clusterFile(path) } ?? ClusterFile()
        let logger = common.logger("cairn")
        let known = try oracles.map { path throws(Ending) in try clusterFile(path) } ?? file
        let inputs = try readStudy(study, oracles: KnownOracles(of: known, logger: logger))
        if let workers { file.pools = [.init(name: "here", workers: workers)] }
        if let shardSize { file.shardSize = shardSize }
        if let connect {
            do {
                try StudyClient.check(address: connect)
            } catch {
                throw Ending.badInput("--connect \(connect): \(error)")
            }
        }
        let folder = out ?? "results/\(inputs.file.study.name)"
        do {
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        } catch {
            throw Ending.badInput("\(folder): the folder cannot be made; choose another with --out")
        }
        guard access(folder, W_OK) == 0 else {
            throw Ending.badInput("\(folder): cannot be written to; choose another with --out")
        }

        let unfinished: UnfinishedRun
        do {
            unfinished = try UnfinishedRun(in: folder, inputs: inputs, resume: resume)
        } catch {
            throw Ending.badInput("\(error)")
        }
        if file.storage == nil { file.storage = unfinished.folder }

        let supervisor: Supervisor?
        do {
            supervisor = try connect == nil ? Supervisor(cluster: file, logger: logger) : nil
        } catch {
            if !unfinished.isResumed { unfinished.remove() }
            throw Ending.badInput("\(error)")
        }
        defer { supervisor?.stop() }
        let ending: StudyClient.Ending
        var progress = Progress(isShown: !common.noProgress)
        if unfinished.isResumed { progress.note("going on with the run in \(folder)") }
        do {
            // The client takes signals before there are children to hear of, and threads that would take theirs.
            let client = try StudyClient(
                address: { try connect ?? supervisor!.start() }, token: unfinished.token, longestFrame: file.maxFrame,
                supervisor: supervisor, patience: Duration(words: patience) ?? .seconds(30))
            if let supervisor {
                for (name, process) in supervisor.processes { progress.note("\(name): process \(process)") }
            }
            ending = try client.run(
                inputs.file, blobs: inputs.blobs, wantsFreshLabels: freshLabels, share: share, priority: priority
            ) { event, term in
                progress.show(event)
                unfinished.record(event.json(term: term).text(isCompact: true))
            }
        } catch let error as SupervisorError where error.isBadInput {
            progress.finish()
            throw Ending.badInput("\(error)")
        } catch {
            progress.finish()
            throw Ending.failed("\(error); when that is mended, --resume goes on")
        }
        progress.finish()

        switch ending {
        case .done(var files, let incomplete):
            files.append(("events.jsonl", unfinished.recorded))
            do {
                // All of it, or what was there before.
                for (k, file) in files.enumerated() {
                    try Data(file.bytes).write(to: URL(filePath: "\(unfinished.folder)/\(k).new"))
                }
            } catch {
                let isFull = (error as? CocoaError)?.code == .fileWriteOutOfSpace
                let reason = isFull ? "the disk is full" : "\(error)"
                throw Ending.failed("\(folder): the result cannot be written: \(reason); --resume tries again")
            }
            for (k, file) in files.enumerated()
            where rename("\(unfinished.folder)/\(k).new", "\(folder)/\(file.name)") != 0 {
                throw Ending.failed(
                    "\(folder)/\(file.name): cannot be written: \(String(cString: strerror(errno))); --resume tries again"
                )
            }
            end(unfinished, supervisor)
            let summary = files.first { $0.name == "summary.json" }?.bytes ?? []
            if common.json {
                print(String(decoding: summary, as: UTF8.self), terminator: "")
            } else {
                print(Report(summary: summary)?.text ?? "", terminator: "")
                print("result: \(folder)")
            }
            if incomplete { throw Ending.incomplete }
        case .failed(let reason):
            end(unfinished, supervisor)
            throw Ending.failed(reason)
        case .rejected(let problems):
            end(unfinished, supervisor)
            throw Ending.badInput(problems.joined(separator: "\n"))
        case .cancelled:
            end(unfinished, supervisor)
            throw Ending.failed("the study was cancelled")
        case .unreachable(let reason): throw Ending.unreachable(reason)
        case .interrupted:
            complain("interrupted; --resume goes on")
            throw Ending.interrupted
        }
    }

    /// Nothing to go on with is left.
    private func end(_ unfinished: UnfinishedRun, _ supervisor: Supervisor?) {
        supervisor?.stop()
        unfinished.remove()
    }
}
