// The eight single barriers, watched continuously.

public import Regression

/// Single-barrier options under Black and Scholes with a dividend yield: down or up, in or out, call or put, with a
/// rebate (of an out option at the moment it is knocked out, of an in option at maturity if it never came to life).
///
/// The density of y = ln(S_T / S) with the barrier not touched is that of y minus that of its image in the barrier, so every
/// contract is a sum of integrals of e^{βy} over an interval under a normal density (`LogNormal.integral`). An in option
/// is integrated as such (what ends beyond the barrier, plus the image on this side of it), not taken as vanilla minus
/// out. Equal to the terms A to F of Reiner and Rubinstein.
///
/// Source: E. Reiner and M. Rubinstein, "Breaking down the barriers", Risk 4 (1991); E. G. Haug, *The Complete Guide to
/// Option Pricing Formulas* (2007), section 4.17.
///
/// Limits and extensions: a spot at or beyond the barrier has touched it (status `extended`: the rebate, or the vanilla
/// option); without time or volatility the path is certain; spot, strike and barrier must be positive, maturity and
/// volatility not negative, else `invalid`. Error: 1e-13 of the larger of spot, strike and rebate.
public struct Barrier: FormulaOracle {
    public let descriptor = OracleDescriptor(
        name: "barrier", version: "1",
        summary: "single-barrier option, continuously monitored, with rebate and dividend yield, closed form",
        citation: "Reiner and Rubinstein, Breaking down the barriers, Risk 4 (1991); Haug (2007), section 4.17",
        inputs: [
            .optionType,
            .barrierType,
            .spot(), .strike,
            .barrier, .rebate,
            .maturityYears, .volatility, .rate, .dividendYield,
        ],
        conditionalConstraints: [
            .init(
                LinearConstraint(name: "barrier<=spot", coefficients: [4: 1, 2: -1], bound: 0), input: 1, words: [0, 1]),
            .init(
                LinearConstraint(name: "spot<=barrier", coefficients: [2: 1, 4: -1], bound: 0), input: 1, words: [2, 3]),
        ],
        gradientMethod: .exact, costSeconds: 1e-6,
        testVectors: [
            // Haug (1998), p. 72: S = 100, B = 95, T = 0.5, σ = 0.25, r = 0.08, q = 0.04, rebate 3.
            .init([0, 0, 100, 90, 95, 3, 0.5, 0.25, 0.08, 0.04], price: 9.0246, tolerance: 1e-4),
            .init([1, 1, 100, 110, 95, 3, 0.5, 0.30, 0.08, 0.04], price: 13.3078, tolerance: 1e-4),
        ])

    public init() {}

    func price<Number: Scalar>(_ words: [Int], _ x: [Number]) -> (price: Number, status: ValuationStatus)? {
        let (spot, strike, barrier, rebate) = (x[0], x[1], x[2], x[3])
        let (maturity, volatility, rate, yield) = (x[4], x[5], x[6], x[7])
        guard spot.value > 0, strike.value > 0, barrier.value > 0, maturity.value >= 0, volatility.value >= 0 else {
            return nil
        }
        let isCall = words[0] == 0
        let (isUp, isIn) = (words[1] >= 2, words[1] % 2 == 1)
        let discount = Number.exp(-(rate * maturity))
        let isTouched = isUp ? spot.value >= barrier.value : spot.value <= barrier.value
        if isTouched && !isIn { return (rebate, .extended) }
        let k = Number.log(strike / spot)
        let b = Number.log(barrier / spot)

        guard volatility.value * maturity.value.squareRoot() > 1e-9 else {
            // The path is certain: it leads from the spot straight to the forward.
            let forward = spot * Number.exp((rate - yield) * maturity)
            let end = isCall ? forward - strike : strike - forward
            let payoff = end.value > 0 ? discount * end : Number(0)
            let touches = isTouched || (isUp ? forward.value >= barrier.value : forward.value <= barrier.value)
            guard touches else { return (isIn ? discount * rebate : payoff, .ok) }
            if isIn { return (payoff, isTouched ? .extended : .ok) }
            // The moment of the touch: S e^{(r − q)t} = B.
            return (rebate * Number.exp(-(rate * (b / (rate - yield)))), .ok)
        }
        let law = LogNormal(maturity: maturity, volatility: volatility, rate: rate, dividendYield: yield)
        /// The payoff between two ends, under the density or its image.
        func payoff(_ low: Number?, _ high: Number?, image: Bool) -> Number {
            var (low, high) = (low, high)
            if isCall { low = low.map { $0.value > k.value ? $0 : k } ?? k }
            if !isCall { high = high.map { $0.value < k.value ? $0 : k } ?? k }
            if let low, let high, low.value >= high.value { return Number(0) }
            let shift = image ? b + b : nil
            let share = spot * law.integral(1, from: low, to: high, shift: shift)
            let cash = strike * law.integral(0, from: low, to: high, shift: shift)
            return discount * (isCall ? share - cash : cash - share)
        }
        if isTouched { return (payoff(nil, nil, image: false), .extended) }
        let alive: (low: Number?, high: Number?) = isUp ? (nil, b) : (b, nil)
        guard !isIn else {
            let beyond = isUp ? payoff(b, nil, image: false) : payoff(nil, b, image: false)
            var price = beyond + payoff(alive.low, alive.high, image: true)
            if rebate.value != 0 || Number.self == Dual.self {
                let untouched =
                    law.integral(0, from: alive.low, to: alive.high)
                    - law.integral(0, from: alive.low, to: alive.high, shift: b + b)
                price = price + rebate * discount * untouched
            }
            return (price, .ok)
        }
        var price = payoff(alive.low, alive.high, image: false) - payoff(alive.low, alive.high, image: true)
        if rebate.value != 0 || Number.self == Dual.self {
            let distance = isUp ? b : -b
            let drift = rate - yield - 0.5 * volatility * volatility
            price =
                price
                + rebate
                * touchValue(
                    distance: distance, drift: isUp ? drift : -drift, volatility: volatility, rate: rate,
                    maturity: maturity)
        }
        return (price, .ok)
    }
}

/// E[e^{−rτ}; τ ≤ T], τ the first time at which a Brownian motion with this drift reaches `distance` > 0: the worth of one
/// unit paid at that time. Rubinstein and Reiner, "Unscrambling the binary code", Risk 4 (1991).
func touchValue<Number: Scalar>(
    distance h: Number, drift: Number, volatility sigma: Number, rate r: Number, maturity t: Number
) -> Number {
    let variance = sigma * sigma
    let square = drift * drift + 2 * r * variance
    let s = sigma * Number.root(t)
    if square.value > 1e-4 * variance.value * variance.value {
        let theta = Number.root(square)
        return Number.spread(h * (drift - theta) / variance, nil, (theta * t - h) / s)
            + Number.spread(h * (drift + theta) / variance, nil, -((theta * t + h) / s))
    }
    // No real root, or one so small that the two terms' derivatives cancel: the density of τ, in w = h / (σ√τ) from
    // w₀ = h / (σ√T), is that of a normal number's absolute value, tilted by the drift.
    let start = h / s
    let panels = 48
    let width = 12.0 / Double(panels)
    var sum = Number(0)
    for panel in 0..<panels {
        for (node, weight) in zip(touchRule.nodes, touchRule.weights) {
            let w = start + width * (Double(panel) + 0.5 * (node + 1))
            let time = h * h / (variance * w * w)
            let p = h * drift / variance - 0.5 * (square / variance) * time
            sum = sum + (weight * width) * Number.density(p, w)
        }
    }
    return sum
}

private let touchRule = GaussLegendre(16)
