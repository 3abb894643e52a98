// The function that is climbed: the squared error between surrogate and oracle.

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
}

/// Surrogate against oracle over a domain. One thread at a time.
public final class ErrorSurface {
    public let network: Network
    public let oracle: any Oracle
    public let domain: Domain
    public let labelScale: Double
    public let gradient: OracleGradient
    /// Why the oracle failed somewhere, in words; nil while it did not. What was found since then may be wrong.
    public private(set) var failure: String?

    public init(network: Network, oracle: any Oracle, domain: Domain, labelScale: Double, gradient: OracleGradient) {
        self.network = network
        self.oracle = oracle
        self.domain = domain
        self.labelScale = labelScale
        self.gradient = gradient
    }

    /// Both at rows of normalised inputs. Each row's result is the same whatever else is in the batch.
    public func values(_ inputs: [Double], slopes: Bool) -> ErrorValues {
        let dimension = domain.dimension
        let count = inputs.count / dimension
        let raw = domain.raw(rows: inputs)
        func evaluate(_ points: [Double], gradient: Bool = false) -> Valuations {
            let valuations = oracle.evaluate(points, gradient: gradient)
            if failure == nil { failure = valuations.failure }
            return valuations
        }
        guard slopes else {
            let valuations = evaluate(raw)
            return ErrorValues(
                predictions: network.predict(inputs), labels: valuations.prices.map { $0 * labelScale },
                standardErrors: valuations.standardErrors.map { $0 * labelScale }, slopes: [], oracleCalls: count)
        }
        let (predictions, gradients) = network.predictWithGradient(inputs)
        var slopes = gradients
        let valuations: Valuations
        var calls = count
        switch gradient {
        case .own:
            valuations = evaluate(raw, gradient: true)
            for i in 0..<dimension {
                let scale = labelScale * (domain.inputs[i].upper - domain.inputs[i].lower)
                for row in 0..<count {
                    slopes[row * dimension + i] -= valuations.gradients[row * dimension + i] * scale
                }
            }
        case .differences(let step):
            valuations = evaluate(raw)
            var stencil: [Double] = []
            stencil.reserveCapacity(2 * inputs.count * dimension)
            for row in 0..<count {
                for i in 0..<dimension {
                    for u in Self.pair(inputs[row * dimension + i], step) {
                        let start = stencil.count
                        stencil += raw[row * dimension..<(row + 1) * dimension]
                        stencil[start + i] = domain.raw(u, i)
                    }
                }
            }
            let neighbours = evaluate(stencil).prices
            calls += neighbours.count
            for j in inputs.indices {
                let pair = Self.pair(inputs[j], step)
                slopes[j] -= (neighbours[2 * j + 1] - neighbours[2 * j]) * labelScale / (pair[1] - pair[0])
            }
        }
        return ErrorValues(
            predictions: predictions, labels: valuations.prices.map { $0 * labelScale },
            standardErrors: valuations.standardErrors.map { $0 * labelScale }, slopes: slopes, oracleCalls: calls)
    }

    private static func pair(_ u: Double, _ step: Double) -> [Double] { [max(0, u - step), min(1, u + step)] }
}
