/// A running average that forgets: of the first values it is their mean, later the last sixteen count most.
struct Average: Sendable {
    private(set) var value = 0.0
    private var count = 0.0

    init() {}

    mutating func note(_ new: Double) {
        guard new.isFinite else { return }
        count = min(16, count + 1)
        value += (new - value) / count
    }
}
