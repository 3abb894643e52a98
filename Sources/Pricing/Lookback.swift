// Options on the highest or lowest price of a share's life, watched continuously.

public import Regression

/// Lookback options under Black and Scholes with a dividend yield.
///
/// With M and m the highest and lowest price from the start of the contract to maturity, the past included:
/// fixed strike: call max(M − K, 0), put max(K − m, 0); floating strike: call S_T − m, put M − S_T.
///
/// All are the fixed-strike formula of Conze and Viswanathan: what the past has earned already is paid for certain. The
/// formula divides by c = 2(r − q)/σ²; near c = 0 the quotient is the mean of a derivative, integrated without
/// cancellation (16 points).
///
/// Source: M. B. Goldman, H. B. Sosin and M. A. Gatto, "Path dependent options: buy at the low, sell at the high",
/// Journal of Finance 34 (1979); A. Conze and Viswanathan, "Path dependent options: the case of lookback options",
/// Journal of Finance 46 (1991); Haug (2007), section 4.15.
///
/// `runningExtreme` is M (fixed call, floating put) or m (fixed put, floating call) so far; 0, or a value that the spot has
/// passed, stands for the spot. Error: 1e-13 of the larger of spot and strike.
public struct Lookback: FormulaOracle {
    public let descriptor = OracleDescriptor(
        name: "lookback", version: "1",
        summary: "lookback option with fixed or floating strike, continuously monitored, closed form",
        citation:
            "Goldman, Sosin and Gatto, Journal of Finance 34 (1979); Conze and Viswanathan, Journal of Finance 46 (1991)",
        inputs: [
            .optionType,
            .init(
                name: "strikeType", meaning: "fixed: against the strike; floating: against the extreme",
                choices: ["fixed", "floating"]),
            .spot(),
            .init(
                name: "strike", unit: "currency", meaning: "strike price; a floating strike ignores it", lower: 80,
                upper: 120, scale: .logarithmic, usual: 0),
            .init(
                name: "runningExtreme", unit: "currency",
                meaning:
                    "highest price so far (fixed call, floating put) or lowest (fixed put, floating call); 0: the spot",
                lower: 80, upper: 120, usual: 0),
            .maturityYears, .volatility, .rate, .dividendYield,
        ],
        gradientMethod: .exact, costSeconds: 1e-6,
        testVectors: [
            // Haug (2007), section 4.15.1: S = 120, smallest 100, T = 0.5, σ = 0.3, r = 0.1, q = 0.06.
            .init([0, 1, 120, 0, 100, 0.5, 0.3, 0.1, 0.06], price: 25.3533, tolerance: 1e-4),
            // Section 4.15.2: S = K = 100, T = 1, σ = 0.3, r = 0.1.
            .init([0, 0, 100, 100, 0, 1, 0.3, 0.1, 0], price: 30.1874, tolerance: 1e-4),
        ])

    public init() {}

    func price<Number: Scalar>(_ words: [Int], _ x: [Number]) -> (price: Number, status: ValuationStatus)? {
        let (spot, strike, running) = (x[0], x[1], x[2])
        let (maturity, volatility, rate, yield) = (x[3], x[4], x[5], x[6])
        let (isCall, isFloating) = (words[0] == 0, words[1] == 1)
        guard spot.value > 0, running.value >= 0, maturity.value >= 0, volatility.value >= 0,
            isFloating || strike.value > 0
        else { return nil }
        let onMaximum = isCall != isFloating
        let isPassed = running.value == 0 || (onMaximum ? running.value < spot.value : running.value > spot.value)
        let extreme = isPassed ? spot : running
        let discount = Number.exp(-(rate * maturity))
        let share = spot * Number.exp(-(yield * maturity))
        func beyond(_ level: Number) -> Number {
            excess(
                spot: spot, level: level, onMaximum: onMaximum, discount: discount, maturity: maturity,
                volatility: volatility, rate: rate, yield: yield)
        }
        if isFloating {
            // M − S_T = (M so far) + what it will exceed it by − S_T; likewise S_T − m.
            let held = onMaximum ? discount * extreme - share : share - discount * extreme
            return (held + beyond(extreme), .ok)
        }
        let isEarned = onMaximum ? extreme.value > strike.value : extreme.value < strike.value
        guard isEarned else { return (beyond(strike), .ok) }
        return (discount * (onMaximum ? extreme - strike : strike - extreme) + beyond(extreme), .ok)
    }

    /// e^{−rT} E[max(M − K, 0)] for K ≥ S, or e^{−rT} E[max(K − m, 0)] for K ≤ S, M and m of the future.
    private func excess<Number: Scalar>(
        spot: Number, level: Number, onMaximum: Bool, discount: Number, maturity: Number, volatility: Number,
        rate: Number, yield: Number
    ) -> Number {
        let s = volatility * Number.root(maturity)
        guard s.value > 1e-9 else {
            let forward = spot * Number.exp((rate - yield) * maturity)
            let end = onMaximum ? forward - level : level - forward
            return end.value > 0 ? discount * end : Number(0)
        }
        // For the minimum the same formula holds with the signs of a, s and the normal arguments turned.
        let sign = onMaximum ? 1.0 : -1
        let a = Number.log(level / spot)
        let c = 2 * (rate - yield) / (volatility * volatility)
        let d = sign * (0.5 * s - a / s)
        let half = (0.5 * sign) * c * s
        let growth = 0.5 * c * s * s
        let zero = Number(0)
        let vanilla =
            sign * (spot * Number.spread(growth, nil, d + half) - level * Number.spread(zero, nil, d + half - sign * s))
        // (e^{cs²/2} N(d + cs/2) − e^{ca} N(d − cs/2)) / c.
        let quotient: Number
        let size = abs(c.value) * (abs(a.value) + s.value + s.value * s.value)
        if size > 0.5 {
            quotient = (Number.spread(growth, nil, d + half) - Number.spread(c * a, nil, d - half)) / c
        } else {
            var mean = zero
            for (node, weight) in zip(Self.rule.nodes, Self.rule.weights) {
                let part = 0.5 * (node + 1)
                let (g, h, p) = (part * growth, part * half, part * c * a)
                let slope =
                    0.5 * s * s * Number.spread(g, nil, d + h) - a * Number.spread(p, nil, d - h)
                    + (0.5 * sign) * s * (Number.density(g, d + h) + Number.density(p, d - h))
                mean = mean + (0.5 * weight) * slope
            }
            quotient = mean
        }
        return discount * (vanilla + sign * spot * quotient)
    }

    private static let rule = GaussLegendre(16)
}
