/// The items of a batch that wait to be leased. Items are cut into shards when they are asked for, so that waiting work
/// costs no memory and shards may be of any size.
package struct ShardQueue: Sendable {
    /// Items that were never taken, the first last.
    private var fresh: [Range<Int>]
    /// Shards that came back, the latest last; they go first.
    private var returned: [Range<Int>] = []
    /// Items that wait.
    package private(set) var waiting: Int

    package init(count: Int) { self.init(items: [0..<count]) }

    /// - Parameter items: ascending, not overlapping.
    package init(items: [Range<Int>]) {
        fresh = items.filter { !$0.isEmpty }.reversed()
        waiting = items.reduce(0) { $0 + $1.count }
    }

    package var isEmpty: Bool { fresh.isEmpty && returned.isEmpty }

    /// The next shard: one that came back, whole, else at most `size` new items.
    package mutating func take(_ size: Int) -> Range<Int>? {
        if let first = returned.popLast() {
            waiting -= first.count
            return first
        }
        return Self.cut(&fresh, size, &waiting)
    }

    /// The next item.
    package mutating func takeOne() -> Int? {
        (Self.cut(&returned, 1, &waiting) ?? Self.cut(&fresh, 1, &waiting))?.lowerBound
    }

    private static func cut(_ ranges: inout [Range<Int>], _ size: Int, _ waiting: inout Int) -> Range<Int>? {
        guard let range = ranges.popLast() else { return nil }
        let shard = range.prefix(max(1, size))
        if shard.upperBound < range.upperBound { ranges.append(shard.upperBound..<range.upperBound) }
        waiting -= shard.count
        return shard
    }

    /// Puts a shard back, in front of all others.
    package mutating func giveBack(_ shard: Range<Int>) {
        returned.append(shard)
        waiting += shard.count
    }
}
