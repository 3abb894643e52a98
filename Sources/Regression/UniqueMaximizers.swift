// Many ascents end in the same place; each place should be reported once.
//
// "Within a radius" is not transitive, so merging in the order of arrival would give another answer on every run. Here
// the end points are put in a total order first (largest error, then coordinates), and a point is kept only if it is
// farther than the radius from every kept one.

extension Maximizers {
    /// Which rows are kept, and which of them each end point belongs to.
    public struct Unique: Sendable, Hashable {
        /// The kept rows, the largest |error| first.
        public var rows: [Int]
        /// For each end point the position in `rows` of the kept one that it was merged into (its own, if it was kept;
        /// the one with the largest error, if several are near); −1 for an end point without a price.
        public var owners: [Int]

        public init(rows: [Int], owners: [Int]) {
            self.rows = rows
            self.owners = owners
        }
    }

    /// Merges end points within `radius` (Euclidean, normalised; the surface included). Rows without a price are left
    /// out.
    public func unique(within radius: Double) -> Unique {
        let order = (0..<count).filter { error($0).isFinite }.sorted { a, b in
            let (x, y) = (abs(error(a)), abs(error(b)))
            if x != y { return x > y }
            for (p, q) in zip(input(a), input(b)) where p != q { return p < q }
            return a < b
        }
        var kept = Unique(rows: [], owners: [Int](repeating: -1, count: count))
        let limit = radius * radius
        var grid = Grid(side: max(radius, 1e-9) * (1 + 1e-9), axes: min(3, dimension))
        for row in order {
            let point = input(row)
            var home: Int?
            grid.forEachNear(point) { candidate in
                guard candidate < home ?? .max else { return }
                var square = 0.0
                for (p, q) in zip(point, input(kept.rows[candidate])) { square += (p - q) * (p - q) }
                if square <= limit { home = candidate }
            }
            if home == nil {
                grid.insert(kept.rows.count, at: point)
                kept.rows.append(row)
            }
            kept.owners[row] = home ?? kept.rows.count - 1
        }
        return kept
    }

    /// Kept points by the cell of their first coordinates: all points within the side of a point are in its cell or
    /// one beside it.
    private struct Grid {
        let side: Double
        let axes: Int
        var cells: [[Int64]: [Int]] = [:]

        init(side: Double, axes: Int) {
            self.side = side
            self.axes = axes
        }

        private func cell(_ point: ArraySlice<Double>) -> [Int64] {
            point.prefix(axes).map { Int64(($0 / side).rounded(.down)) }
        }

        mutating func insert(_ position: Int, at point: ArraySlice<Double>) {
            cells[cell(point), default: []].append(position)
        }

        func forEachNear(_ point: ArraySlice<Double>, _ body: (Int) -> Void) {
            let home = cell(point)
            var beside = home.map { $0 - 1 }
            while true {
                for position in cells[beside] ?? [] { body(position) }
                // Count through the 3ⁿ cells.
                var axis = 0
                while axis < axes && beside[axis] == home[axis] + 1 {
                    beside[axis] = home[axis] - 1
                    axis += 1
                }
                if axis == axes { return }
                beside[axis] += 1
            }
        }
    }
}
