// The conversation with workers, between Cluster and Protos/worker.proto.

internal import Cluster
internal import SwiftProtobuf

#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

/// The most attempts that a worker can name.
private let mostHeld = 1 << 16

extension PBJob {
    init(_ job: JobID) {
        study = job.study.value
        batch = UInt32(job.batch)
        first = UInt64(job.items.lowerBound)
        self.count = UInt64(job.items.count)
        call = job.call.map { UInt64($0) + 1 } ?? 0
    }

    var value: JobID {
        get throws(WireError) {
            let first = try Wire.count(first, upTo: 1 << 48, "a job's first item")
            let items = try Wire.count(self.count, upTo: 1 << 48, "a job's items")
            try check(items > 0, "a job without items")
            let call = try Wire.count(self.call, upTo: 1 << 48, "a job's call")
            try check(call == 0 || items == 1, "a call of \(items) items")
            return JobID(
                study: StudyID(study), batch: Int(batch), items: first..<first + items, call: call == 0 ? nil : call - 1
            )
        }
    }
}

extension PBAttempt {
    init(_ attempt: Attempt) {
        job = .init(attempt.job)
        number = UInt32(clamping: attempt.number)
    }

    var value: Attempt {
        get throws(WireError) { Attempt(job: try job.value, number: Int(number)) }
    }
}

private func attempts(_ list: [PBAttempt]) throws(WireError) -> [Attempt] {
    try check(list.count <= mostHeld, "\(list.count) attempts")
    var values: [Attempt] = []
    for attempt in list { values.append(try attempt.value) }
    return values
}

extension PBHello {
    init(_ hello: ToCoordinator.Hello) {
        incarnation = hello.incarnation.value
        role = hello.role == .worker ? .worker : .trainer
        name = hello.name
        processID = hello.processID
        slots = UInt32(hello.slots)
        credit = UInt32(hello.credit)
        oracles = hello.oracles.map(PBOracleReference.init)
        if !hello.testimonies.isEmpty {
            testimonies = hello.oracles.map { Data(hello.testimonies[$0]?.bytes ?? []) }
        }
        numerics = hello.numerics
        held = hello.held.map(PBAttempt.init)
    }

    var value: ToCoordinator.Hello {
        get throws(WireError) {
            let role: Role
            switch self.role {
            case .worker: role = .worker
            case .trainer: role = .trainer
            default: throw WireError("an unknown role")
            }
            try check(credit > 0 && credit <= mostHeld, "a credit of \(credit)")
            try check(slots > 0 && slots <= credit, "\(slots) slots of a credit of \(credit)")
            try check(oracles.count <= 4096, "\(oracles.count) oracles")
            var known: [OracleReference] = []
            for oracle in oracles { known.append(try oracle.value) }
            try check(testimonies.isEmpty || testimonies.count == known.count, "\(testimonies.count) testimonies")
            var said: [OracleReference: Digest] = [:]
            for (oracle, testimony) in zip(known, testimonies) where !testimony.isEmpty {
                guard let digest = Digest(bytes: testimony) else { throw WireError("a testimony that is no SHA-256") }
                said[oracle] = digest
            }
            return .init(
                incarnation: Incarnation(incarnation), role: role, name: try text(name, upTo: 256, "a worker's name"),
                processID: processID, slots: Int(slots), credit: Int(credit), oracles: known, testimonies: said,
                numerics: try text(numerics, "numerics"),
                held: try attempts(held))
        }
    }
}

extension PBHeartbeat {
    init(_ heartbeat: ToCoordinator.Heartbeat) {
        incarnation = heartbeat.incarnation.value
        held = heartbeat.held.map(PBAttempt.init)
    }

    var value: ToCoordinator.Heartbeat {
        get throws(WireError) { .init(incarnation: Incarnation(incarnation), held: try attempts(held)) }
    }
}

extension PBFinished {
    init(_ finished: ToCoordinator.Finished) {
        incarnation = finished.incarnation.value
        attempt = .init(finished.attempt)
        computeNanoseconds = UInt64(clamping: finished.duration.nanoseconds)
        switch finished.outcome {
        case .success(let work): result = .init(work)
        case .failure(let words):
            failure = .with {
                $0.reason = words.description
                $0.isFinal = words.isFinal
            }
        }
    }

    var value: ToCoordinator.Finished {
        get throws(WireError) {
            let outcome: ToCoordinator.Outcome
            switch self.outcome {
            case .result(let result): outcome = .success(try result.value)
            case .failure(let failure):
                outcome = .failure(
                    WorkFailure(try text(failure.reason, upTo: 1 << 16, "a failure"), isFinal: failure.isFinal))
            case nil: throw WireError("a job that ended without an outcome")
            }
            return .init(
                incarnation: Incarnation(incarnation), attempt: try attempt.value,
                duration: try nanoseconds(computeNanoseconds), outcome: outcome)
        }
    }
}

/// A duration of at most a century.
func nanoseconds(_ value: UInt64) throws(WireError) -> Duration {
    .nanoseconds(Int64(try count(value, upTo: 3_000_000_000_000_000_000, "a duration")))
}

extension PBBlobRequest {
    init(_ request: BlobRequest) {
        blob = .init(request.blob)
        offset = UInt64(request.offset)
    }

    var value: BlobRequest {
        get throws(WireError) {
            let blob = try self.blob.value
            return BlobRequest(blob: blob, offset: try count(offset, upTo: blob.size, "an offset"))
        }
    }
}

extension PBBlobChunk {
    init(_ chunk: BlobChunk) {
        blob = .init(chunk.blob)
        offset = UInt64(chunk.offset)
        content = Data(chunk.bytes)
    }

    var value: BlobChunk {
        get throws(WireError) {
            let blob = try self.blob.value
            let offset = try count(self.offset, upTo: blob.size, "an offset")
            try check(content.count <= blob.size - offset, "a chunk beyond the end of its blob")
            return BlobChunk(blob: blob, offset: offset, bytes: Array(content))
        }
    }
}

extension PBToCoordinator {
    init(_ value: ToCoordinator) {
        switch value {
        case .hello(let hello): self.hello = .init(hello)
        case .heartbeat(let heartbeat): self.heartbeat = .init(heartbeat)
        case .finished(let finished): self.finished = .init(finished)
        case .progress(let progress):
            self.progress = .with {
                $0.incarnation = progress.incarnation.value
                $0.attempt = .init(progress.attempt)
                $0.epoch = .init(progress.epoch)
            }
        case .goodbye(let incarnation): goodbye = .with { $0.incarnation = incarnation.value }
        case .exited(let exit):
            exited = .with {
                $0.incarnation = exit.incarnation.value
                $0.cause = exit.cause
            }
        case .want(let request): want = .init(request)
        case .blob(let chunk): blob = .init(chunk)
        case .submit(let submission): submit = .init(submission)
        case .watch(let watch):
            self.watch = .with {
                $0.study = watch.study.value
                $0.term = watch.term
                $0.after = UInt64(watch.after)
            }
        case .cancelStudy(let study): cancelStudy = .with { $0.study = study.value }
        case .pauseStudy(let study, let isPaused):
            pauseStudy = .with {
                $0.study = study.value
                $0.isPaused = isPaused
            }
        case .listStudies: listStudies = .init()
        }
    }

    var value: ToCoordinator {
        get throws(WireError) {
            switch message {
            case .hello(let hello): return .hello(try hello.value)
            case .heartbeat(let heartbeat): return .heartbeat(try heartbeat.value)
            case .finished(let finished): return .finished(try finished.value)
            case .progress(let progress):
                return .progress(
                    .init(
                        incarnation: Incarnation(progress.incarnation), attempt: try progress.attempt.value,
                        epoch: try progress.epoch.value))
            case .goodbye(let goodbye): return .goodbye(Incarnation(goodbye.incarnation))
            case .exited(let exit):
                return .exited(
                    .init(
                        incarnation: Incarnation(exit.incarnation),
                        cause: try text(exit.cause, upTo: 1 << 16, "a cause")))
            case .want(let request): return .want(try request.value)
            case .blob(let chunk): return .blob(try chunk.value)
            case .submit(let submission): return .submit(try submission.value)
            case .watch(let watch):
                return .watch(
                    .init(
                        study: StudyID(watch.study), term: watch.term,
                        after: try count(watch.after, upTo: 1 << 48, "after")))
            case .cancelStudy(let cancel): return .cancelStudy(StudyID(cancel.study))
            case .pauseStudy(let pause): return .pauseStudy(StudyID(pause.study), pause.isPaused)
            case .listStudies: return .listStudies
            case nil: throw WireError("a message of no known kind")
            }
        }
    }
}

extension PBFromCoordinator {
    init(_ value: FromCoordinator) {
        switch value {
        case .welcome(let welcome):
            self.welcome = .with {
                $0.term = welcome.term
                $0.heartbeatNanoseconds = UInt64(clamping: welcome.heartbeat.nanoseconds)
                $0.publisher = welcome.publisher
            }
        case .assign(let assignment):
            assign = .with {
                $0.attempt = .init(assignment.attempt)
                $0.work = .init(assignment.work)
            }
        case .acknowledge(let attempt): acknowledge = .init(attempt)
        case .cancel(let attempt): cancel = .init(attempt)
        case .unknownPeer: unknownPeer = .init()
        case .drain: drain = .init()
        case .parameters(let published):
            parameters = .with {
                $0.study = published.study.value
                $0.version = UInt32(published.version)
                $0.blob = .init(published.blob)
                $0.content = Data(published.bytes)
            }
        case .want(let request): want = .init(request)
        case .blob(let chunk): blob = .init(chunk)
        case .accepted(let accepted):
            self.accepted = .with {
                $0.token = accepted.token
                $0.study = accepted.study.value
            }
        case .rejected(let rejected):
            self.rejected = .with {
                $0.token = rejected.token
                $0.problems = rejected.problems
            }
        case .events(let list):
            events = .with {
                $0.study = list.study.value
                $0.term = list.term
                $0.events = list.events.map(PBStudyEvent.init)
            }
        case .studies(let list): studies = .with { $0.studies = list.map(PBStudyList.Study.init) }
        }
    }

    var value: FromCoordinator {
        get throws(WireError) {
            switch message {
            case .welcome(let welcome):
                try check(welcome.heartbeatNanoseconds >= 1_000_000, "a heartbeat of less than a millisecond")
                return .welcome(
                    .init(
                        term: welcome.term, heartbeat: try nanoseconds(welcome.heartbeatNanoseconds),
                        publisher: try text(welcome.publisher, "the publisher's address")))
            case .assign(let assignment):
                return .assign(.init(attempt: try assignment.attempt.value, work: try assignment.work.value))
            case .acknowledge(let attempt): return .acknowledge(try attempt.value)
            case .cancel(let attempt): return .cancel(try attempt.value)
            case .unknownPeer: return .unknownPeer
            case .drain: return .drain
            case .parameters(let published):
                let blob = try published.blob.value
                try check(published.content.count == blob.size, "published parameters of another size")
                return .parameters(
                    .init(
                        study: StudyID(published.study), version: Int(published.version), blob: blob,
                        bytes: Array(published.content)))
            case .want(let request): return .want(try request.value)
            case .blob(let chunk): return .blob(try chunk.value)
            case .accepted(let accepted):
                return .accepted(.init(token: accepted.token, study: StudyID(accepted.study)))
            case .rejected(let rejected): return .rejected(.init(token: rejected.token, problems: rejected.problems))
            case .events(let list):
                var events: [StudyEvent] = []
                for event in list.events { events.append(try event.value) }
                return .events(.init(study: StudyID(list.study), term: list.term, events: events))
            case .studies(let list):
                var summaries: [StudySummary] = []
                for study in list.studies { summaries.append(try study.value) }
                return .studies(summaries)
            case nil: throw WireError("a message of no known kind")
            }
        }
    }
}
