// The paper's oracle: a put that dies when the share touches a barrier below the spot.

internal import CKernels
public import Regression

/// Down-and-out put under Black and Scholes: spot 1, continuous monitoring, no dividends, no rebate.
///
/// Inputs, in this order: barrier and strike over spot, maturity in years, volatility per √year, continuous rate per
/// year. The price is per unit of spot.
///
/// Source: E. Reiner and M. Rubinstein, "Breaking down the barriers", Risk 4 (1991); E. G. Haug, *The Complete Guide to
/// Option Pricing Formulas* (2007), section 4.17.
///
/// Batches go through the closed form, vectorised (`ck_down_and_out_put`), and where that cancels (near B = S or B = K)
/// through an integral whose terms are all of one sign; in the limits T → 0 and σ → 0 through the same at its full length,
/// `reference`. Errors: 1e-13 absolute in value, 1e-9 relative in each derivative, tested against 40 digits.
public struct DownAndOutPut: Oracle {
    public let descriptor = OracleDescriptor(
        name: "downAndOutPut",
        version: "1",
        summary: "down-and-out put, Black-Scholes, closed form, spot 1, no dividends, no rebate",
        citation: "Reiner and Rubinstein, Breaking down the barriers, Risk 4 (1991); Haug (2007), section 4.17",
        inputs: [
            .init(name: "barrierOverSpot", unit: "1", meaning: "barrier over spot", lower: 0.5, upper: 1),
            .init(name: "strikeOverSpot", unit: "1", meaning: "strike over spot", lower: 0.5, upper: 1.5),
            .init(name: "maturityYears", unit: "yr", meaning: "time to maturity", lower: 0.05, upper: 2.05),
            .init(name: "volatility", unit: "1/yr^0.5", meaning: "volatility", lower: 0.1, upper: 0.6),
            .init(name: "rate", unit: "1/yr", meaning: "continuous interest rate", lower: 0, upper: 0.1),
        ],
        constraints: [
            LinearConstraint(name: "barrierOverSpot<=1", coefficients: [0: 1], bound: 1),
            LinearConstraint(name: "barrierOverSpot<=strikeOverSpot", coefficients: [0: 1, 1: -1], bound: 0),
        ],
        providesGradient: true)

    public init() {}

    /// Value and derivatives by (barrier, strike, maturity, volatility, rate) of one contract.
    public struct Valuation: Sendable, Hashable {
        public var price: Double
        public var gradient: [Double]
        public var status: ValuationStatus
    }

    public func evaluate(_ points: [Double], gradient: Bool) -> Valuations {
        precondition(points.count.isMultiple(of: 5), "\(points.count) numbers are no rows of 5")
        let count = points.count / 5
        var gradients: [Double] = []
        var left: [UInt8] = []
        // Written whole by the kernel: filling them first would cost as much as a seventh of the prices.
        var prices = [Double](unsafeUninitializedCapacity: count) { prices, priced in
            left = [UInt8](unsafeUninitializedCapacity: count) { left, marked in
                gradients = [Double](unsafeUninitializedCapacity: gradient ? points.count : 0) { gradients, derived in
                    ck_down_and_out_put(
                        points, count, prices.baseAddress, gradient ? gradients.baseAddress : nil, left.baseAddress)
                    (priced, marked, derived) = (count, count, gradient ? points.count : 0)
                }
            }
        }
        var statuses = [ValuationStatus](repeating: .ok, count: count)
        for i in left.indices where left[i] != 0 {
            let p = points[5 * i..<5 * i + 5]
            let valuation = Self.reference(
                barrier: p[5 * i], strike: p[5 * i + 1], maturity: p[5 * i + 2], volatility: p[5 * i + 3],
                rate: p[5 * i + 4])
            prices[i] = valuation.price
            statuses[i] = valuation.status
            if gradient { gradients.replaceSubrange(5 * i..<5 * i + 5, with: valuation.gradient) }
        }
        return Valuations(prices: prices, gradients: gradients, statuses: statuses)
    }

    /// One contract by integration: slower than the closed form, independent of it, and accurate in every limit.
    ///
    /// With x = −ln B, s = σ√T, m = rT − s²/2, W = ln(K/B)/s, z₀ = (x + m)/s and ξ = x/s,
    ///
    ///     price = e^{−rT} ∫₀ᵂ K (1 − e^{s(w − W)}) n(w − z₀) (1 − e^{−2ξw}) dw:
    ///
    /// payoff times the density of the share's end, killed at the barrier (w counts standard deviations above it). No
    /// factor cancels, so the relative accuracy holds for any parameters; derivatives are taken under the integral.
    ///
    /// Limits and extensions:
    /// - B ≥ 1 (knocked out at once) and B ≥ K (nothing left to pay): 0 with zero derivatives, status `extended`;
    /// - T = 0: the payoff max(K − 1, 0), its derivative by K at K = 1 taken as ½, by T as the limit where it is finite;
    /// - σ = 0: the share grows at the rate; B = 0: no barrier;
    /// - negative or non-finite numbers: status `invalid`.
    public static func reference(
        barrier b: Double, strike k: Double, maturity t: Double, volatility sigma: Double, rate r: Double
    ) -> Valuation {
        let zero = [0.0, 0, 0, 0, 0]
        guard [b, k, t, sigma, r].allSatisfy(\.isFinite), b >= 0, k >= 0, t >= 0, sigma >= 0 else {
            return Valuation(price: .nan, gradient: zero.map { _ in .nan }, status: .invalid)
        }
        if b >= 1 || b >= k { return Valuation(price: 0, gradient: zero, status: .extended) }
        let root = t.squareRoot()
        let s = sigma * root
        let discount = ck_exp(-r * t)
        guard discount.isFinite, s.isFinite else {
            return Valuation(price: .nan, gradient: zero.map { _ in .nan }, status: .nonFinite)
        }
        // What is paid later is worth nothing today.
        if discount == 0 { return Valuation(price: 0, gradient: zero, status: .ok) }
        if s < 1e-14 { return certain(b, k, t, r, discount) }

        let m = r * t - 0.5 * s * s
        // B = 0 has no barrier: any barrier that the share cannot reach does the same.
        let x = b > 0 ? -ck_log(b) : 50 * s + abs(m) + 1
        let top = b > 0 ? logRatio(k, b) / s : (x + ck_log(k)) / s
        let (z0, xi) = ((x + m) / s, x / s)
        let sums = integrate(top: top, z0: z0, xi: xi, s: s, k: k)

        let price = discount * sums.value
        let byM = discount * sums.byDrift / s
        let byS = discount * sums.byDeviation / s - s * byM
        let byRT = byM - price
        let gradient = [
            b > 0 ? -2 * discount * sums.byBarrier / (b * s) : 0,
            discount * sums.mass,
            (0.5 * sigma / root) * byS + r * byRT,
            root * byS,
            t * byRT,
        ]
        let isFinite = price.isFinite && gradient.allSatisfy(\.isFinite)
        return Valuation(price: price, gradient: gradient, status: isFinite ? .ok : .nonFinite)
    }

    /// No time or no volatility: the share's path is certain, e^{rt}.
    private static func certain(_ b: Double, _ k: Double, _ t: Double, _ r: Double, _ discount: Double) -> Valuation {
        let end = k * discount - 1
        // A falling path touches the barrier before its end.
        let alive = r >= 0 || 1 / discount > b
        guard alive, end >= 0 else {
            return Valuation(price: 0, gradient: [0, 0, 0, 0, 0], status: alive ? .ok : .extended)
        }
        let share = end > 0 ? 1 : 0.5
        return Valuation(
            price: end, gradient: [0, share * discount, -share * r * k * discount, 0, -share * t * k * discount],
            status: .ok)
    }

    /// ln(k/b) for k > b > 0, accurate also where they are close: ln(1 + z) = ln(u) z / (u − 1) with u = 1 + z rounded.
    private static func logRatio(_ k: Double, _ b: Double) -> Double {
        let z = (k - b) / b
        let u = 1 + z
        return u == 1 ? z : ck_log(u) * (z / (u - 1))
    }

    private struct Sums {
        var value = 0.0, mass = 0.0, byDrift = 0.0, byDeviation = 0.0, byBarrier = 0.0
    }

    /// The integrals that a valuation is made of; the barrier's derivative apart from the others, whose weight it does not
    /// share.
    private static func integrate(top: Double, z0: Double, xi: Double, s: Double, k: Double) -> Sums {
        var sums = Sums()
        withUnsafeTemporaryAllocation(of: Double.self, capacity: 6 * 16) { scratch in
            // Sixteen numbers of each: the elementary functions work on whole panels.
            let (w, weight) = (scratch.baseAddress!, scratch.baseAddress! + 16)
            let (density, touch, alive, payoff) = (w + 32, w + 48, w + 64, w + 80)
            forEachPanel(top: top, centre: z0, xi: xi, s: s, w, weight) {
                for j in 0..<16 {
                    let z = w[j] - z0
                    density[j] = -0.5 * z * z
                    touch[j] = -2 * xi * w[j]
                    alive[j] = touch[j]
                    payoff[j] = s * (w[j] - top)
                }
                ck_exp_all(density, density, 32)
                ck_expm1_all(alive, alive, 32)
                for j in 0..<16 {
                    let z = w[j] - z0
                    let (mass, pays, lives) = (weight[j] * density[j], -k * payoff[j], -alive[j])
                    sums.value += mass * pays * lives
                    sums.mass += mass * lives
                    sums.byDrift += mass * pays * lives * z
                    sums.byDeviation += mass * pays * ((z * z - 1) * lives - 4 * xi * w[j] * touch[j])
                }
            }
            // What the barrier takes away has its weight elsewhere: n(w − z₀) e^{−2ξw} is centred at z₀ − 2ξ.
            forEachPanel(top: top, centre: z0 - 2 * xi, xi: xi, s: s, w, weight) {
                for j in 0..<16 {
                    density[j] = -0.5 * (w[j] - z0) * (w[j] - z0) - 2 * xi * w[j]
                    payoff[j] = s * (w[j] - top)
                }
                ck_exp_all(density, density, 16)
                ck_expm1_all(payoff, payoff, 16)
                for j in 0..<16 { sums.byBarrier += weight[j] * density[j] * -k * payoff[j] * (w[j] + xi) }
            }
        }
        return sums
    }

    /// Gauss-Legendre with 16 nodes on panels: over the part of [0, top] where a normal density around `centre` is within
    /// e^{−45} of its peak, each panel no wider than what the factors vary on. Calls `body` with the nodes and weights of
    /// a panel in `w` and `weight`; weights include 1/√(2π).
    private static func forEachPanel(
        top: Double, centre: Double, xi: Double, s: Double, _ w: UnsafeMutablePointer<Double>,
        _ weight: UnsafeMutablePointer<Double>, _ body: () -> Void
    ) {
        let peak = min(max(centre, 0), top)
        let distance = abs(peak - centre)
        let reach = (distance * distance + 90).squareRoot()
        // From far away the density falls within 45/distance of its peak, which centre ± reach would round away.
        let (from, to) =
            distance < 1e3 ? (centre - reach, centre + reach) : (peak - 45 / distance, peak + 45 / distance)
        let upper = min(top, to)
        let widest = min(1, 3 / s, 6 / distance)
        var start = max(0, from)
        while start < upper {
            // Near the barrier 1 − e^{−2ξw} varies on 1/ξ; panels double from there.
            let width = min(widest, max(start, 1 / max(xi, 1)))
            let end = start + width < upper ? start + width : upper
            let (half, middle) = ((end - start) / 2, (end + start) / 2)
            for j in 0..<16 {
                w[j] = middle + half * nodes[j]
                weight[j] = half * weights[j] * 0.398942280401432678
            }
            body()
            guard end > start else { return }
            start = end
        }
    }

    // Gauss-Legendre, 16 points on [−1, 1]; Abramowitz and Stegun, table 25.4, to full precision.
    private static let nodes: [Double] = {
        let half = [
            0.0950125098376374402, 0.2816035507792589132, 0.4580167776572273863, 0.6178762444026437484,
            0.7554044083550030339, 0.8656312023878317439, 0.9445750230732325761, 0.9894009349916499326,
        ]
        return half.reversed().map { -$0 } + half
    }()
    private static let weights: [Double] = {
        let half = [
            0.1894506104550684963, 0.1826034150449235888, 0.1691565193950025382, 0.1495959888165767320,
            0.1246289712555338720, 0.0951585116824927848, 0.0622535239386478929, 0.0271524594117540949,
        ]
        return half.reversed() + half
    }()
}
