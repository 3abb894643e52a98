// What `cairn run` leaves beside its result until there is one: enough to go on after anything was killed.

internal import Cluster
internal import FoundationEssentials
internal import Glibc

/// The folder `state` in a result folder: which study was handed in under which token, what happened so far, and, unless
/// the cluster has a storage folder of its own, the coordinator's journal. It is removed when the result is there.
package struct UnfinishedRun {
    /// Why a run cannot begin or go on here.
    package struct Problem: Error, CustomStringConvertible {
        package let description: String
    }

    private struct Ticket: Codable {
        var token: UInt64
        /// SHA-256 of the study with all defaults filled in, and of its attachments.
        var study: String
    }

    package let folder: String
    package let token: UInt64
    /// Whether it goes on with what was begun earlier.
    package let isResumed: Bool

    private var ticket: String { "\(folder)/submission.json" }
    private var events: String { "\(folder)/events.jsonl" }

    /// Begins a run, or takes one up.
    ///
    /// - Parameters:
    ///   - result: the result folder, which is there.
    ///   - resume: go on with what was begun; if nothing was, begin.
    /// - Throws: `Problem` if there is an unfinished run and `resume` is false, or it is one of another study.
    package init(in result: String, inputs: StudyInputs, resume: Bool) throws {
        folder = URL(filePath: "\(result)/state").path
        let path = "\(folder)/submission.json"
        try? FileManager.default.removeItem(atPath: Self.over(folder))
        let study = Digest(
            of: Array(inputs.file.effective.utf8) + inputs.blobs.flatMap { Digest(of: $0.bytes).bytes }
        ).description
        if let content = try? Data(contentsOf: URL(filePath: path)) {
            if !resume, let process = Journal.user(of: folder) {
                throw Problem(
                    description:
                        "\(result): a run is going on there, its coordinator is process \(process); wait for its end, or "
                        + "choose another folder with --out")
            }
            guard resume else {
                throw Problem(
                    description:
                        "\(result): holds a run that is not done; go on with --resume, choose another folder with "
                        + "--out, or remove \(folder) to begin anew")
            }
            guard let old = try? JSONDecoder().decode(Ticket.self, from: content) else {
                throw Problem(description: "\(path): is damaged; remove \(folder) to begin anew")
            }
            guard old.study == study else {
                throw Problem(
                    description:
                        "\(result): the study or a file that it names has changed since the run was begun; undo "
                        + "that, or choose another folder with --out")
            }
            token = old.token
            isResumed = true
            return
        }
        // A journal is never begun here before the ticket is written; one that is here without may be a cluster's own.
        if let process = Journal.user(of: folder) {
            throw Problem(
                description:
                    "\(folder): is the storage folder of a coordinator, process \(process); choose another result folder "
                    + "with --out")
        }
        guard access("\(folder)/journal.sqlite", F_OK) != 0 else {
            throw Problem(
                description:
                    "\(path): is missing, so what the journal beside it is of is not known; restore it, or remove \(folder) "
                    + "to begin anew")
        }
        token = UInt64.random(in: 1 ... .max)
        isResumed = false
        do {
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            try JSONEncoder().encode(Ticket(token: token, study: study)).write(
                to: URL(filePath: path), options: .atomic)
        } catch {
            let reason =
                (error as? CocoaError)?.code == .fileWriteOutOfSpace ? "the disk is full" : "cannot be written to"
            throw Problem(description: "\(folder): \(reason); choose another folder with --out")
        }
    }

    /// Adds a line to the run's events.
    package func record(_ line: String) {
        let file = open(events, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
        guard file >= 0 else { return }
        defer { close(file) }
        let bytes = Array((line + "\n").utf8)
        _ = write(file, bytes, bytes.count)
    }

    /// All events so far, one a line.
    package var recorded: [UInt8] { (try? Data(contentsOf: URL(filePath: events))).map { [UInt8]($0) } ?? [] }

    /// The run is over: nothing of it is needed any more. It loses its name first: who is killed meanwhile leaves no half from which
    /// `--resume` would try to go on.
    package func remove() {
        rename(folder, Self.over(folder))
        try? FileManager.default.removeItem(atPath: Self.over(folder))
    }

    /// What a run leaves that is killed while it removes the folder.
    private static func over(_ folder: String) -> String { folder + ".over" }
}
