// Whether an oracle keeps what `Oracle` promises, found out by asking it: `cairn oracle check`.

package import Regression

/// The checks of one oracle, in order; each asks it some prices.
package struct OracleCheck {
    package enum Outcome: String, Sendable, Hashable {
        case passed = "ok"
        case failed = "FAILED"
        /// There is nothing to check, or it cannot be checked from outside.
        case skipped
    }

    package struct Verdict: Sendable, Hashable {
        package let name: String
        package let outcome: Outcome
        package let words: String
    }

    private let oracle: any Oracle
    private let inputs: [OracleDescriptor.Input]
    /// Rows inside the constraints.
    private let points: [[Double]]
    /// With derivatives and without, as far as it can.
    private let manners: [Bool]
    /// What it said of the points first, without derivatives and with them.
    private var first: [Bool: Valuations] = [:]
    /// Seconds a price of the points together, and of each alone.
    private var pace = (together: 0.0, alone: 0.0)

    /// Prices that one check may ask for, at most; a costly oracle is asked fewer.
    private static let mostPoints = 32
    private static let secondsPerCheck = 10.0

    package init(_ oracle: any Oracle) {
        self.oracle = oracle is PlugIn ? oracle : OwnOracle(oracle)
        inputs = oracle.descriptor.inputs
        manners = oracle.descriptor.providesGradient ? [false, true] : [false]
        let affordable = Self.secondsPerCheck / max(oracle.descriptor.costSeconds, 1e-6)
        points = Self.points(oracle.descriptor, count: max(4, min(Self.mostPoints, Int(min(affordable, 1e6)))))
    }

    /// Runs all checks.
    ///
    /// - Parameter tell: told of each verdict as it is reached.
    package mutating func run(_ tell: (Verdict) -> Void = { _ in }) -> [Verdict] {
        var verdicts: [Verdict] = []
        func check(_ name: String, _ result: (Outcome, String)) {
            let verdict = Verdict(name: name, outcome: result.0, words: result.1)
            verdicts.append(verdict)
            tell(verdict)
        }
        check("shape", shape())
        check("test vectors", testVectors())
        check("determinism", determinism())
        check("batch invariance", batchInvariance())
        check("bounds", bounds())
        check("constraints", constraints())
        check("gradient", gradient())
        check("standard error", standardError())
        check("speed", speed())
        check("restart", restart())
        return verdicts
    }

    // MARK: Points

    /// Rows that fill the box evenly (Weyl's sequence on square roots of primes), as far as they keep the constraints.
    private static func points(_ descriptor: OracleDescriptor, count: Int) -> [[Double]] {
        var primes: [Int] = []
        var next = 2
        while primes.count < descriptor.inputs.count {
            if primes.allSatisfy({ !next.isMultiple(of: $0) }) { primes.append(next) }
            next += 1
        }
        let steps = primes.map { Double($0).squareRoot().truncatingRemainder(dividingBy: 1) }
        var rows: [[Double]] = []
        for k in 1...10_000 where rows.count < count {
            let row = zip(descriptor.inputs, steps).map { input, step -> Double in
                let u = (0.5 + Double(k) * step).truncatingRemainder(dividingBy: 1)
                switch input.kind {
                case .continuous: return input.lower + u * (input.upper - input.lower)
                case .integer, .choice: return (input.lower + u * (input.upper - input.lower + 1)).rounded(.down)
                }
            }
            if violated(row, descriptor) == nil { rows.append(row) }
        }
        return rows
    }

    /// The first constraint that a row breaks.
    private static func violated(_ row: [Double], _ descriptor: OracleDescriptor) -> LinearConstraint? {
        let conditional = descriptor.conditionalConstraints.filter { $0.words.contains(Int(row[$0.input])) }
        return (descriptor.constraints + conditional.map(\.constraint)).first { constraint in
            constraint.coefficients.reduce(0) { $0 + $1.value * row[$1.key] } > constraint.bound
        }
    }

    private func evaluate(_ rows: [[Double]], gradient: Bool = false) -> Valuations {
        oracle.evaluate(rows.flatMap { $0 }, gradient: gradient)
    }

    private func described(_ row: [Double]) -> String { oracle.descriptor.place(of: row) }

    // MARK: Checks

    /// Whether it has said something that can be compared: that nothing has a price twice is no virtue.
    private var hasPrices: Bool { first.values.contains { $0.statuses.contains(where: \.hasPrice) } }

    private static let nothing = (Outcome.skipped, "no point has a price")

    private mutating func shape() -> (Outcome, String) {
        guard !points.isEmpty else {
            return (.failed, "no point of the box keeps the constraints; do they contradict the intervals?")
        }
        for manner in manners {
            let given = evaluate(points, gradient: manner)
            first[manner] = given
            for k in points.indices where !given.statuses[k].hasPrice {
                let isLost = manner && first[false]?.statuses[k].hasPrice == true
                return (
                    .failed,
                    "no price (\(given.statuses[k].name)) inside of its own box"
                        + (isLost ? " when asked for derivatives, though it has one without" : "")
                        + ", at \(described(points[k]))" + (given.failure.map { ": \($0)" } ?? "")
                )
            }
        }
        return (.passed, "\(points.count) points, each with a price and a status")
    }

    private func testVectors() -> (Outcome, String) {
        let vectors = oracle.descriptor.testVectors
        guard !vectors.isEmpty else { return (.skipped, "it has none; one or two would tell when a worker's differ") }
        let given = evaluate(vectors.map(\.inputs))
        for (k, vector) in vectors.enumerated() {
            let error = given.standardErrors.isEmpty ? 0 : 4 * given.standardErrors[k]
            guard abs(given.prices[k] - vector.price) <= vector.tolerance + error else {
                return (
                    .failed,
                    "\(given.prices[k]), not \(vector.price) ± \(vector.tolerance), at \(described(vector.inputs))"
                )
            }
        }
        return (.passed, "\(vectors.count) as described")
    }

    /// What differs in any bit between two answers for the same rows, in words; nil if nothing does.
    private func difference(_ a: Valuations, _ b: Valuations, _ rows: [[Double]]) -> String? {
        func differ(_ x: Double, _ y: Double) -> Bool { x.bitPattern != y.bitPattern && !(x.isNaN && y.isNaN) }
        for (k, row) in rows.enumerated() {
            if a.statuses[k] != b.statuses[k] {
                return "status \(a.statuses[k].name), then \(b.statuses[k].name), at \(described(row))"
            }
            if differ(a.prices[k], b.prices[k]) {
                return "\(a.prices[k]), then \(b.prices[k]), at \(described(row))"
            }
            if !a.standardErrors.isEmpty, differ(a.standardErrors[k], b.standardErrors[k]) {
                return "standard error \(a.standardErrors[k]), then \(b.standardErrors[k]), at \(described(row))"
            }
            guard !a.gradients.isEmpty else { continue }
            for i in inputs.indices {
                let (x, y) = (a.gradients[k * inputs.count + i], b.gradients[k * inputs.count + i])
                if differ(x, y) { return "derivative by \(inputs[i].name) \(x), then \(y), at \(described(row))" }
            }
        }
        return nil
    }

    private mutating func determinism() -> (Outcome, String) {
        guard hasPrices else { return Self.nothing }
        for manner in manners {
            let start = nanoseconds()
            let again = evaluate(points, gradient: manner)
            if !manner { pace.together = 1e-9 * Double(nanoseconds() - start) / Double(max(points.count, 1)) }
            guard let first = first[manner] else { continue }
            if let words = difference(first, again, points) { return (.failed, words) }
        }
        return (.passed, "the same bits twice")
    }

    private mutating func batchInvariance() -> (Outcome, String) {
        guard hasPrices else { return Self.nothing }
        for manner in manners {
            guard let whole = first[manner] else { continue }
            let start = nanoseconds()
            let alone = points.map { evaluate([$0], gradient: manner) }
            if !manner { pace.alone = 1e-9 * Double(nanoseconds() - start) / Double(max(points.count, 1)) }
            if let words = difference(whole, joined(alone), points) {
                return (.failed, "in a batch, then alone: \(words)")
            }
            let backwards = evaluate(points.reversed(), gradient: manner)
            if let words = difference(joined(alone.reversed()), backwards, points.reversed()) {
                return (.failed, "in another order: \(words)")
            }
        }
        return (.passed, "the same bits alone, in a batch, and in another order")
    }

    private func joined(_ parts: [Valuations]) -> Valuations {
        Valuations(
            prices: parts.flatMap(\.prices), standardErrors: parts.flatMap(\.standardErrors),
            gradients: parts.flatMap(\.gradients), statuses: parts.flatMap(\.statuses))
    }

    private func bounds() -> (Outcome, String) {
        guard let middle = points.first else { return (.skipped, "no point to start from") }
        var rows: [[Double]] = []
        for (i, input) in inputs.enumerated() {
            for bound in [input.lower, input.upper] {
                var row = middle
                row[i] = bound
                rows.append(row)
            }
        }
        let given = evaluate(rows)
        for (k, row) in rows.enumerated() where Self.violated(row, oracle.descriptor) == nil {
            if !given.statuses[k].hasPrice {
                return (.failed, "no price (\(given.statuses[k].name)) on a bound of its box, at \(described(row))")
            }
        }
        let outside = inputs.indices.filter { inputs[$0].kind == .continuous }.map { i -> [Double] in
            var row = middle
            row[i] = .nan
            return row
        }
        let nothing = evaluate(outside)
        for (k, status) in nothing.statuses.enumerated() where status.hasPrice {
            return (.failed, "a price, \(nothing.prices[k]), where an input is not a number: \(described(outside[k]))")
        }
        return (.passed, "a price on every bound, none where an input is not a number")
    }

    private func constraints() -> (Outcome, String) {
        let descriptor = oracle.descriptor
        guard !descriptor.constraints.isEmpty || !descriptor.conditionalConstraints.isEmpty else {
            return (.skipped, "it has none")
        }
        // Corners of the box are where constraints are broken most.
        var rows: [[Double]] = []
        for k in 0..<min(256, 1 << min(inputs.count, 8)) {
            let row = inputs.enumerated().map { i, input in
                i < 8 && k >> i & 1 == 1 || i >= 8 && k.isMultiple(of: 2) ? input.upper : input.lower
            }
            if Self.violated(row, descriptor) != nil { rows.append(row) }
            if rows.count == points.count { break }
        }
        let given = evaluate(rows)
        for (k, row) in rows.enumerated() where [.failed, .nonFinite].contains(given.statuses[k]) {
            return (
                .failed,
                "status \(given.statuses[k].name) outside of \(Self.violated(row, descriptor)!.name), at "
                    + "\(described(row)); an extended price, or invalid, is what searches can live with"
                    + (given.failure.map { " (\($0))" } ?? "")
            )
        }
        return (.passed, "\(rows.count) points outside of them have an extended price, or say that they have none")
    }

    private func gradient() -> (Outcome, String) {
        let descriptor = oracle.descriptor
        guard descriptor.providesGradient else { return (.skipped, "it has none: searches use differences") }
        // Differences of a price with noise are what they are; on common paths they are not far off.
        let tolerance = descriptor.isStochastic ? 2e-2 : 1e-4
        guard let given = first[true] else { return (.skipped, "no point to start from") }
        var worst = 0.0
        var compared = Set<Int>()
        for (k, point) in points.enumerated() where given.statuses[k] == .ok {
            for (i, input) in inputs.enumerated() where input.kind == .continuous {
                let width = input.upper - input.lower
                let step = 1e-4 * width
                func moved(_ by: Double) -> [Double] {
                    var row = point
                    row[i] += by
                    return row
                }
                let rows = [-2.0, -1, 1, 2].map { moved($0 * step) }
                guard rows.allSatisfy({ Self.violated($0, descriptor) == nil }) else { continue }
                let near = evaluate(rows)
                guard near.statuses.allSatisfy({ $0 == .ok }) else { continue }
                let p = near.prices
                let difference = (8 * (p[2] - p[1]) - (p[3] - p[0])) / (12 * step)
                let slope = given.gradients[k * inputs.count + i]
                // Relative to the size of price and slope over the whole interval.
                let error = abs(slope - difference) * width / (abs(slope) * width + abs(given.prices[k]) + 1e-12)
                worst = max(worst, error)
                compared.insert(i)
                if error > tolerance {
                    return (
                        .failed,
                        "by \(input.name): \(slope), by differences \(difference), at \(described(point))"
                    )
                }
            }
        }
        let left = inputs.indices.filter { inputs[$0].kind == .continuous && !compared.contains($0) }
        guard left.isEmpty else {
            return (
                .skipped,
                "no point whose neighbours have a good price, by \(left.map { inputs[$0].name }.joined(separator: ", "))"
            )
        }
        return (.passed, "against differences of fourth order, worst \(short(worst)) of the price's range")
    }

    private func standardError() -> (Outcome, String) {
        guard oracle.descriptor.isStochastic else { return (.skipped, "it is deterministic") }
        guard let plugIn = oracle as? PlugIn else { return (.skipped, "its random stream is fixed") }
        // Prices of one point under many seeds scatter as far as they say: their variance over the mean of the squared
        // standard errors is 1, within what chance explains. Its cube root is nearly normal (Wilson and Hilferty,
        // Proc. Natl. Acad. Sci. 17 (1931)); four of its deviations are allowed.
        let seeds = 64
        let ninth = 2 / (9 * Double(seeds - 1))
        func bound(_ deviations: Double) -> Double {
            let root = 1 - ninth + deviations * ninth.squareRoot()
            return root * root * root
        }
        let usual = bound(-4)...bound(4)
        // Seeds at random: multiples of a constant could be places of one and the same stream.
        var stream = RandomStream(seed: 1, purpose: .other)
        let numbers = (0..<seeds).map { _ in stream.next() }
        var worst = 1.0
        for point in points.prefix(3) {
            let given = numbers.map { plugIn.evaluate(point, gradient: false, seed: $0) }
            if let refused = given.first(where: { !$0.statuses[0].hasPrice }) {
                return (
                    .failed,
                    "no price (\(refused.statuses[0].name)) with another seed, at \(described(point))"
                        + (refused.failure.map { ": \($0)" } ?? "")
                )
            }
            let prices = given.map { $0.prices[0] }
            guard Set(prices.map(\.bitPattern)).count > 1 else {
                return (.failed, "the same price whatever the seed, at \(described(point))")
            }
            let mean = prices.reduce(0, +) / Double(seeds)
            let variance = prices.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(seeds - 1)
            let said = given.reduce(0) { $0 + $1.standardErrors[0] * $1.standardErrors[0] } / Double(seeds)
            let ratio = variance / max(said, .leastNonzeroMagnitude)
            if abs(ratio - 1) > abs(worst - 1) { worst = ratio }
            if !usual.contains(ratio) {
                return (
                    .failed,
                    "prices scatter by \(short(variance.squareRoot())) over \(seeds) seeds, the standard error says "
                        + "\(short(said.squareRoot())), at \(described(point))"
                )
            }
        }
        return (.passed, "over \(seeds) seeds, variance \(short(worst)) of what it says")
    }

    private func speed() -> (Outcome, String) {
        guard hasPrices else { return Self.nothing }
        let said = oracle.descriptor.costSeconds
        let words = "\(short(pace.alone)) s a price alone, \(short(pace.together)) s in a batch of \(points.count)"
        // Jobs are cut by measured times, so a wrong hint is no failure.
        let isFar = pace.together > 10 * said || said > 1e-5 && pace.together < said / 10
        return (.passed, words + (isFar ? "; its descriptor says \(short(said)) s, far off" : ""))
    }

    private func restart() -> (Outcome, String) {
        guard let plugIn = oracle as? PlugIn, plugIn.canRestart else { return (.skipped, "it runs in this process") }
        guard let before = first[false], hasPrices else { return Self.nothing }
        plugIn.restart()
        let after = evaluate(points)
        if let failure = after.failure { return (.failed, failure) }
        if let words = difference(before, after, points) { return (.failed, "before, then in its next life: \(words)") }
        return (.passed, "the same bits in its next life")
    }

    private func short(_ number: Double) -> String {
        guard number > 0, number.isFinite else { return "\(number)" }
        var (mantissa, exponent) = (number, 0)
        while mantissa >= 10 { (mantissa, exponent) = (mantissa / 10, exponent + 1) }
        while mantissa < 1 { (mantissa, exponent) = (mantissa * 10, exponent - 1) }
        let rounded = (mantissa * 100).rounded() / 100
        return (-2...3).contains(exponent)
            ? "\((number * 10_000).rounded() / 10_000)" : "\(rounded)e\(exponent)"
    }
}
