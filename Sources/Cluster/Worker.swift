// The worker (and trainer): takes assignments, fetches what they need, keeps results until they are acknowledged.

package import Regression

package struct Worker: Sendable {
    package struct Settings: Sendable, Hashable {
        package var incarnation: Incarnation
        package var role: Role
        package var name: String
        package var processID: Int32
        /// Jobs that run at a time.
        package var slots = 1
        /// The most jobs that wait, so that a slot never does: very many where they take microseconds; the coordinator lets
        /// none wait behind a long one.
        package var prefetch = 1023
        /// The most jobs that are handed over before a slot is free, so that short ones follow each other without a word.
        package var ahead = 256
        /// How many seconds of jobs that is.
        package var secondsAhead = 2e-3
        /// The most attempts that it holds: what it offers, and what the coordinator has given up on.
        package var mostHeld: Int { 4 * (slots + prefetch) + 16 }
        package var oracles: [OracleReference]
        package var testimonies: [OracleReference: Digest] = [:]
        /// Those whose calls end when they are not wanted any more.
        package var interruptible: Set<OracleReference> = []
        package var numerics: String
        /// First wait before an unanswered hello is repeated; doubles up to `longestRetry`.
        package var retry: Duration = .milliseconds(100)
        package var longestRetry: Duration = .seconds(5)
        /// How long an unacknowledged result or an unanswered wish waits before it is sent again.
        package var resend: Duration = .seconds(2)
        /// How long parameters are waited for that may have been published just now: an assignment is shorter, and comes first.
        package var pushWait: Duration = .milliseconds(25)
        /// How long a job that is not wanted any more may go on; then its process ends, and takes it along.
        package var stopGrace: Duration = .milliseconds(50)
        /// The same where it is known to end: jobs are shorter than that, and a machine is short of time, or a plug-in's process is
        /// on its way out.
        package var longStopGrace: Duration = .seconds(1)
        /// Bytes of blobs that are kept.
        package var blobMemory = 512 << 20

        package init(
            incarnation: Incarnation, role: Role, name: String, processID: Int32, oracles: [OracleReference],
            numerics: String
        ) {
            self.incarnation = incarnation
            self.role = role
            self.name = name
            self.processID = processID
            self.oracles = oracles
            self.numerics = numerics
        }
    }

    package enum Event: Sendable {
        case started
        case received(FromCoordinator)
        /// The connection broke; the transport builds a new one by itself.
        case disconnected
        case progressed(Attempt, EpochReport)
        /// An attempt has ended; `blobs` are what its result names, kept by the shell; `incidents` are those of plug-ins
        /// meanwhile.
        case finished(
            Attempt, Duration, ToCoordinator.Outcome, blobs: [BlobReference], incidents: IncidentCounts = [:])
        /// A blob that was on its way is complete and is what it claims to be; or it is not.
        case stored(BlobReference)
        case damaged(BlobReference)
        /// Take nothing new, finish what runs, leave.
        case drain
        case tick
    }

    package enum Effect: Sendable {
        case send(ToCoordinator)
        /// Listen to what the coordinator publishes.
        case subscribe(String)
        /// Begin when a slot is free: attempts run in the order in which they are started.
        case start(Attempt, Work)
        /// Stop an attempt that runs, or was started and has not begun; it still ends with `finished`.
        case stop(Attempt)
        /// Keep a part of a blob; answer with `stored` or `damaged` after its last.
        case accept(BlobChunk)
        case sendBlob(BlobRequest)
        /// These bytes are not needed any more.
        case forget(Digest)
        case leave
        /// End the process, and what still runs in it; it may be started again.
        case restart
    }

    private enum Stage: Sendable {
        /// Lacks blobs, or waits for a slot.
        case waiting
        /// Under this name, whatever it is called by now.
        case started(as: Attempt)
        /// Not wanted any more, but not ended.
        case stopping(since: Instant)
        case done(ToCoordinator.Finished, sendAgain: Instant)
    }

    private struct Holding: Sendable {
        var attempt: Attempt
        var work: Work
        var stage = Stage.waiting

        var isDone: Bool { if case .done = stage { true } else { false } }
    }

    private struct Fetch: Sendable {
        var blob: BlobReference
        var offset: Int
        var askAgain: Instant
    }

    private let settings: Settings
    private var holdings: [JobID: Holding] = [:]
    // Each holding is in one of these, by its stage; entries of `done` are left behind, as those of `waiting` are.
    /// Those that lack blobs.
    private var lacking: [JobID] = []
    private var waiting: Queue<JobID> = Queue()
    /// In the order in which they were started: the first ones have the slots.
    private var started: [JobID] = []
    /// By when they are to be sent again.
    private var done: Queue<(job: JobID, sendAgain: Instant)> = Queue()
    /// What its jobs took, in seconds.
    private var jobSeconds: Average?
    private var isRegistered = false
    private var isDraining = false
    private var hasLeft = false
    private var nextHello: Instant?
    private var wait: Duration
    private var heartbeat: Duration = .milliseconds(250)
    private var nextHeartbeat: Instant?
    /// The coordinator's life, and the latest of its assignments.
    private var heard = ToCoordinator.Heard()
    private var publisher: String?
    /// Blobs at hand, the latest used last.
    private var blobs: [BlobReference] = []
    private var blobBytes = 0
    private var fetches: [Fetch] = []

    package init(settings: Settings) {
        self.settings = settings
        wait = settings.retry
    }

    /// When `step(.tick)` is due at the latest.
    package var deadline: Instant? {
        // Until the coordinator has answered there is nothing to say but hello.
        guard isRegistered else { return nextHello }
        var due = nextHeartbeat
        func note(_ time: Instant) { due = min(due ?? time, time) }
        for fetch in fetches { note(fetch.askAgain) }
        // Of one that was acknowledged meanwhile: a tick for nothing.
        if let first = done.first { note(first.sendAgain) }
        if let since = stuckSince { note(since + grace) }
        return due
    }

    /// Attempts that it holds: in slots, waiting, or not acknowledged.
    private var held: [Attempt] {
        var waits = waiting
        var jobs = started + lacking
        while let job = waits.popFirst() { if case .waiting? = holdings[job]?.stage { jobs.append(job) } }
        var ended = done
        while let job = ended.popFirst()?.job { if case .done? = holdings[job]?.stage { jobs.append(job) } }
        var seen: Set<JobID> = []
        return jobs.compactMap { seen.insert($0).inserted ? holdings[$0]?.attempt : nil }
    }

    package mutating func step(_ event: Event, at now: Instant) -> [Effect] {
        var effects: [Effect] = []
        guard !hasLeft else { return effects }
        switch event {
        case .started: sayHello(&effects, now)
        case .received(let message): receive(message, &effects, now)
        case .disconnected:
            isRegistered = false
            wait = settings.retry
            nextHeartbeat = nil
            nextHello = now + wait
        case .progressed(let attempt, let report):
            if isRegistered {
                effects.append(
                    .send(.progress(.init(incarnation: settings.incarnation, attempt: attempt, epoch: report))))
            }
        case .finished(let attempt, let duration, let outcome, let made, let incidents):
            for blob in made { keep(blob) }
            ended(attempt, duration, outcome, incidents, &effects, now)
        case .stored(let blob):
            fetches.removeAll { $0.blob == blob }
            keep(blob)
            let ready = Set(lacking.filter { holdings[$0].map { missing($0.work).isEmpty } ?? true })
            for job in lacking where ready.contains(job) { waiting.append(job) }
            lacking.removeAll { ready.contains($0) }
        case .damaged(let blob):
            // Begin again; the coordinator's copy is checked, so the damage came on the way.
            for k in fetches.indices where fetches[k].blob == blob {
                fetches[k].offset = 0
                fetches[k].askAgain = now + settings.resend
            }
        case .drain: isDraining = true
        case .tick: break
        }
        repeatWhatIsDue(&effects, now)
        startWhatIsReady(&effects, now)
        forgetWhatIsOld(&effects)
        // An oracle that cannot be interrupted would keep the slot for as long as it likes.
        let isStuck = stuckSince.map { $0 + grace <= now } ?? false
        if isStuck || isDraining && started.isEmpty && !holdings.values.contains(where: \.isDone) {
            effects.append(.send(.goodbye(settings.incarnation)))
            effects.append(isDraining ? .leave : .restart)
            hasLeft = true
        }
        return effects
    }

    /// Since when an attempt in a slot does not stop, if nothing that is wanted would be lost with the process.
    private var stuckSince: Instant? {
        var since: Instant?
        for job in started.prefix(settings.slots) {
            guard case .stopping(let time)? = holdings[job]?.stage else { return nil }
            since = min(since ?? time, time)
        }
        guard since != nil, !holdings.values.contains(where: \.isDone) else { return nil }
        return since
    }

    /// How long a job may go on now that is not wanted any more.
    private var grace: Duration {
        let areShort = jobSeconds.map { $0.value < settings.stopGrace.seconds } ?? false
        let areInterruptible = started.prefix(settings.slots).allSatisfy { job in
            holdings[job]?.work.oracle.map { settings.interruptible.contains($0) } ?? false
        }
        return areShort || areInterruptible ? settings.longStopGrace : settings.stopGrace
    }

    // MARK: Messages

    private mutating func receive(_ message: FromCoordinator, _ effects: inout [Effect], _ now: Instant) {
        switch message {
        case .welcome(let welcome):
            isRegistered = true
            nextHello = nil
            wait = settings.retry
            if heard.term != welcome.term { heard = .init(term: welcome.term) }
            heartbeat = welcome.heartbeat
            nextHeartbeat = now + heartbeat
            // A trainer needs nothing that is published: it comes from there.
            if settings.role == .worker, publisher != welcome.publisher {
                publisher = welcome.publisher
                effects.append(.subscribe(welcome.publisher))
            }
            // Results that it may have missed.
            sendAgain(before: Instant(nanoseconds: .max), &effects, now)
        case .unknownPeer:
            if isRegistered || nextHello == nil { sayHello(&effects, now) }
        case .assign(let assignment): take(assignment, &effects, now)
        case .assignments(let list): for assignment in list { take(assignment, &effects, now) }
        case .acknowledge(let attempt): acknowledged(attempt)
        case .acknowledgements(let list): for attempt in list { acknowledged(attempt) }
        case .cancel(let attempt): cancel(attempt, &effects, now)
        case .cancellations(let list): for attempt in list { cancel(attempt, &effects, now) }
        case .drain: isDraining = true
        case .parameters(let published):
            let blob = published.blob
            guard !blobs.contains(blob), published.bytes.count == blob.size else { return }
            if let k = fetches.firstIndex(where: { $0.blob == blob }) {
                guard fetches[k].offset == 0 else { return }
            }
            effects.append(.accept(BlobChunk(blob: blob, offset: 0, bytes: published.bytes)))
        case .want(let request): effects.append(.sendBlob(request))
        case .blob(let chunk):
            guard let k = fetches.firstIndex(where: { $0.blob == chunk.blob }), fetches[k].offset == chunk.offset,
                !chunk.bytes.isEmpty, chunk.bytes.count <= chunk.blob.size - chunk.offset
            else { return }
            effects.append(.accept(chunk))
            fetches[k].offset += chunk.bytes.count
            fetches[k].askAgain = now + settings.resend
            if fetches[k].offset < chunk.blob.size {
                effects.append(.send(.want(BlobRequest(blob: chunk.blob, offset: fetches[k].offset))))
            }
        case .accepted, .rejected, .events, .studies: break
        }
    }

    private mutating func take(_ assignment: FromCoordinator.Assignment, _ effects: inout [Effect], _ now: Instant) {
        let (job, work) = (assignment.attempt.job, assignment.work)
        heard.serial = max(heard.serial, assignment.serial)
        // Repeated: it is here already. Superseded: the newer number counts.
        if let holding = holdings[job] {
            switch holding.stage {
            case .done(var finished, _):
                finished.attempt = assignment.attempt
                holdings[job]!.attempt = assignment.attempt
                deliver(finished, &effects, now)
            case .waiting, .started:
                if assignment.attempt.number > holding.attempt.number { holdings[job]!.attempt = assignment.attempt }
            case .stopping: break
            }
            return
        }
        // More than was asked for is not taken: the coordinator finds that it is not held, and gives it to others.
        guard !isDraining, holdings.count < settings.mostHeld else { return }
        holdings[job] = Holding(attempt: assignment.attempt, work: work)
        let missing = missing(work)
        if missing.isEmpty { waiting.append(job) } else { lacking.append(job) }
        for blob in missing where !fetches.contains(where: { $0.blob == blob }) {
            if work.usesPublished(blob), publisher?.isEmpty == false {
                fetches.append(Fetch(blob: blob, offset: 0, askAgain: now + settings.pushWait))
            } else {
                fetches.append(Fetch(blob: blob, offset: 0, askAgain: now + settings.resend))
                effects.append(.send(.want(BlobRequest(blob: blob, offset: 0))))
            }
        }
    }

    private mutating func acknowledged(_ attempt: Attempt) {
        guard case .done? = holdings[attempt.job]?.stage else { return }
        holdings[attempt.job] = nil
        // They come in the order in which the results went.
        while let first = done.first, holdings[first.job]?.isDone != true { _ = done.popFirst() }
    }

    private mutating func cancel(_ attempt: Attempt, _ effects: inout [Effect], _ now: Instant) {
        let job = attempt.job
        guard let holding = holdings[job] else { return }
        switch holding.stage {
        case .waiting:
            holdings[job] = nil
            lacking.removeAll { $0 == job }
        case .done: acknowledged(attempt)
        case .started(let name):
            holdings[job]!.stage = .stopping(since: now)
            effects.append(.stop(name))
        case .stopping: break
        }
    }

    private func missing(_ work: Work) -> [BlobReference] {
        if case .label = work { return [] }
        return work.needs.filter { !blobs.contains($0) }
    }

    private mutating func sayHello(_ effects: inout [Effect], _ now: Instant) {
        isRegistered = false
        nextHeartbeat = nil
        nextHello = now + wait
        wait = min(wait + wait, settings.longestRetry)
        effects.append(
            .send(
                .hello(
                    .init(
                        incarnation: settings.incarnation, role: settings.role, name: settings.name,
                        processID: settings.processID, slots: settings.slots,
                        credit: settings.slots + settings.prefetch,
                        oracles: settings.oracles, testimonies: settings.testimonies, numerics: settings.numerics,
                        held: held, heard: heard))))
    }

    private mutating func repeatWhatIsDue(_ effects: inout [Effect], _ now: Instant) {
        if let due = nextHello, due <= now { sayHello(&effects, now) }
        guard isRegistered else { return }
        if let due = nextHeartbeat, due <= now {
            nextHeartbeat = now + heartbeat
            effects.append(
                .send(.heartbeat(.init(incarnation: settings.incarnation, held: held, heard: heard))))
        }
        sendAgain(before: now, &effects, now)
        for k in fetches.indices where fetches[k].askAgain <= now {
            fetches[k].askAgain = now + settings.resend
            effects.append(.send(.want(BlobRequest(blob: fetches[k].blob, offset: fetches[k].offset))))
        }
    }

    // MARK: Work

    private mutating func startWhatIsReady(_ effects: inout [Effect], _ now: Instant) {
        guard !isDraining else { return }
        // One is handed over before its slot is free, and short ones many: only what is short waits here, and a word at a
        // time would cost more than it does.
        let ahead =
            jobSeconds.map { jobs in
                Int(min(Double(settings.ahead), max(1, settings.secondsAhead / max(jobs.value, 1e-9))))
            } ?? 0
        while started.count < settings.slots + ahead, let job = waiting.popFirst() {
            guard let holding = holdings[job], case .waiting = holding.stage else { continue }
            for blob in holding.work.needs { keep(blob) }
            holdings[job]!.stage = .started(as: holding.attempt)
            started.append(job)
            effects.append(.start(holding.attempt, holding.work))
        }
    }

    private mutating func ended(
        _ attempt: Attempt, _ duration: Duration, _ outcome: ToCoordinator.Outcome, _ incidents: IncidentCounts,
        _ effects: inout [Effect], _ now: Instant
    ) {
        if let k = started.firstIndex(of: attempt.job) { started.remove(at: k) }
        guard let holding = holdings[attempt.job] else { return }
        guard case .started = holding.stage else {
            holdings[attempt.job] = nil
            return
        }
        jobSeconds = jobSeconds ?? Average()
        jobSeconds!.note(duration.seconds)
        deliver(
            .init(
                incarnation: settings.incarnation, attempt: holding.attempt, duration: duration, outcome: outcome,
                incidents: incidents),
            &effects, now)
    }

    /// Sends a result, and keeps it until it is acknowledged.
    private mutating func deliver(_ finished: ToCoordinator.Finished, _ effects: inout [Effect], _ now: Instant) {
        let again = now + settings.resend
        holdings[finished.attempt.job]!.stage = .done(finished, sendAgain: again)
        done.append((finished.attempt.job, again))
        if isRegistered { effects.append(.send(.finished(finished))) }
    }

    /// Sends what was due for it before a time and is not acknowledged yet.
    private mutating func sendAgain(before limit: Instant, _ effects: inout [Effect], _ now: Instant) {
        var left = done.count
        while left > 0, let first = done.first, first.sendAgain <= limit {
            left -= 1
            _ = done.popFirst()
            // Acknowledged, or sent again and entered anew.
            guard case .done(let finished, let again)? = holdings[first.job]?.stage, again == first.sendAgain else {
                continue
            }
            deliver(finished, &effects, now)
        }
    }

    /// Marks a blob as just used.
    private mutating func keep(_ blob: BlobReference) {
        guard blobs.last != blob else { return }
        if let k = blobs.firstIndex(of: blob) { blobs.remove(at: k) } else { blobBytes += blob.size }
        blobs.append(blob)
    }

    private mutating func forgetWhatIsOld(_ effects: inout [Effect]) {
        guard blobBytes > settings.blobMemory else { return }
        var needed: Set<Digest> = []
        for holding in holdings.values {
            needed.formUnion(holding.work.needs.map(\.digest))
            if case .done(let finished, _) = holding.stage, case .success(.trained(let blob, _)) = finished.outcome {
                needed.insert(blob.digest)
            }
        }
        for blob in blobs where blobBytes > settings.blobMemory && !needed.contains(blob.digest) {
            blobs.removeAll { $0 == blob }
            effects.append(.forget(blob.digest))
            blobBytes -= blob.size
        }
    }

    /// Whether the state holds together. Called after every step in simulations.
    package func checkInvariants() {
        precondition(Set(started).count == started.count, "a job is started twice")
        var waits = waiting
        var waitingJobs: Set<JobID> = Set(lacking)
        while let job = waits.popFirst() { waitingJobs.insert(job) }
        for (job, holding) in holdings {
            switch holding.stage {
            case .waiting: precondition(waitingJobs.contains(job), "\(job) waits and is not listed")
            case .started, .stopping: precondition(started.contains(job), "\(job) is started and not listed")
            case .done: precondition(done.first != nil, "\(job) is done and will not be sent again")
            }
        }
        precondition(Set(blobs).count == blobs.count, "a blob is kept twice")
        precondition(blobBytes == blobs.reduce(0) { $0 + $1.size }, "blobs of another size are kept")
        precondition(hasLeft || isRegistered || nextHello != nil, "neither registered nor trying to be")
    }
}
