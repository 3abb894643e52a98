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
        /// The most jobs that wait, so that a slot never does; the coordinator lets none wait behind a long one.
        package var prefetch = 15
        package var oracles: [OracleReference]
        package var testimonies: [OracleReference: Digest] = [:]
        package var numerics: String
        /// First wait before an unanswered hello is repeated; doubles up to `longestRetry`.
        package var retry: Duration = .milliseconds(100)
        package var longestRetry: Duration = .seconds(5)
        /// How long an unacknowledged result or an unanswered wish waits before it is sent again.
        package var resend: Duration = .seconds(2)
        /// How long a job that is not wanted any more may go on; then its process ends, and takes it along.
        package var stopGrace: Duration = .milliseconds(50)
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
        /// An attempt has ended; `blobs` are what its result names, kept by the shell.
        case finished(Attempt, Duration, ToCoordinator.Outcome, blobs: [BlobReference])
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
        case start(Attempt, Work)
        /// Stop an attempt that runs; it still ends with `finished`.
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

    private enum Stage: Sendable, Hashable {
        /// Waits for blobs or for a slot.
        case waiting
        case running
        /// Not wanted any more, but its slot is still taken.
        case stopping(since: Instant)
        case done(ToCoordinator.Finished, sendAgain: Instant)
    }

    private struct Holding: Sendable {
        var attempt: Attempt
        var work: Work
        var stage: Stage

        var isInSlot: Bool {
            switch stage {
            case .running, .stopping: true
            case .waiting, .done: false
            }
        }
    }

    private struct Fetch: Sendable {
        var blob: BlobReference
        var offset: Int
        var askAgain: Instant
    }

    private let settings: Settings
    private var holdings: [Holding] = []
    private var isRegistered = false
    private var isDraining = false
    private var hasLeft = false
    private var nextHello: Instant?
    private var wait: Duration
    private var heartbeat: Duration = .milliseconds(250)
    private var nextHeartbeat: Instant?
    private var term: UInt64?
    private var publisher: String?
    /// Blobs at hand, the latest used last.
    private var blobs: [BlobReference] = []
    private var fetches: [Fetch] = []

    package init(settings: Settings) {
        self.settings = settings
        wait = settings.retry
    }

    /// When `step(.tick)` is due at the latest.
    package var deadline: Instant? {
        // Until the coordinator has answered there is nothing to say but hello.
        guard isRegistered else { return nextHello }
        var times = fetches.map(\.askAgain)
        if let nextHeartbeat { times.append(nextHeartbeat) }
        for holding in holdings {
            switch holding.stage {
            case .done(_, let again): times.append(again)
            case .stopping(let since) where canQuit: times.append(since + settings.stopGrace)
            case .stopping, .waiting, .running: break
            }
        }
        return times.min()
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
        case .finished(let attempt, let duration, let outcome, let made):
            for blob in made { keep(blob) }
            ended(attempt, duration, outcome, &effects, now)
        case .stored(let blob):
            fetches.removeAll { $0.blob == blob }
            keep(blob)
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
        let isStuck = holdings.contains { holding in
            if case .stopping(let since) = holding.stage { since + settings.stopGrace <= now } else { false }
        }
        if isStuck && canQuit || isDraining && holdings.allSatisfy({ $0.stage == .waiting }) {
            effects.append(.send(.goodbye(settings.incarnation)))
            effects.append(isDraining ? .leave : .restart)
            hasLeft = true
        }
        return effects
    }

    /// Whether nothing that is wanted would be lost with the process.
    private var canQuit: Bool {
        holdings.allSatisfy { holding in
            switch holding.stage {
            case .waiting, .stopping: true
            case .running, .done: false
            }
        }
    }

    // MARK: Messages

    private mutating func receive(_ message: FromCoordinator, _ effects: inout [Effect], _ now: Instant) {
        switch message {
        case .welcome(let welcome):
            isRegistered = true
            nextHello = nil
            wait = settings.retry
            term = welcome.term
            heartbeat = welcome.heartbeat
            nextHeartbeat = now + heartbeat
            if publisher != welcome.publisher {
                publisher = welcome.publisher
                effects.append(.subscribe(welcome.publisher))
            }
            // Results that it may have missed.
            for k in holdings.indices {
                if case .done(let finished, _) = holdings[k].stage {
                    effects.append(.send(.finished(finished)))
                    holdings[k].stage = .done(finished, sendAgain: now + settings.resend)
                }
            }
        case .unknownPeer:
            if isRegistered || nextHello == nil { sayHello(&effects, now) }
        case .assign(let assignment):
            // Repeated: it is here already. Superseded: the newer number counts.
            if let k = holdings.firstIndex(where: { $0.attempt.job == assignment.attempt.job }) {
                if case .done(var finished, _) = holdings[k].stage {
                    finished.attempt = assignment.attempt
                    holdings[k].attempt = assignment.attempt
                    holdings[k].stage = .done(finished, sendAgain: now + settings.resend)
                    effects.append(.send(.finished(finished)))
                }
                return
            }
            guard !isDraining else { return }
            holdings.append(Holding(attempt: assignment.attempt, work: assignment.work, stage: .waiting))
        case .acknowledge(let attempt):
            holdings.removeAll { holding in
                if case .done = holding.stage { return holding.attempt.job == attempt.job }
                return false
            }
        case .cancel(let attempt):
            guard let k = holdings.firstIndex(where: { $0.attempt.job == attempt.job }) else { return }
            switch holdings[k].stage {
            case .waiting, .done: holdings.remove(at: k)
            case .running:
                holdings[k].stage = .stopping(since: now)
                effects.append(.stop(holdings[k].attempt))
            case .stopping: break
            }
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
                        held: holdings.map(\.attempt)))))
    }

    private mutating func repeatWhatIsDue(_ effects: inout [Effect], _ now: Instant) {
        if let due = nextHello, due <= now { sayHello(&effects, now) }
        guard isRegistered else { return }
        if let due = nextHeartbeat, due <= now {
            nextHeartbeat = now + heartbeat
            effects.append(
                .send(.heartbeat(.init(incarnation: settings.incarnation, held: holdings.map(\.attempt)))))
        }
        for k in holdings.indices {
            if case .done(let finished, let again) = holdings[k].stage, again <= now {
                effects.append(.send(.finished(finished)))
                holdings[k].stage = .done(finished, sendAgain: now + settings.resend)
            }
        }
        for k in fetches.indices where fetches[k].askAgain <= now {
            fetches[k].askAgain = now + settings.resend
            effects.append(.send(.want(BlobRequest(blob: fetches[k].blob, offset: fetches[k].offset))))
        }
    }

    // MARK: Work

    private mutating func startWhatIsReady(_ effects: inout [Effect], _ now: Instant) {
        var free = settings.slots - holdings.count(where: \.isInSlot)
        for k in holdings.indices where holdings[k].stage == .waiting {
            let missing = holdings[k].work.needs.filter { !blobs.contains($0) }
            for blob in missing where !fetches.contains(where: { $0.blob == blob }) {
                fetches.append(Fetch(blob: blob, offset: 0, askAgain: now + settings.resend))
                effects.append(.send(.want(BlobRequest(blob: blob, offset: 0))))
            }
            guard missing.isEmpty, free > 0, !isDraining else { continue }
            for blob in holdings[k].work.needs { keep(blob) }
            holdings[k].stage = .running
            effects.append(.start(holdings[k].attempt, holdings[k].work))
            free -= 1
        }
    }

    private mutating func ended(
        _ attempt: Attempt, _ duration: Duration, _ outcome: ToCoordinator.Outcome, _ effects: inout [Effect],
        _ now: Instant
    ) {
        guard let k = holdings.firstIndex(where: { $0.attempt.job == attempt.job }) else { return }
        guard holdings[k].stage == .running else {
            holdings.remove(at: k)
            return
        }
        let finished = ToCoordinator.Finished(
            incarnation: settings.incarnation, attempt: holdings[k].attempt, duration: duration, outcome: outcome)
        holdings[k].stage = .done(finished, sendAgain: now + settings.resend)
        if isRegistered { effects.append(.send(.finished(finished))) }
    }

    /// Marks a blob as just used.
    private mutating func keep(_ blob: BlobReference) {
        blobs.removeAll { $0 == blob }
        blobs.append(blob)
    }

    private mutating func forgetWhatIsOld(_ effects: inout [Effect]) {
        var total = blobs.reduce(0) { $0 + $1.size }
        var needed: Set<Digest> = []
        for holding in holdings {
            needed.formUnion(holding.work.needs.map(\.digest))
            if case .done(let finished, _) = holding.stage, case .success(.trained(let blob, _)) = finished.outcome {
                needed.insert(blob.digest)
            }
        }
        for blob in blobs where total > settings.blobMemory && !needed.contains(blob.digest) {
            blobs.removeAll { $0 == blob }
            effects.append(.forget(blob.digest))
            total -= blob.size
        }
    }

    /// Whether the state holds together. Called after every step in simulations.
    package func checkInvariants() {
        precondition(
            holdings.count(where: \.isInSlot) <= settings.slots, "more runs than slots")
        precondition(Set(holdings.map(\.attempt.job)).count == holdings.count, "a job is held twice")
        precondition(Set(blobs).count == blobs.count, "a blob is kept twice")
        precondition(hasLeft || isRegistered || nextHello != nil, "neither registered nor trying to be")
    }
}
