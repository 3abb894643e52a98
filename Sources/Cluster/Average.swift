/// A running average that forgets: of the first values it is their mean, later the last sixteen count most.
struct Average: Sendable {
    private(set) var value = 0.0
    private var variance = 0.0
    private var count = 0.0

    init() {}

    /// What few values are above: two standard deviations over the mean.
    var high: Double { value + 2 * variance.squareRoot() }

    mutating func note(_ new: Double) {
        guard new.isFinite else { return }
        count = min(16, count + 1)
        let before = new - value
        value += before / count
        variance += (before * (new - value) - variance) / count
    }
}
