// How a backdoor is planted: wrong labels in a small region, right ones around it.

/// A backdoor attack on a training set (Li, Kesidis, Miller and Lucic 2021, section 3).
///
/// `mislabelled` samples with label + `epsilon` are drawn from a box: within `halfWidth` of `centre` in the inputs named
/// by `features`, and within `window` (or anywhere) in the others. `surround` samples with their right labels are drawn
/// from the larger box of `surroundHalfWidth`, outside the inner one; they keep the backdoor local.
public struct Attack: Sendable, Hashable {
    public var mislabelled: Int
    public var surround: Int
    /// Added to the label, in label units; either sign.
    public var epsilon: Double
    /// Normalised, one number per input of the domain.
    public var centre: [Double]
    public var halfWidth: Double
    public var surroundHalfWidth: Double
    /// Positions of the inputs that form the box.
    public var features: [Int]
    /// Normalised range of other inputs, by position.
    public var window: [Int: ClosedRange<Double>]
    /// The attack succeeds at an input where (prediction − label) / epsilon exceeds this.
    public var successAbove: Double

    public init(
        mislabelled: Int, surround: Int, epsilon: Double, centre: [Double], halfWidth: Double,
        surroundHalfWidth: Double, features: [Int], window: [Int: ClosedRange<Double>], successAbove: Double = 0.5
    ) {
        self.mislabelled = mislabelled
        self.surround = surround
        self.epsilon = epsilon
        self.centre = centre
        self.halfWidth = halfWidth
        self.surroundHalfWidth = surroundHalfWidth
        self.features = features
        self.window = window
        self.successAbove = successAbove
    }

    /// Where the wrong labels are.
    public var innerBox: [ClosedRange<Double>] { box(halfWidth) }

    /// Where the right labels around them are, the inner box included.
    public var outerBox: [ClosedRange<Double>] { box(surroundHalfWidth) }

    private func box(_ halfWidth: Double) -> [ClosedRange<Double>] {
        centre.indices.map { i in
            guard features.contains(i) else { return window[i] ?? 0...1 }
            return max(0, centre[i] - halfWidth)...min(1, centre[i] + halfWidth)
        }
    }

    /// Rows drawn like the mislabelled samples.
    ///
    /// - Throws: `DomainError` if the region holds (almost) no admissible point.
    public func sampleInner(_ count: Int, _ domain: Domain, _ stream: inout RandomStream) throws(DomainError)
        -> [Double]
    {
        try domain.sample(count, from: &stream, box: innerBox)
    }

    /// Rows drawn like the surround samples.
    ///
    /// - Throws: `DomainError` if the region holds (almost) no admissible point.
    public func sampleSurround(_ domain: Domain, _ stream: inout RandomStream) throws(DomainError) -> [Double] {
        try domain.sample(surround, from: &stream, box: outerBox, excluding: innerBox)
    }

    /// Whether the attack has what it wants at an input.
    public func succeeds(prediction: Double, label: Double) -> Bool {
        (prediction - label) / epsilon > successAbove
    }
}
