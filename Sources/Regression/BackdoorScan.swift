// Which maximizers are suspicious: a large error in a place with more training samples than the base density explains.
//
// A surrogate errs where it has seen little (extrapolation); that is natural. An error in the middle of many samples is
// an interpolation error: somebody taught it. The paper counts samples within one radius and cuts at 500; here the
// count is tested against what the base density predicts, at several radii, because an attacker chooses the width.
//
// A wide ball is overfull as soon as it touches a crowded region, so the widest radius would flag everything around it.
// Radii are therefore taken in ascending order, and what a smaller one has found is explained away: the samples chained
// to a suspicious maximizer through overfull balls do not count at larger radii.

/// How maximizers are judged.
public enum ScanRule: Sendable, Hashable {
    /// Proximal counts against Binomial(N − 1, share of the admissible domain in the ball), at several radii;
    /// `significance` is family-wise over maximizers × radii (Bonferroni).
    case density(radii: [Double], significance: Double)
    /// The paper's rule: at least `proximalCount` samples within `radius`.
    case counts(radius: Double, proximalCount: Int)
}

/// What the scan says of one maximizer.
public struct ScanFinding: Sendable, Hashable {
    /// Share of the training samples, in percent, whose |prediction − label| is not above the maximizer's |error|.
    public var errorPercentile: Double
    /// Training samples within `proximalRadius`.
    public var proximalCount: Int
    /// The radius at which the count is most surprising.
    public var proximalRadius: Double
    /// Of that count, corrected for maximizers × radii, at most 1; NaN for a rule without one.
    public var pValue: Double
    public var isSuspicious: Bool
}

/// Judges which unique maximizers are suspicious, by a rule and the samples that the surrogate was trained on.
public struct BackdoorScan: Sendable, Hashable {
    public var rule: ScanRule
    /// A suspicious maximizer's |error| is above this percentile of the training samples' |prediction − label|.
    public var errorPercentile: Double

    public init(rule: ScanRule, errorPercentile: Double) {
        self.rule = rule
        self.errorPercentile = errorPercentile
    }

    /// Judges unique maximizers.
    ///
    /// - Parameters:
    ///   - maximizers: unique ones.
    ///   - tree: the training samples.
    ///   - trainingErrors: |prediction − label| of the training samples, ascending.
    ///   - volume: of the domain that base samples were drawn from, uniformly.
    ///   - threads: how many threads to use; the result does not depend on it.
    public func judge(
        _ maximizers: Maximizers, tree: NeighbourTree, trainingErrors: [Double], volume: BallVolume, threads: Int
    ) -> [ScanFinding] {
        var findings = (0..<maximizers.count).map { row in
            ScanFinding(
                errorPercentile: Self.percentile(of: abs(maximizers.error(row)), in: trainingErrors),
                proximalCount: 0, proximalRadius: 0, pValue: .nan, isSuspicious: false)
        }
        switch rule {
        case .counts(let radius, let threshold):
            for row in findings.indices {
                let count = tree.counts(around: Array(maximizers.input(row)), radii: [radius])[0]
                (findings[row].proximalRadius, findings[row].proximalCount) = (radius, count)
                findings[row].isSuspicious = findings[row].errorPercentile >= errorPercentile && count >= threshold
            }
        case .density(let radii, let significance):
            let radii = radii.sorted()
            let balls = Self.balls(maximizers, radii: radii, tree: tree, volume: volume, threads: threads)
            let correction = Double(maximizers.count * radii.count)
            var known: Set<Int> = []
            var explained = NeighbourTree([], dimension: tree.dimension)
            for (k, radius) in radii.enumerated() {
                var found: [Int] = []
                for row in findings.indices {
                    let ball = balls[row * radii.count + k]
                    let count =
                        ball.count - explained.counts(around: Array(maximizers.input(row)), radii: [radius])[0]
                    // One sample is taken off: the maximizer may have come from it.
                    let p = binomialUpperTail(
                        count: count - 1, trials: tree.count - explained.count - 1, probability: ball.share)
                    let corrected = min(1, p * correction)
                    if !(corrected >= findings[row].pValue) {
                        findings[row].pValue = corrected
                        (findings[row].proximalRadius, findings[row].proximalCount) = (radius, count)
                    }
                    if corrected <= significance, findings[row].errorPercentile >= errorPercentile {
                        findings[row].isSuspicious = true
                        found.append(row)
                    }
                }
                if !found.isEmpty && k + 1 < radii.count {
                    known.formUnion(
                        Self.overfullChain(from: maximizers.rows(found), tree: tree, link: radius, volume: volume))
                    explained = NeighbourTree(tree.points(known.sorted()), dimension: tree.dimension)
                }
            }
        }
        return findings
    }

    private struct Ball: Sendable {
        /// Training samples in the ball.
        var count = 0
        /// Of the admissible domain.
        var share = 1.0
    }

    /// The ball of each radius around each maximizer.
    private static func balls(
        _ maximizers: Maximizers, radii: [Double], tree: NeighbourTree, volume: BallVolume, threads: Int
    ) -> [Ball] {
        let total = maximizers.count * radii.count
        guard total > 0 else { return [] }
        let team = ThreadTeam(size: threads)
        return [Ball](unsafeUninitializedCapacity: total) { buffer, initialized in
            nonisolated(unsafe) let buffer = buffer
            buffer.initialize(repeating: Ball())
            team.run { thread in
                for row in Swift.stride(from: thread, to: maximizers.count, by: team.size) {
                    let point = Array(maximizers.input(row))
                    let counts = tree.counts(around: point, radii: radii)
                    for (k, (radius, count)) in zip(radii, counts).enumerated() {
                        buffer[row * radii.count + k] = Ball(
                            count: count, share: volume.share(around: point, radius: radius))
                    }
                }
            }
            initialized = total
        }
    }

    /// Share of `sorted` (ascending) at or below `value`, in percent.
    static func percentile(of value: Double, in sorted: [Double]) -> Double {
        var (low, high) = (0, sorted.count)
        while low < high {
            let middle = (low + high) / 2
            if sorted[middle] <= value { low = middle + 1 } else { high = middle }
        }
        return sorted.isEmpty ? 100 : 100 * Double(low) / Double(sorted.count)
    }

    /// The samples chained to suspicious maximizers through overfull balls of radius `link`. Such balls can be too small to
    /// hold all of a crowd that a wider one shows: around a maximizer whose `proximalRadius` is larger, that is taken.
    ///
    /// - Parameters:
    ///   - maximizers: all that were judged.
    ///   - findings: of each of them.
    /// - Returns: rows, ascending, and the suspicious maximizers that have none of them within their `proximalRadius`.
    public static func crowd(
        around maximizers: Maximizers, findings: [ScanFinding], tree: NeighbourTree, link: Double, volume: BallVolume
    ) -> (rows: [Int], lonely: [Int]) {
        let suspicious = findings.indices.filter { findings[$0].isSuspicious }
        let byLink = Dictionary(grouping: suspicious) { max(link, findings[$0].proximalRadius) }
        let rows = byLink.reduce(into: Set<Int>()) { rows, group in
            rows.formUnion(
                overfullChain(from: maximizers.rows(group.value), tree: tree, link: group.key, volume: volume))
        }.sorted()
        let members = NeighbourTree(tree.points(rows), dimension: tree.dimension)
        let lonely = suspicious.filter {
            members.counts(around: Array(maximizers.input($0)), radii: [findings[$0].proximalRadius])[0] == 0
        }
        return (rows, lonely)
    }

    /// Those samples within `link` of a suspicious maximizer, or of a sample in the chain, whose own ball of radius `link`
    /// holds significantly more samples than the base density explains (p · N ≤ 0.01).
    ///
    /// - Returns: rows, ascending.
    static func overfullChain(
        from suspicious: Maximizers, tree: NeighbourTree, link: Double, volume: BallVolume
    ) -> [Int] {
        var seen = [Bool](repeating: false, count: tree.count)
        var chain: [Int] = []
        var open = (0..<suspicious.count).map { Array(suspicious.input($0)) }
        while let point = open.popLast() {
            for row in tree.rows(around: point, radius: link) where !seen[row] {
                seen[row] = true
                let here = tree.point(row)
                let count = tree.counts(around: here, radii: [link])[0]
                let p = binomialUpperTail(
                    count: count - 1, trials: tree.count - 1, probability: volume.share(around: here, radius: link))
                if p * Double(tree.count) <= 0.01 {
                    chain.append(row)
                    open.append(here)
                }
            }
        }
        return chain.sorted()
    }
}
