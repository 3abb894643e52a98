// How whoever waits for a fast oracle stays awake: looking for the answer before going to sleep.

internal import Glibc

/// Spins for a while before its user blocks, as long as that pays.
///
/// To be put to sleep and woken costs some microseconds, and some twenty-five on a virtual machine that gives its idle cores
/// back, at both ends of a call: more than a fast oracle takes. To look first, for a time of the order of what sleep costs, and
/// to learn from whether that paid, is after A. R. Karlin, K. Li, M. S. Manasse and S. Owicki, "Empirical studies of
/// competitive spinning for a shared-memory multiprocessor", SOSP 1991. Whoever else wants the core gets it between two looks;
/// on a busy machine that can last for milliseconds. So each look in vain, or too late, doubles the number of times that
/// there is none.
package struct AdaptiveSpin {
    /// Nanoseconds of one look-out.
    private static let longest = 150_000
    private static let mostSkipped = 255

    private var skipped = 0
    private var toSkip = 0

    package init() {}

    /// Looks for something until it is there, or it is time to sleep.
    package mutating func look(_ isThere: () throws -> Bool) rethrows {
        guard toSkip == 0 else {
            toSkip -= 1
            return
        }
        let end = nanoseconds() + Self.longest
        var found = try isThere()
        while !found, nanoseconds() < end {
            sched_yield()
            found = try isThere()
        }
        skipped = found && nanoseconds() < end ? 0 : min(2 * skipped + 1, Self.mostSkipped)
        toSkip = skipped
    }
}
