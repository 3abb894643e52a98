// Clocks, repetition, and the tables that come out.

import CLimits
import Foundation

enum Clock {
    /// Seconds of CPU that this thread has used. What runs beside it does not count, except through the caches.
    static var thread: Double { seconds(CLOCK_THREAD_CPUTIME_ID) }
    static var wall: Double { seconds(CLOCK_MONOTONIC) }

    private static func seconds(_ clock: clockid_t) -> Double {
        var time = timespec()
        clock_gettime(clock, &time)
        return Double(time.tv_sec) + 1e-9 * Double(time.tv_nsec)
    }
}

/// The least time of `body` in `repeats` runs after one that warms up, and each run in the middle of measuring the
/// core's peak, so that figure and limit see the same machine.
struct Timing {
    /// Seconds of thread CPU time.
    var seconds = Double.infinity
    /// Single-precision operations per second of this core.
    var peak = 0.0

    init(repeats: Int, _ body: () -> Void) {
        body()
        for _ in 0..<repeats {
            peak = max(peak, Self.measurePeak())
            let start = Clock.thread
            body()
            seconds = min(seconds, Clock.thread - start)
        }
        peak = max(peak, Self.measurePeak())
    }

    private static func measurePeak() -> Double {
        var sink: Float = 0
        let start = Clock.thread
        return limit_fma(500_000, &sink) / (Clock.thread - start)
    }
}

/// One line of a benchmark's table.
struct Line {
    var what: String
    var figure: String
    var ratio: String = ""
}

/// A question, and what came out.
struct Answer {
    var question: String
    /// What is measured and how, against which limit.
    var method: String
    var lines: [Line]

    var markdown: String {
        """
        ## \(question)

        \(method)

        | what | figure | ratio |
        | --- | ---: | --- |
        \(lines.map { "| \($0.what) | \($0.figure) | \($0.ratio) |" }.joined(separator: "\n"))

        """
    }
}

/// A number with `digits` significant digits.
func short(_ number: Double, _ digits: Int = 3) -> String { String(format: "%.\(digits)g", number) }
func percent(_ share: Double) -> String { String(format: "%.1f %%", 100 * share) }
