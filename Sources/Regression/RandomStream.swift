// Random numbers that depend on nothing but (seed, purpose, index): the same on every machine, in any order of use.

/// A stream of random numbers: Philox 4×32 with 10 rounds, a counter-based generator (Salmon, Moraes, Dror and Shaw,
/// "Parallel random numbers: as easy as 1, 2, 3", SC11). Two streams with different seeds, purposes or indices share
/// nothing.
public struct RandomStream: Sendable {
    /// What the numbers are for. Part of the key, so that a change in how many numbers one purpose takes leaves the
    /// others alone.
    public enum Purpose: UInt32, Sendable {
        case baseSamples = 1
        case testSamples, mislabelled, surround, attackTest, validation
        case weights, batches, seeds, probes, other
    }

    private let key: (UInt32, UInt32)
    private let stream: (UInt32, UInt32)
    private var counter: UInt64 = 0
    private var spare: UInt64?

    /// - Parameters:
    ///   - seed: the study's `randomSeed`.
    ///   - purpose: what the numbers are for.
    ///   - index: which of several streams of that purpose, below 2³².
    public init(seed: UInt64, purpose: Purpose, index: UInt32 = 0) {
        key = (UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32))
        stream = (purpose.rawValue, index)
    }

    /// The next 64 random bits.
    public mutating func next() -> UInt64 {
        if let value = spare {
            spare = nil
            return value
        }
        let block = Self.philox(
            (UInt32(truncatingIfNeeded: counter), UInt32(truncatingIfNeeded: counter >> 32), stream.0, stream.1), key)
        counter += 1
        spare = UInt64(block.2) | UInt64(block.3) << 32
        return UInt64(block.0) | UInt64(block.1) << 32
    }

    /// Uniform on [0, 1), a multiple of 2⁻⁵³.
    public mutating func uniform() -> Double {
        Double(next() >> 11) * 0x1p-53
    }

    /// Uniform on 0 ..< `bound`, without bias (Lemire, "Fast random integer generation in an interval", 2019).
    public mutating func below(_ bound: Int) -> Int {
        precondition(bound > 0, "no number is below \(bound)")
        let range = UInt64(bound)
        while true {
            let product = next().multipliedFullWidth(by: range)
            if product.low >= range || product.low >= (0 &- range) % range { return Int(product.high) }
        }
    }

    /// A uniform permutation of 0 ..< `count` (Fisher and Yates).
    public mutating func permutation(_ count: Int) -> [Int32] {
        var order = [Int32](unsafeUninitializedCapacity: count) { buffer, initialized in
            for i in 0..<count { buffer.initializeElement(at: i, to: Int32(i)) }
            initialized = count
        }
        var i = count - 1
        while i > 0 {
            order.swapAt(i, below(i + 1))
            i -= 1
        }
        return order
    }

    package typealias Block = (UInt32, UInt32, UInt32, UInt32)

    package static func philox(_ counter: Block, _ key: (UInt32, UInt32)) -> Block {
        var (a, b, c, d) = counter
        var (k, l) = key
        for _ in 0..<10 {
            let first = a.multipliedFullWidth(by: 0xD251_1F53)
            let second = c.multipliedFullWidth(by: 0xCD9E_8D57)
            (a, b, c, d) = (second.high ^ b ^ k, second.low, first.high ^ d ^ l, first.low)
            k &+= 0x9E37_79B9
            l &+= 0xBB67_AE85
        }
        return (a, b, c, d)
    }
}
