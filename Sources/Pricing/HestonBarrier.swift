// Knock-out options under stochastic volatility: finite differences in two dimensions.

internal import CKernels
public import Regression

/// Knock-out call or put, watched continuously, no rebate, in Heston's model: dS = (r − q) S dt + √v S dW,
/// dv = κ(θ − v) dt + σ √v dZ, with correlation ρ of W and Z.
///
/// Method: alternating directions (the modified scheme of Craig and Sneyd, θ = 1/3) after four implicit half steps of Douglas;
/// a grid of ln S that is denser at the barrier, barrier and strike on nodes and the payoff averaged over cells, and a grid of v
/// that is denser towards 0, where the equation itself is the boundary condition. The grid and its halving in all three directions are
/// extrapolated; `extrapolation` none gives the price on the one of `gridPoints`.
///
/// Source: S. Heston, Review of Financial Studies 6 (1993); K. in 't Hout and S. Foulon, "ADI finite difference schemes for
/// option pricing in the Heston model with correlation", International Journal of Numerical Analysis and Modeling 7 (2010).
///
/// Limits and extensions: a spot at or beyond the barrier is knocked out (`extended`, 0); where two grids differ by more than
/// 1e-3 of the price and 1e-4 of the strike, `notConverged`. Error: 3e-6 of the strike, in the intervals that `describe`
/// tells and down to a volatility of variance of 0.01.
public struct HestonBarrier: Oracle {
    public let descriptor = OracleDescriptor(
        name: "hestonBarrier", version: "3",
        summary: "knock-out option under Heston's stochastic volatility, by alternating directions",
        citation:
            "Heston, Review of Financial Studies 6 (1993); in 't Hout and Foulon, Int. J. Numerical Analysis and Modeling 7 "
            + "(2010)",
        inputs: [
            .optionType, .knockOut, .spot(), .strike, .barrier, .maturityYears, .rate, .dividendYield,
            .init(name: "variance", unit: "1/yr", meaning: "variance v today", lower: 0.01, upper: 0.16),
            .init(
                name: "reversion", unit: "1/yr", meaning: "speed κ at which v returns to its mean", lower: 0.5, upper: 4
            ),
            .init(name: "meanVariance", unit: "1/yr", meaning: "long-term mean θ of v", lower: 0.01, upper: 0.16),
            .init(name: "varianceVolatility", unit: "1/yr", meaning: "volatility σ of v", lower: 0.1, upper: 0.6),
            .init(name: "correlation", unit: "1", meaning: "of share and variance", lower: -0.9, upper: 0.3),
            .init(
                name: "gridPoints", unit: "1", meaning: "steps in S of the coarser grid, twice those in v and in time",
                lower: 40, upper: 800, kind: .integer, usual: 160), .extrapolation,
        ],
        gradientMethod: OracleDescriptor.GradientMethod.none, costSeconds: 0.1)

    public init() {}

    public func evaluate(_ points: [Double], gradient: Bool) -> Valuations {
        evaluateRows(descriptor, points, gradient: false) { words, x in
            price(words, x).map { (price: $0.price, gradient: [], status: $0.status) }
        }
    }

    private func price(_ words: [Int], _ x: [Double]) -> (price: Double, status: ValuationStatus)? {
        let (spot, strike, barrier, maturity, rate, yield) = (x[0], x[1], x[2], x[3], x[4], x[5])
        let model = Model(variance: x[6], reversion: x[7], mean: x[8], volatility: x[9], correlation: x[10])
        guard spot > 0, strike > 0, barrier > 0, maturity > 0, model.isSane else { return nil }
        let (isCall, isUp) = (words[0] == 0, words[1] == 1)
        if isUp ? spot >= barrier : spot <= barrier { return (0, .extended) }

        let typical = max(model.variance, model.mean)
        let here = abs(ck_log(spot / barrier))
        let deviation = (typical * maturity).squareRoot()
        let near = here + 6 * deviation + abs(rate - yield) * maturity
        let reach = max(near, here + 14 * model.tail(maturity) + abs(rate - yield) * maturity)
        // A barrier far away is no place to be dense at; a long tail takes few nodes.
        let density = min(max(0.1, 0.1 * (here / deviation) * (here / deviation)), 10) * near / reach
        let top = model.top(maturity)
        guard reach < 300, reach > 1e-4, deviation > 1e-5, top > 1e-8, top < 1e4 else { return (.nan, .nonFinite) }
        let grid = BarrierGrid(
            isUp: isUp, barrier: barrier, strike: strike, reach: reach, density: density, points: words[2])
        return extrapolated(words[3] == 0, strike) { halved in
            let grid = halved ? BarrierGrid(halving: grid) : grid
            let sheets = halved ? words[2] / 2 * 2 : words[2] / 2
            var solver = Solver(model, grid, sheets: sheets, top: top, rate: rate, yield: yield)
            return solver.price(isCall: isCall, spot: spot, maturity: maturity, steps: sheets)
        }
    }

    private struct Model {
        let variance: Double
        let reversion: Double
        let mean: Double
        let volatility: Double
        let correlation: Double

        var isSane: Bool {
            variance >= 0 && reversion > 0 && mean > 0 && volatility > 0 && abs(correlation) <= 1
        }

        /// A variance that is not reached by `maturity`: v is c times a noncentral χ², whose root is nearly normal with
        /// variance 1 (A. Cairns, *Interest Rate Models* (2004), on the square-root process).
        func top(_ maturity: Double) -> Double {
            let c = volatility * volatility * (1 - ck_exp(-reversion * maturity)) / (4 * reversion)
            let root = max(variance, mean).squareRoot() + 6.5 * c.squareRoot()
            return max(root * root, 1.3 * max(variance, mean))
        }

        /// The distance in ln S over which its tail at `maturity`, times S, falls by a factor e. Where the variance seldom
        /// is far above its mean, but then stays there, the tail is exponential: I = ∫ v dt is nearly a gamma variable of
        /// scale b = var I / E I, so that E S^p is finite up to p (p − 1) / 2 = 1 / b (moments of I: A. Cairns, as above).
        func tail(_ maturity: Double) -> Double {
            // A slower return makes little difference, and its differences cancel.
            let (k, T) = (max(reversion, 0.01 / maturity), maturity)
            let decay = ck_exp(-k * T)
            let expected = mean * T + (variance - mean) * (1 - decay) / k
            let spread =
                volatility * volatility / (k * k)
                * (mean * (T - 2 * (1 - decay) / k + (1 - decay * decay) / (2 * k))
                    + (variance - mean) * ((1 - decay * decay) / k - 2 * T * decay))
            let scale = spread / expected
            guard scale > 1e-12 else { return 0 }
            return 1 / ((2 / scale + 0.25).squareRoot() - 0.5)
        }
    }

    /// Sheets of the grid of ln S, one for each variance: node i of sheet j at j · count + i.
    private struct Solver {
        let model: Model
        let grid: BarrierGrid
        /// Variances.
        private let v: [Double]
        private let alongS: [Tridiagonal]
        private let alongV: Tridiagonal
        /// The third entry of `alongV`'s first row.
        private let corner: Double
        /// Weights of ∂/∂v at sheet j of sheets j − 1, j, j + 1, times ρσv.
        private let mixed: [(Double, Double, Double)]
        /// Weights of ∂/∂ln S at node i of nodes i − 1, i, i + 1; none at the ends.
        private let slopes: [(Double, Double, Double)]

        init(_ model: Model, _ grid: BarrierGrid, sheets: Int, top: Double, rate: Double, yield: Double) {
            (self.model, self.grid) = (model, grid)
            slopes = (0..<grid.count).map { $0 == 0 || $0 == grid.count - 1 ? (0, 0, 0) : grid.slope($0) }
            let dense = min(top / 4, max(model.variance, model.mean) / 8)
            let last = Self.arsinh(top / dense)
            v = (0...sheets).map { dense * Self.sinh(last * Double($0) / Double(sheets)) }
            alongS = v.map { v in
                grid.rows(
                    diffusion: [Double](repeating: v / 2, count: grid.count),
                    drift: [Double](repeating: rate - yield - v / 2, count: grid.count), rate: rate)
            }
            let square = model.volatility * model.volatility
            var rows = Tridiagonal(v.count)
            var mixed = [(Double, Double, Double)](repeating: (0, 0, 0), count: v.count)
            for j in 1..<sheets {
                let (low, high) = (v[j] - v[j - 1], v[j + 1] - v[j])
                let drift = model.reversion * (model.mean - v[j])
                let first = (-high / (low * (low + high)), (high - low) / (low * high), low / (high * (low + high)))
                let second = (2 / (low * (low + high)), -2 / (low * high), 2 / (high * (low + high)))
                let half = 0.5 * square * v[j]
                rows.below[j] = half * second.0 + drift * first.0
                rows.middle[j] = half * second.1 + drift * first.1
                rows.above[j] = half * second.2 + drift * first.2
                let weight = model.correlation * model.volatility * v[j]
                mixed[j] = (weight * first.0, weight * first.1, weight * first.2)
            }
            // v = 0: κθ ∂u/∂v, one-sided and of second order.
            let (h0, h1) = (v[1] - v[0], v[2] - v[1])
            let pull = model.reversion * model.mean
            rows.middle[0] = -pull * (2 * h0 + h1) / (h0 * (h0 + h1))
            rows.above[0] = pull * (h0 + h1) / (h0 * h1)
            corner = -pull * h0 / (h1 * (h0 + h1))
            // At the top v only falls, and what is known there moves out of the grid: no condition but the drift.
            rows.below[sheets] = model.reversion * (v[sheets] - model.mean) / (v[sheets] - v[sheets - 1])
            rows.middle[sheets] = -rows.below[sheets]
            alongV = rows
            self.mixed = mixed
        }

        private static func sinh(_ x: Double) -> Double { (ck_exp(x) - ck_exp(-x)) / 2 }
        private static func arsinh(_ x: Double) -> Double { ck_log(x + (x * x + 1).squareRoot()) }

        private typealias Values = UnsafeMutablePointer<Double>

        mutating func price(isCall: Bool, spot: Double, maturity: Double, steps: Int) -> Double {
            let (count, sheets) = (grid.count, v.count)
            let size = count * sheets
            let payoff = grid.payoff(isCall: isCall)
            let memory = Values.allocate(capacity: 6 * size)
            defer { memory.deallocate() }
            for j in 0..<sheets { for i in 0..<count { memory[j * count + i] = payoff[i] } }
            let parts = (0..<6).map { memory + $0 * size }
            for step in 0..<steps {
                // Steps grow from the payoff on, whose jump at the barrier would cost an order in equal ones: T (k/steps)².
                let dt = maturity * Double(2 * step + 1) / Double(steps * steps)
                if step < 2 {
                    let damping = Factors(self, dt / 2)
                    for _ in 0..<2 { douglas(parts, dt / 2, damping) }
                } else {
                    craigSneyd(parts, dt, Factors(self, dt / 3))
                }
            }

            let (first, weights) = grid.interpolation(at: spot)
            let (sheet, shares) = cubic(v, at: model.variance)
            var price = 0.0
            for (a, share) in shares.enumerated() {
                for (k, w) in weights.enumerated() { price += share * w * memory[(sheet + a) * count + first + k] }
            }
            return price
        }

        /// 1 − a A in either direction, factored.
        private struct Factors {
            let a: Double
            let alongS: [Tridiagonal.Factored]
            let alongV: Tridiagonal.Factored
            /// How much of row 1 is taken from row 0 first, to clear its third entry.
            let cleared: Double

            init(_ solver: Solver, _ a: Double) {
                self.a = a
                alongS = solver.alongS.map { $0.implicit(a) }
                var rows = solver.alongV
                let (count, corner) = (rows.middle.count, solver.corner)
                precondition(count > 3)
                // Row 0 minus `cleared` times row 1 of 1 − a A.
                cleared = rows.above[1] == 0 ? 0 : corner / rows.above[1]
                if a != 0 {
                    let diagonal = 1 - a * rows.middle[0] + cleared * a * rows.below[1]
                    let next = -a * rows.above[0] - cleared * (1 - a * rows.middle[1])
                    rows.middle[0] = (1 - diagonal) / a
                    rows.above[0] = -next / a
                }
                alongV = rows.implicit(a)
            }
        }

        /// result = (A_S or A_V or A_mixed) u, or added to it.
        private func applyS(_ u: Values, _ result: Values) {
            let n = grid.count
            for j in v.indices {
                let (rows, u, result) = (alongS[j], u + j * n, result + j * n)
                rows.below.withUnsafeBufferPointer { below in
                    rows.middle.withUnsafeBufferPointer { middle in
                        rows.above.withUnsafeBufferPointer { above in
                            result[0] = 0
                            for i in 1..<n - 1 {
                                result[i] = below[i] * u[i - 1] + middle[i] * u[i] + above[i] * u[i + 1]
                            }
                            result[n - 1] = below[n - 1] * u[n - 2] + middle[n - 1] * u[n - 1]
                        }
                    }
                }
            }
        }

        private func applyV(_ u: Values, _ result: Values) {
            let (n, last) = (grid.count, v.count - 1)
            for j in 0...last {
                let (low, middle, high) = (alongV.below[j], alongV.middle[j], alongV.above[j])
                let (under, here, over) = (u + max(j - 1, 0) * n, u + j * n, u + min(j + 1, last) * n)
                let result = result + j * n
                if j == 0 {
                    let third = u + 2 * n
                    for i in 0..<n { result[i] = middle * here[i] + high * over[i] + corner * third[i] }
                } else {
                    for i in 0..<n { result[i] = low * under[i] + middle * here[i] + high * over[i] }
                }
            }
        }

        private func applyMixed(_ u: Values, _ result: Values) {
            let n = grid.count
            for j in v.indices {
                let (low, middle, high) = mixed[j]
                let result = result + j * n
                guard j > 0, j < v.count - 1 else {
                    for i in 0..<n { result[i] = 0 }
                    continue
                }
                let (under, here, over) = (u + (j - 1) * n, u + j * n, u + (j + 1) * n)
                // First along v, then along S.
                (result[0], result[n - 1]) = (0, 0)
                func along(_ i: Int) -> Double { low * under[i] + middle * here[i] + high * over[i] }
                var (left, centre) = (along(0), along(1))
                for i in 1..<n - 1 {
                    let right = along(i + 1)
                    let slope = slopes[i]
                    result[i] = slope.0 * left + slope.1 * centre + slope.2 * right
                    (left, centre) = (centre, right)
                }
            }
        }

        private func solveS(_ factors: Factors, _ x: Values) {
            for j in v.indices { factors.alongS[j].solve(x + j * grid.count) }
        }

        /// Whole sheets at a time.
        private func solveV(_ factors: Factors, _ x: Values) {
            let (n, last, f) = (grid.count, v.count - 1, factors.alongV)
            for i in 0..<n { x[i] -= factors.cleared * x[n + i] }
            for j in 1...last {
                let (factor, under, here) = (f.factor[j], x + (j - 1) * n, x + j * n)
                for i in 0..<n { here[i] -= factor * under[i] }
            }
            for j in (0...last).reversed() {
                let (inverse, above, here, over) = (f.inverse[j], f.above[j], x + j * n, x + min(j + 1, last) * n)
                if j == last {
                    for i in 0..<n { here[i] *= inverse }
                } else {
                    for i in 0..<n { here[i] = (here[i] - above * over[i]) * inverse }
                }
            }
        }

        /// One step of Douglas with θ = 1: parts[0] becomes the next values.
        private func douglas(_ parts: [Values], _ dt: Double, _ factors: Factors) {
            let (u, s, w, m) = (parts[0], parts[1], parts[2], parts[3])
            applyS(u, s)
            applyV(u, w)
            applyMixed(u, m)
            let size = grid.count * v.count
            // y = u + dt (S + V + M) u − dt S u
            for k in 0..<size { u[k] += dt * (w[k] + m[k]) }
            solveS(factors, u)
            for k in 0..<size { u[k] -= dt * w[k] }
            solveV(factors, u)
        }

        /// One step of the modified scheme of Craig and Sneyd with θ = 1/3 (in 't Hout and Foulon, equation 2.5).
        private func craigSneyd(_ parts: [Values], _ dt: Double, _ factors: Factors) {
            let (u, s, w, m, y, z) = (parts[0], parts[1], parts[2], parts[3], parts[4], parts[5])
            let size = grid.count * v.count
            let theta = 1.0 / 3
            applyS(u, s)
            applyV(u, w)
            applyMixed(u, m)
            for k in 0..<size { y[k] = u[k] + dt * (s[k] + w[k] + m[k]) - theta * dt * s[k] }
            solveS(factors, y)
            for k in 0..<size { y[k] -= theta * dt * w[k] }
            solveV(factors, y)
            // Once more from the explicit step, corrected by what the operators say at y.
            applyMixed(y, z)
            for k in 0..<size { u[k] += dt * (s[k] + w[k] + 0.5 * (m[k] + z[k])) }
            let rest = (0.5 - theta) * dt
            applyS(y, z)
            for k in 0..<size { u[k] += rest * (z[k] - s[k]) - theta * dt * s[k] }
            applyV(y, z)
            for k in 0..<size { u[k] += rest * (z[k] - w[k]) }
            solveS(factors, u)
            for k in 0..<size { u[k] -= theta * dt * w[k] }
            solveV(factors, u)
        }
    }
}
