// Many ascents end in the same place; each place should be reported once.
//
// "Within a radius" is not transitive, so merging in the order of arrival would give another answer on every run. Here
// the end points are put in a total order first (largest error, then coordinates), and a point is kept only if it is
// farther than the radius from every kept one.

internal import CKernels

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
        let order = ranked()
        var kept = Unique(rows: [], owners: [Int](repeating: -1, count: count))
        let limit = radius * radius
        var grid = Grid(inputs, dimension: dimension, radius: radius, capacity: order.count)
        inputs.withUnsafeBufferPointer { inputs in
            func point(_ row: Int) -> UnsafeBufferPointer<Double> {
                UnsafeBufferPointer(rebasing: inputs[row * dimension..<(row + 1) * dimension])
            }
            // What a point needs is all over the memory, so it is asked for some points ahead, one step after the other.
            let ahead = Grid.ahead
            for step in 0..<order.count + 4 * ahead {
                let (first, second, third) = (step - ahead, step - 2 * ahead, step - 3 * ahead)
                let number = step - 4 * ahead
                if step < order.count { ck_prefetch(point(order[step]).baseAddress) }
                if order.indices.contains(first) { grid.locate(point(order[first]), first) }
                if order.indices.contains(second) { grid.approach(second) }
                if order.indices.contains(third) { grid.reach(third) }
                guard number >= 0 else { continue }
                let row = order[number]
                let here = point(row)
                var home = Int.max
                grid.forEachNear(number) { candidate in
                    guard candidate < home else { return }
                    let other = kept.rows[candidate] * dimension
                    var square = 0.0
                    for i in 0..<dimension { square += (here[i] - inputs[other + i]) * (here[i] - inputs[other + i]) }
                    if square <= limit { home = candidate }
                }
                if home == .max {
                    home = kept.rows.count
                    grid.insert(home, number)
                    kept.rows.append(row)
                }
                kept.owners[row] = home
            }
        }
        return kept
    }

    /// The rows with a price: the largest |error| first, equal ones by their coordinates, then by row.
    private func ranked() -> [Int] {
        let keys = Table(repeating: Key(number: 0, row: 0), count: count)
        var priced = 0
        for row in 0..<count {
            let error = error(row)
            guard error.isFinite else { continue }
            // The bits of positive numbers are ordered like the numbers.
            keys[priced] = Key(number: ~abs(error).bitPattern, row: row)
            priced += 1
        }
        let sorted = sorted(keys, count: priced)
        var order = (0..<priced).map { sorted[$0].row }
        // What is equal is still in the order of rows. That is rare, unless errors are coarse.
        var start = 0
        while start < priced {
            var end = start + 1
            while end < priced, sorted[end].number == sorted[start].number { end += 1 }
            if end - start > 1 {
                order[start..<end].sort { a, b in
                    for (p, q) in zip(input(a), input(b)) where p != q { return p < q }
                    return a < b
                }
            }
            start = end
        }
        return order
    }

    private struct Key: BitwiseCopyable {
        var number: UInt64
        var row: Int
    }

    /// The first `count` keys by their numbers, equal ones in the order they came: by one digit of eleven bits after the
    /// other, the lowest first.
    private func sorted(_ keys: Table<Key>, count: Int) -> Table<Key> {
        var (from, to) = (keys, Table(repeating: Key(number: 0, row: 0), count: count))
        let digits = Array(stride(from: 0, to: 64, by: 11))
        var places = [Int](repeating: 0, count: digits.count * 2048)
        for k in 0..<count {
            for (d, shift) in digits.enumerated() { places[d * 2048 + Int(from[k].number >> shift & 2047)] += 1 }
        }
        for (d, shift) in digits.enumerated() {
            var next = 0
            for digit in d * 2048..<(d + 1) * 2048 { (places[digit], next) = (next, next + places[digit]) }
            for k in 0..<count {
                let digit = d * 2048 + Int(from[k].number >> shift & 2047)
                to[places[digit]] = from[k]
                places[digit] += 1
            }
            swap(&from, &to)
        }
        return from
    }

    /// Kept points by the cell of some of their coordinates. Cells are a little more than two radii wide, so that what is
    /// near a point is in its cell or, per axis, in the one beside it on the nearer side: 2ⁿ cells for n axes. Cells share
    /// buckets by a hash; what that brings in besides is refused by its distance.
    private struct Grid {
        private struct Entry {
            /// The one before it in its bucket; −1 for none.
            var before: Int32
            /// What tells most cells of a bucket apart.
            var tag: UInt32
            /// Where it is on the first eight coordinates, in 64ths of a cell modulo 256: most of what shares a cell with a point is
            /// seen to be too far away without its coordinates, which are elsewhere in memory.
            var place: SIMD8<UInt8>
        }

        /// 64ths of a cell per unit.
        private let scale: Double
        /// The axes on which the points spread most: more of them make cells emptier and lookups more numerous.
        private let axes: [Int]
        /// The last point that was inserted into each bucket; −1 for none.
        private let heads: Table<Int32>
        /// The kept points, in the order of their insertion.
        private let points: Table<Entry>
        private var pointCount = 0
        /// Eight bits per bucket, set where a cell is not empty: most cells are, and are passed over in memory that stays
        /// in the caches.
        private let occupied: Table<UInt8>
        /// Of the located points, in turn: hashes of the sixteen cells around, its own first; and its place.
        private let cells: Table<UInt64>
        private let places: Table<SIMD8<UInt8>>
        /// Which of those cells were not empty when the point was approached.
        private let seen: Table<UInt16>

        /// By how many points each step is ahead of the next.
        static let ahead = 8

        init(_ inputs: [Double], dimension: Int, radius: Double, capacity: Int) {
            // Beside the radius: room for the rounding of coordinate · scale.
            scale = 64 / (2 * max(radius, 1e-9) * (1 + 1e-6))
            var spread = [Double](repeating: 0, count: dimension)
            for i in 0..<dimension {
                var (lower, upper) = (Double.infinity, -Double.infinity)
                for k in stride(from: i, to: inputs.count, by: dimension) {
                    lower = min(lower, inputs[k])
                    upper = max(upper, inputs[k])
                }
                spread[i] = upper - lower
            }
            axes = Array((0..<dimension).sorted { (spread[$0], $1) > (spread[$1], $0) }.prefix(4))
            var buckets = 16
            while buckets < 2 * capacity { buckets *= 2 }
            heads = Table(repeating: -1, count: buckets)
            occupied = Table(repeating: 0, count: buckets)
            points = Table(repeating: Entry(before: -1, tag: 0, place: .zero), count: capacity)
            cells = Table(repeating: 0, count: 4 * Self.ahead * 16)
            places = Table(repeating: .zero, count: 4 * Self.ahead)
            seen = Table(repeating: 0, count: 4 * Self.ahead)
        }

        /// Finds out where a point is, the `number`th of all.
        func locate(_ point: UnsafeBufferPointer<Double>, _ number: Int) {
            let turn = number % places.count
            let around = cells.slice(turn * 16)
            around[0] = 0
            var count = 1
            for (k, axis) in axes.enumerated() {
                let place = place(point[axis])
                let cell = place >> 6
                let (here, beside) = (Self.hash(cell, k), Self.hash(place & 63 < 32 ? cell - 1 : cell + 1, k))
                for c in 0..<count {
                    around[count + c] = around[c] &+ beside
                    around[c] &+= here
                }
                count *= 2
            }
            var bytes = SIMD8<UInt8>()
            for i in 0..<min(8, point.count) { bytes[i] = UInt8(truncatingIfNeeded: place(point[i])) }
            places[turn] = bytes
            for c in 0..<count { occupied.prefetch(bucket(around[c])) }
            heads.prefetch(bucket(around[0]))
        }

        /// A coordinate in 64ths of a cell, rounded down; 0 for those so far out that only equal ones are near each other.
        private func place(_ x: Double) -> Int {
            let scaled = x * scale
            guard scaled.magnitude < 0x1p62 else { return 0 }
            let whole = Int(scaled)
            return scaled < Double(whole) ? whole - 1 : whole
        }

        /// Has what is kept around a located point brought near.
        func approach(_ number: Int) {
            let around = cells.slice(number % places.count * 16)
            var found: UInt16 = 0
            for c in 0..<1 << axes.count where occupied[bucket(around[c])] & mark(around[c]) != 0 {
                heads.prefetch(bucket(around[c]))
                found |= 1 << UInt16(c)
            }
            seen[number % seen.count] = found
        }

        /// Has what those cells hold brought near.
        func reach(_ number: Int) {
            let around = cells.slice(number % places.count * 16)
            var found = seen[number % seen.count]
            while found != 0 {
                let head = heads[bucket(around[found.trailingZeroBitCount])]
                if head >= 0 { points.prefetch(Int(head)) }
                found &= found - 1
            }
        }

        /// Calls `body` with each inserted point that may be within the radius of a located one.
        func forEachNear(_ number: Int, _ body: (Int) -> Void) {
            let turn = number % places.count
            let around = cells.slice(turn * 16)
            let place = places[turn]
            for c in 0..<1 << axes.count where occupied[bucket(around[c])] & mark(around[c]) != 0 {
                var candidate = Int(heads[bucket(around[c])])
                while candidate >= 0 {
                    let entry = points[candidate]
                    if entry.tag == UInt32(truncatingIfNeeded: around[c]), Self.isNear(entry.place, place) {
                        body(candidate)
                    }
                    candidate = Int(entry.before)
                }
            }
        }

        /// Whether points at those places may be within a radius, half a cell: each axis is at most a 64th of a cell nearer
        /// than it seems.
        private static func isNear(_ one: SIMD8<UInt8>, _ other: SIMD8<UInt8>) -> Bool {
            let apart = SIMD8<Int16>(truncatingIfNeeded: SIMD8<Int8>(truncatingIfNeeded: one &- other))
            let least = pointwiseMax(pointwiseMax(apart, 0 &- apart) &- 1, .zero)
            return (least &* least).wrappedSum() <= 32 * 32
        }

        /// Puts a located point into its cell; points are numbered in the order of their insertion.
        mutating func insert(_ position: Int, _ number: Int) {
            let turn = number % places.count
            let home = cells[turn * 16]
            points[pointCount] = Entry(
                before: heads[bucket(home)], tag: UInt32(truncatingIfNeeded: home), place: places[turn])
            pointCount += 1
            heads[bucket(home)] = Int32(position)
            occupied[bucket(home)] |= mark(home)
        }

        private func bucket(_ cell: UInt64) -> Int { Int(truncatingIfNeeded: cell >> 32 & UInt64(heads.count - 1)) }
        private func mark(_ cell: UInt64) -> UInt8 { 1 << UInt8(truncatingIfNeeded: cell & 7) }

        private static func hash(_ cell: Int, _ axis: Int) -> UInt64 {
            let mixed = (UInt64(truncatingIfNeeded: cell) << 3 ^ UInt64(axis)) &* 0x9e37_79b9_7f4a_7c15
            return (mixed ^ mixed >> 29) &* 0xbf58_476d_1ce4_e5b9
        }
    }
}

/// Numbers of which scattered ones are looked up, in huge pages: small ones cost as much to find as what is in them.
private final class Table<Element: BitwiseCopyable> {
    private let start: UnsafeMutablePointer<Element>
    let count: Int

    init(repeating element: Element, count: Int) {
        guard let memory = ck_allocate(count * MemoryLayout<Element>.stride) else {
            fatalError("no memory for \(count) elements")
        }
        self.count = count
        start = memory.bindMemory(to: Element.self, capacity: count)
        start.update(repeating: element, count: count)
    }

    deinit { ck_free(start) }

    subscript(_ index: Int) -> Element {
        get { start[index] }
        set { start[index] = newValue }
    }

    /// What follows an index.
    func slice(_ index: Int) -> UnsafeMutablePointer<Element> { start + index }

    func prefetch(_ index: Int) { ck_prefetch(start + index) }
}
