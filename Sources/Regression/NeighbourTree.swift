// Which samples are near a point: exact counts and nearest neighbours in a large set.
//
// Comparing each point with each sample costs 2·10⁹ distances for ten thousand maximizers among the paper's samples.
// A k-d tree with boxes settles most of them at once: a node whose box lies outside the ball is skipped, one whose box
// lies inside is counted whole. Answers equal the brute-force ones, ties included: boxes near the ball's surface are
// always opened, and the distances of points are compared in one fixed arithmetic.

/// A k-d tree over rows of points.
public struct NeighbourTree: Sendable {
    public let dimension: Int
    public let count: Int

    /// The points as they came.
    private let original: [Double]
    /// Points in tree order, and the row that each had.
    private let points: [Double]
    private let rows: [Int32]
    private let nodes: [Node]
    /// Per node, the lower and upper corner of its box: 2 · dimension numbers.
    private let boxes: [Double]

    private struct Node: Sendable {
        var start: Int32
        var end: Int32
        /// The second child; the first follows its parent. 0 for a leaf.
        var right: Int32
    }

    private static let leafSize = 16

    /// - Parameter points: rows of `dimension` finite numbers.
    public init(_ points: [Double], dimension: Int) {
        self.dimension = dimension
        count = points.count / dimension
        var rows = (0..<Int32(count)).map { $0 }
        var nodes: [Node] = []
        var boxes: [Double] = []
        if count > 0 { Self.build(points, dimension, &rows, 0..<count, &nodes, &boxes) }
        var ordered: [Double] = []
        ordered.reserveCapacity(points.count)
        for row in rows { ordered += points[Int(row) * dimension..<(Int(row) + 1) * dimension] }
        original = points
        self.points = ordered
        self.rows = rows
        self.nodes = nodes
        self.boxes = boxes
    }

    private static func build(
        _ points: [Double], _ dimension: Int, _ rows: inout [Int32], _ range: Range<Int>, _ nodes: inout [Node],
        _ boxes: inout [Double]
    ) {
        let node = nodes.count
        nodes.append(Node(start: Int32(range.lowerBound), end: Int32(range.upperBound), right: 0))
        var lower = [Double](repeating: .infinity, count: dimension)
        var upper = [Double](repeating: -.infinity, count: dimension)
        for k in range {
            let start = Int(rows[k]) * dimension
            for i in 0..<dimension {
                lower[i] = min(lower[i], points[start + i])
                upper[i] = max(upper[i], points[start + i])
            }
        }
        boxes += lower
        boxes += upper
        var widest = 0
        for i in 1..<max(1, dimension) where upper[i] - lower[i] > upper[widest] - lower[widest] { widest = i }
        guard range.count > leafSize, upper[widest] > lower[widest] else { return }
        let middle = range.lowerBound + range.count / 2
        select(&rows, range, middle) { points[Int($0) * dimension + widest] }
        build(points, dimension, &rows, range.lowerBound..<middle, &nodes, &boxes)
        nodes[node].right = Int32(nodes.count)
        build(points, dimension, &rows, middle..<range.upperBound, &nodes, &boxes)
    }

    /// Hoare's selection: afterwards no key before `middle` is larger than any from `middle` on.
    private static func select(
        _ rows: inout [Int32], _ range: Range<Int>, _ middle: Int, by key: (Int32) -> Double
    ) {
        var (low, high) = (range.lowerBound, range.upperBound - 1)
        while low < high {
            let pivot = key(rows[low + (high - low) / 2])
            var (i, j) = (low, high)
            while i <= j {
                while key(rows[i]) < pivot { i += 1 }
                while key(rows[j]) > pivot { j -= 1 }
                if i <= j {
                    rows.swapAt(i, j)
                    i += 1
                    j -= 1
                }
            }
            if middle <= j { high = j } else if middle >= i { low = i } else { return }
        }
    }

    /// One of the points.
    public func point(_ row: Int) -> [Double] { Array(original[row * dimension..<(row + 1) * dimension]) }

    /// Some of the points, as rows.
    public func points(_ rows: [Int]) -> [Double] { rows.flatMap { point($0) } }

    /// How many points lie within each of `radii` (ascending) of `point`, its surface included.
    public func counts(around point: [Double], radii: [Double]) -> [Int] {
        guard count > 0, !radii.isEmpty else { return radii.map { _ in 0 } }
        let squares = radii.map { $0 * $0 }
        // A point within radii[k] but not within radii[k − 1] is added at k, then summed up.
        var added = [Int](repeating: 0, count: radii.count + 1)
        visit(around: point) { least, most, range in
            guard least <= squares.last! * (1 + 1e-9) else { return .skip }
            // The smallest radius that certainly holds the whole box, if no smaller one cuts it.
            let first = squares.firstIndex { least <= $0 * (1 + 1e-9) }!
            if most < squares[first] * (1 - 1e-9) {
                added[first] += range.count
                return .skip
            }
            return .open
        } leaf: { square in
            if let k = squares.firstIndex(where: { square <= $0 }) { added[k] += 1 }
        }
        var total = 0
        return radii.indices.map { k in
            total += added[k]
            return total
        }
    }

    /// The rows within `radius` of `point`, ascending.
    public func rows(around point: [Double], radius: Double) -> [Int] {
        guard count > 0 else { return [] }
        let limit = radius * radius
        var found: [Int] = []
        visit(around: point) { least, _, _ in
            least <= limit * (1 + 1e-9) ? .open : .skip
        } leafRow: { row, square in
            if square <= limit { found.append(row) }
        }
        return found.sorted()
    }

    /// The `k` rows nearest to `point`, nearest first; of equally near ones the lowest row.
    public func nearest(_ k: Int, to point: [Double]) -> [Int] {
        guard count > 0, k > 0 else { return [] }
        // Sorted, nearest first, at most k.
        var best: [(square: Double, row: Int)] = []
        visit(around: point) { least, _, _ in
            best.count < k || least <= best.last!.square * (1 + 1e-9) ? .open : .skip
        } leafRow: { row, square in
            if best.count == k {
                guard (square, row) < (best.last!.square, best.last!.row) else { return }
                best.removeLast()
            }
            let place = best.firstIndex { (square, row) < ($0.square, $0.row) } ?? best.count
            best.insert((square, row), at: place)
        }
        return best.map(\.row)
    }

    private enum Visit { case open, skip }

    private func visit(
        around point: [Double], node decide: (_ least: Double, _ most: Double, _ range: Range<Int>) -> Visit,
        leaf: (_ square: Double) -> Void
    ) {
        visit(around: point, node: decide, leafRow: { leaf($1) })
    }

    /// Walks the tree, the child nearer to the point first: `decide` sees the least and the largest squared distance of
    /// a node's box, `leaf` the points of opened leaves.
    private func visit(
        around point: [Double], node decide: (_ least: Double, _ most: Double, _ range: Range<Int>) -> Visit,
        leafRow leaf: (_ row: Int, _ square: Double) -> Void
    ) {
        precondition(point.count == dimension, "a point of \(point.count) numbers among \(dimension)-dimensional ones")
        point.withUnsafeBufferPointer { x in
            points.withUnsafeBufferPointer { points in
                boxes.withUnsafeBufferPointer { boxes in
                    func distances(_ node: Int) -> (least: Double, most: Double) {
                        var (least, most) = (0.0, 0.0)
                        let box = node * 2 * dimension
                        for i in 0..<dimension {
                            let below = boxes[box + i] - x[i]
                            let above = x[i] - boxes[box + dimension + i]
                            let out = max(0, max(below, above))
                            let far = max(-below, -above)
                            least += out * out
                            most += far * far
                        }
                        return (least, most)
                    }
                    var stack = [0]
                    while let node = stack.popLast() {
                        let (start, end) = (Int(nodes[node].start), Int(nodes[node].end))
                        let (least, most) = distances(node)
                        guard decide(least, most, start..<end) == .open else { continue }
                        let right = Int(nodes[node].right)
                        guard right == 0 else {
                            let leftFirst = distances(node + 1).least <= distances(right).least
                            stack.append(leftFirst ? right : node + 1)
                            stack.append(leftFirst ? node + 1 : right)
                            continue
                        }
                        for k in start..<end {
                            var square = 0.0
                            for i in 0..<dimension {
                                let difference = points[k * dimension + i] - x[i]
                                square += difference * difference
                            }
                            leaf(Int(rows[k]), square)
                        }
                    }
                }
            }
        }
    }
}
