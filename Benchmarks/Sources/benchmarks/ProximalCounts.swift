// How long does counting the samples near the maximizers take, and does it grow in proportion?

import Regression

func proximalCounts(_ peers: Peers) -> Answer {
    let radii = [0.05, 0.1, 0.15, 0.2, 0.3]
    let centres = (0..<300).map { row in Array(Paper.inputs(300)[5 * row..<5 * row + 5]) }
    var lines: [Line] = []
    var seconds: [Int: Double] = [:]
    for samples in [26_250, Paper.samples] {
        let inputs = Paper.inputs(samples)
        var tree = NeighbourTree([], dimension: 5)
        let build = Timing(repeats: 2) { tree = NeighbourTree(inputs, dimension: 5) }
        for (name, radii) in [("radius 0.1", [0.1]), ("radii 0.05 … 0.3", radii)] {
            let timing = Timing(repeats: 5) { for centre in centres { _ = tree.counts(around: centre, radii: radii) } }
            if radii.count == 1 { seconds[samples] = timing.seconds }
            lines.append(
                Line(
                    what: "300 maximizers among \(samples) samples, \(name)",
                    figure: "\(short(timing.seconds * 1e3)) ms",
                    ratio: samples == Paper.samples && radii.count == 1
                        ? "8 × the samples, \(short(timing.seconds / seconds[26_250]!)) × the time" : ""))
        }
        lines.append(Line(what: "making the tree of \(samples)", figure: "\(short(build.seconds * 1e3)) ms"))
    }
    if let result = peers.run("proximal_counts.py") {
        for (key, name) in [
            ("ckdtree", "SciPy \(result.names["scipy version"] ?? "") cKDTree"),
            ("torch", "PyTorch \(result.names["torch version"] ?? "") distances in float32"),
        ] {
            guard let theirs = result.numbers[key] else { continue }
            lines.append(
                Line(
                    what: "300 among \(Paper.samples), radius 0.1, \(name)", figure: "\(short(theirs * 1e3)) ms",
                    ratio: "Cairn is \(short(theirs / seconds[Paper.samples]!)) × as fast"))
        }
    }
    return Answer(
        question: "How long does counting the samples near the maximizers take?",
        method: """
            Uniform samples in five dimensions, one thread, thread CPU time, counts exact. The tree is made once per \
            training set.
            """, lines: lines)
}
