/// The items of a batch that wait to be leased. Items are cut into shards when they are asked for, so that waiting work
/// costs no memory and shards may be of any size.
package struct ShardQueue: Sendable {
    private let count: Int
    /// The first item that was never taken.
    private var next = 0
    /// Shards that came back, the latest last; they go first.
    private var returned: [Range<Int>] = []

    package init(count: Int) { self.count = count }

    package var isEmpty: Bool { next == count && returned.isEmpty }

    /// Items that wait.
    package var waiting: Int { returned.reduce(count - next) { $0 + $1.count } }

    /// The next shard: one that came back, whole, else at most `size` new items.
    package mutating func take(_ size: Int) -> Range<Int>? {
        if let shard = returned.popLast() { return shard }
        guard next < count else { return nil }
        let shard = next..<min(count, next + max(1, size))
        next = shard.upperBound
        return shard
    }

    /// Puts a shard back, in front of all others.
    package mutating func giveBack(_ shard: Range<Int>) { returned.append(shard) }
}
