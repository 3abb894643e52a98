// How much of a core does a training step use?

import CLimits
import Regression

func trainingStep(_ peers: Peers) -> Answer {
    let samples = Paper.labelled(8192)
    var lines: [Line] = []
    var best: [Int: Timing] = [:]
    let paths = KernelPath.allCases.reversed().filter { $0.isSupported && $0 != .portable }
    /// Rate zero keeps the dense surrogate what it is.
    func measure(_ batch: Int, _ start: Surrogate, rate: Double) -> Timing {
        let training = Training(
            start, samples: samples,
            settings: TrainingSettings(batch: .rows(batch), epochs: 1000, learningRate: rate, schedule: .constant),
            randomSeed: 1, run: 0, threads: 1)
        // An epoch is what a user waits for: the order of the samples, gathering, and all steps.
        return Timing(repeats: batch == 1024 ? 30 : 15) { _ = try! training.epoch() }
    }
    func line(_ what: String, _ timing: Timing) -> Line {
        let rate = Paper.training * Double(samples.count) / timing.seconds
        return Line(
            what: what, figure: "\(short(rate / 1e9)) GFLOP/s",
            ratio: "\(percent(rate / timing.peak)) of \(short(timing.peak / 1e9, 4))")
    }
    for batch in [1024, 256] {
        for path in paths.isEmpty ? [.portable] : paths where path.select() {
            let timing = measure(batch, Paper.dense, rate: 0)
            if best[batch] == nil { best[batch] = timing }
            lines.append(line("batch \(batch), \(path), all neurons active", timing))
        }
        _ = paths.first?.select()
        lines.append(
            line("batch \(batch), while it fits, counted as if all were", measure(batch, Paper.surrogate, rate: 0.003)))
    }
    _ = paths.first?.select()
    let ours = best.mapValues { $0.seconds / Double(samples.count) }
    for mkl in Peers.MKL.allCases {
        guard let result = peers.run("training_step.py", mkl: mkl) else { continue }
        for batch in [1024, 256] {
            guard let seconds = result.numbers["\(batch)"] else { continue }
            lines.append(
                Line(
                    what: "batch \(batch), PyTorch \(result.names["version"] ?? ""), \(mkl.rawValue)",
                    figure: "\(short(Paper.training / seconds / 1e9)) GFLOP/s",
                    ratio: "Cairn is \(short(seconds / ours[batch]!)) × as fast"))
        }
    }
    if let result = peers.run("matrix_products.py") {
        for name in ["oneDNN", "OpenBLAS"] {
            guard let seconds = result.numbers[name] else { continue }
            lines.append(
                Line(
                    what: "batch 1024, \(name) \(result.names[name + " version"] ?? ""), the matrix products alone",
                    figure: "\(short(Paper.training / seconds / 1e9)) GFLOP/s",
                    ratio: "Cairn, all included, is \(short(seconds / ours[1024]!)) × as fast"))
        }
    }
    return Answer(
        question: "How much of a core does a training step use?",
        method: """
            5-128-256-512-256-128-1, ReLU, Adam, one thread; a step is forward, backward, the gradients of all weights, \
            and the update. Thread CPU time of an epoch of 8,192 samples, best of several; the limit is a loop of fused \
            multiply-adds in registers (\(String(cString: limit_vectors()))), measured between the runs. Cairn passes \
            over zeros, so that a fit takes less than all the arithmetic; ratios to others are of the step that does all. \
            PyTorch with its fused Adam. oneDNN and OpenBLAS do only the step's 17 matrix products: no biases, no ReLU, no Adam.
            """, lines: lines)
}
