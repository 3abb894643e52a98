// How many samples a ball should hold: its share of the admissible domain.

internal import CKernels
internal import Synchronization

/// Volumes of balls within a domain.
///
/// A ball that lies inside the domain has its exact volume. Of another, the admissible part is estimated by 16,384 fixed
/// quasi-random points of the ball; the error of that (0.5 % on average, below 2 % for balls at up to four faces) is taken
/// at its upper end, so that a count is never surprising for want of a volume.
public struct BallVolume: Sendable {
    private let domain: Domain
    private let unitVolume: Double
    /// Points in the unit ball: all first coordinates, then all second ones, and so on.
    private let offsets: [Double]

    private static let offsetCount = 16384
    private static let margin = 1.02

    public init(domain: Domain) {
        self.domain = domain
        let dimension = domain.dimension
        // Volume of the unit ball: V₁ = 2, V₂ = π, V_d = V_{d−2} · 2π/d.
        var volumes = [1.0, 2.0]
        while volumes.count <= dimension {
            volumes.append(volumes[volumes.count - 2] * 2 * .pi / Double(volumes.count))
        }
        unitVolume = volumes[dimension]
        offsets = Self.offsets(dimension)
    }

    /// Made once per dimension.
    private static func offsets(_ dimension: Int) -> [Double] {
        made.withLock { made in
            let offsets = made[dimension] ?? makeOffsets(dimension)
            made[dimension] = offsets
            return offsets
        }
    }

    private static let made = Mutex<[Int: [Double]]>([:])

    private static func makeOffsets(_ dimension: Int) -> [Double] {
        // An additive recurrence in d + 1 dimensions (M. Roberts' R sequence: powers of the root of x^(n+1) = x + 1),
        // mapped to directions by the normal quantile and to radii by the inverse of r^d.
        var root = 2.0
        for _ in 0..<64 { root = ck_exp(ck_log(1 + root) / Double(dimension + 2)) }
        var offsets = [Double](repeating: 0, count: offsetCount * dimension)
        for k in 1...offsetCount {
            var power = 1.0
            var coordinates: [Double] = []
            for _ in 0...dimension {
                power /= root
                let x = (0.5 + Double(k) * power)
                coordinates.append(max(1e-12, x - x.rounded(.down)))
            }
            let normal = coordinates.dropLast().map(normalQuantile)
            let length = normal.reduce(0) { $0 + $1 * $1 }.squareRoot()
            let radius = ck_exp(ck_log(coordinates[dimension]) / Double(dimension))
            for i in 0..<dimension where length > 0 {
                offsets[i * offsetCount + k - 1] = normal[i] / length * radius
            }
        }
        return offsets
    }

    /// Share of the admissible domain within `radius` of `centre`, an admissible point; in (0, 1].
    public func share(around centre: some RandomAccessCollection<Double>, radius: Double) -> Double {
        let dimension = domain.dimension
        let full = (0..<dimension).reduce(unitVolume) { volume, _ in volume * radius } / domain.volume
        let centre = Array(centre)
        if domain.clearance(centre) >= radius { return min(1, full) }
        let inside = domain.countAdmissible(around: centre, scale: radius, offsets: offsets)
        // At least the point itself is admissible.
        return min(1, full * Self.margin * Double(max(1, inside)) / Double(Self.offsetCount))
    }

}
