// Where a surrogate is meant to be right: a box of intervals, cut by linear constraints, and the map onto [0, 1] per
// input in which everything else works.

internal import CKernels

/// A half-space in raw units: the sum of coefficient · input stays at or below `bound`.
public struct LinearConstraint: Sendable, Hashable {
    /// For people and for the column `face`, such as `barrierOverSpot<=strikeOverSpot`.
    public let name: String
    /// The coefficient of each input that takes part, by position.
    public let coefficients: [Int: Double]
    public let bound: Double

    public init(name: String, coefficients: [Int: Double], bound: Double) {
        self.name = name
        self.coefficients = coefficients
        self.bound = bound
    }
}

/// What is wrong with a domain.
public struct DomainError: Error, Sendable, Hashable, CustomStringConvertible {
    public let description: String
}

/// The admissible inputs of an oracle.
///
/// An *input* is a point of [0, 1]ᵈ; `raw` and `normalised` map between it and the oracle's units. Constraints may
/// couple inputs in pairs: then a pair moves in a convex polygon, on which sampling, projection and volume are exact.
public struct Domain: Sendable, Hashable {
    /// One coordinate and its interval in raw units.
    public struct Input: Sendable, Hashable {
        public let name: String
        public let lower: Double
        public let upper: Double

        public init(name: String, lower: Double, upper: Double) {
            self.name = name
            self.lower = lower
            self.upper = upper
        }

        var width: Double { upper - lower }
    }

    public let inputs: [Input]
    public let constraints: [LinearConstraint]
    /// Volume of the admissible part as a share of [0, 1]ᵈ, in (0, 1].
    public let volume: Double

    /// Coordinates that move together: one with its interval, or two with their polygon.
    private enum Block: Sendable, Hashable {
        case interval(Int, lower: Double, upper: Double)
        case polygon(Int, Int, ConvexPolygon)
    }

    private let blocks: [Block]

    public var dimension: Int { inputs.count }

    /// - Throws: `DomainError` if an interval is empty or not finite, if a constraint couples more than two inputs
    ///   (directly or through others), or if almost nothing (less than 1e-6 of the box) is admissible.
    public init(inputs: [Input], constraints: [LinearConstraint] = []) throws(DomainError) {
        guard !inputs.isEmpty else { throw DomainError(description: "a domain needs at least one input") }
        for input in inputs where !(input.lower < input.upper && input.width.isFinite) {
            throw DomainError(
                description: "\(input.name): the interval [\(input.lower), \(input.upper)] is empty or not finite")
        }
        // Which inputs are coupled: each gets the smallest position that it is linked to.
        var leader = Array(inputs.indices)
        for constraint in constraints {
            let members = constraint.coefficients.keys.sorted()
            guard let first = members.first, members.allSatisfy(inputs.indices.contains) else {
                throw DomainError(description: "\(constraint.name): a constraint names inputs that are not there")
            }
            let old = Set(members.map { leader[$0] })
            let new = min(leader[first], old.min() ?? first)
            for i in leader.indices where old.contains(leader[i]) { leader[i] = new }
        }
        var blocks: [Block] = []
        var volume = 1.0
        for position in inputs.indices where leader[position] == position {
            let members = inputs.indices.filter { leader[$0] == position }
            let own = constraints.filter { members.contains($0.coefficients.keys.min() ?? -1) }
            // The half-space sum of c_i (lower_i + width_i u_i) <= bound, in normalised coordinates.
            let cuts = own.map { constraint in
                let shift = constraint.coefficients.keys.sorted().reduce(0.0) { sum, i in
                    sum + constraint.coefficients[i]! * inputs[i].lower
                }
                return (
                    slopes: members.map { (constraint.coefficients[$0] ?? 0) * inputs[$0].width },
                    bound: constraint.bound - shift, name: constraint.name
                )
            }
            switch members.count {
            case 1:
                var lower = 0.0
                var upper = 1.0
                for cut in cuts where cut.slopes[0] != 0 {
                    let edge = cut.bound / cut.slopes[0]
                    if cut.slopes[0] > 0 { upper = min(upper, edge) } else { lower = max(lower, edge) }
                }
                guard lower < upper else {
                    let names = own.map(\.name).joined(separator: ", ")
                    throw DomainError(description: "\(inputs[position].name): nothing in its interval meets \(names)")
                }
                blocks.append(.interval(position, lower: lower, upper: upper))
                volume *= upper - lower
            case 2:
                var polygon = ConvexPolygon.unitSquare
                for cut in cuts { polygon = polygon.cut(cut.slopes[0], cut.slopes[1], cut.bound) }
                guard polygon.area > 0 else {
                    let names = own.map(\.name).joined(separator: ", ")
                    throw DomainError(
                        description:
                            "\(members.map { inputs[$0].name }.joined(separator: " and ")): nothing meets \(names)")
                }
                blocks.append(.polygon(members[0], members[1], polygon))
                volume *= polygon.area
            default:
                throw DomainError(
                    description:
                        "constraints couple \(members.map { inputs[$0].name }.joined(separator: ", ")); "
                        + "at most two inputs may depend on each other")
            }
        }
        guard volume > 1e-6 else {
            throw DomainError(description: "only \(volume) of the box is admissible; widen the intervals")
        }
        self.inputs = inputs
        self.constraints = constraints
        self.blocks = blocks
        self.volume = volume
    }

    /// Raw value of coordinate `i` at `u` in [0, 1]; the ends map to the ends exactly.
    public func raw(_ u: Double, _ i: Int) -> Double {
        u == 1 ? inputs[i].upper : inputs[i].lower + u * inputs[i].width
    }

    /// Normalised value of coordinate `i` at raw `x`; the ends map to the ends exactly.
    public func normalised(_ x: Double, _ i: Int) -> Double {
        x == inputs[i].upper ? 1 : (x - inputs[i].lower) / inputs[i].width
    }

    /// Rows of normalised inputs in raw units.
    public func raw(rows: [Double]) -> [Double] {
        map(rows) { raw($0, $1) }
    }

    /// Rows of raw inputs on [0, 1].
    public func normalised(rows: [Double]) -> [Double] {
        map(rows) { normalised($0, $1) }
    }

    private func map(_ rows: [Double], _ change: (Double, Int) -> Double) -> [Double] {
        precondition(rows.count.isMultiple(of: dimension), "\(rows.count) numbers are no rows of \(dimension)")
        return [Double](unsafeUninitializedCapacity: rows.count) { buffer, count in
            var i = 0
            for j in rows.indices {
                buffer.initializeElement(at: j, to: change(rows[j], i))
                i = i + 1 == dimension ? 0 : i + 1
            }
            count = rows.count
        }
    }

    /// Whether the normalised point is admissible, up to a rounding of `slack`.
    public func contains(_ point: some RandomAccessCollection<Double>, slack: Double = 1e-12) -> Bool {
        let u = Array(point)
        return blocks.allSatisfy { block in
            switch block {
            case .interval(let i, let lower, let upper): u[i] >= lower - slack && u[i] <= upper + slack
            case .polygon(let i, let j, let polygon): polygon.contains(u[i], u[j], slack: slack)
            }
        }
    }

    /// Moves the point to the nearest admissible one (Euclidean, normalised). A point that is not a number stays so.
    public func project(_ point: UnsafeMutableBufferPointer<Double>) {
        for block in blocks {
            switch block {
            case .interval(let i, let lower, let upper):
                if point[i] < lower { point[i] = lower } else if point[i] > upper { point[i] = upper }
            case .polygon(let i, let j, let polygon):
                (point[i], point[j]) = polygon.nearest(point[i], point[j])
            }
        }
    }

    /// Distance from an admissible point to the nearest bound or constraint; negative outside.
    func clearance(_ u: [Double]) -> Double {
        var least = Double.infinity
        for block in blocks {
            switch block {
            case .interval(let i, let lower, let upper): least = min(least, u[i] - lower, upper - u[i])
            case .polygon(let i, let j, let polygon):
                least = min(least, u[i], 1 - u[i], u[j], 1 - u[j])
                for cut in polygon.cuts {
                    let length = (cut.a * cut.a + cut.b * cut.b).squareRoot()
                    least = min(least, (cut.bound - cut.a * u[i] - cut.b * u[j]) / length)
                }
            }
        }
        return least
    }

    /// How many of the points `centre` + `scale` · offset are admissible; `offsets` holds all first coordinates, then all
    /// second ones, and so on.
    func countAdmissible(around centre: [Double], scale: Double, offsets: [Double]) -> Int {
        var lower = [Double](repeating: 0, count: dimension)
        var upper = [Double](repeating: 1, count: dimension)
        var cuts: [ck_cut] = []
        for block in blocks {
            switch block {
            case .interval(let i, let low, let high): (lower[i], upper[i]) = (low, high)
            case .polygon(let i, let j, let polygon):
                cuts += polygon.cuts.map { ck_cut(first: i, second: j, a: $0.a, b: $0.b, bound: $0.bound) }
            }
        }
        return ck_count_admissible(
            centre, scale, offsets, offsets.count / dimension, dimension, lower, upper, cuts, cuts.count)
    }

    /// The bounds and constraints on which the point lies, within 1e-9, as `name:lower`, `name:upper` or the name of a
    /// constraint, separated by spaces; `interior` if there are none.
    public func face(_ point: some RandomAccessCollection<Double>) -> String {
        let u = Array(point)
        var faces: [String] = []
        for i in u.indices {
            if u[i] <= 1e-9 { faces.append("\(inputs[i].name):lower") }
            if u[i] >= 1 - 1e-9 { faces.append("\(inputs[i].name):upper") }
        }
        for constraint in constraints {
            var sum = 0.0
            var scale = 0.0
            for i in constraint.coefficients.keys.sorted() {
                sum += constraint.coefficients[i]! * raw(u[i], i)
                scale += abs(constraint.coefficients[i]!) * inputs[i].width
            }
            if sum >= constraint.bound - 1e-9 * scale { faces.append(constraint.name) }
        }
        return faces.isEmpty ? "interior" : faces.joined(separator: " ")
    }

    /// `count` points drawn uniformly from the admissible part, as rows.
    ///
    /// - Parameters:
    ///   - box: normalised sub-intervals to draw from, one per input; the whole box if nil.
    ///   - excluding: points in this box (closed) are drawn again.
    /// - Throws: `DomainError` if a million draws in a row were refused.
    public func sample(
        _ count: Int, from stream: inout RandomStream, box: [ClosedRange<Double>]? = nil,
        excluding hole: [ClosedRange<Double>]? = nil
    ) throws(DomainError) -> [Double] {
        var rows: [Double] = []
        rows.reserveCapacity(count * dimension)
        var point = [Double](repeating: 0, count: dimension)
        var refused = 0
        while rows.count < count * dimension {
            for i in point.indices {
                let u = stream.uniform()
                point[i] = box.map { $0[i].lowerBound + u * ($0[i].upperBound - $0[i].lowerBound) } ?? u
            }
            let inHole = hole.map { hole in zip(point, hole).allSatisfy { $1.contains($0) } } ?? false
            if inHole || !contains(point) {
                refused += 1
                if refused == 1_000_000 {
                    throw DomainError(description: "no admissible point was found in a million draws from its region")
                }
            } else {
                rows += point
                refused = 0
            }
        }
        return rows
    }
}
