// A surrogate made ready to compute: weights packed for the kernels, and the two passes through a tile of rows.
//
// The problem: at 21,000 rows a layer's activations leave the caches, and going layer by layer costs 10 to 20 %. So
// rows go through *all* layers in tiles that stay in the second-level cache. A row's result does not depend on its tile:
// each output element is one chain of fused multiply-adds, so results are the same for any cut of the rows.

internal import CKernels

/// Memory for floats at an address that suits the widest vectors, zeroed.
final class FloatBuffer: @unchecked Sendable {
    let start: UnsafeMutablePointer<Float>
    let count: Int
    /// What it is a part of.
    private let memory: Memory

    private final class Memory {
        let start: UnsafeMutableRawPointer
        init(bytes: Int) {
            guard let start = ck_allocate(bytes) else { fatalError("no memory for \(bytes) bytes") }
            self.start = start
        }
        deinit { ck_free(start) }
    }

    private init(_ memory: Memory, offset: Int, count: Int) {
        self.memory = memory
        self.count = count
        start = (memory.start + offset * 4).bindMemory(to: Float.self, capacity: count)
    }

    /// Buffers that are used together, in one piece of memory: few and large pages.
    static func adjacent(_ counts: [Int]) -> [FloatBuffer] {
        let ends = counts.reduce(into: [0]) { $0.append($0.last! + LayerShape.padded($1)) }
        let memory = Memory(bytes: ends.last! * 4)
        return zip(ends, counts).map { FloatBuffer(memory, offset: $0, count: $1) }
    }
}

/// The shape of one dense layer with its padding.
struct LayerShape: Sendable {
    let inputs: Int
    let outputs: Int
    /// Widths rounded up to whole vectors.
    let paddedInputs: Int
    let paddedOutputs: Int

    init(inputs: Int, outputs: Int) {
        self.inputs = inputs
        self.outputs = outputs
        paddedInputs = Self.padded(inputs)
        paddedOutputs = Self.padded(outputs)
    }

    static func padded(_ width: Int) -> Int { (width + Int(CK_LANES) - 1) / Int(CK_LANES) * Int(CK_LANES) }

    /// Distance between rows of activations of this width: one vector more than needed, so that rows do not all fall
    /// on the same cache sets.
    static func stride(_ width: Int) -> Int { padded(width) + Int(CK_LANES) }

    /// Panels of inputs, as the gradients with respect to weights are made: (first input, width).
    var inputPanels: [(start: Int, width: Int)] {
        stride(from: 0, to: paddedInputs, by: Int(CK_PANEL)).map { ($0, min(Int(CK_PANEL), paddedInputs - $0)) }
    }

    private func stride(from: Int, to: Int, by: Int) -> StrideTo<Int> { Swift.stride(from: from, to: to, by: by) }

    /// Writes a layer's numbers in the packing of `PackedLayer.backward`.
    func pack(_ layer: Surrogate.Layer, into weights: FloatBuffer, _ biases: FloatBuffer) {
        for (start, width) in inputPanels {
            let panel = weights.start + start * outputs
            for o in 0..<outputs {
                for i in start..<min(start + width, inputs) {
                    panel[o * width + i - start] = layer.weights[o * inputs + i]
                }
            }
        }
        for o in 0..<outputs { biases.start[o] = layer.biases[o] }
    }

    /// The layer of which these are the numbers in that packing.
    func layer(_ packed: FloatBuffer, _ biases: FloatBuffer) -> Surrogate.Layer {
        var weights = [Float](repeating: 0, count: inputs * outputs)
        for (start, width) in inputPanels {
            let panel = packed.start + start * outputs
            for o in 0..<outputs {
                for i in start..<min(start + width, inputs) {
                    weights[o * inputs + i] = panel[o * width + i - start]
                }
            }
        }
        return Surrogate.Layer(
            inputs: inputs, outputs: outputs, weights: weights,
            biases: Array(UnsafeBufferPointer(start: biases.start, count: outputs)))
    }
}

/// Weights in the two packings that the kernels read (see CKernels.h).
///
/// `backward` is the master: the optimiser works on it, and `forward` is its transpose, made anew from it.
package final class PackedLayer: @unchecked Sendable {
    let shape: LayerShape
    /// K = inputs, panels of outputs.
    let forward: FloatBuffer
    /// K = outputs, panels of inputs.
    let backward: FloatBuffer
    let biases: FloatBuffer

    package static func pack(_ layers: [Surrogate.Layer]) -> [PackedLayer] {
        let shapes = layers.map { LayerShape(inputs: $0.inputs, outputs: $0.outputs) }
        let buffers = FloatBuffer.adjacent(
            shapes.flatMap { [$0.inputs * $0.paddedOutputs, $0.outputs * $0.paddedInputs, $0.paddedOutputs] })
        return zip(layers, shapes).enumerated().map { l, layer in
            PackedLayer(layer.0, layer.1, Array(buffers[3 * l..<3 * l + 3]))
        }
    }

    private init(_ layer: Surrogate.Layer, _ shape: LayerShape, _ buffers: [FloatBuffer]) {
        self.shape = shape
        (forward, backward, biases) = (buffers[0], buffers[1], buffers[2])
        shape.pack(layer, into: backward, biases)
        repack(outputs: 0..<shape.outputs)
    }

    /// Copies `outputs` from `backward` to `forward`.
    func repack(outputs: Range<Int>) {
        for (start, width) in shape.inputPanels { repack(panel: start, width, outputs) }
    }

    private func repack(panel start: Int, _ width: Int, _ outputs: Range<Int>) {
        let from = backward.start + start * shape.outputs
        let inputs = min(width, shape.inputs - start)
        var o = outputs.lowerBound
        while o < outputs.upperBound {
            let panel = o / Int(CK_PANEL) * Int(CK_PANEL)
            let end = min(outputs.upperBound, panel + Int(CK_PANEL))
            let panelWidth = min(Int(CK_PANEL), shape.paddedOutputs - panel)
            ck_transpose(
                from + o * width, width, end - o, inputs,
                forward.start + panel * shape.inputs + start * panelWidth + o - panel, panelWidth)
            o = end
        }
    }

    /// Numbers that belong to the weights, packed like `backward` (which may be them), in a new order of neurons: those of
    /// output `outputs[o]` and input `inputs[i]` come to output o and input i.
    func reorder(_ packed: FloatBuffer, outputs: [Int], inputs: [Int]) {
        let old = [Float](UnsafeBufferPointer(start: packed.start, count: packed.count))
        for (start, width) in shape.inputPanels {
            for o in outputs.indices {
                let row = packed.start + start * shape.outputs + o * width
                for i in start..<min(start + width, inputs.count) {
                    row[i - start] = old[place(outputs[o], inputs[i])]
                }
            }
        }
    }

    /// Where the weight of an output and an input is in `backward`.
    private func place(_ output: Int, _ input: Int) -> Int {
        let panel = input / Int(CK_PANEL) * Int(CK_PANEL)
        return panel * shape.outputs + output * min(Int(CK_PANEL), shape.paddedInputs - panel) + input - panel
    }

    package var layer: Surrogate.Layer { shape.layer(backward, biases) }
}

/// Activations and their gradients for some rows.
final class Activations: @unchecked Sendable {
    let rows: Int
    /// `values[0]` holds the inputs, `values[l + 1]` what layer l gives; `gradients` likewise.
    let values: [FloatBuffer]
    let gradients: [FloatBuffer]
    let strides: [Int]

    init(_ layers: [PackedLayer], rows: Int) {
        self.rows = rows
        let widths = [layers[0].shape.inputs] + layers.map(\.shape.outputs)
        strides = widths.map(LayerShape.stride)
        let buffers = FloatBuffer.adjacent((strides + strides).map { $0 * rows })
        values = Array(buffers.prefix(widths.count))
        gradients = Array(buffers.dropFirst(widths.count))
    }
}

/// A surrogate that is ready to predict. One thread at a time: it owns its scratch memory.
public final class Network {
    let layers: [PackedLayer]
    private let tile: Activations

    /// Rows per tile: 96 rows of the paper's network are half a megabyte, which stays in the second-level cache.
    static let tileRows = 96

    public init(_ surrogate: Surrogate) {
        layers = PackedLayer.pack(surrogate.layers)
        tile = Activations(layers, rows: Self.tileRows)
    }

    public var dimension: Int { layers[0].shape.inputs }

    /// Predictions for rows of normalised inputs.
    public func predict(_ inputs: [Double]) -> [Double] {
        var predictions = [Double](repeating: 0, count: inputs.count / layers[0].shape.inputs)
        inputs.withUnsafeBufferPointer { inputs in
            predictions.withUnsafeMutableBufferPointer { run(inputs, predictions: $0, gradients: nil) }
        }
        return predictions
    }

    /// Predictions and their derivatives by the normalised inputs (rows like `inputs`), by back-propagation.
    public func predictWithGradient(_ inputs: [Double]) -> (predictions: [Double], gradients: [Double]) {
        var predictions = [Double](repeating: 0, count: inputs.count / layers[0].shape.inputs)
        var gradients = [Double](repeating: 0, count: inputs.count)
        inputs.withUnsafeBufferPointer { inputs in
            predictions.withUnsafeMutableBufferPointer { predictions in
                gradients.withUnsafeMutableBufferPointer { run(inputs, predictions: predictions, gradients: $0) }
            }
        }
        return (predictions, gradients)
    }

    private func run(
        _ inputs: UnsafeBufferPointer<Double>, predictions: UnsafeMutableBufferPointer<Double>,
        gradients: UnsafeMutableBufferPointer<Double>?
    ) {
        let dimension = layers[0].shape.inputs
        precondition(inputs.count.isMultiple(of: dimension), "\(inputs.count) numbers are no rows of \(dimension)")
        let ld = tile.strides[0]
        var row = 0
        while row < predictions.count {
            let rows = min(Self.tileRows, predictions.count - row)
            for r in 0..<rows {
                for i in 0..<dimension { tile.values[0].start[r * ld + i] = Float(inputs[(row + r) * dimension + i]) }
            }
            Self.forward(layers, tile, 0..<rows)
            let out = tile.values.last!.start
            let outStride = tile.strides.last!
            for r in 0..<rows { predictions[row + r] = Double(out[r * outStride]) }
            if let gradients {
                let seeds = tile.gradients.last!.start
                for r in 0..<rows { seeds[r * outStride] = 1 }
                Self.backward(layers, tile, 0..<rows, toInputs: true)
                let slopes = tile.gradients[0].start
                for r in 0..<rows {
                    for i in 0..<dimension { gradients[(row + r) * dimension + i] = Double(slopes[r * ld + i]) }
                }
            }
            row += rows
        }
    }

    /// From `values[0]` to `values.last` for some rows.
    static func forward(_ layers: [PackedLayer], _ a: Activations, _ rows: Range<Int>) {
        for (l, layer) in layers.enumerated() {
            ck_matmul(
                a.values[l].start + rows.lowerBound * a.strides[l], a.strides[l], rows.count, layer.shape.inputs,
                layer.forward.start, layer.shape.paddedOutputs, layer.biases.start,
                l + 1 < layers.count ? CK_RELU : CK_IDENTITY, nil, 0,
                a.values[l + 1].start + rows.lowerBound * a.strides[l + 1], a.strides[l + 1])
        }
    }

    /// From `gradients.last` down to `gradients[1]`, or to `gradients[0]` if the inputs' are wanted.
    static func backward(_ layers: [PackedLayer], _ a: Activations, _ rows: Range<Int>, toInputs: Bool) {
        for l in layers.indices.reversed() where l > 0 || toInputs {
            let shape = layers[l].shape
            ck_matmul(
                a.gradients[l + 1].start + rows.lowerBound * a.strides[l + 1], a.strides[l + 1], rows.count,
                shape.outputs, layers[l].backward.start, shape.paddedInputs, nil, l > 0 ? CK_GATE : CK_IDENTITY,
                a.values[l].start + rows.lowerBound * a.strides[l], a.strides[l],
                a.gradients[l].start + rows.lowerBound * a.strides[l], a.strides[l])
        }
    }
}
