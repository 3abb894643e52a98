// The conversation with workers, between Cluster and Protos/worker.proto.

internal import Cluster
internal import Regression
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

/// The most jobs of one message.
private let mostJobs = 1 << 12

extension PBAttempts {
    /// - Parameter attempts: of one batch, at least one.
    init(_ attempts: some Collection<Attempt>) {
        guard let job = attempts.first?.job else { return }
        study = job.study.value
        batch = UInt32(job.batch)
        first = attempts.map { UInt64($0.job.items.lowerBound) }
        if !attempts.allSatisfy({ $0.job.items.count == 1 }) {
            self.count = attempts.map { UInt64($0.job.items.count) }
        }
        if attempts.contains(where: { $0.job.call != nil }) {
            call = attempts.map { attempt in attempt.job.call.map { UInt64($0) + 1 } ?? 0 }
        }
        number = attempts.map { UInt32(clamping: $0.number) }
    }

    var values: [Attempt] {
        get throws(WireError) {
            try check(!first.isEmpty && first.count <= mostJobs, "\(first.count) attempts in one message")
            try check(
                number.count == first.count && (self.count.isEmpty || self.count.count == first.count)
                    && (call.isEmpty || call.count == first.count), "attempts with columns of unlike length")
            var values: [Attempt] = []
            values.reserveCapacity(first.count)
            for k in first.indices {
                let job = PBJob.with {
                    $0.study = study
                    $0.batch = batch
                    $0.first = first[k]
                    $0.count = self.count.isEmpty ? 1 : self.count[k]
                    $0.call = call.isEmpty ? 0 : call[k]
                }
                values.append(Attempt(job: try job.value, number: Int(number[k])))
            }
            return values
        }
    }
}

/// Rows of several jobs, one after the other, cut to those of each.
private struct Cuts {
    private let attempts: [Attempt]
    private let rows: Int

    init(_ attempts: [Attempt]) {
        self.attempts = attempts
        var rows = 0
        // None is above 2^48 and there are few.
        for attempt in attempts { rows += attempt.job.items.count }
        self.rows = rows
    }

    /// Calls `body` with each attempt and its part of a column of some numbers a row, or of none.
    func each(_ columns: [Int], _ body: (Attempt, [Range<Int>]) -> Void) throws(WireError) {
        for column in columns { try check(column.isMultiple(of: rows), "\(column) numbers for \(rows) items") }
        var row = 0
        for attempt in attempts {
            let end = row + attempt.job.items.count
            body(attempt, columns.map { row * ($0 / rows)..<end * ($0 / rows) })
            row = end
        }
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
        term = hello.heard.term
        heard = hello.heard.serial
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
                held: try attempts(held), heard: .init(term: term, serial: heard))
        }
    }
}

extension PBHeartbeat {
    init(_ heartbeat: ToCoordinator.Heartbeat) {
        incarnation = heartbeat.incarnation.value
        held = heartbeat.held.map(PBAttempt.init)
        term = heartbeat.heard.term
        heard = heartbeat.heard.serial
    }

    var value: ToCoordinator.Heartbeat {
        get throws(WireError) {
            .init(
                incarnation: Incarnation(incarnation), held: try attempts(held), heard: .init(term: term, serial: heard)
            )
        }
    }
}

extension PBFinished {
    init(_ finished: ToCoordinator.Finished) {
        incarnation = finished.incarnation.value
        attempts = .init([finished.attempt])
        computeNanoseconds = [UInt64(clamping: finished.duration.nanoseconds)]
        for (oracle, counts) in finished.incidents {
            for (kind, count) in counts {
                incidents.append(
                    .with {
                        $0.oracle = oracle
                        $0.kind = kind
                        $0.count = UInt64(count)
                    })
            }
        }
        switch finished.outcome {
        case .success(let work): result = .init(work)
        case .failure(let words):
            failure = .with {
                $0.reason = words.description
                $0.isFinal = words.isFinal
            }
        }
    }

    /// - Parameter list: results of one kind and batch.
    init(_ list: [ToCoordinator.Finished]) {
        incarnation = list.first?.incarnation.value ?? 0
        attempts = .init(list.map(\.attempt))
        computeNanoseconds = list.map { UInt64(clamping: $0.duration.nanoseconds) }
        var labels = Valuations(prices: [], statuses: [])
        var predictions: [Double]?
        for finished in list {
            switch finished.outcome {
            case .success(.labels(let more)):
                labels.prices += more.prices
                labels.standardErrors += more.standardErrors
                labels.gradients += more.gradients
                labels.statuses += more.statuses
            case .success(.predictions(let more)): predictions = (predictions ?? []) + more
            case .success, .failure: preconditionFailure("joined results that are not alike")
            }
        }
        result = .init(predictions.map { .predictions($0) } ?? .labels(labels))
    }

    var value: ToCoordinator {
        get throws(WireError) {
            let all = try attempts.values
            try check(computeNanoseconds.count == all.count, "attempts and times of unlike number")
            if all.count == 1 { return .finished(try single(all[0])) }
            var durations: [Duration] = []
            for time in computeNanoseconds { durations.append(try nanoseconds(time)) }
            guard case .result(let result) = outcome else { throw WireError("a failure of several jobs") }
            let incarnation = Incarnation(incarnation)
            var list: [ToCoordinator.Finished] = []
            list.reserveCapacity(all.count)
            func take(_ attempt: Attempt, _ result: WorkResult) {
                list.append(
                    .init(
                        incarnation: incarnation, attempt: attempt, duration: durations[list.count],
                        outcome: .success(result)))
            }
            let cuts = Cuts(all)
            switch try result.value {
            case .labels(let labels):
                let (errors, gradients) = (labels.standardErrors, labels.gradients)
                try check(labels.prices.count == all.reduce(0) { $0 + $1.job.items.count }, "labels of other jobs")
                try cuts.each([labels.prices.count, errors.count, gradients.count]) { attempt, parts in
                    take(
                        attempt,
                        .labels(
                            Valuations(
                                prices: Array(labels.prices[parts[0]]), standardErrors: Array(errors[parts[1]]),
                                gradients: Array(gradients[parts[2]]), statuses: Array(labels.statuses[parts[0]]))))
                }
            case .predictions(let numbers):
                try check(numbers.count == all.reduce(0) { $0 + $1.job.items.count }, "predictions of other jobs")
                try cuts.each([numbers.count]) { attempt, parts in
                    take(attempt, .predictions(Array(numbers[parts[0]])))
                }
            case .trained, .maximizers, .gains: throw WireError("one result of several jobs")
            }
            return .results(list)
        }
    }

    private func single(_ attempt: Attempt) throws(WireError) -> ToCoordinator.Finished {
        let outcome: ToCoordinator.Outcome
        switch self.outcome {
        case .result(let result): outcome = .success(try result.value)
        case .failure(let failure):
            outcome = .failure(
                WorkFailure(try text(failure.reason, upTo: 1 << 16, "a failure"), isFinal: failure.isFinal))
        case nil: throw WireError("a job that ended without an outcome")
        }
        try check(incidents.count <= 1000, "\(incidents.count) incidents")
        var counts: IncidentCounts = [:]
        for incident in incidents {
            let oracle = try text(incident.oracle, upTo: 200, "an oracle's name")
            let kind = try text(incident.kind, upTo: 40, "a kind of incident")
            counts[oracle, default: [:]][kind] = try count(incident.count, upTo: 1 << 40, "incidents")
        }
        return .init(
            incarnation: Incarnation(incarnation), attempt: attempt, duration: try nanoseconds(computeNanoseconds[0]),
            outcome: outcome, incidents: counts)
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
    }

    func value(_ content: ArraySlice<UInt8>) throws(WireError) -> BlobChunk {
        let blob = try self.blob.value
        let offset = try count(self.offset, upTo: blob.size, "an offset")
        try check(content.count <= blob.size - offset, "a chunk beyond the end of its blob")
        return BlobChunk(blob: blob, offset: offset, bytes: Array(content))
    }
}

extension PBAssignment {
    /// - Parameter list: of one batch, with work that asks for the same.
    init(_ list: [FromCoordinator.Assignment]) {
        attempts = .init(list.map(\.attempt))
        serial = list.last?.serial ?? 0
        var rows: [Double] = []
        for assignment in list {
            switch assignment.work {
            case .label(_, let more, _), .predict(_, let more): rows += more
            case .train, .ascend, .probe: preconditionFailure("joined work that is not alike")
            }
        }
        switch list.first?.work {
        case .label(let oracle, _, let gradient): work = .init(.label(oracle, points: rows, gradient: gradient))
        case .predict(let parameters, _): work = .init(.predict(parameters: parameters, inputs: rows))
        default: break
        }
    }

    var value: FromCoordinator {
        get throws(WireError) {
            let (all, work) = (try attempts.values, try work.value)
            if all.count == 1 { return .assign(.init(attempt: all[0], work: work, serial: serial)) }
            var list: [FromCoordinator.Assignment] = []
            list.reserveCapacity(all.count)
            let cuts = Cuts(all)
            switch work {
            case .label(let oracle, let points, let gradient):
                try cuts.each([points.count]) { attempt, parts in
                    let work = Work.label(oracle, points: Array(points[parts[0]]), gradient: gradient)
                    list.append(.init(attempt: attempt, work: work, serial: serial))
                }
            case .predict(let parameters, let inputs):
                try cuts.each([inputs.count]) { attempt, parts in
                    let work = Work.predict(parameters: parameters, inputs: Array(inputs[parts[0]]))
                    list.append(.init(attempt: attempt, work: work, serial: serial))
                }
            case .train, .ascend, .probe: throw WireError("one piece of work of several jobs")
            }
            return .assignments(list)
        }
    }
}

extension PBToCoordinator {
    init(_ value: ToCoordinator) {
        switch value {
        case .hello(let hello): self.hello = .init(hello)
        case .heartbeat(let heartbeat): self.heartbeat = .init(heartbeat)
        case .finished(let finished): self.finished = .init(finished)
        case .results(let list): self.finished = .init(list)
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

    /// - Parameter content: what follows the envelope.
    func value(_ content: ArraySlice<UInt8>) throws(WireError) -> ToCoordinator {
        switch message {
        case .hello(let hello): return .hello(try hello.value)
        case .heartbeat(let heartbeat): return .heartbeat(try heartbeat.value)
        case .finished(let finished): return try finished.value
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
        case .blob(let chunk): return .blob(try chunk.value(content))
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
                $0.attempts = .init([assignment.attempt])
                $0.work = .init(assignment.work)
                $0.serial = assignment.serial
            }
        case .assignments(let list): assign = .init(list)
        case .acknowledge(let attempt): acknowledge = .init([attempt])
        case .acknowledgements(let list): acknowledge = .init(list)
        case .cancel(let attempt): cancel = .init([attempt])
        case .cancellations(let list): cancel = .init(list)
        case .unknownPeer: unknownPeer = .init()
        case .drain: drain = .init()
        case .parameters(let published):
            parameters = .with {
                $0.study = published.study.value
                $0.version = UInt32(published.version)
                $0.blob = .init(published.blob)
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

    /// - Parameter content: what follows the envelope.
    func value(_ content: ArraySlice<UInt8>) throws(WireError) -> FromCoordinator {
        switch message {
        case .welcome(let welcome):
            try check(welcome.heartbeatNanoseconds >= 1_000_000, "a heartbeat of less than a millisecond")
            return .welcome(
                .init(
                    term: welcome.term, heartbeat: try nanoseconds(welcome.heartbeatNanoseconds),
                    publisher: try text(welcome.publisher, "the publisher's address")))
        case .assign(let assignment):
            return try assignment.value
        case .acknowledge(let list):
            let attempts = try list.values
            return attempts.count == 1 ? .acknowledge(attempts[0]) : .acknowledgements(attempts)
        case .cancel(let list):
            let attempts = try list.values
            return attempts.count == 1 ? .cancel(attempts[0]) : .cancellations(attempts)
        case .unknownPeer: return .unknownPeer
        case .drain: return .drain
        case .parameters(let published):
            let blob = try published.blob.value
            try check(content.count == blob.size, "published parameters of another size")
            return .parameters(
                .init(
                    study: StudyID(published.study), version: Int(published.version), blob: blob,
                    bytes: Array(content)))
        case .want(let request): return .want(try request.value)
        case .blob(let chunk): return .blob(try chunk.value(content))
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
