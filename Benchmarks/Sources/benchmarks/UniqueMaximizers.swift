// How long does merging a million end points take, and does it grow in proportion?

import Regression

func uniqueMaximizers(_ peers: Peers) -> Answer {
    /// End points: everywhere, or around a thousand places.
    func points(_ count: Int, around places: Int?) -> Maximizers {
        var stream = RandomStream(seed: 3, purpose: .other)
        let centres = (0..<(places ?? 0) * 5).map { _ in stream.uniform() }
        var inputs: [Double] = []
        inputs.reserveCapacity(5 * count)
        for row in 0..<count {
            for i in 0..<5 {
                inputs.append(places.map { centres[row % $0 * 5 + i] + 0.001 * stream.uniform() } ?? stream.uniform())
            }
        }
        let errors = (0..<count).map { _ in stream.uniform() }
        let zeros = [Double](repeating: 0, count: count)
        return Maximizers(dimension: 5, inputs: inputs, predictions: errors, labels: zeros, standardErrors: zeros)
    }
    var lines: [Line] = []
    var seconds: [String: Double] = [:]
    for (name, places) in [("spread over the whole box", nil), ("around 1,000 places", 1000)] as [(String, Int?)] {
        for count in [125_000, 1_000_000] {
            let maximizers = points(count, around: places)
            var kept = 0
            let timing = Timing(repeats: 2) { kept = maximizers.unique(within: 0.01).rows.count }
            seconds["\(name) \(count)"] = timing.seconds
            let before = seconds["\(name) 125000"]!
            lines.append(
                Line(
                    what: "\(count) end points \(name), \(kept) kept", figure: "\(short(timing.seconds)) s",
                    ratio: count > 125_000 ? "8 × the points, \(short(timing.seconds / before)) × the time" : ""))
        }
    }
    if let result = peers.run("unique_maximizers.py"), let theirs = result.numbers["seconds"] {
        lines.append(
            Line(
                what: "1000000 end points spread over the whole box, SciPy \(result.names["version"] ?? "") cKDTree",
                figure: "\(short(theirs)) s",
                ratio: "Cairn is \(short(theirs / seconds["spread over the whole box 1000000"]!)) × as fast"))
    }
    return Answer(
        question: "How long does merging the end points take?",
        method: """
            Five dimensions, radius 0.01, one thread, thread CPU time. The answer is the one of comparing every pair in \
            the order of error. SciPy: all pairs within the radius from its k-d tree, then one pass in that order.
            """, lines: lines)
}
