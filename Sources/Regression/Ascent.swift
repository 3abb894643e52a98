// From seeds to local maximizers of the squared error.
//
// The surrogate is piecewise linear, so the maxima sit on its kinks: the gradient never vanishes there, and following it
// with ever smaller steps is what converges. Plain gradient steps of a fixed scale leave the domain where the error is
// steep and crawl where it is flat; steps of a given *length* along the direction, with momentum, do neither.

/// One level of ascent: unit-gradient steps with momentum and a length that shrinks.
public struct AscentStage: Sendable, Hashable {
    public var steps: Int
    /// Length of a step at full speed, normalised units.
    public var stepSize: Double
    /// Share of the old velocity that is kept, in [0, 1).
    public var momentum: Double
    /// The step size is multiplied by `decay` after every `decayEvery` steps.
    public var decay: Double
    public var decayEvery: Int
    /// Share of the unique maximizers of the stage before, the largest errors first, that this stage starts from.
    public var keep: Double
    /// A seed that moves no farther than this in a step has converged and leaves the batch.
    public var stopStep: Double

    public init(
        steps: Int = 100, stepSize: Double = 0.05, momentum: Double = 0.9, decay: Double = 0.7, decayEvery: Int = 10,
        keep: Double = 1, stopStep: Double = 1e-6
    ) {
        self.steps = steps
        self.stepSize = stepSize
        self.momentum = momentum
        self.decay = decay
        self.decayEvery = decayEvery
        self.keep = keep
        self.stopStep = stopStep
    }
}

/// End points of ascents: where surrogate and oracle disagree most, locally.
public struct Maximizers: Sendable, Hashable {
    public let dimension: Int
    /// Rows of normalised inputs.
    public var inputs: [Double]
    public var predictions: [Double]
    public var labels: [Double]
    /// Of the labels; 0 for a deterministic oracle.
    public var standardErrors: [Double]

    public init(
        dimension: Int, inputs: [Double] = [], predictions: [Double] = [], labels: [Double] = [],
        standardErrors: [Double] = []
    ) {
        self.dimension = dimension
        self.inputs = inputs
        self.predictions = predictions
        self.labels = labels
        self.standardErrors = standardErrors
    }

    public var count: Int { predictions.count }

    /// Normalised; `row` in 0 ..< count.
    public func input(_ row: Int) -> ArraySlice<Double> { inputs[row * dimension..<(row + 1) * dimension] }

    /// Signed: prediction − label.
    public func error(_ row: Int) -> Double { predictions[row] - labels[row] }

    /// Adds the rows of `other`, which has the same dimension, at the end.
    public mutating func append(_ other: Maximizers) {
        inputs += other.inputs
        predictions += other.predictions
        labels += other.labels
        standardErrors += other.standardErrors
    }

    /// These rows, in this order.
    public func rows(_ keep: [Int]) -> Maximizers {
        var picked = Maximizers(dimension: dimension)
        for row in keep {
            picked.inputs += input(row)
            picked.predictions.append(predictions[row])
            picked.labels.append(labels[row])
            picked.standardErrors.append(standardErrors[row])
        }
        return picked
    }
}

/// What an ascent found and what it took.
public struct AscentResult: Sendable, Hashable {
    /// One per seed, in order. A seed at which the oracle never had a price keeps its place, with a NaN label.
    public var maximizers: Maximizers
    /// One number per seed.
    public var oracleCalls: [Int]

    public init(maximizers: Maximizers, oracleCalls: [Int]) {
        self.maximizers = maximizers
        self.oracleCalls = oracleCalls
    }
}

/// Climbs of the squared error from some seeds, step by step: says where it wants to know surrogate and oracle, is told,
/// and moves on.
///
/// Velocity v ← momentum · v + (1 − momentum) · ∇/|∇|, x ← projection of x + step size · v onto the domain. A part of
/// the velocity that the projection takes away is dropped. A seed's path depends on nothing but the seed, the surrogate
/// and the oracle, not on the other rows. Each seed ends with the best point that it has seen.
public struct Ascent: Sendable {
    private let domain: Domain
    private let stage: AscentStage
    private var position: [Double]
    private var velocity: [Double]
    private var best: Maximizers
    private var heights: [Double]
    private var calls: [Int]
    /// Seeds that still move.
    private var active: [Int]
    private var stepSize: Double
    private var steps = 0

    /// - Parameter seeds: rows of normalised inputs, projected onto the domain before the first step.
    public init(_ seeds: [Double], _ stage: AscentStage, domain: Domain) {
        self.domain = domain
        self.stage = stage
        let dimension = domain.dimension
        let count = seeds.count / dimension
        position = seeds
        velocity = [Double](repeating: 0, count: seeds.count)
        best = Maximizers(
            dimension: dimension, inputs: seeds, predictions: [Double](repeating: .nan, count: count),
            labels: [Double](repeating: .nan, count: count), standardErrors: [Double](repeating: 0, count: count))
        heights = [Double](repeating: -.infinity, count: count)
        calls = [Int](repeating: 0, count: count)
        active = Array(0..<count)
        stepSize = stage.stepSize
        position.withUnsafeMutableBufferPointer { position in
            for row in 0..<count {
                domain.project(.init(rebasing: position[row * dimension..<(row + 1) * dimension]))
            }
        }
    }

    public var isFinished: Bool { active.isEmpty || steps > stage.steps }

    /// Rows of normalised inputs at which the error is wanted next.
    public var inputs: [Double] {
        let dimension = domain.dimension
        var inputs: [Double] = []
        inputs.reserveCapacity(active.count * dimension)
        for row in active { inputs += position[row * dimension..<(row + 1) * dimension] }
        return inputs
    }

    /// Whether its slopes are wanted too: not at the end.
    public var wantsSlopes: Bool { steps < stage.steps }

    public var result: AscentResult { AscentResult(maximizers: best, oracleCalls: calls) }

    /// Takes the values at `inputs` and moves.
    public mutating func advance(_ values: ErrorValues) {
        let dimension = domain.dimension
        for row in active { calls[row] += values.oracleCalls / active.count }
        var moving: [Int] = []
        moving.reserveCapacity(active.count)
        for (k, row) in active.enumerated() {
            // A point without a price has no height and no way up.
            guard let height = values.height(k) else { continue }
            if height > heights[row] {
                heights[row] = height
                best.predictions[row] = values.predictions[k]
                best.labels[row] = values.labels[k]
                if !values.standardErrors.isEmpty { best.standardErrors[row] = values.standardErrors[k] }
                for i in 0..<dimension { best.inputs[row * dimension + i] = position[row * dimension + i] }
            }
            guard wantsSlopes else { continue }
            let error = values.predictions[k] - values.labels[k]
            let (domain, stage, stepSize) = (domain, stage, stepSize)
            let moved = position.withUnsafeMutableBufferPointer { position in
                velocity.withUnsafeMutableBufferPointer { velocity in
                    values.slopes.withUnsafeBufferPointer { slopes in
                        Self.move(
                            .init(rebasing: position[row * dimension..<(row + 1) * dimension]),
                            .init(rebasing: velocity[row * dimension..<(row + 1) * dimension]),
                            along: .init(rebasing: slopes[k * dimension..<(k + 1) * dimension]), sign: error,
                            stepSize, stage.momentum, domain)
                    }
                }
            }
            if moved > stage.stopStep { moving.append(row) }
        }
        active = moving
        steps += 1
        if steps.isMultiple(of: max(1, stage.decayEvery)) { stepSize *= stage.decay }
    }

    /// Moves one point and returns how far.
    private static func move(
        _ position: UnsafeMutableBufferPointer<Double>, _ velocity: UnsafeMutableBufferPointer<Double>,
        along slope: UnsafeBufferPointer<Double>, sign: Double, _ stepSize: Double, _ momentum: Double,
        _ domain: Domain
    ) -> Double {
        var square = 0.0
        for s in slope { square += s * s }
        // ∇(error²) = 2 error ∇error: only its direction counts.
        let unit = square > 0 && square.isFinite ? (sign < 0 ? -1 : 1) / square.squareRoot() : 0
        return withUnsafeTemporaryAllocation(of: Double.self, capacity: 2 * position.count) { scratch in
            let d = position.count
            let (before, wanted) = (scratch[0..<d], scratch[d..<2 * d])
            for i in 0..<d {
                velocity[i] = momentum * velocity[i] + (1 - momentum) * (unit == 0 ? 0 : unit * slope[i])
                scratch[i] = position[i]
                position[i] += stepSize * velocity[i]
                scratch[d + i] = position[i]
            }
            domain.project(position)
            var blocked = false
            for i in 0..<d where position[i] != wanted[d + i] { blocked = true }
            var moved = 0.0
            for i in 0..<d {
                let change = position[i] - before[i]
                moved += change * change
                if blocked { velocity[i] = change / stepSize }
            }
            return moved.squareRoot()
        }
    }
}

/// The certificate of local maxima: looks around each maximizer, in some fixed random directions, for something higher.
public struct Probe: Sendable {
    /// Rows of normalised inputs at which the error is wanted, those of one maximizer side by side.
    public let inputs: [Double]
    private let maximizers: Maximizers
    private let directions: Int

    /// - Parameters:
    ///   - radius: distance of the points from their maximizer, before they are projected onto the domain.
    ///   - directions: how many per maximizer.
    public init(_ maximizers: Maximizers, radius: Double, directions: Int, randomSeed: UInt64, domain: Domain) {
        self.maximizers = maximizers
        self.directions = directions
        let dimension = domain.dimension
        var stream = RandomStream(seed: randomSeed, purpose: .probes)
        let rays = (0..<directions).map { _ in stream.direction(dimension) }
        var around: [Double] = []
        around.reserveCapacity(maximizers.inputs.count * directions)
        for row in 0..<maximizers.count {
            for ray in rays { for (x, r) in zip(maximizers.input(row), ray) { around.append(x + radius * r) } }
        }
        around.withUnsafeMutableBufferPointer { around in
            for start in stride(from: 0, to: around.count, by: dimension) {
                domain.project(.init(rebasing: around[start..<start + dimension]))
            }
        }
        inputs = around
    }

    /// For each maximizer, the best relative gain of the height among its directions; negative if all are lower.
    public func gains(_ values: ErrorValues) -> [Double] {
        (0..<maximizers.count).map { row in
            let noise = maximizers.standardErrors[row]
            let square = maximizers.error(row) * maximizers.error(row)
            let height = square - noise * noise
            var best = -1.0
            for k in row * directions..<(row + 1) * directions {
                if let other = values.height(k) { best = max(best, (other - height) / (height > 0 ? height : square)) }
            }
            return best
        }
    }
}

extension ErrorSurface {
    /// Climbs from each of some rows of normalised inputs.
    ///
    /// - Parameter isOver: asked after each step; once it is true, what was found until then is returned.
    public func ascend(
        _ seeds: [Double], _ stage: AscentStage, isOver: () -> Bool = { false }
    ) -> AscentResult {
        var ascent = Ascent(seeds, stage, domain: domain)
        while !ascent.isFinished {
            ascent.advance(values(ascent.inputs, slopes: ascent.wantsSlopes))
            if isOver() { break }
        }
        return ascent.result
    }

    /// The gains of a `Probe`, and what they took.
    public func residualGains(_ maximizers: Maximizers, radius: Double, directions: Int, randomSeed: UInt64)
        -> (gains: [Double], oracleCalls: Int)
    {
        let probe = Probe(
            maximizers, radius: radius, directions: directions, randomSeed: randomSeed, domain: domain)
        let values = values(probe.inputs, slopes: false)
        return (probe.gains(values), values.oracleCalls)
    }
}
