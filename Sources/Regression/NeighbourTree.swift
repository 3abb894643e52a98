// Which samples are near a point: exact counts and nearest neighbours in a large set.
//
// Comparing each point with each sample costs 2·10⁹ distances for ten thousand maximizers among the paper's samples.
// A k-d tree with boxes settles most of them at once: a node whose box lies outside the ball is skipped, one whose box
// lies inside is counted whole. Answers equal the brute-force ones, ties included: boxes near the ball's surface are
// always opened, and the distances of points are compared in one fixed arithmetic.

internal import CKernels

/// A k-d tree over rows of points.
public struct NeighbourTree: Sendable {
    public let dimension: Int
    public let count: Int

    /// The points as they came.
    private let original: [Double]
    /// Points in tree order, leaf after leaf, each leaf coordinate by coordinate; and the row that each point had. A few
    /// zeros follow, since kernels read whole vectors.
    private let columns: [Double]
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

    private static let leafSize = 48

    /// - Parameter points: rows of `dimension` finite numbers.
    public init(_ points: [Double], dimension: Int) {
        self.dimension = dimension
        count = points.count / dimension
        var rows = (0..<Int32(count)).map { $0 }
        var nodes: [Node] = []
        var boxes: [Double] = []
        if count > 0 { Self.build(points, dimension, &rows, 0..<count, &nodes, &boxes) }
        var columns: [Double] = []
        columns.reserveCapacity(count * dimension + 8)
        for leaf in nodes where leaf.right == 0 {
            for i in 0..<dimension {
                for row in rows[Int(leaf.start)..<Int(leaf.end)] { columns.append(points[Int(row) * dimension + i]) }
            }
        }
        columns += [Double](repeating: 0, count: 8)
        original = points
        self.columns = columns
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
        var counts = [Int](repeating: 0, count: radii.count)
        guard count > 0 else { return counts }
        // Boxes whose distance is closer to a radius than rounding can tell are opened.
        let squares = radii.map { $0 * $0 }
        squares.withUnsafeBufferPointer { squares in
            counts.withUnsafeMutableBufferPointer { counts in
                func isOut(_ least: Double, _ k: Int) -> Bool { least > squares[k] * (1 + 1e-9) }
                func isIn(_ most: Double, _ k: Int) -> Bool { most < squares[k] * (1 - 1e-9) }
                visit(around: point) { least, most, range in
                    var first = 0
                    while first < squares.count, isOut(least, first) { first += 1 }
                    guard first < squares.count else { return .skip }
                    // The smallest radius that certainly holds the whole box, if no smaller one cuts it.
                    guard isIn(most, first) else { return .open }
                    for k in first..<squares.count { counts[k] += range.count }
                    return .skip
                } leaf: { columns, range, least, most in
                    // Only the radii that cut the box are compared with its points.
                    var first = 0
                    while isOut(least, first) { first += 1 }
                    var end = first
                    while end < squares.count, !isIn(most, end) { end += 1 }
                    ck_count_within(
                        columns, range.count, range.count, point, dimension, squares.baseAddress! + first, end - first,
                        counts.baseAddress! + first)
                    for k in end..<squares.count { counts[k] += range.count }
                }
            }
        }
        return counts
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

    /// Walks the tree as below; `leaf` sees the rows of opened leaves and their squared distances.
    private func visit(
        around point: [Double], node decide: (_ least: Double, _ most: Double, _ range: Range<Int>) -> Visit,
        leafRow: (_ row: Int, _ square: Double) -> Void
    ) {
        withUnsafeTemporaryAllocation(of: Double.self, capacity: Self.leafSize) { squares in
            visit(around: point, node: decide) { columns, range, _, _ in
                // A leaf of equal points may be longer than others.
                for start in Swift.stride(from: range.lowerBound, to: range.upperBound, by: Self.leafSize) {
                    let count = min(Self.leafSize, range.upperBound - start)
                    ck_squared_distances(
                        columns + start - range.lowerBound, range.count, count, point, dimension, squares.baseAddress!)
                    for k in 0..<count { leafRow(Int(rows[start + k]), squares[k]) }
                }
            }
        }
    }

    /// Walks the tree, the child nearer to the point first: `decide` sees the least and the largest squared distance of
    /// a node's box, `leaf` the columns of an opened leaf, which points are in it, and those distances.
    private func visit(
        around point: [Double], node decide: (_ least: Double, _ most: Double, _ range: Range<Int>) -> Visit,
        leaf: (_ columns: UnsafePointer<Double>, _ range: Range<Int>, _ least: Double, _ most: Double) -> Void
    ) {
        precondition(point.count == dimension, "a point of \(point.count) numbers among \(dimension)-dimensional ones")
        point.withUnsafeBufferPointer { x in
            columns.withUnsafeBufferPointer { columns in
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
                    var stack = [(node: 0, distances: distances(0))]
                    while let (node, (least, most)) = stack.popLast() {
                        let range = Int(nodes[node].start)..<Int(nodes[node].end)
                        guard decide(least, most, range) == .open else { continue }
                        let right = Int(nodes[node].right)
                        guard right == 0 else {
                            let (first, second) = ((node + 1, distances(node + 1)), (right, distances(right)))
                            let firstIsNearer = first.1.least <= second.1.least
                            stack.append(firstIsNearer ? second : first)
                            stack.append(firstIsNearer ? first : second)
                            continue
                        }
                        leaf(columns.baseAddress! + range.lowerBound * dimension, range, least, most)
                    }
                }
            }
        }
    }
}
