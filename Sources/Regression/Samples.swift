// Labelled inputs: what a surrogate is trained and judged on.

/// Labelled inputs: rows of normalised coordinates, each with its label.
public struct Samples: Sendable, Hashable {
    public let dimension: Int
    /// `count` rows of `dimension` normalised coordinates.
    public private(set) var inputs: [Double]
    /// One label per row: price × label scale.
    public var labels: [Double]

    public var count: Int { labels.count }

    public init(dimension: Int, inputs: [Double] = [], labels: [Double] = []) {
        precondition(
            inputs.count == labels.count * dimension,
            "\(inputs.count) coordinates are not \(labels.count) rows of \(dimension)")
        self.dimension = dimension
        self.inputs = inputs
        self.labels = labels
    }

    /// Normalised; `row` in 0 ..< count.
    public func input(_ row: Int) -> ArraySlice<Double> {
        inputs[row * dimension..<(row + 1) * dimension]
    }

    public mutating func append(_ other: Samples) {
        precondition(other.dimension == dimension, "samples of \(other.dimension) inputs among \(dimension)")
        inputs += other.inputs
        labels += other.labels
    }

    /// The rows that `keep` names, in its order.
    public func rows(_ keep: [Int]) -> Samples {
        var picked: [Double] = []
        picked.reserveCapacity(keep.count * dimension)
        for row in keep { picked += input(row) }
        return Samples(dimension: dimension, inputs: picked, labels: keep.map { labels[$0] })
    }
}

/// Where a training sample came from.
public enum Origin: UInt8, Sendable, Hashable, CaseIterable {
    case base = 0
    case mislabelled = 1
    case surround = 2
    case maximizer = 3

    public var name: String {
        switch self {
        case .base: "base"
        case .mislabelled: "mislabelled"
        case .surround: "surround"
        case .maximizer: "maximizer"
        }
    }
}
