// A training between two epochs, as a value and as bytes: what another process needs to go on with it, to the same bits.

/// Where a training stands between two epochs.
public struct TrainingState: Sendable, Hashable {
    public let surrogate: Surrogate
    /// The optimiser's running means of the gradients and of their squares, each in the place of its weight or bias.
    public let means: Surrogate
    public let squares: Surrogate
    /// The training MSE of each epoch that is done, the first one first.
    public let history: [Double]

    init(surrogate: Surrogate, means: Surrogate, squares: Surrogate, history: [Double]) {
        (self.surrogate, self.means, self.squares, self.history) = (surrogate, means, squares, history)
    }
}

/// Bytes that are no state of a training, or one that fits another.
public struct TrainingStateError: Error, Sendable, Hashable, CustomStringConvertible {
    public let description: String
}

extension TrainingState {
    private static let magic = Array("CairnTraining1\0\0".utf8)

    /// Little-endian: 16 bytes of magic; the number of epochs (UInt64) and their training MSE (Float64); then surrogate,
    /// means and squares, each as its length in bytes (UInt64) and a safetensors file.
    public var encoded: [UInt8] {
        var bytes = Self.magic
        func add(_ word: UInt64) { withUnsafeBytes(of: word.littleEndian) { bytes.append(contentsOf: $0) } }
        add(UInt64(history.count))
        for mse in history { add(mse.bitPattern) }
        for part in [surrogate, means, squares] {
            let file = part.safetensors()
            add(UInt64(file.count))
            bytes += file
        }
        return bytes
    }

    /// - Throws: `TrainingStateError` unless the bytes are what `encoded` writes.
    public init(encoded bytes: [UInt8]) throws(TrainingStateError) {
        var rest = bytes[...]
        func take(_ count: UInt64) throws(TrainingStateError) -> ArraySlice<UInt8> {
            guard count <= UInt64(rest.count) else {
                throw TrainingStateError(description: "the state of a training is cut short")
            }
            defer { rest = rest.dropFirst(Int(count)) }
            return rest.prefix(Int(count))
        }
        func word() throws(TrainingStateError) -> UInt64 {
            try take(8).reversed().reduce(0) { $0 << 8 | UInt64($1) }
        }
        guard try take(UInt64(Self.magic.count)).elementsEqual(Self.magic) else {
            throw TrainingStateError(description: "not the state of a training")
        }
        var history: [Double] = []
        for _ in 0..<(try word()) { history.append(Double(bitPattern: try word())) }
        var parts: [Surrogate] = []
        for _ in 0..<3 {
            var metadata: [String: String] = [:]
            do {
                parts.append(try Surrogate(safetensors: Array(try take(try word())), metadata: &metadata))
            } catch {
                throw TrainingStateError(description: "the state of a training is damaged: \(error)")
            }
        }
        let shapes = parts.map { $0.layers.map { [$0.inputs, $0.outputs] } }
        guard rest.isEmpty, shapes[0] == shapes[1], shapes[0] == shapes[2], history.allSatisfy(\.isFinite) else {
            throw TrainingStateError(description: "the parts of a training's state do not fit each other")
        }
        self.init(surrogate: parts[0], means: parts[1], squares: parts[2], history: history)
    }
}
