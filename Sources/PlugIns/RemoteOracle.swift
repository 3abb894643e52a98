// An oracle behind transports: batches to instances, failures to the inputs that cause them.
//
// The problem: an instance may die, hang, or answer nonsense at any time, by its own fault, by that of one input in a
// hundred, or because somebody killed it. Giving up the batch would bill good inputs for a bad one; pricing it again as it
// is would kill one instance after another. So a batch that came to nothing is halved and tried again, by an instance in
// a new life, until the input that it is due to stands alone; only an input that fails alone, three times, has failed.
// Whatever is killed from outside leaves no trace in any price.
//
// An instance that comes back might not be the same oracle any more (a library was updated, a licence ran out). So it
// describes itself anew and prices again what was priced first, its witness; the same happens every now and then. An
// oracle that gives another answer is not asked again.

internal import Glibc
internal import Regression
internal import Synchronization

/// Where the random streams of all prices start, unless somebody asks for another place: prices of near points differ
/// by what differs in the points.
let usualSeed: UInt64 = 1

/// An oracle in child processes or services. Safe from any thread; one evaluation at a time.
final class RemoteOracle: Oracle, @unchecked Sendable {
    let descriptor: OracleDescriptor
    private let described: PlugInDescriptor
    private let settings: PlugInSettings
    private let report: @Sendable (String) -> Void
    let incidents = IncidentLog()
    private let state: Mutex<State>
    /// Held while something is evaluated: instances belong to who holds it.
    private let turn = Mutex<Void>(())
    /// Whoever waits for an answer then gives up.
    private let isClosed = Atomic<Bool>(false)
    /// Asked meanwhile: true if what is evaluated is not wanted any more, and will not be again.
    private let isCancelled = Mutex<(@Sendable () -> Bool)?>(nil)
    private let instances: [Instance]
    private let ready: Ready
    private let team: ThreadTeam

    private final class Instance {
        let transport: any Transport
        var id: UInt64 = 0
        /// Prices since its witness was heard.
        var prices = 0
        var isReady = false {
            didSet { if isReady != oldValue { ready.count.add(isReady ? 1 : -1, ordering: .relaxed) } }
        }
        let ready: Ready
        /// When to try again to start it, in `milliseconds()`.
        var due = 0
        var failedStarts = 0
        init(_ transport: any Transport, _ ready: Ready) { (self.transport, self.ready) = (transport, ready) }
    }

    /// How many instances are there.
    private final class Ready: Sendable {
        let count = Atomic(0)
    }

    private struct State {
        /// Why it is not asked any more.
        var quarantine: String?
        /// Seconds per input in the batches so far, slow ones counted more; nil before the first.
        var pace: Double?
        var witness: Witness?
    }

    /// The first price that there was, and how it was asked for.
    private struct Witness {
        let row: [Double]
        let gradient: Bool
        let seed: UInt64
        let price: UInt64
    }

    private struct Task {
        var rows: Range<Int>
        var tries = 0
        /// How often an instance that should have done it was not there.
        var absences = 0
    }

    /// What an evaluation is made of; shared by the threads that work on it.
    private struct Board {
        var tasks: [Task]
        var valuations: Valuations
        /// By the first row.
        var failures: [Int: String] = [:]
    }

    /// Starts of an instance that fail one after the other before it counts as gone for a while. A service that gives no
    /// answer has been waited for already.
    private let mostFailedStarts: Int
    /// How long, in milliseconds.
    private static let absence = 5000
    /// How long a service is looked for while others are there, who would wait with it.
    private static let shortLook = Duration.milliseconds(250)
    private static let triesAlone = 3
    private static let pricesPerWitness = 256

    /// Asks an instance what it is.
    ///
    /// - Throws: `PlugInError` if there is none, or it describes itself badly.
    init(
        _ settings: PlugInSettings, transports: [any Transport], report: @escaping @Sendable (String) -> Void
    ) throws(PlugInError) {
        self.settings = settings
        self.report = report
        let ready = Ready()
        self.ready = ready
        let instances = transports.map { Instance($0, ready) }
        self.instances = instances
        team = ThreadTeam(size: instances.count)
        if case .service = settings.kind { mostFailedStarts = 1 } else { mostFailedStarts = 6 }
        state = Mutex(State())
        var described: PlugInDescriptor?
        var problem: PlugInError?
        // Of several instances one that answers is enough; and any may be killed from outside. Of several services those that
        // are there answer at once.
        var rounds = [Duration?](repeating: nil, count: mostFailedStarts)
        if case .service = settings.kind, instances.count > 1 { rounds.insert(Self.shortLook, at: 0) }
        for (instance, limit) in rounds.flatMap({ limit in instances.map { ($0, limit) } }) where described == nil {
            do throws(Incident) {
                try instance.transport.open()
                described = try Self.describe(instance, settings, within: limit, isWanted: { true })
            } catch {
                let rest = instance.transport.close()
                problem =
                    problem ?? PlugInError(description: "\(instance.transport.who) \(error.words)\(Self.after(rest))")
            }
        }
        guard let described else { throw problem! }
        try described.expect(settings.fingerprint)
        self.described = described
        descriptor = described.oracle
        for instance in instances where instance.transport.isOpen { instance.isReady = true }
    }

    deinit { close() }

    /// Ends all instances. What is being evaluated fails within a fraction of a second, what is evaluated later at once.
    func close() {
        isClosed.store(true, ordering: .relaxed)
        turn.withLock { _ in
            for instance in instances { _ = instance.transport.close() }
        }
    }

    /// What is evaluated from now on is given up within a fraction of a second of the moment in which `check` is true, and
    /// the lives in which it was going on end: nothing else stops a pricer in the middle of a price.
    func setCancellation(_ check: (@Sendable () -> Bool)?) { isCancelled.withLock { $0 = check } }

    func restart() {
        turn.withLock { _ in
            for instance in instances {
                _ = instance.transport.close()
                instance.isReady = false
                instance.due = 0
            }
        }
    }

    // MARK: Evaluation

    func evaluate(_ points: [Double], gradient: Bool) -> Valuations {
        evaluate(points, gradient: gradient, seed: usualSeed)
    }

    /// - Parameter seed: where the random streams of a stochastic oracle start.
    func evaluate(_ points: [Double], gradient: Bool, seed: UInt64) -> Valuations {
        let width = descriptor.inputs.count
        precondition(points.count.isMultiple(of: width), "\(points.count) numbers are no rows of \(width)")
        let count = points.count / width
        guard count > 0 else { return Valuations(prices: []) }
        let nothing = [Double](repeating: .nan, count: count)
        // Several instances share what would be one batch.
        let size = max(1, min(settings.batch, (count + instances.count - 1) / instances.count))
        let tasks = stride(from: 0, to: count, by: size).map { Task(rows: $0..<min($0 + size, count)) }
        let board = Mutex(
            Board(
                tasks: tasks.reversed(),
                valuations: Valuations(
                    prices: nothing, standardErrors: descriptor.isStochastic ? nothing : [],
                    gradients: gradient ? [Double](repeating: .nan, count: points.count) : [],
                    statuses: [ValuationStatus](repeating: .failed, count: count))))
        turn.withLock { _ in
            if let refusal {
                board.withLock { $0.failures[0] = refusal.words }
                return
            }
            if tasks.count > 1 && instances.count > 1 {
                // Until there is a witness, whoever else might give other prices would not be found out.
                work(board, points, gradient, seed, instances, isEnough: { self.state.withLock { $0.witness != nil } })
                team.run { thread in
                    for k in stride(from: thread, to: self.instances.count, by: self.team.size) {
                        self.work(board, points, gradient, seed, [self.instances[k]])
                    }
                }
            }
            // All of it, or what those who went away have left.
            work(board, points, gradient, seed, instances)
        }
        return board.withLock { board in
            if let first = board.failures.keys.min() {
                board.valuations.failure = "oracle \(descriptor.name): \(board.failures[first]!)"
            }
            return board.valuations
        }
    }

    /// Does tasks until there are none, or it is enough, or none of the instances that may be used is there.
    private func work(
        _ board: borrowing Mutex<Board>, _ points: [Double], _ gradient: Bool, _ seed: UInt64, _ mine: [Instance],
        isEnough: () -> Bool = { false }
    ) {
        let width = descriptor.inputs.count
        while !isEnough(), let task = board.withLock({ $0.tasks.popLast() }) {
            let instance = mine.first { $0.due <= milliseconds() } ?? mine[0]
            let rows = points[task.rows.lowerBound * width..<task.rows.upperBound * width]
            do throws(Incident) {
                let answer = try price(rows, gradient, seed, instance)
                board.withLock { store(answer.valuations, task.rows, of: points, &$0) }
                continue
            } catch {
                guard isWanted else {
                    board.withLock { board in
                        board.failures[task.rows.lowerBound] = self.unwanted.words
                        board.tasks = []
                    }
                    return
                }
                let isAway = error.kind == .unavailable
                if isAway, task.absences + 1 < instances.count || mine.count < instances.count {
                    // Somebody else may be there.
                    board.withLock { $0.tasks.append(Task(rows: task.rows, absences: task.absences + 1)) }
                    if mine.count < instances.count { return }
                    continue
                }
                let place = descriptor.place(of: rows.prefix(width))
                let what = task.rows.count == 1 ? "at \(place)" : "pricing \(task.rows.count) points from \(place) on"
                if isAway || error.kind == .changed {
                    // So it would be for all that is left.
                    report("oracle \(descriptor.name): \(error.words) (\(what)); no prices")
                    board.withLock { board in
                        for task in board.tasks + [task] { board.failures[task.rows.lowerBound] = error.words }
                        board.tasks = []
                    }
                    return
                }
                var next: [Task] = []
                if task.rows.count > 1 {
                    let middle = task.rows.lowerBound + task.rows.count / 2
                    next = [Task(rows: middle..<task.rows.upperBound), Task(rows: task.rows.lowerBound..<middle)]
                } else if error.kind != .refused && task.tries + 1 < Self.triesAlone {
                    next = [Task(rows: task.rows, tries: task.tries + 1)]
                }
                report(
                    "oracle \(descriptor.name): \(error.words) (\(what)); \(next.isEmpty ? "no price" : "tried again")")
                board.withLock { board in
                    board.tasks += next
                    if next.isEmpty { board.failures[task.rows.lowerBound] = "\(what): \(error.words)" }
                }
            }
        }
    }

    private func store(_ given: Valuations, _ rows: Range<Int>, of points: [Double], _ board: inout Board) {
        let width = descriptor.inputs.count
        board.valuations.prices.replaceSubrange(rows, with: given.prices)
        board.valuations.statuses.replaceSubrange(rows, with: given.statuses)
        if !given.standardErrors.isEmpty {
            board.valuations.standardErrors.replaceSubrange(rows, with: given.standardErrors)
        }
        if !given.gradients.isEmpty {
            board.valuations.gradients.replaceSubrange(
                rows.lowerBound * width..<rows.upperBound * width, with: given.gradients)
        }
        guard let words = given.failure, let k = given.statuses.firstIndex(of: .failed) else { return }
        let first = rows.lowerBound + k
        board.failures[first] = "at \(descriptor.place(of: points[first * width..<(first + 1) * width])): \(words)"
    }

    // MARK: Instances

    private var isWanted: Bool {
        !isClosed.load(ordering: .relaxed) && isCancelled.withLock({ $0 })?() != true
    }

    private var unwanted: Incident {
        isClosed.load(ordering: .relaxed) ? Incident(kind: .unwanted, words: "is closed") : .unwanted
    }

    /// Why it is not to be asked; nil if it is.
    private var refusal: Incident? {
        isWanted ? state.withLock { $0.quarantine }.map { Incident(kind: .changed, words: $0) } : unwanted
    }

    /// Prices rows on an instance that is brought to life if need be.
    ///
    /// - Throws: `Incident`; unless the oracle merely refused, the instance is closed then.
    private func price(
        _ rows: ArraySlice<Double>, _ gradient: Bool, _ seed: UInt64, _ instance: Instance
    ) throws(Incident) -> Answer {
        if let refusal { throw refusal }
        try prepare(instance)
        do throws(Incident) {
            if instance.prices >= Self.pricesPerWitness { try hearWitness(instance) }
            var answer = try ask(rows, gradient, seed, instance)
            instance.prices += answer.valuations.prices.count
            noteNonFinite(answer.nonFinite, of: rows, instance)
            if let words = answer.valuations.failure {
                incidents.note(.refused, times: answer.valuations.statuses.count { $0 == .failed })
                answer.valuations.failure = words + Self.after(instance.transport.lastWords())
            }
            let given = answer.valuations
            state.withLock { state in
                guard state.witness == nil, let k = given.statuses.firstIndex(of: .ok) else { return }
                let width = descriptor.inputs.count
                let row = rows.dropFirst(k * width).prefix(width)
                state.witness = Witness(
                    row: Array(row), gradient: gradient, seed: seed, price: given.prices[k].bitPattern)
            }
            return answer
        } catch {
            throw ended(instance, error)
        }
    }

    private func ask(
        _ rows: ArraySlice<Double>, _ gradient: Bool, _ seed: UInt64, _ instance: Instance
    ) throws(Incident) -> Answer {
        let width = descriptor.inputs.count
        let count = rows.count / width
        instance.id &+= 1
        let request = OracleMessages.evaluate(
            id: instance.id, rows: rows, width: width, gradient: gradient,
            seed: descriptor.isStochastic ? seed : nil)
        // A batch that hangs is found out by the usual pace, many timeouts earlier; it is judged input by input.
        let whole = settings.timeout.seconds
        let usual = state.withLock { $0.pace }.map { min(whole, 10 * $0 + 1e-3) } ?? whole
        let start = milliseconds()
        let reply = try instance.transport.exchange(
            request, longest: OracleMessages.longestAnswer(count: count, width: width),
            within: .milliseconds(Int64(1000 * min(whole + Double(count - 1) * usual, 1e9))), isWanted: { isWanted })
        let answer = try OracleMessages.valuations(
            reply, to: instance.id, count: count, gradient: gradient, described: described)
        let pace = 1e-3 * Double(milliseconds() - start + 1) / Double(count)
        state.withLock { $0.pace = max(pace, 0.9 * ($0.pace ?? 0)) }
        return answer
    }

    /// Brings an instance to life.
    private func prepare(_ instance: Instance) throws(Incident) {
        guard !instance.isReady || !instance.transport.isOpen else { return }
        // Failing at once would spend all of a job's attempts in no time: whoever needs it now waits until it is due.
        while isWanted, instance.due > milliseconds() { usleep(UInt32(1000 * attention)) }
        while true {
            guard isWanted else { throw unwanted }
            do throws(Incident) {
                try instance.transport.open()
                var limit: Duration?
                if case .service = settings.kind, ready.count.load(ordering: .relaxed) > 0 { limit = Self.shortLook }
                let now = try Self.describe(instance, settings, within: limit, isWanted: { isWanted })
                guard now == described else {
                    throw Incident(
                        kind: .changed,
                        words: now.fingerprint == described.fingerprint
                            ? "describes itself differently under the same fingerprint \(now.fingerprint)"
                            : "changed its fingerprint from \(described.fingerprint) to \(now.fingerprint)")
                }
                instance.isReady = true
                try hearWitness(instance)
                instance.failedStarts = 0
                return
            } catch {
                let incident = ended(instance, error)
                guard incident.kind != .changed, isWanted else { throw incident }
                report("oracle \(descriptor.name): \(incident.words) (starting)")
                instance.failedStarts += 1
                guard instance.failedStarts < mostFailedStarts else {
                    instance.failedStarts = 0
                    instance.due = milliseconds() + Self.absence
                    throw Incident(kind: .unavailable, words: incident.words)
                }
                usleep(UInt32(50_000 * instance.failedStarts))
            }
        }
    }

    /// The witness must say what it said before.
    private func hearWitness(_ instance: Instance) throws(Incident) {
        instance.prices = 0
        guard let witness = state.withLock({ $0.witness }) else { return }
        let given = try ask(witness.row[...], witness.gradient, witness.seed, instance).valuations
        guard given.statuses[0] == .ok, given.prices[0].bitPattern == witness.price else {
            throw Incident(
                kind: .changed,
                words: "changed its answer at \(descriptor.place(of: witness.row)): "
                    + "\(Double(bitPattern: witness.price)) before, \(given.prices[0]) (\(given.statuses[0].name)) now; "
                    + "an oracle gives the same bits for the same input, or another fingerprint. What it gave before may be "
                    + "wrong, too: cairn labels invalidate --oracle \(descriptor.name) --fingerprint \(described.fingerprint)"
            )
        }
    }

    /// Takes note of prices that were no numbers, though their status was good.
    private func noteNonFinite(_ offsets: [Int], of rows: ArraySlice<Double>, _ instance: Instance) {
        guard let first = offsets.first else { return }
        incidents.note(.nonFinite, times: offsets.count)
        let place = descriptor.place(
            of: rows.dropFirst(first * descriptor.inputs.count).prefix(descriptor.inputs.count))
        let others = offsets.count == 1 ? "" : ", and at \(offsets.count - 1) others of its batch"
        report(
            "oracle \(descriptor.name): \(instance.transport.who) gave a price that is no finite number, with a good "
                + "status, at \(place)\(others); no price\(Self.after(instance.transport.lastWords()))")
    }

    /// Takes note of an incident, and ends the life in which it happened.
    private func ended(_ instance: Instance, _ incident: Incident) -> Incident {
        let who = instance.transport.who
        var words = "\(who) \(incident.words)"
        if incident.kind != .refused {
            words += Self.after(instance.transport.close())
            instance.isReady = false
        }
        if incident.kind == .unavailable { instance.due = milliseconds() + Self.absence }
        incidents.note(incident.kind)
        if incident.kind == .changed { state.withLock { $0.quarantine = $0.quarantine ?? words } }
        return Incident(kind: incident.kind, words: words)
    }

    private static func after(_ rest: String) -> String { rest.isEmpty ? "" : "; \(rest)" }

    private static func describe(
        _ instance: Instance, _ settings: PlugInSettings, within shorter: Duration?, isWanted: () -> Bool
    ) throws(Incident) -> PlugInDescriptor {
        instance.id &+= 1
        var limit = min(settings.timeout, shorter ?? settings.timeout)
        // A process may have much to load.
        if case .process = settings.kind { limit = max(limit, .seconds(30)) }
        let reply = try instance.transport.exchange(
            OracleMessages.describe(id: instance.id), longest: OracleMessages.longestDescriptor, within: limit,
            isWanted: isWanted)
        return try OracleMessages.descriptor(reply, to: instance.id, name: settings.name)
    }
}

extension PlugInDescriptor {
    /// Throws unless the fingerprint is the one that the user wants.
    func expect(_ wanted: String?) throws(PlugInError) {
        guard let wanted, wanted != fingerprint else { return }
        throw PlugInError(
            description: "has fingerprint \(fingerprint), not \(wanted) as `fingerprint` demands; "
                + "if it was changed on purpose, write the new one there")
    }
}
