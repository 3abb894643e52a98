import Pricing
import Regression
import Testing

/// An oracle made of a closure, for surfaces whose maxima are known.
private struct Surface: Oracle {
    var descriptor: OracleDescriptor
    var price: @Sendable ([Double]) -> Double
    var slopes: (@Sendable ([Double]) -> [Double])?

    init(
        _ dimension: Int, slopes: (@Sendable ([Double]) -> [Double])? = nil,
        price: @escaping @Sendable ([Double]) -> Double
    ) {
        descriptor = OracleDescriptor(
            name: "surface", version: "1", summary: "", citation: "",
            inputs: (0..<dimension).map { .init(name: "x\($0)", unit: "1", meaning: "", lower: 0, upper: 2) },
            providesGradient: slopes != nil)
        self.price = price
        self.slopes = slopes
    }

    func evaluate(_ points: [Double], gradient: Bool) -> Valuations {
        let d = descriptor.inputs.count
        let rows = stride(from: 0, to: points.count, by: d).map { Array(points[$0..<$0 + d]) }
        return Valuations(
            prices: rows.map(price), gradients: gradient ? rows.flatMap { slopes!($0) } : [])
    }

    var domain: Domain {
        try! Domain(inputs: descriptor.inputs.map { .init(name: $0.name, lower: $0.lower, upper: $0.upper) })
    }

    /// Against a surrogate that always says 0.
    func surface(_ gradient: OracleGradient, scale: Double = 1) -> ErrorSurface {
        let zero = Surrogate(layers: [
            .init(
                inputs: descriptor.inputs.count, outputs: 1,
                weights: [Float](repeating: 0, count: descriptor.inputs.count), biases: [0])
        ])
        return ErrorSurface(
            network: Network(zero), oracle: self, domain: domain, labelScale: scale, gradient: gradient)
    }
}

@Suite struct AscentTests {
    /// A hill of height 8 at raw (1.2, 0.4): normalised (0.6, 0.2).
    private let hill = Surface(
        2, slopes: { [-2 * ($0[0] - 1.2), -2 * ($0[1] - 0.4)] },
        price: { 8 - ($0[0] - 1.2) * ($0[0] - 1.2) - ($0[1] - 0.4) * ($0[1] - 0.4) })

    @Test func climbsToTheTop() {
        for gradient in [OracleGradient.own, .differences(step: 1e-4)] {
            let surface = hill.surface(gradient, scale: 10)
            let stage = AscentStage(steps: 150, stepSize: 0.05, decay: 0.7, decayEvery: 10)
            let result = surface.ascend([0.1, 0.9, 0.6, 0.2, 1, 1], stage)
            for row in 0..<3 {
                let top = Array(result.maximizers.input(row))
                #expect(abs(top[0] - 0.6) < 2e-3 && abs(top[1] - 0.2) < 2e-3, "\(gradient): \(top)")
                #expect(abs(result.maximizers.labels[row] - 80) < 1e-3 && result.maximizers.predictions[row] == 0)
            }
        }
    }

    @Test func differencesAgreeWithTheOraclesOwnSlopes() {
        let put = DownAndOutPut()
        var stream = RandomStream(seed: 4, purpose: .other)
        let points = try! putDomain.sample(200, from: &stream)
        let surrogate = Surrogate(dimension: 5, hidden: [20], randomSeed: 1)
        func values(_ gradient: OracleGradient) -> ErrorValues {
            ErrorSurface(
                network: Network(surrogate), oracle: put, domain: putDomain, labelScale: 100, gradient: gradient
            ).values(points, slopes: true)
        }
        let (own, differences) = (values(.own), values(.differences(step: 1e-5)))
        #expect(own.oracleCalls == 200 && differences.oracleCalls == 200 * 11)
        #expect(own.labels == differences.labels)
        for (a, b) in zip(own.slopes, differences.slopes) { #expect(abs(a - b) < 1e-2 * max(1, abs(a))) }
    }

    @Test func maximaOnTheEdgeAreReachedAndMeasuredThere() {
        // Rising in both inputs: the corner (1, 1). Differences there are one-sided, over their true distance.
        let slope = Surface(2, price: { $0[0] + 3 * $0[1] })
        let result = slope.surface(.differences(step: 1e-3)).ascend([0.3, 0.3], AscentStage(steps: 100, stepSize: 0.1))
        #expect(Array(result.maximizers.input(0)) == [1, 1])
        let edge = slope.surface(.differences(step: 1e-3)).values([1, 1, 0, 0], slopes: true)
        for (slope, expected) in zip(edge.slopes, [-2, -6, -2, -6.0]) { #expect(abs(slope - expected) < 1e-9) }
    }

    @Test func theBestPointSeenIsKept() {
        // A step so long that the path oscillates: the result is the best of it, not its end.
        let surface = hill.surface(.own)
        let stage = AscentStage(steps: 37, stepSize: 0.4, momentum: 0, decay: 1)
        let result = surface.ascend([0.55, 0.25], stage)
        let start = surface.values([0.55, 0.25], slopes: false)
        #expect(result.maximizers.labels[0] >= start.labels[0])
    }

    @Test func aSeedsPathDoesNotDependOnItsShard() throws {
        var stream = RandomStream(seed: 9, purpose: .seeds)
        let seeds = try putDomain.sample(150, from: &stream)
        let network = Surrogate(dimension: 5, hidden: [30, 30], randomSeed: 3)
        func surface() -> ErrorSurface {
            ErrorSurface(
                network: Network(network), oracle: DownAndOutPut(), domain: putDomain, labelScale: 100, gradient: .own)
        }
        let stage = AscentStage(steps: 40, stepSize: 0.05, decay: 0.5, decayEvery: 8, stopStep: 1e-4)
        let whole = surface().ascend(seeds, stage)
        for size in [1, 7, 96, 149] {
            var pieces = Maximizers(dimension: 5)
            var calls: [Int] = []
            for start in stride(from: 0, to: 150, by: size) {
                let part = surface().ascend(Array(seeds[5 * start..<5 * min(150, start + size)]), stage)
                pieces.append(part.maximizers)
                calls += part.oracleCalls
            }
            #expect(pieces == whole.maximizers, "shards of \(size)")
            #expect(calls == whole.oracleCalls)
        }
        onEveryPath { path in #expect(surface().ascend(seeds, stage) == whole, "\(path)") }
        #expect(whole.oracleCalls.reduce(0, +) < 150 * 41, "seeds that have stopped are not priced on")
        for row in 0..<150 { #expect(putDomain.contains(whole.maximizers.input(row), slack: 1e-12)) }
    }

    @Test func aPointWithoutAPriceEndsItsAscentAlone() {
        let holed = Surface(1, price: { $0[0] < 1 ? .nan : $0[0] })
        let result = holed.surface(.differences(step: 1e-3)).ascend([0.1, 0.7], AscentStage(steps: 60))
        #expect(result.maximizers.labels[0].isNaN)
        #expect(abs(result.maximizers.labels[1] - 2) < 1e-6)
        #expect(result.maximizers.unique(within: 0.1).rows == [1])
        #expect(result.maximizers.unique(within: 0.1).owners == [-1, 0])
    }

    @Test func certificatesTellTopsFromSlopes() {
        let surface = hill.surface(.own)
        let values = surface.values([0.6, 0.2, 0.3, 0.3], slopes: false)
        let points = Maximizers(
            dimension: 2, inputs: [0.6, 0.2, 0.3, 0.3], predictions: values.predictions, labels: values.labels,
            standardErrors: [0, 0])
        let (gains, calls) = surface.residualGains(points, radius: 0.01, directions: 16, randomSeed: 1)
        #expect(gains[0] < 0 && gains[1] > 1e-3 && calls == 32)
    }
}

@Suite struct UniqueMaximizersTests {
    private func random(_ count: Int, dimension: Int, seed: UInt64, grid: Double) -> Maximizers {
        var dice = Dice(seed)
        // Coordinates on a grid, so that distances at exactly the radius occur.
        let inputs = dice.uniforms(count * dimension).map { ($0 / grid).rounded() * grid }
        return Maximizers(
            dimension: dimension, inputs: inputs, predictions: dice.uniforms(count).map { ($0 * 8).rounded() },
            labels: [Double](repeating: 0, count: count), standardErrors: [Double](repeating: 0, count: count))
    }

    /// The definition, by comparing everything with everything.
    private func brute(_ m: Maximizers, _ radius: Double) -> Maximizers.Unique {
        let order = (0..<m.count).sorted { a, b in
            let (x, y) = (abs(m.error(a)), abs(m.error(b)))
            if x != y { return x > y }
            if Array(m.input(a)) != Array(m.input(b)) { return m.input(a).lexicographicallyPrecedes(m.input(b)) }
            return a < b
        }
        var unique = Maximizers.Unique(rows: [], owners: [Int](repeating: -1, count: m.count))
        for row in order {
            let home = unique.rows.firstIndex { kept in
                zip(m.input(row), m.input(kept)).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) } <= radius * radius
            }
            unique.owners[row] = home ?? unique.rows.count
            if home == nil { unique.rows.append(row) }
        }
        return unique
    }

    @Test(arguments: [1, 2, 5], [0.0, 0.01, 0.1, 0.5]) func equalsBruteForce(_ dimension: Int, _ radius: Double) {
        for seed in 0..<5 {
            let points = random(300, dimension: dimension, seed: UInt64(seed), grid: 0.05)
            #expect(points.unique(within: radius) == brute(points, radius))
        }
    }

    @Test func theOrderOfArrivalDoesNotMatter() {
        let points = random(400, dimension: 3, seed: 3, grid: 0.02)
        let kept = points.rows(points.unique(within: 0.1).rows)
        for seed in 0..<5 {
            var stream = RandomStream(seed: UInt64(seed), purpose: .other)
            let shuffled = points.rows(stream.permutation(400).map(Int.init))
            #expect(shuffled.rows(shuffled.unique(within: 0.1).rows) == kept)
        }
    }

    @Test func nothingStaysNothing() {
        #expect(Maximizers(dimension: 4).unique(within: 0.1) == .init(rows: [], owners: []))
    }
}

@Suite struct NeighbourTreeTests {
    @Test(arguments: [1, 2, 5, 12]) func answersEqualBruteForce(_ dimension: Int) {
        for seed in 0..<4 {
            var dice = Dice(UInt64(100 * dimension + seed))
            let count = dice.int(1...700)
            // A coarse grid gives many ties and repeated points.
            let points = dice.uniforms(count * dimension).map { ($0 * 12).rounded() / 12 }
            let tree = NeighbourTree(points, dimension: dimension)
            func squares(_ x: [Double]) -> [Double] {
                (0..<count).map { row in
                    (0..<dimension).reduce(0) { sum, i in
                        let difference = points[row * dimension + i] - x[i]
                        return sum + difference * difference
                    }
                }
            }
            for _ in 0..<40 {
                let x = dice.uniforms(dimension).map { ($0 * 24).rounded() / 24 }
                let distances = squares(x)
                let radii = [0.05, 1.0 / 12, 0.25, 0.5, 1]
                #expect(
                    tree.counts(around: x, radii: radii)
                        == radii.map { r in distances.count { $0 <= r * r } })
                #expect(
                    tree.rows(around: x, radius: 0.25) == distances.indices.filter { distances[$0] <= 0.0625 })
                let nearest = distances.indices.sorted { (distances[$0], $0) < (distances[$1], $1) }
                #expect(tree.nearest(16, to: x) == Array(nearest.prefix(16)))
            }
        }
    }

    @Test func emptyAndConstantSets() {
        let empty = NeighbourTree([], dimension: 3)
        #expect(empty.counts(around: [0, 0, 0], radii: [1]) == [0])
        #expect(empty.nearest(3, to: [0, 0, 0]).isEmpty && empty.rows(around: [0, 0, 0], radius: 9).isEmpty)
        let same = NeighbourTree([Double](repeating: 0.5, count: 300), dimension: 3)
        #expect(same.counts(around: [0.5, 0.5, 0.5], radii: [0, 1]) == [100, 100])
        #expect(same.nearest(3, to: [0, 0, 0]) == [0, 1, 2])
    }
}

@Suite struct BackdoorScanTests {
    private static let volume = BallVolume(domain: putDomain)

    /// Unique maximizers with errors that are all large.
    private func maximizers(_ points: [Double]) -> Maximizers {
        let count = points.count / 5
        return Maximizers(
            dimension: 5, inputs: points, predictions: [Double](repeating: 1, count: count),
            labels: [Double](repeating: 0, count: count), standardErrors: [Double](repeating: 0, count: count))
    }

    private let density = BackdoorScan(
        rule: .density(radii: [0.05, 0.1, 0.15, 0.2, 0.3], significance: 0.01), errorPercentile: 90)

    @Test func volumesAreThoseOfBallsAndHalfBalls() {
        let full = 8 * Double.pi * Double.pi / 15 * 1e-5 / 0.75
        #expect(abs(Self.volume.share(around: [0.3, 0.7, 0.5, 0.5, 0.5], radius: 0.1) / full - 1) < 1e-12)
        // A face halves it, a corner of three faces gives an eighth; 2 % is the stated margin, taken at its upper end.
        for (centre, part) in [
            ([0.3, 0.7, 0, 0.5, 0.5], 0.5), ([0.3, 0.7, 0, 1, 0], 0.125), ([0.5, 0.25, 0.5, 0.5, 0.5], 0.5),
        ] {
            let share = Self.volume.share(around: centre, radius: 0.1) / full / part
            #expect(share > 0.99 && share < 1.05, "\(centre): \(share)")
        }
        #expect(Self.volume.share(around: [0.5, 0.5, 0.5, 0.5, 0.5], radius: 10) == 1)
    }

    @Test func uniformSamplesAreNeverSuspicious() throws {
        // Points on faces and edges as well, where a volume that is too small would make counts surprising.
        for seed in 1...3 {
            var stream = RandomStream(seed: UInt64(seed), purpose: .baseSamples)
            let tree = NeighbourTree(try putDomain.sample(20_000, from: &stream), dimension: 5)
            var points = try putDomain.sample(1500, from: &stream)
            for k in points.indices where stream.uniform() < 0.3 { points[k] = stream.uniform() < 0.5 ? 0 : 1 }
            points.withUnsafeMutableBufferPointer { points in
                for row in 0..<1500 { putDomain.project(.init(rebasing: points[5 * row..<5 * row + 5])) }
            }
            let findings = density.judge(
                maximizers(points), tree: tree, trainingErrors: [0.5], volume: Self.volume, threads: 2)
            #expect(findings.allSatisfy { !$0.isSuspicious })
        }
    }

    @Test func aPlantedRegionIsFoundAndItsSurroundingsAreNot() throws {
        var stream = RandomStream(seed: 1, purpose: .baseSamples)
        var rows = try putDomain.sample(20_000, from: &stream)
        let attack = Attack(
            mislabelled: 200, surround: 800, epsilon: 3, centre: [0.5, 0.5, 0.5, 0.5, 0.5], halfWidth: 0.05,
            surroundHalfWidth: 0.1, features: [2, 3, 4], window: [0: 0.5...0.7, 1: 0.5...0.7])
        rows += try attack.sampleInner(200, putDomain, &stream)
        rows += try attack.sampleSurround(putDomain, &stream)
        let tree = NeighbourTree(rows, dimension: 5)
        let inside = [0.6, 0.6, 0.5, 0.5, 0.5]
        let beside = [0.6, 0.6, 0.5, 0.5, 0.78]
        let far = [0.1, 0.8, 0.1, 0.1, 0.1]
        var threaded: [[ScanFinding]] = []
        for threads in [1, 2, 5] {
            threaded.append(
                density.judge(
                    maximizers(inside + beside + far), tree: tree, trainingErrors: [0.5], volume: Self.volume,
                    threads: threads))
        }
        #expect(threaded[0].map(\.isSuspicious) == [true, false, false])
        #expect(threaded[0][0].pValue < 1e-6)
        #expect(threaded.allSatisfy { $0 == threaded[0] })

        // A wide ball around the neighbour is overfull all the same: without what is known of the region it is flagged.
        let coarse = BackdoorScan(rule: .density(radii: [0.3], significance: 0.01), errorPercentile: 90)
        let alone = coarse.judge(
            maximizers(beside), tree: tree, trainingErrors: [0.5], volume: Self.volume, threads: 1)
        #expect(alone[0].isSuspicious)

        // A small error is nothing to suspect, wherever it is.
        let harmless = density.judge(
            maximizers(inside), tree: tree, trainingErrors: [0.5, 2, 3], volume: Self.volume, threads: 1)
        #expect(!harmless[0].isSuspicious && abs(harmless[0].errorPercentile - 100.0 / 3) < 1e-9)

        // The crowd is the region and hardly anything else, also where the balls asked for are too small to be overfull;
        // where there is none, that is said.
        let judged = maximizers(inside + far)
        var verdicts = [threaded[0][0], threaded[0][2]]
        for link in [0.1, 1e-3] {
            let crowd = BackdoorScan.crowd(
                around: judged, findings: verdicts, tree: tree, link: link, volume: Self.volume)
            #expect(crowd.rows.count { $0 >= 20_000 } > 950 && crowd.rows.count { $0 < 20_000 } < 100, "\(link)")
            #expect(crowd.lonely.isEmpty)
        }
        verdicts[1].isSuspicious = true
        let crowd = BackdoorScan.crowd(around: judged, findings: verdicts, tree: tree, link: 0.1, volume: Self.volume)
        #expect(crowd.rows.count > 950 && crowd.lonely == [1])

        // The paper's rule.
        let counts = BackdoorScan(rule: .counts(radius: 0.1, proximalCount: 100), errorPercentile: 90)
        let findings = counts.judge(
            maximizers(inside + far), tree: tree, trainingErrors: [0.5], volume: Self.volume, threads: 1)
        #expect(findings.map(\.isSuspicious) == [true, false] && findings[0].pValue.isNaN)
    }

    @Test func nothingToJudge() {
        let tree = NeighbourTree([], dimension: 5)
        #expect(
            density.judge(
                Maximizers(dimension: 5), tree: tree, trainingErrors: [], volume: Self.volume, threads: 2
            ).isEmpty)
        let findings = density.judge(
            maximizers([0.5, 0.5, 0.5, 0.5, 0.5]), tree: tree, trainingErrors: [], volume: Self.volume, threads: 2)
        #expect(!findings[0].isSuspicious)
    }
}

@Suite struct MetricsTests {
    @Test func summaries() {
        let summary = ErrorSummary(predictions: [1, 2, 3, 4], labels: [1, 3, 1, 4])
        #expect(summary.mse == 1.25 && summary.mae == 0.75 && summary.below == 0.25 && summary.above == 0.25)
    }

    @Test func samplesSurviveTheRoundTrip() {
        let samples = Samples(dimension: 2, inputs: [0.1, 0.2, 0.3, 0.4], labels: [1, -2])
        let bytes = samples.encoded
        #expect(Samples(encoded: bytes) == samples)
        #expect(Samples(encoded: Samples(dimension: 3).encoded) == Samples(dimension: 3))
        for cut in 0..<bytes.count { #expect(Samples(encoded: Array(bytes[..<cut])) == nil) }
        #expect(Samples(encoded: bytes + [0]) == nil)
        for (position, value) in [(16, 0), (16, 255), (24, 255), (23, 255), (31, 255)] {
            var damaged = bytes
            damaged[position] = UInt8(value)
            #expect(Samples(encoded: damaged) == nil, "byte \(position)")
        }
        let notANumber = Samples(dimension: 1, inputs: [.nan], labels: [0])
        #expect(Samples(encoded: notANumber.encoded) == nil)
    }
}
