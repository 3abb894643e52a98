// The network that stands in for the oracle: its numbers. How it computes is in Network.swift and Training.swift.

/// A feed-forward network with ReLU between its layers and one output: the surrogate of an oracle.
public struct Surrogate: Sendable, Hashable {
    /// A dense layer: y = W x + b.
    public struct Layer: Sendable, Hashable {
        public let inputs: Int
        public let outputs: Int
        /// Row-major [outputs][inputs].
        public var weights: [Float]
        public var biases: [Float]

        public init(inputs: Int, outputs: Int, weights: [Float], biases: [Float]) {
            precondition(weights.count == inputs * outputs && biases.count == outputs, "a layer's shape")
            self.inputs = inputs
            self.outputs = outputs
            self.weights = weights
            self.biases = biases
        }
    }

    public var layers: [Layer]

    public var dimension: Int { layers[0].inputs }

    /// Widths of the hidden layers.
    public var hidden: [Int] { layers.dropLast().map(\.outputs) }

    /// - Parameter layers: at least one, each taking what the one before gives, the last with one output.
    public init(layers: [Layer]) {
        precondition(!layers.isEmpty && layers.last?.outputs == 1, "a surrogate ends in one output")
        precondition(zip(layers, layers.dropFirst()).allSatisfy { $0.outputs == $1.inputs }, "layers that fit")
        self.layers = layers
    }

    /// A fresh surrogate: weights and biases uniform within ±1/√(number of inputs) of their layer, the usual start of
    /// frameworks' dense layers.
    ///
    /// - Parameters:
    ///   - dimension: number of inputs.
    ///   - hidden: widths of the hidden layers, each at least 1.
    public init(dimension: Int, hidden: [Int], randomSeed: UInt64) {
        let widths = [dimension] + hidden + [1]
        var stream = RandomStream(seed: randomSeed, purpose: .weights)
        self.init(
            layers: zip(widths, widths.dropFirst()).map { inputs, outputs in
                let bound = (1 / Double(inputs)).squareRoot()
                func draw(_ count: Int) -> [Float] {
                    (0..<count).map { _ in Float((2 * stream.uniform() - 1) * bound) }
                }
                return Layer(inputs: inputs, outputs: outputs, weights: draw(inputs * outputs), biases: draw(outputs))
            })
    }
}
