/// What happens when, in virtual time: a binary heap. What is entered first happens first if both are due at once.
struct Agenda<What> {
    /// Small, because it is moved often: what happens stays in its place.
    private struct Entry {
        var at: Int64
        var number: Int
        var place: Int

        func isBefore(_ other: Entry) -> Bool { (at, number) < (other.at, other.number) }
    }

    private var heap: [Entry] = []
    private var places: [What?] = []
    private var free: [Int] = []
    private var entered = 0

    var count: Int { heap.count }

    mutating func enter(_ what: What, at time: Int64) {
        entered += 1
        let place: Int
        if let freed = free.popLast() {
            place = freed
            places[place] = what
        } else {
            place = places.count
            places.append(what)
        }
        heap.append(Entry(at: time, number: entered, place: place))
        var child = heap.count - 1
        while child > 0, heap[child].isBefore(heap[(child - 1) / 2]) {
            heap.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    mutating func next() -> (at: Int64, what: What)? {
        guard let first = heap.first else { return nil }
        let last = heap.removeLast()
        if !heap.isEmpty {
            heap[0] = last
            var parent = 0
            while true {
                var least = parent
                for child in 2 * parent + 1...2 * parent + 2 where child < heap.count {
                    if heap[child].isBefore(heap[least]) { least = child }
                }
                guard least != parent else { break }
                heap.swapAt(parent, least)
                parent = least
            }
        }
        free.append(first.place)
        return (first.at, places[first.place].take()!)
    }
}
