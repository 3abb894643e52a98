// How much of a core does a step of the search use, and how much of it is the oracle?

import CLimits
import Pricing
import Regression

func ascentStep(_ peers: Peers) -> Answer {
    let seeds = Paper.inputs(Paper.seeds)
    // Steps too long to converge in, so that every seed stays; the last evaluation needs no gradient.
    let steps = 2
    let stage = AscentStage(steps: steps, stepSize: 0.05, momentum: 0.9, decay: 1, decayEvery: 1000, stopStep: 0)
    func surface(_ surrogate: Surrogate) -> ErrorSurface {
        ErrorSurface(
            network: Network(surrogate), oracle: DownAndOutPut(), domain: Paper.domain, labelScale: Paper.labelScale,
            gradient: .own)
    }
    var lines: [Line] = []
    var best: Timing?
    let paths = KernelPath.allCases.reversed().filter { $0.isSupported && $0 != .portable }
    let flops = Double(Paper.seeds) * (Double(steps) * Paper.ascent + Paper.forward)
    func measure(_ what: String, _ surrogate: Surrogate) -> Timing {
        let surface = surface(surrogate)
        let timing = Timing(repeats: 10) { _ = surface.ascend(seeds, stage) }
        lines.append(
            Line(
                what: what, figure: "\(short(flops / timing.seconds / 1e9)) GFLOP/s",
                ratio: "\(percent(flops / timing.seconds / timing.peak)) of \(short(timing.peak / 1e9, 4))"))
        return timing
    }
    for path in paths.isEmpty ? [.portable] : paths where path.select() {
        let timing = measure("\(path), everything, all neurons active", Paper.dense)
        if best == nil { best = timing }
    }
    _ = paths.first?.select()
    _ = measure("everything, half of the neurons active, counted as if all were", Paper.surrogate)
    let raw = Paper.domain.raw(rows: seeds)
    let gradient = Timing(repeats: 10) { _ = DownAndOutPut().evaluate(raw, gradient: true) }.seconds
    let oracle =
        gradient * Double(steps) + Timing(repeats: 5) { _ = DownAndOutPut().evaluate(raw, gradient: false) }.seconds
    let dense = surface(Paper.dense)
    let network = Timing(repeats: 10) { _ = dense.terms.network.predictWithGradient(seeds) }
    lines.append(
        Line(
            what: "the network alone",
            figure: "\(short(Paper.ascent * Double(Paper.seeds) / network.seconds / 1e9)) GFLOP/s",
            ratio: "\(percent(Paper.ascent * Double(Paper.seeds) / network.seconds / network.peak))"))
    lines.append(
        Line(
            what: "the oracle, value and gradient", figure: "\(short(gradient * 1e3)) ms",
            ratio: "\(percent(oracle / best!.seconds)) of the step"))
    let step = best!.seconds / (flops / (Double(Paper.seeds) * Paper.ascent))
    for mkl in Peers.MKL.allCases {
        guard let result = peers.run("ascent_step.py", mkl: mkl), let seconds = result.numbers["step"] else { continue }
        lines.append(
            Line(
                what: "PyTorch \(result.names["version"] ?? ""), \(mkl.rawValue)",
                figure: "\(short(seconds * 1e3)) ms a step", ratio: "Cairn is \(short(seconds / step)) × as fast"))
    }
    return Answer(
        question: "How much of a core does a step of the search use?",
        method: """
            \(Paper.seeds) seeds at once, one thread: forward, back to the inputs, the put's value and gradient, the move \
            and its projection onto the domain. Thread CPU time; the limit as above. Ratios to others are of the \
            step that leaves nothing out. PyTorch: float32 network by \
            autograd, the put in float64 by autograd through the closed form, in blocks of 1,050 points.
            """, lines: lines)
}
