// Are two threads ever slower than one, when others use the cores as well?

import CLimits
import Foundation
import Regression

func sharedCores(_ peers: Peers) -> Answer {
    let samples = Paper.labelled(16_384)
    func epoch(threads: Int) -> Double {
        let training = Training(
            Paper.surrogate, samples: samples,
            settings: TrainingSettings(batch: .rows(256), epochs: 1000, schedule: .constant), randomSeed: 1, run: 0,
            threads: threads)
        _ = try! training.epoch()
        return (0..<4).map { _ in
            let start = Clock.wall
            _ = try! training.epoch()
            return Clock.wall - start
        }.reduce(0, +) / 4
    }
    let cores = ProcessInfo.processInfo.activeProcessorCount
    var lines: [Line] = []
    func measure(_ name: String) {
        let one = epoch(threads: 1)
        let all = epoch(threads: max(2, cores))
        lines.append(
            Line(
                what: name, figure: "\(short(one * 1e3)) ms, \(short(all * 1e3)) ms",
                ratio: "\(max(2, cores)) threads are \(short(one / all)) × as fast as one"))
    }
    measure("nothing else running")
    for busy in [1, cores, 2 * cores] {
        let stop = UnsafeMutablePointer<Int32>.allocate(capacity: 1)
        stop.initialize(to: 0)
        let address = Int(bitPattern: stop)
        let threads = (0..<busy).map { _ in
            let thread = Thread { limit_spin(UnsafePointer<Int32>(bitPattern: address)!) }
            thread.start()
            return thread
        }
        measure("\(busy) other busy thread\(busy == 1 ? "" : "s") on \(cores) cores")
        stop.pointee = 1
        while !threads.allSatisfy(\.isFinished) { usleep(1000) }
        stop.deallocate()
    }
    return Answer(
        question: "Are two threads ever slower than one?",
        method: """
            Wall time of a training epoch of 16,384 samples in batches of 256, mean of four, on one thread and on one per \
            core, while other threads keep the cores busy. A step has two meetings of the threads; threads that wait by \
            spinning lose whole time slices here.
            """, lines: lines)
}
