// Samples as bytes, to travel as one blob.

extension Samples {
    private static let magic = Array("CairnSamples1\0\0\0".utf8)

    /// Little-endian: 16 bytes of magic, dimension and count (UInt64), coordinates and labels (Float64).
    public var encoded: [UInt8] {
        var bytes = Self.magic
        bytes.reserveCapacity(32 + 8 * (inputs.count + labels.count))
        func add(_ words: some Sequence<UInt64>) {
            for word in words { withUnsafeBytes(of: word.littleEndian) { bytes.append(contentsOf: $0) } }
        }
        add([UInt64(dimension), UInt64(count)])
        add(inputs.lazy.map(\.bitPattern))
        add(labels.lazy.map(\.bitPattern))
        return bytes
    }

    /// Nil unless the bytes are exactly what `encoded` writes, with finite numbers.
    public init?(encoded bytes: [UInt8]) {
        guard bytes.count >= 32, bytes.starts(with: Self.magic) else { return nil }
        func word(_ k: Int) -> UInt64 {
            bytes.withUnsafeBytes {
                UInt64(littleEndian: $0.loadUnaligned(fromByteOffset: 16 + 8 * k, as: UInt64.self))
            }
        }
        let words = UInt64(bytes.count - 32) / 8
        let (dimension, count) = (word(0), word(1))
        guard bytes.count.isMultiple(of: 8), dimension > 0, dimension <= 1 << 20, count <= words,
            case (let product, let overflow) = count.multipliedReportingOverflow(by: dimension + 1), !overflow,
            product == words
        else { return nil }
        let numbers = bytes.withUnsafeBytes { raw in
            (0..<Int(words)).map {
                Double(
                    bitPattern: UInt64(littleEndian: raw.loadUnaligned(fromByteOffset: 32 + 8 * $0, as: UInt64.self)))
            }
        }
        guard numbers.allSatisfy(\.isFinite) else { return nil }
        let coordinates = Int(count * dimension)
        self.init(
            dimension: Int(dimension), inputs: Array(numbers[..<coordinates]), labels: Array(numbers[coordinates...]))
    }
}
