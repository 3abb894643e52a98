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
        withoutActuallyEscaping(body) { body in
            var body = body
            withUnsafeMutablePointer(to: &body) { pointer in
                ck_team_run(
                    team,
                    { context, thread in
                        context!.assumingMemoryBound(to: ((Int) -> Void).self).pointee(Int(thread))
                    }, pointer)
            }
        }
    }
}
