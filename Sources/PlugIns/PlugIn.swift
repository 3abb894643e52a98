// The door of this target: from what a user says of a plug-in to an oracle.

public import Regression
internal import ZeroMQ

/// An oracle of the user's, outside of Cairn, that has shown what it is.
///
/// It may crash, hang, or answer nonsense: then rows have the status `failed`, and `Valuations.failure` says why. A
/// shared library alone is trusted not to.
public struct PlugIn: Oracle {
    public let descriptor: OracleDescriptor
    /// The bits of its prices of its own test vectors: two workers whose plug-ins disagree have not the same oracle.
    public let testimony: [UInt64]
    private let oracle: any SeededOracle

    /// Starts or reaches a plug-in, and asks for its descriptor and its test vectors.
    ///
    /// - Parameters:
    ///   - isTested: whether it prices its test vectors; without that nothing is priced, and there is no testimony.
    ///   - report: told in one line of everything that goes wrong later, from any thread.
    /// - Throws: `PlugInError` if it cannot be started, describes itself badly, has another fingerprint than the one
    ///   demanded, or does not price its test vectors as it says.
    public init(
        _ settings: PlugInSettings, isTested: Bool = true, report: @escaping @Sendable (String) -> Void
    ) throws(PlugInError) {
        switch settings.kind {
        case .process(let command):
            oracle = try RemoteOracle(
                settings,
                transports: (0..<max(1, settings.instances)).map { _ in
                    ChildProcess(command) { report("oracle \(settings.name): \($0)") }
                }, report: report)
        case .library(let path):
            oracle = try SharedLibrary(path, name: settings.name, fingerprint: settings.fingerprint)
        case .service(let addresses):
            let context = Context()
            oracle = try RemoteOracle(
                settings, transports: addresses.map { Service($0, context: context) }, report: report)
        }
        descriptor = oracle.descriptor
        let vectors = isTested ? descriptor.testVectors : []
        let answers = oracle.evaluate(vectors.flatMap(\.inputs), gradient: false)
        for (k, vector) in vectors.enumerated() {
            let error = answers.standardErrors.isEmpty ? 0 : 4 * answers.standardErrors[k]
            guard answers.statuses[k].hasPrice, abs(answers.prices[k] - vector.price) <= vector.tolerance + error else {
                oracle.close()
                throw PlugInError(
                    description: "does not pass its own test at \(descriptor.place(of: vector.inputs)): it gives "
                        + "\(answers.prices[k]) (\(answers.statuses[k].name)), not \(vector.price) ± \(vector.tolerance)"
                        + (answers.failure.map { "; \($0)" } ?? ""))
            }
        }
        testimony = answers.prices.map(\.bitPattern)
    }

    public func evaluate(_ points: [Double], gradient: Bool) -> Valuations {
        evaluate(points, gradient: gradient, seed: usualSeed)
    }

    /// The same with another random stream, for an oracle that has one.
    public func evaluate(_ points: [Double], gradient: Bool, seed: UInt64) -> Valuations {
        if points.allSatisfy({ $0.isFinite }) { return oracle.evaluate(points, gradient: gradient, seed: seed) }
        // What a pricer makes of an input that is not a number is nobody's wish: it is not asked.
        let width = descriptor.inputs.count
        let count = points.count / width
        let sound = (0..<count).filter { points[$0 * width..<($0 + 1) * width].allSatisfy { $0.isFinite } }
        let given = oracle.evaluate(
            sound.flatMap { points[$0 * width..<($0 + 1) * width] }, gradient: gradient, seed: seed)
        let nothing = [Double](repeating: .nan, count: count)
        var all = Valuations(
            prices: nothing, standardErrors: descriptor.isStochastic ? nothing : [],
            gradients: gradient ? [Double](repeating: .nan, count: points.count) : [],
            statuses: [ValuationStatus](repeating: .invalid, count: count))
        for (k, row) in sound.enumerated() {
            all.prices[row] = given.prices[k]
            all.statuses[row] = given.statuses[k]
            if descriptor.isStochastic { all.standardErrors[row] = given.standardErrors[k] }
            if gradient { for i in 0..<width { all.gradients[row * width + i] = given.gradients[k * width + i] } }
        }
        all.failure = given.failure
        return all
    }

    /// What went wrong so far, counted by kind, in words; nil if nothing did.
    public var incidents: String? {
        let words = oracle.incidents.counts.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }
        return words.isEmpty ? nil : words.joined(separator: ", ")
    }

    /// The same since this was asked last, by the name of the kind.
    package func newIncidents() -> [String: Int] { oracle.incidents.news() }

    /// Ends its processes and connections. What is evaluated later fails.
    public func close() { oracle.close() }

    /// Ends the life of every process and connection; the next evaluation begins new ones.
    package func restart() { oracle.restart() }

    /// From now on a call is given up within a fraction of a second of the moment in which `check` is true, as it is until
    /// another one is set; the process in which it was going on ends, and the next call begins another.
    ///
    /// - Parameter check: asked by the threads that wait for answers; nil for no more of it.
    package func setCancellation(_ check: (@Sendable () -> Bool)?) { oracle.setCancellation(check) }

    /// Whether it runs elsewhere, and so can be started again, and its calls be given up.
    package var canRestart: Bool { oracle is RemoteOracle }
}

extension OracleDescriptor {
    /// A row of inputs, for people.
    func place(of row: some Sequence<Double>) -> String {
        zip(inputs, row).map { "\($0.name) \($0.text(of: $1))" }.joined(separator: ", ")
    }
}

/// What transports have in common.
protocol SeededOracle: Oracle {
    func evaluate(_ points: [Double], gradient: Bool, seed: UInt64) -> Valuations
    var incidents: IncidentLog { get }
    func close()
    func restart()
    func setCancellation(_ check: (@Sendable () -> Bool)?)
}

extension SharedLibrary: SeededOracle {
    /// Code of it may be running: it stays.
    func close() {}
    func restart() {}
    /// A call of it cannot be given up.
    func setCancellation(_ check: (@Sendable () -> Bool)?) {}
}

extension RemoteOracle: SeededOracle {}
