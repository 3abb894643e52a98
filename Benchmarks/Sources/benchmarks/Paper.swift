// The sizes of the paper's main job, which the benchmarks share.

import Pricing
import Regression

enum Paper {
    static let hidden = [128, 256, 512, 256, 128]
    static let samples = 210_000
    static let seeds = 21_000
    static let labelScale = 100.0

    static let domain = try! Domain(
        inputs: DownAndOutPut().descriptor.inputs.map { .init(name: $0.name, lower: $0.lower, upper: $0.upper) },
        constraints: DownAndOutPut().descriptor.constraints)

    /// Multiplications and additions of one row's forward pass.
    static let forward: Double = {
        let widths = [domain.dimension] + hidden + [1]
        return zip(widths, widths.dropFirst()).reduce(0.0) { $0 + 2 * Double($1.0 * $1.1) }
    }()
    /// Forward and back to the inputs.
    static let ascent = 2 * forward
    /// Forward, back to the first layer's outputs, gradients of all weights.
    static let training = 3 * forward - 2 * Double(domain.dimension * hidden[0])

    static let surrogate = Surrogate(dimension: domain.dimension, hidden: hidden, randomSeed: 1)
    /// One whose activations are all above zero, so that no arithmetic can be left out.
    static let dense = Surrogate(
        layers: surrogate.layers.map { layer in
            var layer = layer
            layer.weights = layer.weights.map { abs($0) + 1e-3 }
            layer.biases = layer.biases.map { _ in 0.1 }
            return layer
        })

    /// Rows drawn uniformly from the domain, normalised.
    static func inputs(_ count: Int) -> [Double] {
        var stream = RandomStream(seed: 7, purpose: .other)
        return try! domain.sample(count, from: &stream)
    }

    static func labelled(_ count: Int) -> Samples {
        let inputs = inputs(count)
        let prices = DownAndOutPut().evaluate(domain.raw(rows: inputs), gradient: false).prices
        return Samples(dimension: domain.dimension, inputs: inputs, labels: prices.map { $0 * labelScale })
    }
}
