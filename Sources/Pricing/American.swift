// The right to exercise at any time.

internal import CKernels
public import Regression

/// American put and call under Black and Scholes with a dividend yield.
///
/// The early-exercise boundary B(τ) solves the integral equation of Kim; it is interpolated by Chebyshev's polynomials in
/// √τ of ln²(B/B(0)), which is smooth, and found by fixed-point iteration of Andersen, Lake and Offengenden (2016),
/// equation FP-B, with Gauss-Legendre integration in √(τ − u). The price is the European one plus the integral of what
/// exercise earns. A call is the put with share and strike, rate and yield exchanged (McDonald and Schroder 1998).
///
/// Source: L. Andersen, M. Lake and D. Offengenden, "High-performance American option pricing", Journal of Computational
/// Finance 20 (2016); I. J. Kim, "The analytic valuation of American options", Review of Financial Studies 3 (1990).
///
/// Limits and extensions: where exercise never pays (a put with rate ≤ 0 ≤ yield, a call with yield ≤ 0 ≤ rate) the price
/// is the European one; where there would be two boundaries (a put with yield < rate < 0, a call with rate < yield < 0)
/// the status is `invalid`; an iteration that does not settle says `notConverged`. Error: 1e-8 of the strike.
public struct American: SmoothOracle {
    public let descriptor = OracleDescriptor(
        name: "american", version: "1", summary: "American put or call with a dividend yield, boundary by integral equation",
        citation: "Andersen, Lake and Offengenden, Journal of Computational Finance 20 (2016)",
        inputs: [.optionType, .spot(), .strike, .maturityYears, .volatility, .rate, .dividendYield],
        gradientMethod: .differences, costSeconds: 1e-3,
        testVectors: [
            // Andersen, Lake and Offengenden (2016), table 2: S = K = 100, T = 1, σ = 0.25, r = q = 0.05.
            .init([1, 100, 100, 1, 0.25, 0.05, 0.05], price: 9.46348 + 0.1069528, tolerance: 2e-2)
        ])

    public init() {}

    func reach(_ x: [Double]) -> [Double] {
        let s = x[3] * x[2].squareRoot()
        return [
            1e-2 * x[0] * min(1, s), 1e-2 * x[1] * min(1, s), 5e-3 * x[2], 5e-3 * x[3], 2e-4, 2e-4,
        ]
    }

    func price(_ words: [Int], _ x: [Double]) -> (price: Double, status: ValuationStatus)? {
        let (spot, strike, maturity, volatility, rate, yield) = (x[0], x[1], x[2], x[3], x[4], x[5])
        guard spot > 0, strike > 0, maturity >= 0, volatility >= 0 else { return nil }
        return words[0] == 1
            ? Self.put(spot, strike, maturity, volatility, rate, yield)
            : Self.put(strike, spot, maturity, volatility, yield, rate)
    }

    private static let order = 16
    private static let inner = GaussLegendre(40)
    private static let outer = GaussLegendre(128)

    private static func put(_ spot: Double, _ strike: Double, _ t: Double, _ sigma: Double, _ r: Double, _ q: Double)
        -> (price: Double, status: ValuationStatus)?
    {
        if r < 0 && q < r { return nil }
        let intrinsic = max(strike - spot, 0)
        let european = vanilla(
            isCall: false, spot: spot, strike: strike, maturity: t, volatility: sigma, rate: r, dividendYield: q)
        if r < 0 || (r == 0 && q >= 0) { return (european, .ok) }
        guard sigma * t.squareRoot() > 1e-9 else {
            // A certain path: the best of exercising now, at the end, or where the gain turns.
            var best = max(intrinsic, european)
            let turn = ck_log(r * strike / (q * spot)) / (r - q)
            if turn > 0, turn < t { best = max(best, strike * ck_exp(-r * turn) - spot * ck_exp(-q * turn)) }
            return (best, .ok)
        }
        let boundary = Boundary(strike, t, sigma, r, q)
        let status: ValuationStatus = boundary.isSettled ? .ok : .notConverged
        if spot <= boundary.last { return (intrinsic, status) }
        let premium = boundary.premium(spot)
        return (max(european + premium, intrinsic), status)
    }

    /// The exercise boundary of a put for every time to maturity up to T.
    private struct Boundary {
        let (strike, t, sigma, r, q): (Double, Double, Double, Double, Double)
        /// B(0+).
        let start: Double
        /// ln(B/B(0+)) at Chebyshev's points of √τ, and the squares' coefficients.
        private var logs: [Double]
        private var coefficients: [Double] = []
        private(set) var isSettled = false

        var last: Double { start * ck_exp(logs[order]) }

        init(_ strike: Double, _ t: Double, _ sigma: Double, _ r: Double, _ q: Double) {
            (self.strike, self.t, self.sigma, self.r, self.q) = (strike, t, sigma, r, q)
            start = q > r && q > 0 ? strike * r / q : strike
            logs = [Double](repeating: 0, count: order + 1)
            let roots = (0...order).map { t.squareRoot() * 0.5 * (1 - ck_cospi(Double($0) / Double(order))) }
            for i in 1...order { logs[i] = guess(roots[i] * roots[i]) }
            interpolate()
            for _ in 0..<200 where !isSettled {
                var change = 0.0
                let old = logs
                for i in 1...order {
                    logs[i] = improved(old[i], roots[i] * roots[i])
                    change = max(change, abs(logs[i] - old[i]))
                }
                interpolate()
                isSettled = change < 1e-12
                if !change.isFinite { break }
            }
        }

        /// A first guess after Bjerksund and Stensland (1993), in logarithms.
        private func guess(_ tau: Double) -> Double {
            let (variance, b) = (sigma * sigma, q - r)
            let square = (b / variance - 0.5) * (b / variance - 0.5) + 2 * q / variance
            let beta = 0.5 - b / variance + max(square, 0).squareRoot()
            guard square >= 0, beta > 1 else { return -1.5 * sigma * tau.squareRoot() }
            let far = beta / (beta - 1) * strike
            let near = strike * strike / start
            guard far > near else { return -0.1 * sigma * tau.squareRoot() }
            let h = -(b * tau + 2 * sigma * tau.squareRoot()) * near / (far - near)
            let trigger = near + (far - near) * (1 - ck_exp(min(h, 0)))
            return min(-ck_log(trigger / near), -1e-8)
        }

        /// Chebyshev's coefficients of ln²(B/B(0+)) in √τ.
        private mutating func interpolate() {
            coefficients = (0...order).map { k in
                var sum = 0.0
                for i in 0...order {
                    let m = (k * i) % (2 * order)
                    let turn = Double(m <= order ? m : 2 * order - m) / Double(order)
                    // The points run from −1 upwards: cos(k (π − θ)) = (−1)^k cos(kθ).
                    let cosine = (k % 2 == 0 ? 1.0 : -1) * ck_cospi(turn)
                    sum += (i == 0 || i == order ? 0.5 : 1) * logs[i] * logs[i] * cosine
                }
                return sum * (k == 0 || k == order ? 1.0 : 2) / Double(order)
            }
        }

        /// ln(B(u)/B(0+)).
        private func log(at u: Double) -> Double {
            let x = 2 * (u / t).squareRoot() - 1
            var (a, b) = (0.0, 0.0)
            for c in coefficients.reversed() { (a, b) = (2 * x * a - b + c, a) }
            return -max(a - x * b, 0).squareRoot()
        }

        /// What integrals over u in [0, τ] need at the points of `rule`, with τ − u = τ (1 + y)²/4: weight du, u, and the
        /// arguments d₊ and d₋ of a share that is e^level times B(0+).
        private func points(_ rule: GaussLegendre, _ tau: Double, _ level: Double, _ strikeAtStart: Bool) -> (
            weights: [Double], times: [Double], plus: [Double], minus: [Double]
        ) {
            var (weights, times, plus, minus) = ([Double](), [Double](), [Double](), [Double]())
            for (y, w) in zip(rule.nodes, rule.weights) {
                let half = 0.5 * (1 + y)
                let rest = tau * half * half
                let u = tau - rest
                let s = sigma * rest.squareRoot()
                let distance = level - log(at: u) + (r - q) * rest
                weights.append(w * tau * half)
                times.append(u)
                plus.append(distance / s + 0.5 * s)
                minus.append(distance / s - 0.5 * s)
            }
            return (weights, times, plus, minus)
        }

        /// One fixed-point step: K e^{−(r−q)τ} N/D of equation FP-B.
        private func improved(_ level: Double, _ tau: Double) -> Double {
            var (weights, times, plus, minus) = points(inner, tau, level, true)
            let s = sigma * tau.squareRoot()
            let distance = level + ck_log(start / strike) + (r - q) * tau
            plus.append(distance / s + 0.5 * s)
            minus.append(distance / s - 0.5 * s)
            let count = plus.count
            ck_normal_all(plus, &plus, count)
            ck_normal_all(minus, &minus, count)
            let rates = times.map { r * $0 }
            let yields = times.map { q * $0 }
            var (growR, growQ) = (rates, yields)
            ck_exp_all(rates, &growR, rates.count)
            ck_exp_all(yields, &growQ, yields.count)
            var (above, below) = (minus[count - 1], plus[count - 1])
            for j in weights.indices {
                above += r * weights[j] * growR[j] * minus[j]
                below += q * weights[j] * growQ[j] * plus[j]
            }
            weights = []
            let next = ck_log(strike / start * above / below) - (r - q) * tau
            return min(next, 0)
        }

        /// What early exercise adds to the European price of a share above the boundary.
        func premium(_ spot: Double) -> Double {
            let (weights, times, plus, minus) = points(outer, t, ck_log(spot / start), false)
            var (upper, lower) = (plus.map { -$0 }, minus.map { -$0 })
            ck_normal_all(upper, &upper, upper.count)
            ck_normal_all(lower, &lower, lower.count)
            var sum = 0.0
            for j in weights.indices {
                let rest = t - times[j]
                sum +=
                    weights[j]
                    * (r * strike * ck_exp(-r * rest) * lower[j] - q * spot * ck_exp(-q * rest) * upper[j])
            }
            return sum
        }
    }
}
