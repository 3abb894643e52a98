// The right to exercise at any time.

internal import CKernels
public import Regression

/// American put and call under Black and Scholes with a dividend yield.
///
/// The early-exercise boundary B(τ) solves the integral equation of Kim. It is found by the fixed-point iteration FP-B of
/// Andersen, Lake and Offengenden (2016) on Chebyshev's interpolation of ln²(B/B(0)). Two changes: they interpolate in √τ and
/// integrate in √(τ − u), but near maturity the boundary is like √(τ ln τ), which costs all but five digits. Here the
/// interpolation is in τ^(1/4), and the integrals in an angle, u = τ cos²φ, which smooths both of their ends, graded
/// towards u = 0. The price is the European one plus the integral of what exercise earns. A call is the put with share
/// and strike, rate and yield exchanged (McDonald and Schroder 1998).
///
/// Source: L. Andersen, M. Lake and D. Offengenden, "High-performance American option pricing", Journal of Computational
/// Finance 20 (2016); I. J. Kim, "The analytic valuation of American options", Review of Financial Studies 3 (1990).
///
/// Limits and extensions: where exercise never pays (a put with rate ≤ 0 ≤ yield, a call with yield ≤ 0 ≤ rate) the price
/// is the European one; where there would be two boundaries (a put with yield < rate < 0, a call with rate < yield < 0)
/// the status is `invalid`; an iteration that does not settle says `notConverged` (with next to no volatility the price on a
/// certain path). Error: 1e-8 of
/// the strike for volatilities above 0.05.
public struct American: SmoothOracle {
    public let descriptor = OracleDescriptor(
        name: "american", version: "2",
        summary: "American put or call with a dividend yield, boundary by integral equation",
        citation: "Andersen, Lake and Offengenden, Journal of Computational Finance 20 (2016)",
        inputs: [.optionType, .spot(), .strike, .maturityYears, .volatility, .rate, .dividendYield],
        gradientMethod: .differences, costSeconds: 1e-3)

    public init() {}

    func reach(_ words: [Int], _ x: [Double]) -> [Double] {
        let s = x[3] * x[2].squareRoot()
        // What exercise earns grows from nothing with the rate of a put (the yield of a call), with a logarithm of it; what
        // it costs is seen beside that.
        let (r, q) = words[0] == 1 ? (x[4], x[5]) : (x[5], x[4])
        func step(_ scale: Double) -> Double { r > 0 ? min(2e-4, max(0.1 * scale, 1e-6)) : 2e-4 }
        let rates = [step(r), step(max(r, q))]
        return
            ([1e-2 * x[0] * min(1, s), 1e-2 * x[1] * min(1, s), 5e-3 * x[2], 5e-3 * x[3]]
            + (words[0] == 1 ? rates : rates.reversed())).map { max($0, 1e-9) }
    }

    /// Exercised now, kept for the time being, or never exercised before the end. Second derivatives jump from the first to
    /// the second, and a difference across the boundary would smear that into the first derivatives.
    func piece(_ words: [Int], _ x: [Double], price: Double) -> Int {
        let (intrinsic, r, q) =
            words[0] == 1 ? (x[1] - x[0], x[4], x[5]) : (x[0] - x[1], x[5], x[4])
        if r < 0 || (r == 0 && q >= 0) { return 2 }
        return price <= intrinsic ? 0 : 1
    }

    func price(_ words: [Int], _ x: [Double]) -> (price: Double, status: ValuationStatus)? {
        let (spot, strike, maturity, volatility, rate, yield) = (x[0], x[1], x[2], x[3], x[4], x[5])
        guard spot > 0, strike > 0, maturity >= 0, volatility >= 0 else { return nil }
        return words[0] == 1
            ? Self.put(spot, strike, maturity, volatility, rate, yield)
            : Self.put(strike, spot, maturity, volatility, yield, rate)
    }

    private static let order = 20
    private static let inner = AngleRule(40)
    /// A share at a small distance from the boundary crosses it, if so, soon: u is resolved down to that, by panels that
    /// halve towards u = τ.
    private static let outer = AngleRule(16, panels: 20)

    /// ∫ over u in [0, τ] as a sum: u/τ, (τ − u)/τ and weights over τ.
    private struct AngleRule {
        var (past, rest, weights) = ([Double](), [Double](), [Double]())

        /// u = τ cos²φ with φ = π/2 (1 − (1 − s)²), Gauss-Legendre in s.
        ///
        /// - Parameter panels: each is half of what is left of s, the last all that is left.
        init(_ count: Int, panels: Int = 1) {
            let rule = GaussLegendre(count)
            var upper = 1.0
            for panel in 1...panels {
                let lower = panel == panels ? 0 : upper / 2
                for (node, weight) in zip(rule.nodes, rule.weights) {
                    let left = 1 - 0.5 * (upper + lower + (upper - lower) * node)
                    let (sine, cosine) = Double.turn(0.5 * (1 - left * left))
                    past.append(cosine * cosine)
                    rest.append(sine * sine)
                    weights.append((upper - lower) * weight * sine * cosine * .pi * left)
                }
                upper = lower
            }
        }
    }

    private static func put(_ spot: Double, _ strike: Double, _ t: Double, _ sigma: Double, _ r: Double, _ q: Double)
        -> (price: Double, status: ValuationStatus)?
    {
        if r < 0 && q < r { return nil }
        let intrinsic = max(strike - spot, 0)
        let european = vanilla(
            isCall: false, spot: spot, strike: strike, maturity: t, volatility: sigma, rate: r, dividendYield: q)
        if r < 0 || (r == 0 && q >= 0) { return (european, .ok) }
        // On a certain path the best of exercising now, at the end, or where the gain turns.
        var certain = max(intrinsic, european)
        let turn = ck_log(r * strike / (q * spot)) / (r - q)
        if turn > 0, turn < t { certain = max(certain, strike * ck_exp(-r * turn) - spot * ck_exp(-q * turn)) }
        guard sigma * t.squareRoot() > 1e-9 else { return (certain, .ok) }
        let boundary = Boundary(strike, t, sigma, r, q)
        let status: ValuationStatus = boundary.isSettled ? .ok : .notConverged
        if spot <= boundary.last { return (intrinsic, status) }
        let price = european + boundary.premium(spot)
        // Next to no volatility is more than the iteration can do.
        guard price.isFinite else { return (certain, .notConverged) }
        return (max(price, intrinsic), status)
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
            let times = (0...order).map { i -> Double in
                let x = 0.5 * (1 - ck_cospi(Double(i) / Double(order)))
                return t * x * x * x * x
            }
            for i in 1...order { logs[i] = guess(times[i]) }
            interpolate()
            let steps = (1...order).map { Step(inner, times[$0], sigma, r, q) }
            var settledEnough = false
            for _ in 0..<300 where !isSettled {
                var change = 0.0
                let old = logs
                for i in 1...order {
                    logs[i] = improved(old[i], steps[i - 1])
                    change = max(change, abs(logs[i] - old[i]))
                }
                interpolate()
                isSettled = change < 1e-12
                if !change.isFinite { return }
                // A boundary that is off by so little costs its square: no more than rounding.
                settledEnough = change < 1e-8
            }
            isSettled = isSettled || settledEnough
        }

        /// What the integrals up to one τ need, whatever the boundary: times, deviations and weights.
        private struct Step {
            let tau: Double
            var (past, rest, deviations, onCash, onShare) = ([Double](), [Double](), [Double](), [Double](), [Double]())

            /// Weights are of r e^{ru} du and q e^{qu} du.
            init(_ rule: AngleRule, _ tau: Double, _ sigma: Double, _ r: Double, _ q: Double) {
                self.tau = tau
                for j in rule.weights.indices {
                    past.append(tau * rule.past[j])
                    rest.append(tau * rule.rest[j])
                    deviations.append(sigma * rest[j].squareRoot())
                    onCash.append(r * ck_exp(r * past[j]) * tau * rule.weights[j])
                    onShare.append(q * ck_exp(q * past[j]) * tau * rule.weights[j])
                }
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
            let x = 2 * (u / t).squareRoot().squareRoot() - 1
            var (a, b) = (0.0, 0.0)
            for c in coefficients.reversed() { (a, b) = (2 * x * a - b + c, a) }
            return -max(a - x * b, 0).squareRoot()
        }

        /// d₊ and d₋ of a share that is e^level times B(0+), against the boundary at each of a step's times.
        private func arguments(_ step: Step, _ level: Double) -> (plus: [Double], minus: [Double]) {
            var (plus, minus) = ([Double](), [Double]())
            plus.reserveCapacity(step.past.count + 1)
            minus.reserveCapacity(step.past.count + 1)
            for j in step.past.indices {
                let s = step.deviations[j]
                let distance = (level - log(at: step.past[j]) + (r - q) * step.rest[j]) / s
                plus.append(distance + 0.5 * s)
                minus.append(distance - 0.5 * s)
            }
            return (plus, minus)
        }

        /// One fixed-point step: ln of K e^{−(r−q)τ} N/D of equation FP-B over B(0+).
        private func improved(_ level: Double, _ step: Step) -> Double {
            var (plus, minus) = arguments(step, level)
            let s = sigma * step.tau.squareRoot()
            let distance = (level + ck_log(start / strike) + (r - q) * step.tau) / s
            plus.append(distance + 0.5 * s)
            minus.append(distance - 0.5 * s)
            let count = plus.count
            ck_normal_all(plus, &plus, count)
            ck_normal_all(minus, &minus, count)
            var (above, below) = (minus[count - 1], plus[count - 1])
            for j in step.past.indices {
                above += step.onCash[j] * minus[j]
                below += step.onShare[j] * plus[j]
            }
            return min(ck_log(strike / start * above / below) - (r - q) * step.tau, 0)
        }

        /// What early exercise adds to the European price of a share above the boundary.
        func premium(_ spot: Double) -> Double {
            let step = Step(outer, t, sigma, r, q)
            var (upper, lower) = arguments(step, ck_log(spot / start))
            for j in upper.indices { (upper[j], lower[j]) = (-upper[j], -lower[j]) }
            ck_normal_all(upper, &upper, upper.count)
            ck_normal_all(lower, &lower, lower.count)
            // e^{−r(T − u)} = e^{−rT} e^{ru}.
            let (cash, share) = (strike * ck_exp(-r * t), spot * ck_exp(-q * t))
            var sum = 0.0
            for j in upper.indices { sum += cash * step.onCash[j] * lower[j] - share * step.onShare[j] * upper[j] }
            return sum
        }
    }
}
