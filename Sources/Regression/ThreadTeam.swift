internal import CKernels

/// Threads that run one function together (see CKernels/team.c). The results of what Cairn computes never depend on
/// how many there are.
package final class ThreadTeam: @unchecked Sendable {
    private let team: OpaquePointer

    /// - Parameter size: number of threads, the caller's included, at least 1. If the system refuses some, the team is
    ///   the caller alone.
    package init(size: Int) {
        guard let team = ck_team_create(Int32(clamping: max(1, size))) ?? ck_team_create(1) else {
            preconditionFailure("no memory for a team of threads")
        }
        self.team = team
    }

    deinit { ck_team_destroy(team) }

    package var size: Int { Int(ck_team_size(team)) }

    /// Calls `body(thread)` for each thread at the same time and returns when all are done.
    package func run(_ body: (_ thread: Int) -> Void) {
        call(body) { ck_team_run(team, $0, $1) }
    }

    /// Calls `body(item)` once for each item of `0..<items` and returns when all are done. Each thread begins with its
    /// part of them, the same each time, and then helps the others.
    package func share(_ items: Int, _ body: (_ item: Int) -> Void) {
        call(body) { ck_team_share(team, Int32(items), $0, $1) }
    }

    private func call(
        _ body: (Int) -> Void,
        by function: (@convention(c) (UnsafeMutableRawPointer?, Int32) -> Void, UnsafeMutableRawPointer) -> Void
    ) {
        withoutActuallyEscaping(body) { body in
            var body = body
            withUnsafeMutablePointer(to: &body) { pointer in
                function({ $0!.assumingMemoryBound(to: ((Int) -> Void).self).pointee(Int($1)) }, pointer)
            }
        }
    }
}
