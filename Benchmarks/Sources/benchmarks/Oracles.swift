// How fast are the exotic oracles?

import Pricing
import Regression

/// A batch of rows for an oracle, its continuous inputs drawn from their intervals; all else as usual or as `terms` say.
private func batch(_ oracle: any Oracle, _ count: Int, _ terms: [String: String]) -> [Double] {
    var stream = RandomStream(seed: 1, purpose: .other)
    return (0..<count).flatMap { _ in
        oracle.descriptor.inputs.map { input in
            if let text = terms[input.name] { return input.value(of: text)! }
            guard input.kind == .continuous else { return input.usual! }
            // What may be left out is left out.
            return input.usual ?? input.lower + (input.upper - input.lower) * stream.uniform()
        }
    }
}

func himalaya(_ peers: Peers) -> Answer {
    let oracle = MultiAsset(.himalaya, assets: 5)
    let paths = 131_072
    let terms = ["paths": "\(paths)", "correlationInput": "partial"]
    let result = peers.run("oracles.py")
    var lines: [Line] = []
    for path in KernelPath.allCases.reversed() where path.select() {
        for count in [1, 64] {
            let rows = batch(oracle, count, terms)
            let timing = Timing(repeats: path == .portable ? 2 : count == 1 ? 30 : 5) {
                _ = oracle.evaluate(rows, gradient: false)
            }
            let rate = Double(count * paths) / timing.seconds
            let ratio = result?.numbers["himalaya"].map { "\(short(rate / $0)) × QuantLib" } ?? ""
            lines.append(
                Line(
                    what: "\(path), \(count == 1 ? "one price" : "\(count) prices on the same paths")",
                    figure: "\(short(rate)) paths/s", ratio: ratio))
        }
    }
    _ = KernelPath.allCases.last(where: \.isSupported)?.select()
    if let rate = result?.numbers["himalaya"] {
        lines.append(
            Line(
                what: "QuantLib \(result?.names["quantlib version"] ?? ""), pseudo-random",
                figure: "\(short(rate)) paths/s"))
    }
    return Answer(
        question: "How fast is the Himalaya?",
        method: """
            Five shares, five dates, \(paths) paths of scrambled Sobol points, one thread, double precision, through the \
            public oracle: the scrambling of the points, standard error and all. The last date is integrated in closed \
            form, so a path takes 20 normals instead of 25 and counts for more.
            """, lines: lines)
}

func exoticPrices(_ peers: Peers) -> Answer {
    let result = peers.run("oracles.py")
    let cases: [(name: String, oracle: any Oracle, count: Int, terms: [String: String])] = [
        ("barrier", Barrier(), 2000, ["barrierType": "downAndOut"]),
        ("doubleBarrier", DoubleBarrier(), 2000, [:]), ("lookback", Lookback(), 2000, ["strike": "100"]),
        ("american", American(), 50, ["optionType": "put"]), ("asian", Asian(), 100, ["fixings": "12"]),
        ("discreteBarrier", DiscreteBarrier(), 20, ["barrierType": "downAndOut", "monitoringDates": "12"]),
        ("everest", MultiAsset(.everest, assets: 5), 1, ["correlationInput": "partial"]),
        ("basket", MultiAsset(.basket, assets: 5), 1, ["correlationInput": "partial"]),
    ]
    var lines: [Line] = []
    for (name, oracle, count, terms) in cases {
        let rows = batch(oracle, count, terms)
        let timing = Timing(repeats: 5) { _ = oracle.evaluate(rows, gradient: false) }
        let rate = Double(count) / timing.seconds
        let ratio = result?.numbers[name].map { "\(short(rate / $0)) × QuantLib's \(short($0)) /s" } ?? ""
        lines.append(Line(what: name, figure: "\(short(rate)) /s", ratio: ratio))
    }
    return Answer(
        question: "How many prices a second do the other oracles make?",
        method: """
            Contracts drawn from each oracle's intervals, one thread, prices only. QuantLib from Python, one contract at a \
            time: analytic engines; for the American put its engine QdFp at the high-precision scheme; for the Everest its \
            Monte Carlo engine on as many paths (131072). Lines without a ratio have no like engine there.
            """, lines: lines)
}
