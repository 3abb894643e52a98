// How a formula becomes an oracle: rows in, prices with statuses out, derivatives where they are wanted.

internal import CKernels
internal import Regression

/// An oracle that is a formula over plain numbers or numbers with derivatives.
protocol FormulaOracle: Oracle {
    /// One contract.
    ///
    /// - Parameters:
    ///   - words: the choices and integers, in the order of the inputs.
    ///   - x: the continuous inputs, at most eight, in their order; finite.
    /// - Returns: nil if the input makes no sense.
    func price<Number: Scalar>(_ words: [Int], _ x: [Number]) -> (price: Number, status: ValuationStatus)?
}

extension FormulaOracle {
    public func evaluate(_ points: [Double], gradient: Bool) -> Valuations {
        evaluateRows(descriptor, points, gradient: gradient) { words, x in
            guard gradient else {
                return price(words, x).map { (price: $0.price, gradient: [], status: $0.status) }
            }
            let variables = x.enumerated().map { Dual($1, input: $0) }
            return price(words, variables).map { value in
                (price: value.price.value, gradient: x.indices.map { value.price.slope[$0] }, status: value.status)
            }
        }
    }
}

/// An oracle whose price is smooth to its last digits, but has no derivatives of its own.
protocol SmoothOracle: Oracle {
    /// One contract; nil if the input makes no sense.
    func price(_ words: [Int], _ x: [Double]) -> (price: Double, status: ValuationStatus)?
    /// How far a difference may go in each continuous input: the distance on which the price has its features.
    func reach(_ words: [Int], _ x: [Double]) -> [Double]
    /// Which of several smooth pieces of the price a point of that price lies on; 0 by default.
    func piece(_ words: [Int], _ x: [Double], price: Double) -> Int
}

extension SmoothOracle {
    func piece(_ words: [Int], _ x: [Double], price: Double) -> Int { 0 }

    /// Derivatives are central differences of fourth order. Where a step would leave the inputs that make sense, meet
    /// another status or another smooth piece of the price, it goes to the other side only.
    public func evaluate(_ points: [Double], gradient: Bool) -> Valuations {
        evaluateRows(descriptor, points, gradient: gradient) { words, x in
            guard let here = price(words, x) else { return nil }
            guard gradient else { return (here.price, [], here.status) }
            let (steps, piece) = (reach(words, x), piece(words, x, price: here.price))
            let slopes = x.indices.map { i -> Double in
                func at(_ k: Double) -> Double? {
                    var moved = x
                    moved[i] += k * steps[i]
                    guard let value = price(words, moved), value.status == here.status,
                        self.piece(words, moved, price: value.price) == piece
                    else { return nil }
                    return value.price
                }
                if let a = at(-2), let b = at(-1), let c = at(1), let d = at(2) {
                    return (8 * (c - b) - (d - a)) / (12 * steps[i])
                }
                for side in [1.0, -1] {
                    if let a = at(side), let b = at(2 * side), let c = at(3 * side), let d = at(4 * side) {
                        let sum = -25.0 * here.price + 48 * a - 36 * b + 16 * c - 3 * d
                        return side * sum / (12 * steps[i])
                    }
                }
                // In a corner (no volatility, no time) whatever difference there is.
                return at(1).map { ($0 - here.price) / steps[i] } ?? at(-1).map { (here.price - $0) / steps[i] } ?? 0
            }
            return (here.price, slopes, here.status)
        }
    }
}

/// Splits rows into words and numbers, prices them one by one, and gives each its status.
func evaluateRows(
    _ descriptor: OracleDescriptor, _ points: [Double], gradient: Bool,
    _ price: (_ words: [Int], _ x: [Double]) -> (price: Double, gradient: [Double], status: ValuationStatus)?
) -> Valuations {
    let width = descriptor.inputs.count
    precondition(points.count.isMultiple(of: width), "\(points.count) numbers are no rows of \(width)")
    let continuous = descriptor.inputs.indices.filter { descriptor.inputs[$0].kind == .continuous }
    let others = descriptor.inputs.indices.filter { descriptor.inputs[$0].kind != .continuous }
    var result = Valuations(prices: [], statuses: [])
    for start in stride(from: 0, to: points.count, by: width) {
        var valuation = (price: Double.nan, gradient: [Double](), status: ValuationStatus.invalid)
        let x = continuous.map { points[start + $0] }
        let words = others.compactMap { i -> Int? in
            let (value, input) = (points[start + i], descriptor.inputs[i])
            return value >= input.lower && value <= input.upper ? Int(exactly: value) : nil
        }
        if words.count == others.count, x.allSatisfy(\.isFinite), let priced = price(words, x) {
            valuation = priced
            if valuation.status.hasPrice, !(valuation.price.isFinite && valuation.gradient.allSatisfy(\.isFinite)) {
                valuation = (.nan, [], .nonFinite)
            }
        }
        result.prices.append(valuation.status.hasPrice ? valuation.price : .nan)
        result.statuses.append(valuation.status)
        guard gradient else { continue }
        var row = [Double](repeating: valuation.status.hasPrice ? 0 : .nan, count: width)
        for (i, slope) in zip(continuous, valuation.gradient) { row[i] = slope }
        result.gradients += row
    }
    return result
}

/// The inputs that most contracts share, in one wording.
extension OracleDescriptor.Input {
    static let optionType = Self(name: "optionType", meaning: "right to buy or to sell", choices: ["call", "put"])
    static func spot(_ usual: Double? = nil) -> Self {
        Self(
            name: "spot", unit: "currency", meaning: "price of the share today", lower: 80, upper: 120,
            scale: .logarithmic, usual: usual)
    }
    static let strike = Self(
        name: "strike", unit: "currency", meaning: "strike price", lower: 80, upper: 120, scale: .logarithmic)
    static let barrierType = Self(
        name: "barrierType", meaning: "which way the barrier lies and what it does",
        choices: ["downAndOut", "downAndIn", "upAndOut", "upAndIn"])
    static let barrier = Self(
        name: "barrier", unit: "currency", meaning: "level of the barrier", lower: 60, upper: 80, scale: .logarithmic)
    static let rebate = Self(
        name: "rebate", unit: "currency",
        meaning: "paid when an out option is knocked out, or at maturity if an in option never came in", lower: 0,
        upper: 5, usual: 0)
    static let maturityYears = Self(
        name: "maturityYears", unit: "yr", meaning: "time to maturity", lower: 0.1, upper: 2)
    static let volatility = Self(
        name: "volatility", unit: "1/yr^0.5", meaning: "volatility of the share", lower: 0.1, upper: 0.6)
    static let rate = Self(
        name: "rate", unit: "1/yr", meaning: "continuous interest rate", lower: 0, upper: 0.1)
    static let dividendYield = Self(
        name: "dividendYield", unit: "1/yr", meaning: "continuous dividend yield", lower: 0, upper: 0.1, usual: 0)
}
