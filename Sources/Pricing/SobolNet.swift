// Sobol's points, scrambled: what the Monte Carlo oracles integrate over.

internal import CKernels
internal import Regression

/// Several independent scrambles of one digital net in base 2.
///
/// Each scramble multiplies the generator matrices by a random lower triangular matrix and adds a random digital shift
/// (J. Matoušek, "On the L2-discrepancy for anchored boxes", Journal of Complexity 14 (1998)): every point is then uniform
/// and the net's structure stays, so that the scrambles' means are independent and unbiased, and their spread is the error.
/// Points have 52 bits. Everything follows from the seed by a counter-based generator.
struct SobolNet {
    /// How many: the standard error has 31 degrees of freedom.
    static let scrambles = 32

    let coordinates: Int
    let log2Paths: Int
    /// For each scramble: coordinates × log2Paths words, the highest bit first in the fraction.
    private(set) var directions: [[UInt64]] = []
    private(set) var shifts: [[UInt64]] = []

    /// - Parameters:
    ///   - coordinates: random numbers per path, at most `SobolNumbers.coordinates`.
    ///   - log2Paths: of the paths in one scramble.
    ///   - seed: of the scrambles.
    init(coordinates: Int, log2Paths: Int, seed: UInt64) {
        precondition((1...SobolNumbers.coordinates).contains(coordinates) && (0...40).contains(log2Paths))
        self.coordinates = coordinates
        self.log2Paths = log2Paths
        let plain = Self.plainDirections(coordinates, log2Paths)
        for scramble in 0..<Self.scrambles {
            var directions = plain
            var shifts: [UInt64] = []
            for d in 0..<coordinates {
                var stream = RandomStream(
                    seed: seed, purpose: .other, index: UInt32(0x5000_0000 + scramble * 4096 + d))
                shifts.append(stream.next())
                // Row r of the matrix: random below the diagonal, 1 on it.
                let rows = (0..<52).map { r -> UInt64 in
                    let below: UInt64 = r == 0 ? 0 : (stream.next() >> UInt64(64 - r)) << UInt64(64 - r)
                    return below | (1 << UInt64(63 - r))
                }
                for bit in 0..<log2Paths {
                    let word = plain[d * log2Paths + bit]
                    var scrambled: UInt64 = 0
                    for (r, row) in rows.enumerated() {
                        scrambled |= UInt64((row & word).nonzeroBitCount & 1) << UInt64(63 - r)
                    }
                    directions[d * log2Paths + bit] = scrambled
                }
            }
            self.directions.append(directions)
            self.shifts.append(shifts)
        }
    }

    /// Sobol's direction numbers, the binary point before bit 63.
    static func plainDirections(_ coordinates: Int, _ bits: Int) -> [UInt64] {
        var result: [UInt64] = []
        result.reserveCapacity(coordinates * bits)
        var place = 0
        for d in 0..<coordinates {
            guard d > 0 else {
                for bit in 0..<bits { result.append(1 << UInt64(63 - bit)) }
                continue
            }
            let polynomial = UInt64(SobolNumbers.table[place])
            let degree = 63 - polynomial.leadingZeroBitCount
            var v: [UInt64] = []
            for bit in 0..<bits {
                if bit < degree {
                    v.append(UInt64(SobolNumbers.table[place + 1 + bit]) << UInt64(63 - bit))
                } else {
                    var word = v[bit - degree] ^ (v[bit - degree] >> UInt64(degree))
                    for k in 1..<max(degree, 1) where (polynomial >> UInt64(degree - k)) & 1 == 1 { word ^= v[bit - k] }
                    v.append(word)
                }
            }
            result += v
            place += 1 + degree
        }
        return result
    }
}

/// The order in which a Brownian bridge fills equally spaced dates: the last first, then the middle of the widest gap.
func brownianBridge(times: [Double]) -> [ck_bridge_step] {
    guard let last = times.indices.last else { return [] }
    var steps = [
        ck_bridge_step(
            date: last, left: -1, right: -1, left_weight: 0, right_weight: 0, deviation: times[last].squareRoot())
    ]
    var gaps = [(left: -1, right: last)]
    while !gaps.isEmpty {
        let gap = gaps.removeFirst()
        guard gap.right - gap.left > 1 else { continue }
        let middle = (gap.left + gap.right) / 2
        let (a, b, t) = (gap.left < 0 ? 0 : times[gap.left], times[gap.right], times[middle])
        steps.append(
            ck_bridge_step(
                date: middle, left: gap.left, right: gap.right, left_weight: (b - t) / (b - a),
                right_weight: (t - a) / (b - a), deviation: ((b - t) * (t - a) / (b - a)).squareRoot()))
        gaps += [(gap.left, middle), (middle, gap.right)]
    }
    return steps
}
