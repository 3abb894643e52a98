package import Cluster
internal import Glibc

extension Instant {
    /// Now, on the system's monotonic clock.
    package static var now: Instant {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Instant(nanoseconds: Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec))
    }

    /// Milliseconds from now until this instant, rounded up, not below 0.
    var millisecondsFromNow: Int {
        Int(clamping: max(0, (nanoseconds - Instant.now.nanoseconds + 999_999) / 1_000_000))
    }
}
