// An item of a search whose oracle calls are jobs of their own.
//
// Where one price takes seconds, an ascent in one process keeps that process for hours, loses them all in a crash, and
// leaves the others idle at the end. So the ascent leaves its process: it is a value that says what it wants to know,
// anybody prices the points, and it moves on when all answers are in. The answers are the same bits as those of an
// oracle next to it, so it ends where it would have ended there.

internal import Regression

/// Where an item of an ascent or of a probe stands between oracle calls.
package struct Course: Sendable {
    enum Stand: Sendable {
        case ascent(Ascent)
        case probe(Probe)
    }

    private var stand: Stand
    /// The number of the first call that is asked for now: those before are used up.
    package private(set) var firstCall = 0
    /// What it asks now: rows in raw units, one call each.
    package private(set) var questions: [Double] = []
    /// Numbers per row.
    private var dimension = 1
    /// Whether derivatives are wanted with the prices.
    package private(set) var asksForGradient = false
    /// What the item gives, at the end.
    package private(set) var result: WorkResult?

    init(_ stand: Stand) { self.stand = stand }

    /// Calls that it waits for.
    package var calls: Range<Int> { firstCall..<firstCall + questions.count / dimension }

    /// What a call asks; `call` is one of `calls`.
    package func question(_ call: Int) -> [Double] {
        Array(questions[(call - firstCall) * dimension..<(call - firstCall + 1) * dimension])
    }

    /// Takes the answers to all `questions`, if there were any, and asks on.
    mutating func advance(_ terms: ErrorTerms, _ answers: Valuations) {
        dimension = terms.domain.dimension
        let hasAsked = !questions.isEmpty
        firstCall += answers.prices.count
        switch stand {
        case .ascent(var ascent):
            if hasAsked {
                ascent.advance(terms.values(ascent.inputs, slopes: ascent.wantsSlopes, answers: answers))
            }
            stand = .ascent(ascent)
            if ascent.isFinished {
                result = .maximizers(ascent.result.maximizers, oracleCalls: ascent.result.oracleCalls)
            } else {
                questions = terms.questions(ascent.inputs, slopes: ascent.wantsSlopes)
                asksForGradient = terms.asksForGradient(slopes: ascent.wantsSlopes)
            }
        case .probe(let probe):
            if hasAsked {
                let values = terms.values(probe.inputs, slopes: false, answers: answers)
                result = .gains(probe.gains(values), oracleCalls: [values.oracleCalls])
            } else {
                questions = terms.questions(probe.inputs, slopes: false)
            }
        }
        if result != nil { questions = [] }
    }
}

/// An oracle that is asked a few rows at a time, so that whoever does not want the answers any more is heard soon.
struct PiecewiseOracle: Oracle {
    private let oracle: any Oracle
    private let isCancelled: @Sendable () -> Bool

    /// - Parameter isCancelled: once it is true, what is left gets no price.
    init(_ oracle: any Oracle, _ isCancelled: @escaping @Sendable () -> Bool) {
        self.oracle = oracle
        self.isCancelled = isCancelled
    }

    var descriptor: OracleDescriptor { oracle.descriptor }

    /// Rows that take about a hundredth of a second by the oracle's own word; all of them where one takes longer: it may
    /// price them side by side.
    private var piece: Int {
        let cost = oracle.descriptor.costSeconds
        return cost >= 0.01 ? .max : max(1, min(1 << 20, Int(0.01 / max(cost, 1e-9))))
    }

    func evaluate(_ points: [Double], gradient: Bool) -> Valuations {
        let dimension = descriptor.inputs.count
        let count = points.count / dimension
        guard count > piece else { return oracle.evaluate(points, gradient: gradient) }
        var all = Valuations(prices: [], statuses: [])
        for start in stride(from: 0, to: count, by: piece) {
            let end = min(count, start + piece)
            if isCancelled() { return nothing(count, gradient) }
            let part = oracle.evaluate(Array(points[start * dimension..<end * dimension]), gradient: gradient)
            all.prices += part.prices
            all.standardErrors += part.standardErrors
            all.gradients += part.gradients
            all.statuses += part.statuses
            if all.failure == nil { all.failure = part.failure }
        }
        return all
    }

    /// What whoever cancelled does not look at.
    private func nothing(_ count: Int, _ gradient: Bool) -> Valuations {
        Valuations(
            prices: [Double](repeating: .nan, count: count), standardErrors: [Double](repeating: 0, count: count),
            gradients: [Double](repeating: 0, count: gradient ? count * descriptor.inputs.count : 0),
            statuses: [ValuationStatus](repeating: .invalid, count: count))
    }
}
