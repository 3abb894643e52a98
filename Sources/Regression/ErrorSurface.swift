// The function that is climbed: the squared error between surrogate and oracle.
//
// What the oracle must be asked for it, and what follows from the answers, stand apart from the asking: a cheap oracle is
// called where the ascent runs, a costly one answers from anywhere in a cluster.

/// How the oracle's gradient is had.
public enum OracleGradient: Sendable, Hashable {
    /// The oracle's own derivatives: one call per point.
    case own
    /// Central differences with this normalised step: 2d calls per point beside the one for the value. At the edge of
    /// the box both points are clamped to it and the quotient taken over their true distance.
    case differences(step: Double)
}

/// Surrogate and oracle at some rows.
public struct ErrorValues: Sendable, Hashable {
    public var predictions: [Double]
    /// Oracle price × label scale; NaN where the oracle has no price.
    public var labels: [Double]
    /// Of the labels; empty for a deterministic oracle.
    public var standardErrors: [Double]
    /// Rows of ∇(prediction − label) in normalised inputs; empty unless asked for.
    public var slopes: [Double]
    /// Oracle calls that this took.
    public var oracleCalls: Int

    /// Error² less the variance that noise of the label adds to it; nil where the oracle has no price.
    func height(_ row: Int) -> Double? {
        let error = predictions[row] - labels[row]
        guard error.isFinite else { return nil }
        let noise = standardErrors.isEmpty ? 0 : standardErrors[row]
        return error * error - noise * noise
    }
}

/// The error but for the oracle: what to ask it, and what the answers mean. One thread at a time.
public final class ErrorTerms {
    public let network: Network
    public let domain: Domain
    public let labelScale: Double
    public let gradient: OracleGradient

    public init(network: Network, domain: Domain, labelScale: Double, gradient: OracleGradient) {
        self.network = network
        self.domain = domain
        self.labelScale = labelScale
        self.gradient = gradient
    }

    /// Whether the oracle is asked for derivatives too.
    public func asksForGradient(slopes: Bool) -> Bool { slopes && gradient == .own }

    /// Oracle calls per row.
    private func calls(slopes: Bool) -> Int {
        switch gradient {
        case .differences where slopes: 2 * domain.dimension + 1
        case .differences, .own: 1
        }
    }

    /// What the oracle must be asked for the values at some rows of normalised inputs: rows in raw units, those of one
    /// input side by side.
    public func questions(_ inputs: [Double], slopes: Bool) -> [Double] {
        let raw = domain.raw(rows: inputs)
        guard slopes, case .differences(let step) = gradient else { return raw }
        let dimension = domain.dimension
        var questions: [Double] = []
        questions.reserveCapacity(raw.count * calls(slopes: true))
        for row in stride(from: 0, to: raw.count, by: dimension) {
            questions += raw[row..<row + dimension]
            for i in 0..<dimension {
                for u in Self.pair(inputs[row + i], step) {
                    let start = questions.count
                    questions += raw[row..<row + dimension]
                    questions[start + i] = domain.raw(u, i)
                }
            }
        }
        return questions
    }

    /// Surrogate and oracle at rows of normalised inputs. Each row's values are the same whatever else is in the batch.
    ///
    /// - Parameter answers: the oracle's, to all of `questions`.
    public func values(_ inputs: [Double], slopes: Bool, answers: Valuations) -> ErrorValues {
        let dimension = domain.dimension
        let count = inputs.count / dimension
        let calls = calls(slopes: slopes)
        let prices = calls == 1 ? answers.prices : (0..<count).map { answers.prices[$0 * calls] }
        var errors = answers.standardErrors
        if calls > 1, !errors.isEmpty { errors = (0..<count).map { errors[$0 * calls] } }
        var values = ErrorValues(
            predictions: [], labels: prices.map { $0 * labelScale },
            standardErrors: errors.map { $0 * abs(labelScale) },
            slopes: [], oracleCalls: count * calls)
        guard slopes else {
            values.predictions = network.predict(inputs)
            return values
        }
        (values.predictions, values.slopes) = network.predictWithGradient(inputs)
        switch gradient {
        case .own:
            for i in 0..<dimension {
                let scale = labelScale * (domain.inputs[i].upper - domain.inputs[i].lower)
                for row in 0..<count {
                    values.slopes[row * dimension + i] -= answers.gradients[row * dimension + i] * scale
                }
            }
        case .differences(let step):
            for row in 0..<count {
                for i in 0..<dimension {
                    let j = row * dimension + i
                    let pair = Self.pair(inputs[j], step)
                    let (below, above) = (row * calls + 1 + 2 * i, row * calls + 2 + 2 * i)
                    values.slopes[j] -=
                        (answers.prices[above] - answers.prices[below]) * labelScale / (pair[1] - pair[0])
                }
            }
        }
        return values
    }

    private static func pair(_ u: Double, _ step: Double) -> [Double] { [max(0, u - step), min(1, u + step)] }
}

/// Surrogate against an oracle at hand, over a domain. One thread at a time.
public final class ErrorSurface {
    public let terms: ErrorTerms
    public let oracle: any Oracle
    /// Why the oracle failed somewhere, in words; nil while it did not. What was found since then may be wrong.
    public private(set) var failure: String?

    public var domain: Domain { terms.domain }

    public init(network: Network, oracle: any Oracle, domain: Domain, labelScale: Double, gradient: OracleGradient) {
        terms = ErrorTerms(network: network, domain: domain, labelScale: labelScale, gradient: gradient)
        self.oracle = oracle
    }

    public init(_ terms: ErrorTerms, oracle: any Oracle) {
        self.terms = terms
        self.oracle = oracle
    }

    /// Both at rows of normalised inputs. Each row's result is the same whatever else is in the batch.
    public func values(_ inputs: [Double], slopes: Bool) -> ErrorValues {
        let answers = oracle.evaluate(
            terms.questions(inputs, slopes: slopes), gradient: terms.asksForGradient(slopes: slopes))
        if failure == nil { failure = answers.failure }
        return terms.values(inputs, slopes: slopes, answers: answers)
    }
}
