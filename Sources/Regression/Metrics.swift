// The columns of the paper's tables.

/// How a surrogate does on a set of labelled inputs.
public struct ErrorSummary: Sendable, Hashable {
    public var mse: Double
    public var mae: Double
    /// Share of inputs predicted below their label, and above it.
    public var below: Double
    public var above: Double

    /// - Parameters:
    ///   - predictions: as many as labels, at least one.
    public init(predictions: [Double], labels: [Double]) {
        precondition(predictions.count == labels.count && !labels.isEmpty, "one prediction per label")
        var (square, absolute) = (0.0, 0.0)
        var (below, above) = (0, 0)
        for (prediction, label) in zip(predictions, labels) {
            let error = prediction - label
            square += error * error
            absolute += abs(error)
            if error < 0 { below += 1 } else if error > 0 { above += 1 }
        }
        let count = Double(labels.count)
        mse = square / count
        mae = absolute / count
        self.below = Double(below) / count
        self.above = Double(above) / count
    }
}
