// The eight single barriers, watched at m dates.

internal import CKernels
public import Regression

/// Single-barrier options whose barrier is watched at m equally spaced dates, the last at maturity and none today. Black
/// and Scholes with a dividend yield; a rebate as for `Barrier` (an out option pays it at the date that knocks it out).
///
/// Backwards from the last date, the value on the surviving side is one integral under a normal density of the value a
/// date later. The last integral has a closed form; the others use Gauss-Legendre with 8 points on panels of one standard
/// deviation from the barrier on, which is exact to the last digits since values are analytic on the surviving side. As
/// panels are alike, one set of 8 × 8 matrices serves all dates.
///
/// Source: L. Feng and V. Linetsky, "Pricing discretely monitored barrier options", Mathematical Finance 18 (2008);
/// M. Broadie, P. Glasserman and S. Kou, "A continuity correction for discrete barrier options", Mathematical Finance 7
/// (1997), for the contract and its references.
///
/// Limits and extensions: an option whose spot is beyond the barrier today is alive, as today is no date; where the barrier
/// is too far to be reached within 1e-20 the price is that without one. Error: 1e-11 of the larger of spot and strike.
public struct DiscreteBarrier: SmoothOracle {
    public let descriptor = OracleDescriptor(
        name: "discreteBarrier", version: "1",
        summary: "single-barrier option watched at m equally spaced dates, with rebate, by recursive integration",
        citation:
            "Feng and Linetsky, Mathematical Finance 18 (2008); Broadie, Glasserman and Kou, Mathematical Finance 7 (1997)",
        inputs: [
            .optionType,
            .barrierType,
            .init(
                name: "monitoringDates", unit: "1", meaning: "number of equally spaced dates, the last at maturity",
                lower: 1, upper: 2000, kind: .integer, usual: 12),
            .spot(), .strike,
            .barrier, .rebate,
            .maturityYears, .volatility, .rate, .dividendYield,
        ],
        gradientMethod: .differences, costSeconds: 5e-3)

    public init() {}

    func reach(_ words: [Int], _ x: [Double]) -> [Double] {
        let s = x[5] * x[4].squareRoot()
        let level = 2e-3 * min(1, s)
        return [
            level * x[0], level * x[1], level * x[2], max(1, abs(x[3])), 2e-3 * x[4], 2e-3 * x[5], 2e-3 * s, 2e-3 * s,
        ].map { max($0, 1e-9) }
    }

    /// Where the strike is beyond the barrier, nothing that survives is paid.
    func piece(_ words: [Int], _ x: [Double], price: Double) -> Int { x[1] >= x[2] ? 1 : 0 }

    private static let rule = GaussLegendre(8)

    func price(_ words: [Int], _ x: [Double]) -> (price: Double, status: ValuationStatus)? {
        let (spot, strike, barrier, rebate) = (x[0], x[1], x[2], x[3])
        let (maturity, volatility, rate, yield) = (x[4], x[5], x[6], x[7])
        guard spot > 0, strike > 0, barrier > 0, maturity >= 0, volatility >= 0 else { return nil }
        let isCall = words[0] == 0
        let (isUp, isIn) = (words[1] >= 2, words[1] % 2 == 1)
        let european = vanilla(
            isCall: isCall, spot: spot, strike: strike, maturity: maturity, volatility: volatility, rate: rate,
            dividendYield: yield)
        let total = volatility * maturity.squareRoot()
        let dates = words[2]
        let step = maturity / Double(dates)
        guard total > 1e-9 else {
            // The path is certain; the first date beyond the barrier.
            for j in 1...dates {
                let time = step * Double(j)
                let price = spot * ck_exp((rate - yield) * time)
                guard isUp ? price >= barrier : price <= barrier else { continue }
                return (isIn ? european : rebate * ck_exp(-rate * time), .ok)
            }
            return (isIn ? rebate * ck_exp(-rate * maturity) : european, .ok)
        }
        // An in option is the vanilla one less an out option that pays (payoff − rebate) where it survives.
        let grown = survival(
            isCall: isCall, isUp: isUp, dates: dates, spot: spot, strike: strike, barrier: barrier,
            atKnock: isIn ? 0 : rebate, atEnd: isIn ? -rebate : 0, maturity: maturity, volatility: volatility,
            rate: rate,
            yield: yield)
        guard let out = grown else { return (.nan, .nonFinite) }
        return (isIn ? european - out : out, .ok)
    }

    /// An out option that pays `atKnock` at the date that knocks it out and `atEnd` beside its payoff if it survives.
    /// Nil where drift and volatility are so far apart that the panels would not end.
    private func survival(
        isCall: Bool, isUp: Bool, dates: Int, spot: Double, strike: Double, barrier: Double, atKnock: Double,
        atEnd: Double, maturity: Double, volatility: Double, rate: Double, yield: Double
    ) -> Double? {
        let step = maturity / Double(dates)
        let deviation = volatility * step.squareRoot()
        let side = isUp ? -1.0 : 1
        // v is the logarithmic distance from the barrier, positive where the option lives.
        let drift = side * ((rate - yield) * step - 0.5 * deviation * deviation)
        let discount = ck_exp(-rate * step)
        let law = LogNormal(maturity: step, volatility: volatility, rate: rate, dividendYield: yield)

        /// One date before the end, at the share's price.
        func beforeEnd(_ v: Double) -> Double {
            let share = barrier * ck_exp(side * v)
            let (k, b) = (ck_log(strike / share), -side * v)
            let (low, high): (Double?, Double?) = isUp ? (nil, b) : (b, nil)
            var (from, to) = (low, high)
            if isCall { from = max(low ?? k, k) } else { to = min(high ?? k, k) }
            var value = atEnd * law.integral(0, from: low, to: high)
            if atKnock != 0 {
                value += atKnock * (isUp ? law.integral(0, from: b, to: nil) : law.integral(0, from: nil, to: b))
            }
            if !(from != nil && to != nil && from! >= to!) {
                let payoff = share * law.integral(1, from: from, to: to) - strike * law.integral(0, from: from, to: to)
                value += isCall ? payoff : -payoff
            }
            return discount * value
        }
        let here = side * ck_log(spot / barrier)
        if dates == 1 { return beforeEnd(here) }

        // The panels: from the barrier, or as far below the spot as may matter, to as far above.
        let total = volatility * maturity.squareRoot()
        let far = 9.5 * total + abs(drift) * Double(dates) + total * total
        let first = max(0, ((here - far) / deviation).rounded(.down))
        let wanted = ((max(here, 0) + far) / deviation - first).rounded(.up)
        guard wanted < 20_000, wanted * Double(dates) < 1e7, abs(drift / deviation) < 1e9 else { return nil }
        let panels = max(1, Int(wanted))
        let size = 8
        let rule = Self.rule
        let nodes = (0..<panels * size).map { i in
            deviation * (first + Double(i / size) + 0.5 * (rule.nodes[i % size] + 1))
        }
        var values = nodes.map(beforeEnd)

        // From a point of one panel to those of the panel `offset` further on: weight times density. Offsets around the drift.
        let middle = Int((drift / deviation).rounded())
        let offsets = (middle - 10)...(middle + 10)
        var blocks: [Double] = []
        for offset in offsets {
            for i in 0..<size {
                for j in 0..<size {
                    let z = Double(offset) + 0.5 * (rule.nodes[j] - rule.nodes[i]) - drift / deviation
                    blocks.append(0.5 * rule.weights[j] * discount * Double.density(0, z))
                }
            }
        }
        let knocked = nodes.map { v in
            atKnock == 0 ? 0 : discount * atKnock * Double.spread(0, nil, (-v - drift) / deviation)
        }
        for _ in 0..<max(0, dates - 2) {
            var next = knocked
            for panel in 0..<panels {
                for (b, offset) in offsets.enumerated() {
                    let other = panel + offset
                    guard other >= 0, other < panels else { continue }
                    for i in 0..<size {
                        var sum = 0.0
                        let start = (b * size + i) * size
                        for j in 0..<size { sum += blocks[start + j] * values[other * size + j] }
                        next[panel * size + i] += sum
                    }
                }
            }
            values = next
        }
        // The first date, from the spot.
        var sum = atKnock == 0 ? 0 : atKnock * Double.spread(0, nil, (-here - drift) / deviation)
        for i in nodes.indices {
            let z = (nodes[i] - here - drift) / deviation
            guard abs(z) < 38 else { continue }
            sum += 0.5 * rule.weights[i % size] * Double.density(0, z) * values[i]
        }
        return discount * sum
    }
}
