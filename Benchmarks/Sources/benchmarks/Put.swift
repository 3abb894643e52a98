// How fast is the down-and-out put?

import Pricing
import Regression

func put(_ peers: Peers) -> Answer {
    let count = 21_000
    let raw = Paper.domain.raw(rows: Paper.inputs(count))
    let oracle = DownAndOutPut()
    var lines: [Line] = []
    var best = 0.0
    for path in KernelPath.allCases.reversed() where path.select() {
        for gradient in [true, false] {
            let timing = Timing(repeats: path == .portable ? 3 : 30) { _ = oracle.evaluate(raw, gradient: gradient) }
            let rate = Double(count) / timing.seconds
            best = gradient ? max(best, rate) : best
            lines.append(
                Line(
                    what: "\(path), \(gradient ? "value and five derivatives" : "value")", figure: "\(short(rate)) /s",
                    ratio: "\(short(timing.seconds / Double(count) * 1e9)) ns each"))
        }
    }
    _ = KernelPath.allCases.last(where: \.isSupported)?.select()
    if let result = peers.run("put.py"), let seconds = result.numbers["quantlib"] {
        lines.append(
            Line(
                what: "QuantLib \(result.names["quantlib version"] ?? ""), value", figure: "\(short(1 / seconds)) /s",
                ratio: "Cairn, gradient included, is \(short(best * seconds)) × as fast"))
    }
    return Answer(
        question: "How fast is the down-and-out put?",
        method: """
            \(count) contracts drawn uniformly from the domain, one thread, double precision, through the public oracle: \
            the closed form, and the integral where the closed form cancels. QuantLib prices from Python, one contract \
            at a time, its analytic barrier engine with the inputs set through quotes.
            """, lines: lines)
}
