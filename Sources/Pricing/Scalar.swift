// Numbers that a formula is written for once: plain ones for a price, and ones that carry their derivatives for a price
// with its exact gradient (forward differentiation).

internal import CKernels

/// What a closed form needs of a number.
protocol Scalar: Sendable {
    init(_ value: Double)
    var value: Double { get }
    static func + (a: Self, b: Self) -> Self
    static func - (a: Self, b: Self) -> Self
    static func * (a: Self, b: Self) -> Self
    static func / (a: Self, b: Self) -> Self
    static func exp(_ x: Self) -> Self
    static func log(_ x: Self) -> Self
    static func root(_ x: Self) -> Self
    /// (sin πx, cos πx).
    static func turn(_ x: Self) -> (sine: Self, cosine: Self)
    /// e^p [N(high) − N(low)] for low ≤ high, nil being infinite: also where e^p overflows and the difference underflows.
    static func spread(_ p: Self, _ low: Self?, _ high: Self?) -> Self
}

extension Scalar {
    static prefix func - (a: Self) -> Self { Self(0) - a }
    static func + (a: Self, b: Double) -> Self { a + Self(b) }
    static func - (a: Self, b: Double) -> Self { a - Self(b) }
    static func - (a: Double, b: Self) -> Self { Self(a) - b }
    static func * (a: Double, b: Self) -> Self { Self(a) * b }
    static func / (a: Self, b: Double) -> Self { a / Self(b) }
    /// e^p n(x), n the normal density.
    static func density(_ p: Self, _ x: Self) -> Self { 0.398942280401432678 * exp(p - 0.5 * x * x) }
}

extension Double: Scalar {
    var value: Double { self }
    static func exp(_ x: Double) -> Double { ck_exp(x) }
    static func log(_ x: Double) -> Double { ck_log(x) }
    static func root(_ x: Double) -> Double { x.squareRoot() }

    static func turn(_ x: Double) -> (sine: Double, cosine: Double) {
        // x = 2k + y, |y| ≤ 1: exact.
        let y = x - 2 * (x / 2).rounded()
        let a = abs(y)
        let sine = a <= 0.5 ? ck_cospi(0.5 - a) : ck_cospi(a - 0.5)
        return (y < 0 ? -sine : sine, ck_cospi(a))
    }

    static func spread(_ p: Double, _ low: Double?, _ high: Double?) -> Double {
        /// The mass beyond |x|, on x's side of zero.
        func tail(_ x: Double?) -> Double {
            x.map { ck_exp(p - 0.5 * $0 * $0) * ck_scaled_tail(abs($0)) } ?? 0
        }
        if let low, let high, low >= high { return 0 }
        if let low, low > 0 { return tail(low) - tail(high) }
        if let high, high < 0 { return tail(high) - tail(low) }
        return ck_exp(p) - tail(low) - tail(high)
    }
}

/// A number and its derivatives by up to eight inputs.
struct Dual: Scalar {
    var value: Double
    var slope: SIMD8<Double>

    init(_ value: Double) { (self.value, slope) = (value, .zero) }

    init(_ value: Double, _ slope: SIMD8<Double>) { (self.value, self.slope) = (value, slope) }

    /// The input number `i` itself.
    init(_ value: Double, input i: Int) {
        self.init(value)
        slope[i] = 1
    }

    static func + (a: Dual, b: Dual) -> Dual { Dual(a.value + b.value, a.slope + b.slope) }
    static func - (a: Dual, b: Dual) -> Dual { Dual(a.value - b.value, a.slope - b.slope) }
    static func * (a: Dual, b: Dual) -> Dual { Dual(a.value * b.value, a.slope * b.value + b.slope * a.value) }
    static func / (a: Dual, b: Dual) -> Dual {
        let ratio = a.value / b.value
        return Dual(ratio, (a.slope - b.slope * ratio) / b.value)
    }
    static func exp(_ x: Dual) -> Dual {
        let e = ck_exp(x.value)
        return Dual(e, x.slope * e)
    }
    static func log(_ x: Dual) -> Dual { Dual(ck_log(x.value), x.slope / x.value) }
    static func root(_ x: Dual) -> Dual {
        let root = x.value.squareRoot()
        return Dual(root, x.slope / (2 * root))
    }
    static func turn(_ x: Dual) -> (sine: Dual, cosine: Dual) {
        let (s, c) = Double.turn(x.value)
        return (Dual(s, x.slope * (.pi * c)), Dual(c, x.slope * (-.pi * s)))
    }
    static func spread(_ p: Dual, _ low: Dual?, _ high: Dual?) -> Dual {
        let value = Double.spread(p.value, low?.value, high?.value)
        if let low, let high, low.value >= high.value { return Dual(0) }
        var slope = p.slope * value
        if let low { slope -= low.slope * Double.density(p.value, low.value) }
        if let high { slope += high.slope * Double.density(p.value, high.value) }
        return Dual(value, slope)
    }
}

/// A Brownian motion with drift over a contract's life, for integrals of e^{βy} over an interval of y = ln(S_T / S_0).
struct LogNormal<Number: Scalar> {
    /// σ√T.
    let deviation: Number
    /// (rate − dividend yield) T.
    let growth: Number
    /// Drift of y over its variance.
    let tilt: Number

    init(maturity: Number, volatility: Number, rate: Number, dividendYield: Number) {
        deviation = volatility * Number.root(maturity)
        growth = (rate - dividendYield) * maturity
        tilt = growth / (deviation * deviation) - 0.5
    }

    /// ∫ e^{βy} p(y) dy over [low, high] (nil: infinite), β 0 or 1, where p is the density of y, or that of its image
    /// started at `shift` instead of 0, which is e^{tilt · shift} times the density moved by `shift`. The reflected images
    /// of a killed process never exceed what they are taken from, so nothing overflows.
    func integral(_ power: Int, from low: Number?, to high: Number?, shift: Number? = nil) -> Number {
        let gamma = tilt + Double(power)
        let centre = gamma * deviation * deviation
        var p = power == 1 ? growth : Number(0)
        var middle = centre
        if let shift {
            p = p + gamma * shift
            middle = middle + shift
        }
        return Number.spread(p, low.map { ($0 - middle) / deviation }, high.map { ($0 - middle) / deviation })
    }
}

/// Gauss and Legendre's nodes and weights on [−1, 1].
struct GaussLegendre: Sendable {
    let nodes: [Double]
    let weights: [Double]

    /// By Newton's method on the recurrence of the polynomials, from Tricomi's estimate.
    init(_ count: Int) {
        var nodes = [Double](repeating: 0, count: count)
        var weights = nodes
        let n = Double(count)
        for i in 0..<(count + 1) / 2 {
            var x = ck_cospi((Double(i) + 0.75) / (n + 0.5))
            var slope = 1.0
            for _ in 0..<20 {
                var (before, now) = (1.0, x)
                for k in 1..<max(count, 1) where count > 1 {
                    let k = Double(k)
                    (before, now) = (now, ((2 * k + 1) * x * now - k * before) / (k + 1))
                }
                slope = n * (x * now - before) / (x * x - 1)
                let step = now / slope
                x -= step
                if abs(step) < 1e-16 { break }
            }
            nodes[i] = -x
            nodes[count - 1 - i] = x
            weights[i] = 2 / ((1 - x * x) * slope * slope)
            weights[count - 1 - i] = weights[i]
        }
        if count % 2 == 1 { nodes[count / 2] = 0 }
        (self.nodes, self.weights) = (nodes, weights)
    }
}
