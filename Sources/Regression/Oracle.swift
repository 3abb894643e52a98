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
///         Valuations(prices: (0..<points.count / 2).map { 1 + points[2 * $0] * points[2 * $0 + 1] })
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
}

/// What an oracle is and what it takes.
public struct OracleDescriptor: Sendable, Hashable {
    /// One coordinate of an oracle's input.
    public struct Input: Sendable, Hashable {
        public let name: String
        /// `yr`, `1/yr`, `1` for a pure number, …
        public let unit: String
        public let meaning: String
        /// The interval that a study gets when it names no other, in raw units.
        public let lower: Double
        public let upper: Double

        public init(name: String, unit: String, meaning: String, lower: Double, upper: Double) {
            self.name = name
            self.unit = unit
            self.meaning = meaning
            self.lower = lower
            self.upper = upper
        }
    }

    public let name: String
    public let version: String
    public let summary: String
    /// Where the formula or method is published.
    public let citation: String
    public let inputs: [Input]
    /// Where the contract is worth pricing; outside, prices are extended.
    public let constraints: [LinearConstraint]
    /// Whether `evaluate` can return derivatives.
    public let providesGradient: Bool
    /// Whether prices carry a standard error.
    public let isStochastic: Bool

    public init(
        name: String, version: String, summary: String, citation: String, inputs: [Input],
        constraints: [LinearConstraint] = [], providesGradient: Bool, isStochastic: Bool = false
    ) {
        self.name = name
        self.version = version
        self.summary = summary
        self.citation = citation
        self.inputs = inputs
        self.constraints = constraints
        self.providesGradient = providesGradient
        self.isStochastic = isStochastic
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

    /// Whether there is a price to use.
    public var hasPrice: Bool { rawValue < ValuationStatus.invalid.rawValue }

    public var name: String {
        switch self {
        case .ok: "ok"
        case .extended: "extended"
        case .notConverged: "notConverged"
        case .invalid: "invalid"
        case .nonFinite: "nonFinite"
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

    public init(
        prices: [Double], standardErrors: [Double] = [], gradients: [Double] = [], statuses: [ValuationStatus]? = nil
    ) {
        self.prices = prices
        self.standardErrors = standardErrors
        self.gradients = gradients
        self.statuses = statuses ?? prices.map { $0.isFinite ? .ok : .nonFinite }
    }
}
