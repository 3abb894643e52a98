// The conversation with clients, between Cluster and Protos/client.proto.

internal import Cluster
internal import SwiftProtobuf

extension PBSubmission {
    init(_ submission: ToCoordinator.Submission) {
        token = submission.token
        study = submission.study
        freshLabels = submission.wantsFreshLabels
        share = submission.share
        priority = Int32(clamping: submission.priority)
        name = submission.name
        attachments = submission.attachments.map { attachment in
            .with {
                $0.part =
                    switch attachment.part {
                    case .training: .training
                    case .test: .test
                    case .model: .model
                    case .seeds: .seeds
                    }
                $0.blob = .init(attachment.blob)
            }
        }
    }

    var value: ToCoordinator.Submission {
        get throws(WireError) {
            try check(attachments.count <= 16, "\(attachments.count) attachments")
            var parts: [ToCoordinator.Attachment] = []
            for attachment in attachments {
                let part: ToCoordinator.Attachment.Part
                switch attachment.part {
                case .training: part = .training
                case .test: part = .test
                case .model: part = .model
                case .seeds: part = .seeds
                default: throw WireError("an attachment of no known part")
                }
                try check(!parts.contains { $0.part == part }, "two attachments of the same part")
                parts.append(.init(part: part, blob: try attachment.blob.value))
            }
            try check(share >= 1e-3 && share <= 1e6, "a share of \(share)")
            return .init(
                token: token, study: try text(study, upTo: 1 << 20, "a study"), attachments: parts,
                wantsFreshLabels: freshLabels, share: share, priority: Int(priority),
                name: try text(name, upTo: 1 << 10, "a study's name"))
        }
    }
}

extension PBStudyList.Study {
    init(_ summary: StudySummary) {
        study = summary.study.value
        name = summary.name
        state = summary.state.rawValue
        phase = summary.phase.rawValue
        done = UInt64(summary.done)
        total = UInt64(summary.total)
        share = summary.share
        priority = Int32(clamping: summary.priority)
        jobs = UInt32(clamping: summary.jobs)
    }

    var value: StudySummary {
        get throws(WireError) {
            guard let state = StudySummary.State(rawValue: state) else { throw WireError("a study's state") }
            guard let phase = Phase(rawValue: phase) else { throw WireError("a study's phase") }
            return StudySummary(
                study: StudyID(study), name: try text(name, "a study's name"), state: state, phase: phase,
                done: try count(done, upTo: 1 << 48, "items"), total: try count(total, upTo: 1 << 48, "items"),
                share: share, priority: Int(priority), jobs: Int(jobs))
        }
    }
}

extension PBStudyEvent {
    init(_ event: StudyEvent) {
        number = UInt64(event.number)
        atNanoseconds = UInt64(clamping: event.at.nanoseconds)
        switch event.what {
        case .phase(let phase, let note):
            self.phase = .with {
                $0.phase = phase.rawValue
                $0.note = note
            }
        case .progress(let phase, let done, let total):
            progress = .with {
                $0.phase = phase.rawValue
                $0.done = UInt64(done)
                $0.total = UInt64(total)
            }
        case .epoch(let phase, let report, let epochs):
            epoch = .with {
                $0.phase = phase.rawValue
                $0.report = .init(report)
                $0.epochs = UInt32(clamping: epochs)
            }
        case .worker(let change, let name, let detail):
            worker = .with {
                $0.change =
                    switch change {
                    case .joined: .joined
                    case .lost: .lost
                    case .left: .left
                    case .refused: .refused
                    }
                $0.name = name
                $0.detail = detail
            }
        case .reassigned(let what): reassigned = what
        case .abandoned(let what): abandoned = what
        case .ended(.done(let files, let incomplete)):
            done = .with {
                $0.files = files.map { file in
                    .with {
                        $0.name = file.name
                        $0.blob = .init(file.blob)
                    }
                }
                $0.incomplete = incomplete
            }
        case .ended(.failed(let reason)): failed = reason
        case .ended(.cancelled): cancelled = true
        }
    }

    private func phase(_ name: String) throws(WireError) -> Phase {
        guard let phase = Phase(rawValue: name) else { throw WireError("a phase named \(name.prefix(32))") }
        return phase
    }

    private var whatHappened: StudyEvent.What {
        get throws(WireError) {
            switch what {
            case .phase(let began): return .phase(try phase(began.phase), note: began.note)
            case .progress(let items):
                return .progress(
                    try phase(items.phase), done: try count(items.done, upTo: 1 << 48, "items"),
                    total: try count(items.total, upTo: 1 << 48, "items"))
            case .epoch(let epoch):
                return .epoch(try phase(epoch.phase), try epoch.report.value, epochs: Int(epoch.epochs))
            case .worker(let worker):
                let change: StudyEvent.WorkerChange
                switch worker.change {
                case .joined: change = .joined
                case .lost: change = .lost
                case .left: change = .left
                case .refused: change = .refused
                default: throw WireError("an unknown change of a worker")
                }
                return .worker(change, name: worker.name, detail: worker.detail)
            case .reassigned(let what): return .reassigned(what)
            case .abandoned(let what): return .abandoned(what)
            case .done(let done):
                var files: [StudyEvent.File] = []
                for file in done.files {
                    // A client writes files of these names: never a path.
                    let name = try text(file.name, upTo: 128, "a file's name")
                    try check(
                        !name.isEmpty && !name.hasPrefix(".") && !name.contains("/") && !name.contains("\0"),
                        "a file named \(name)")
                    files.append(.init(name: name, blob: try file.blob.value))
                }
                return .ended(.done(files: files, incomplete: done.incomplete))
            case .failed(let reason): return .ended(.failed(reason))
            case .cancelled: return .ended(.cancelled)
            case nil: throw WireError("an event of no known kind")
            }
        }
    }

    var value: StudyEvent {
        get throws(WireError) {
            StudyEvent(
                number: try count(number, upTo: 1 << 48, "an event's number"), at: try nanoseconds(atNanoseconds),
                what: try whatHappened)
        }
    }
}
