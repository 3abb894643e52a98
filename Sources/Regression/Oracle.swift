// What Cairn trusts: the costly source of the true target.

/// A pricer: the deterministic, usually costly source of the true target that a surrogate approximates.
///
/// Conform to it to plug in a pricer of one's own:
///
/// ```swift
/// struct Forward: Oracle {
///     let descriptor = OracleDescriptor(
///         name: "forward", version: "1", summary: "Forward price of a share without dividends", citation: "",
///         inputs: [
///             .init(name: "rate", unit: "1/yr", meaning: "continuous interest rate", lower: 0, upper: 0.1),
///             .init(name: "maturityYears", unit: "yr", meaning: "time to delivery", lower: 0.1, upper: 5),
///         ],
///         providesGradient: false)
///
///     func evaluate(_ points: [Double], gradient: Bool) -> Valuations {
///         var prices: [Double] = []
///         for row in stride(from: 0, to: points.count, by: 2) { prices.append(1 + points[row] * points[row + 1]) }
///         return Valuations(prices: prices)
///     }
/// }
/// ```
///
/// An oracle is a pure function: the same input gives the same bits, alone or in a batch, on any machine that reports
/// the same `descriptor.fingerprint`. A Monte Carlo oracle owns a fixed random stream. Cairn relies on it: results are
/// then independent of who computed them, and no label is paid for twice.
public protocol Oracle: Sendable {
    var descriptor: OracleDescriptor { get }

    /// Prices each row of `points`.
    ///
    /// - Parameters:
    ///   - points: rows of `descriptor.inputs.count` numbers in raw units.
    ///   - gradient: whether the derivatives are wanted; only asked of an oracle that provides them.
    /// - Returns: one valuation per row, in order. A row that cannot be priced says so in its status and fails alone.
    func evaluate(_ points: [Double], gradient: Bool) -> Valuations

    /// The same contract on another number of underlyings; nil (as here by default) for an oracle on one underlying, or
    /// for a number that it cannot do.
    func resized(assets: Int) -> (any Oracle)?
}

extension Oracle {
    /// Nil: an oracle on one underlying.
    public func resized(assets: Int) -> (any Oracle)? { nil }
}

/// What an oracle is and what it takes.
public struct OracleDescriptor: Sendable, Hashable {
    /// One coordinate of an oracle's input.
    public struct Input: Sendable, Hashable {
        /// What values it takes. In a row of numbers, a choice is the position of its word.
        public enum Kind: Sendable, Hashable {
            case continuous
            case integer
            /// One of these words.
            case choice([String])
        }

        /// How an interval of it is best cut.
        public enum Scale: String, Sendable, Hashable { case linear, logarithmic }

        public let name: String
        /// `yr`, `1/yr`, `1` for a pure number, …
        public let unit: String
        public let meaning: String
        /// The interval that a study gets when it names no other, in raw units.
        public let lower: Double
        public let upper: Double
        public let kind: Kind
        public let scale: Scale
        /// The value of whoever does not name one; nil where one must be named.
        public let usual: Double?

        /// A continuous input, unless told otherwise.
        public init(
            name: String, unit: String, meaning: String, lower: Double, upper: Double, kind: Kind = .continuous,
            scale: Scale = .linear, usual: Double? = nil
        ) {
            self.name = name
            self.unit = unit
            self.meaning = meaning
            self.lower = lower
            self.upper = upper
            self.kind = kind
            self.scale = scale
            self.usual = usual
        }

        /// One of some words; without another word, the first.
        public init(name: String, meaning: String, choices: [String], usual: Int? = 0) {
            self.init(
                name: name, unit: "word", meaning: meaning, lower: 0, upper: Double(choices.count - 1),
                kind: .choice(choices), usual: usual.map(Double.init))
        }

        /// The number that stands for `text` in a row of inputs; nil if it is none. A choice is recognised by its letters
        /// and digits, whatever their case: `downAndOut` is `down-and-out`.
        public func value(of text: String) -> Double? {
            func letters(_ text: String) -> String { text.lowercased().filter { $0.isLetter || $0.isNumber } }
            switch kind {
            case .choice(let words):
                return words.firstIndex { letters($0) == letters(text) }.map(Double.init)
            case .integer:
                return Double(text).flatMap { $0 == $0.rounded() && abs($0) < 0x1p53 ? $0 : nil }
            case .continuous:
                return Double(text).flatMap { $0.isFinite ? $0 : nil }
            }
        }

        /// The text that stands for a number of this input.
        public func text(of value: Double) -> String {
            switch kind {
            case .choice(let words):
                Int(exactly: value).flatMap { words.indices.contains($0) ? words[$0] : nil } ?? "\(value)"
            case .integer: Int(exactly: value).map { "\($0)" } ?? "\(value)"
            case .continuous: "\(value)"
            }
        }
    }

    /// Where derivatives come from.
    public enum GradientMethod: String, Sendable, Hashable {
        /// No derivatives.
        case none
        /// Differentiated formulas, or the formula on numbers that carry their derivatives.
        case exact
        /// Central differences of fourth order of a price that is smooth to its last digits.
        case differences
        /// Central differences on one set of paths for all points.
        case commonPaths
    }

    /// A linear constraint of some of the contracts only.
    public struct ConditionalConstraint: Sendable, Hashable {
        public let constraint: LinearConstraint
        /// The position of a choice, and the words (by position) for which the constraint holds.
        public let input: Int
        public let words: Set<Int>

        public init(_ constraint: LinearConstraint, input: Int, words: Set<Int>) {
            self.constraint = constraint
            self.input = input
            self.words = words
        }
    }

    /// An input and its price: what `cairn oracle describe` shows and tests repeat.
    public struct TestVector: Sendable, Hashable {
        public let inputs: [Double]
        public let price: Double
        /// Absolute, beside four standard errors.
        public let tolerance: Double

        public init(_ inputs: [Double], price: Double, tolerance: Double) {
            self.inputs = inputs
            self.price = price
            self.tolerance = tolerance
        }
    }

    public let name: String
    public let version: String
    public let summary: String
    /// Where the formula or method is published.
    public let citation: String
    public let licence: String
    public let inputs: [Input]
    /// Where the contract is worth pricing; outside, prices are extended.
    public let constraints: [LinearConstraint]
    public let conditionalConstraints: [ConditionalConstraint]
    public let gradientMethod: GradientMethod
    /// Whether prices carry a standard error.
    public let isStochastic: Bool
    /// The integer input that says how many paths a price takes; nil for a deterministic oracle.
    public let pathsInput: String?
    /// Seconds per price on one core, roughly: for those who schedule.
    public let costSeconds: Double
    public let testVectors: [TestVector]

    /// Whether `evaluate` can return derivatives.
    public var providesGradient: Bool { gradientMethod != .none }

    /// - Parameters:
    ///   - providesGradient: short for a `gradientMethod` of `exact` or `none`.
    public init(
        name: String, version: String, summary: String, citation: String, licence: String = "Apache-2.0",
        inputs: [Input], constraints: [LinearConstraint] = [], conditionalConstraints: [ConditionalConstraint] = [],
        providesGradient: Bool = false, gradientMethod: GradientMethod? = nil, isStochastic: Bool = false,
        pathsInput: String? = nil, costSeconds: Double = 1e-6, testVectors: [TestVector] = []
    ) {
        self.name = name
        self.version = version
        self.summary = summary
        self.citation = citation
        self.licence = licence
        self.inputs = inputs
        self.constraints = constraints
        self.conditionalConstraints = conditionalConstraints
        self.gradientMethod = gradientMethod ?? (providesGradient ? .exact : .none)
        self.isStochastic = isStochastic
        self.pathsInput = pathsInput
        self.costSeconds = costSeconds
        self.testVectors = testVectors
    }

    /// Names the very numbers that this oracle gives: two oracles with the same fingerprint agree bit for bit.
    public var fingerprint: String { "\(name)/\(version)" }
}

/// What became of one price.
public enum ValuationStatus: UInt8, Sendable, Hashable, CaseIterable {
    /// Priced by the method that the oracle states.
    case ok = 0
    /// Outside the contract's range (knocked out at the start, say): the oracle's stated extension.
    case extended = 1
    /// The method did not reach its accuracy; the price is its best attempt.
    case notConverged = 2
    /// The input makes no sense (a negative maturity); no price.
    case invalid = 3
    /// The computation gave infinity or not a number; no price.
    case nonFinite = 4
    /// The pricer itself failed (its process died, was too late, or answered nonsense); no price. Another try may have one.
    case failed = 5

    /// Whether there is a price to use.
    public var hasPrice: Bool { rawValue < ValuationStatus.invalid.rawValue }

    public var name: String {
        switch self {
        case .ok: "ok"
        case .extended: "extended"
        case .notConverged: "notConverged"
        case .invalid: "invalid"
        case .nonFinite: "nonFinite"
        case .failed: "failed"
        }
    }
}

/// What an oracle returns for a batch of rows.
public struct Valuations: Sendable, Hashable {
    /// One price per row; NaN where the status has no price.
    public var prices: [Double]
    /// One standard error per row; empty for a deterministic oracle.
    public var standardErrors: [Double]
    /// Rows of derivatives by the raw inputs; empty unless asked for.
    public var gradients: [Double]
    public var statuses: [ValuationStatus]
    /// Why the first of the rows that failed did, in words for the user.
    public var failure: String?

    public init(
        prices: [Double], standardErrors: [Double] = [], gradients: [Double] = [], statuses: [ValuationStatus]? = nil
    ) {
        self.prices = prices
        self.standardErrors = standardErrors
        self.gradients = gradients
        self.statuses = statuses ?? prices.map { $0.isFinite ? .ok : .nonFinite }
    }
}
