// Finite differences for options with a barrier: the grid, the payoff on it, tridiagonal systems.

internal import CKernels

/// A grid of ln S whose first node is a barrier where the option dies, and that is denser there.
///
/// y = ±ln(S/B) = c sinh ξ counts from the barrier into the side where the option lives; ξ is cut evenly. The strike is on a
/// node too, if it lies among them: then halving the steps keeps every special point on a node, errors shrink regularly, by
/// 4, and two grids may be extrapolated (D. Tavella and C. Randall, *Pricing Financial Instruments* (2000), chapter 5).
struct BarrierGrid {
    let isUp: Bool
    let barrier: Double
    let strike: Double
    /// y at the nodes.
    let y: [Double]
    /// y half a step of ξ before each node, and after the last.
    private let edges: [Double]
    private let step: Double
    private let density: Double

    var count: Int { y.count }
    private var side: Double { isUp ? -1 : 1 }

    /// - Parameters:
    ///   - reach: the largest y that matters; positive and finite.
    ///   - density: c over `reach`, 10 at the most, where the grid is even to the eye.
    ///   - points: about how many steps.
    init(isUp: Bool, barrier: Double, strike: Double, reach: Double, density: Double, points: Int) {
        let c = density * reach
        func along(_ y: Double) -> Double {
            let z = y / c
            return ck_log(z + (z * z + 1).squareRoot())
        }
        let end = along(reach)
        let kink = (isUp ? -1 : 1) * ck_log(strike / barrier)
        var step = end / Double(points)
        if kink > 0 && kink < reach {
            let nodes = (along(kink) / step).rounded()
            if nodes >= 4 { step = along(kink) / nodes }
        }
        let steps = Int(min(max((end / step).rounded(.up), 8), Double(2 * points)))
        self.init(isUp, barrier, strike, c, step, steps)
    }

    /// The same grid with a node in the middle of each step.
    init(halving grid: BarrierGrid) {
        self.init(grid.isUp, grid.barrier, grid.strike, grid.density, grid.step / 2, 2 * (grid.count - 1))
    }

    private init(_ isUp: Bool, _ barrier: Double, _ strike: Double, _ density: Double, _ step: Double, _ steps: Int) {
        (self.isUp, self.barrier, self.strike, self.density, self.step) = (isUp, barrier, strike, density, step)
        func distance(_ x: Double) -> Double { 0.5 * density * (ck_exp(x * step) - ck_exp(-x * step)) }
        y = (0...steps).map { distance(Double($0)) }
        edges = (0...steps + 1).map { distance(Double($0) - 0.5) }
    }

    /// S at a node.
    func price(_ i: Int) -> Double { barrier * ck_exp(side * y[i]) }

    /// Weights of ∂/∂ln S at node i, not at an end, for the values at i − 1, i, i + 1; second order on a smooth grid.
    func slope(_ i: Int) -> (Double, Double, Double) {
        let (low, high) = (y[i] - y[i - 1], y[i + 1] - y[i])
        return (
            -side * high / (low * (low + high)), side * (high - low) / (low * high), side * low / (high * (low + high))
        )
    }

    /// a u'' + b u' − c u in ln S, a and b by node: second order inside; nothing at the barrier, where u = 0; and at the last
    /// node the second derivative by S vanishes.
    func rows(diffusion: [Double], drift: [Double], rate: Double) -> Tridiagonal {
        var matrix = Tridiagonal(count)
        for i in 1..<count - 1 {
            let (low, high) = (y[i] - y[i - 1], y[i + 1] - y[i])
            let (a, first) = (2 * diffusion[i] / (low + high), slope(i))
            matrix.below[i] = a / low + drift[i] * first.0
            matrix.middle[i] = -a / low - a / high + drift[i] * first.1 - rate
            matrix.above[i] = a / high + drift[i] * first.2
        }
        let n = count - 1
        let slope = side * (drift[n] + diffusion[n]) / (y[n] - y[n - 1])
        matrix.below[n] = -slope
        matrix.middle[n] = slope - rate
        return matrix
    }

    /// The payoff averaged over each node's cell, so that its kink costs no order; 0 at the barrier.
    func payoff(isCall: Bool) -> [Double] {
        let kink = ck_log(strike / barrier)
        return (0..<count).map { i in
            guard i > 0 else { return 0 }
            let ends = isUp ? (-edges[i + 1], -edges[i]) : (edges[i], edges[i + 1])
            let (low, high) = isCall ? (max(ends.0, kink), ends.1) : (ends.0, min(ends.1, kink))
            guard low < high else { return 0 }
            // ∫ S d ln S = S.
            let value = barrier * (ck_exp(high) - ck_exp(low)) - strike * (high - low)
            return (isCall ? value : -value) / (ends.1 - ends.0)
        }
    }

    /// Weights of four nodes for the value at a price: the first of them, and the weights.
    func interpolation(at spot: Double) -> (first: Int, weights: [Double]) {
        cubic(y, at: side * ck_log(spot / barrier))
    }
}

/// The cubic through the four of increasing `nodes` around x: the first of them, and their weights.
func cubic(_ nodes: [Double], at x: Double) -> (first: Int, weights: [Double]) {
    let above = nodes.firstIndex { $0 >= x } ?? nodes.count - 1
    let first = min(max(above - 2, 0), nodes.count - 4)
    let weights = (0..<4).map { a in
        (0..<4).reduce(1.0) { product, b in
            b == a ? product : product * (x - nodes[first + b]) / (nodes[first + a] - nodes[first + b])
        }
    }
    return (first, weights)
}

/// A tridiagonal matrix by rows.
struct Tridiagonal {
    var below: [Double]
    var middle: [Double]
    var above: [Double]

    init(_ count: Int) {
        below = [Double](repeating: 0, count: count)
        (middle, above) = (below, below)
    }

    /// x + a A y.
    func applied(_ a: Double, to y: [Double], plus x: [Double]) -> [Double] {
        var x = x
        for i in x.indices {
            var sum = middle[i] * y[i]
            if i > 0 { sum += below[i] * y[i - 1] }
            if i + 1 < x.count { sum += above[i] * y[i + 1] }
            x[i] += a * sum
        }
        return x
    }

    /// 1 − a A, factored without pivoting, as steps in time allow.
    func implicit(_ a: Double) -> Factored { Factored(self, a) }

    struct Factored {
        /// Of row i: what of row i − 1 is subtracted, and one over the pivot.
        private(set) var factor: [Double]
        private(set) var inverse: [Double]
        private(set) var above: [Double]

        fileprivate init(_ matrix: Tridiagonal, _ a: Double) {
            let n = matrix.middle.count
            factor = [Double](repeating: 0, count: n)
            inverse = factor
            above = matrix.above.map { -a * $0 }
            inverse[0] = 1 / (1 - a * matrix.middle[0])
            for i in 1..<n {
                factor[i] = -a * matrix.below[i] * inverse[i - 1]
                inverse[i] = 1 / (1 - a * matrix.middle[i] - factor[i] * above[i - 1])
            }
        }

        /// Replaces `x`, of the matrix' size, by the solution.
        func solve(_ x: UnsafeMutablePointer<Double>) {
            let n = factor.count
            for i in 1..<n { x[i] -= factor[i] * x[i - 1] }
            x[n - 1] *= inverse[n - 1]
            for i in stride(from: n - 2, through: 0, by: -1) { x[i] = (x[i] - above[i] * x[i + 1]) * inverse[i] }
        }

        func solution(_ x: [Double]) -> [Double] {
            var x = x
            x.withUnsafeMutableBufferPointer { solve($0.baseAddress!) }
            return x
        }
    }
}
