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
            let ratio = result?.numbers["himalaya paths"].map { "\(short(rate / $0)) × QuantLib" } ?? ""
            lines.append(
                Line(
                    what: "\(path), \(count == 1 ? "one price" : "\(count) prices on the same paths")",
                    figure: "\(short(rate)) paths/s", ratio: ratio))
        }
    }
    _ = KernelPath.allCases.last(where: \.isSupported)?.select()
    if let rate = result?.numbers["himalaya paths"] {
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

/// Every built-in oracle on contracts of its intervals, and on the one contract that QuantLib prices too.
func exoticPrices(_ peers: Peers) -> Answer {
    let result = peers.run("oracles.py")
    let paths = 131_072
    var lines: [Line] = []
    for small in builtInOracles {
        let (oracle, name) = (small.resized(assets: 5) ?? small, small.descriptor.name)
        let cost = oracle.descriptor.costSeconds
        let count = oracle.descriptor.isStochastic ? 1 : max(1, min(2000, Int(0.1 / cost)))
        let rows = batch(oracle, count, kinds[name, default: [:]].merging(["correlationInput": "partial"]) { $1 })
        let timing = Timing(repeats: cost > 0.05 ? 2 : 5) { _ = oracle.evaluate(rows, gradient: false) }
        let rate = Double(count) / timing.seconds

        // The peer's contract: how far its price is, and how much longer it would take to the same error.
        let common = batch(oracle, 1, contract.merging(kinds[name, default: [:]]) { $1 })
        let ours = oracle.evaluate(common, gradient: false)
        let error = ours.standardErrors.first
        var ratio = "no like engine in QuantLib"
        if let peer = result?.numbers[name], let price = result?.numbers["\(name) price"] {
            let engine = result?.names["\(name) engine"] ?? ""
            ratio = "\(short(rate / peer)) × \(engine)'s \(short(peer, 2)) /s; "
            if let noise = result?.numbers["\(name) error"], noise > 0 {
                ratio += "its standard error \(short(noise, 2))"
                if let error {
                    ratio += ", so \(short(rate / peer * (noise / error) * (noise / error), 2)) × to the same error"
                }
            } else {
                ratio += "it is off by \(short(abs(price - ours.prices[0]), 2))"
            }
        }
        let accuracy = error.map { "standard error \(short($0, 2)), \(paths) paths" } ?? accuracies[name]!
        lines.append(Line(what: "\(name), \(accuracy)", figure: "\(short(rate)) /s", ratio: ratio))
    }
    return Answer(
        question: "How many prices a second do the oracles make?",
        method: """
            Contracts drawn from each oracle's intervals, one thread, prices only; on several shares five of them, one price at a \
            time (the prices of a batch share their paths, and cost less). Accuracies are per 100 of spot, as tests hold them. \
            QuantLib \(result?.names["quantlib version"] ?? "") from Python, one contract at a time; its errors are against \
            Cairn's price of the same contract: spot and strike 100, one year, volatility 0.25, rate 0.03, yield 0.01; five \
            shares have volatilities 0.15, 0.20 … 0.35 and correlations 0.5.
            """, lines: lines)
}

/// What tests hold, per 100 of spot.
private let accuracies = [
    "downAndOutPut": "1e-13", "barrier": "1e-10", "discreteBarrier": "12 dates, 1e-10", "doubleBarrier": "1e-12",
    "lookback": "1e-12", "asian": "12 fixings, 1e-8", "american": "1e-6", "localVolatilityBarrier": "1e-5",
    "hestonBarrier": "2e-4",
]

/// Which of an oracle's contracts. An Everest without a guarantee is QuantLib's.
private let kinds: [String: [String: String]] = [
    "barrier": ["optionType": "call", "barrierType": "downAndOut"],
    "discreteBarrier": ["optionType": "call", "barrierType": "downAndOut", "monitoringDates": "12"],
    "asian": ["optionType": "call", "fixings": "12"], "american": ["optionType": "put"],
    "lookback": ["optionType": "call", "strikeType": "fixed", "strike": "100"],
    "localVolatilityBarrier": ["optionType": "put"], "hestonBarrier": ["optionType": "put"],
    "everest": ["guarantee": "-1"],
    // On performances.
    "himalaya": ["strike": "1"], "atlas": ["strike": "1"],
    "altiplano": ["strike": "1", "barrier": "0.7", "coupon": "0.1"],
]

/// The contract of Peers/oracles.py.
private let contract: [String: String] = {
    var terms = [
        "spot": "100", "strike": "100", "maturityYears": "1", "volatility": "0.25", "rate": "0.03",
        "dividendYield": "0.01",
        "barrier": "80", "lowerBarrier": "70", "upperBarrier": "140", "barrierOverSpot": "0.8", "strikeOverSpot": "1",
        "variance": "0.0625", "reversion": "1.5", "meanVariance": "0.0625", "varianceVolatility": "0.3",
        "correlation": "-0.5", "correlationInput": "plain",
    ]
    for i in 1...5 {
        terms["volatility.\(i)"] = "\(0.1 + 0.05 * Double(i))"
        terms["dividendYield.\(i)"] = "0.01"
        for j in i + 1..<max(6, i + 1) { terms["correlation.\(i).\(j)"] = "0.5" }
    }
    return terms
}()
