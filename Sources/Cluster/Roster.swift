/// The processes that work for the coordinator, by incarnation. Volatile: rebuilt as they say hello.
package struct Roster: Sendable {
    package struct Member: Sendable {
        package var hello: ToCoordinator.Hello
        package var peer: PeerID
        package var lastHeard: Instant
        /// Jobs leased to it, in the order in which it got them: the first is the one that runs.
        package var held: [Lease] = []
        package var isLeaving = false
        /// The numbers of jobs under which it is listed as idle.
        fileprivate var listed: Set<Int> = []

        package var hasCredit: Bool { !isLeaving && held.count < hello.credit }
    }

    /// The right to run an attempt, for as long as its holder is heard of.
    package struct Lease: Sendable, Hashable {
        package var attempt: Attempt
        package var since: Instant
    }

    private var members: [Incarnation: Member] = [:]
    private var peers: [PeerID: Incarnation] = [:]
    /// How many members hold a lease on a job.
    private var holders: [JobID: Int] = [:]
    /// Members by when they were heard of when they were put here; one entry each, the oldest first.
    private var silence: Queue<(incarnation: Incarnation, heard: Instant)> = Queue()
    /// Members that may have credit, by role and by the number of jobs that they held when they were put here.
    private var idle: [[Queue<Incarnation>]] = Role.allCases.map { _ in [] }

    package init() {}

    package subscript(_ incarnation: Incarnation) -> Member? { members[incarnation] }

    package func incarnation(of peer: PeerID) -> Incarnation? { peers[peer] }

    package var count: Int { members.count }

    /// All members, ordered by incarnation.
    package var all: [Member] { members.keys.sorted { $0.value < $1.value }.map { members[$0]! } }

    package func count(_ role: Role) -> Int { members.values.reduce(0) { $0 + ($1.hello.role == role ? 1 : 0) } }

    /// Enters a process, or renews what is known of one that reconnected.
    ///
    /// - Returns: the leases that it held before, if it was known.
    package mutating func enter(_ hello: ToCoordinator.Hello, peer: PeerID, held: [Lease], now: Instant) -> [Lease] {
        let before = members[hello.incarnation]
        if let before {
            peers[before.peer] = nil
            for lease in before.held { unhold(lease.attempt.job) }
        }
        for lease in held { holders[lease.attempt.job, default: 0] += 1 }
        members[hello.incarnation] = Member(hello: hello, peer: peer, lastHeard: now, held: held)
        peers[peer] = hello.incarnation
        if before == nil { silence.append((hello.incarnation, now)) }
        offer(hello.incarnation)
        return before?.held ?? []
    }

    package mutating func heard(_ incarnation: Incarnation, now: Instant) { members[incarnation]?.lastHeard = now }

    package mutating func leaving(_ incarnation: Incarnation) { members[incarnation]?.isLeaving = true }

    package mutating func remove(_ incarnation: Incarnation) -> Member? {
        guard let member = members.removeValue(forKey: incarnation) else { return nil }
        peers[member.peer] = nil
        for lease in member.held { unhold(lease.attempt.job) }
        return member
    }

    private mutating func unhold(_ job: JobID) {
        holders[job]! -= 1
        if holders[job] == 0 { holders[job] = nil }
    }

    /// Whether somebody holds a lease on a job.
    package func isHeld(_ job: JobID) -> Bool { holders[job] != nil }

    package mutating func lease(_ attempt: Attempt, to incarnation: Incarnation, now: Instant) {
        members[incarnation]!.held.append(Lease(attempt: attempt, since: now))
        holders[attempt.job, default: 0] += 1
        offer(incarnation)
    }

    /// Ends a lease; nil if there was none.
    package mutating func release(_ job: JobID, of incarnation: Incarnation) -> Lease? {
        guard let place = members[incarnation]?.held.firstIndex(where: { $0.attempt.job == job }) else { return nil }
        let lease = members[incarnation]!.held.remove(at: place)
        unhold(job)
        offer(incarnation)
        return lease
    }

    /// A member of a role that has credit and can do the work, one with the fewest jobs; nil if there is none.
    package mutating func idle(_ role: Role, where isAble: (Member) -> Bool) -> Incarnation? {
        let r = role.index
        for level in idle[r].indices {
            for _ in 0..<idle[r][level].count {
                let incarnation = idle[r][level].popFirst()!
                // Entries are left behind when a member changes; only those that still hold count.
                guard let member = members[incarnation], member.hasCredit, member.held.count == level else {
                    members[incarnation]?.listed.remove(level)
                    continue
                }
                if isAble(member) {
                    idle[r][level].prepend(incarnation)
                    return incarnation
                }
                idle[r][level].append(incarnation)
            }
        }
        return nil
    }

    private mutating func offer(_ incarnation: Incarnation) {
        guard let member = members[incarnation], member.hasCredit else { return }
        let (r, level) = (member.hello.role.index, member.held.count)
        guard members[incarnation]!.listed.insert(level).inserted else { return }
        while idle[r].count <= level { idle[r].append(Queue()) }
        idle[r][level].append(incarnation)
    }

    /// When the next member may have been silent for `limit`.
    package func nextSilence(_ limit: Duration) -> Instant? { silence.first.map { $0.heard + limit } }

    /// Members that were not heard of for `limit`.
    package mutating func silent(for limit: Duration, now: Instant) -> [Incarnation] {
        var lost: [Incarnation] = []
        while let oldest = silence.first, oldest.heard + limit <= now {
            _ = silence.popFirst()
            guard let member = members[oldest.incarnation] else { continue }
            if member.lastHeard + limit <= now {
                lost.append(oldest.incarnation)
            } else {
                silence.append((oldest.incarnation, member.lastHeard))
            }
        }
        return lost
    }

    package func checkInvariants() {
        for (incarnation, member) in members {
            precondition(peers[member.peer] == incarnation, "\(incarnation) is not found by its peer")
            precondition(
                Set(member.held.map(\.attempt.job)).count == member.held.count, "\(incarnation) holds a job twice")
        }
        var counts: [JobID: Int] = [:]
        for member in members.values { for lease in member.held { counts[lease.attempt.job, default: 0] += 1 } }
        precondition(counts == holders, "the count of holders is not what members hold")
        precondition(peers.count == members.count, "\(peers.count) peers for \(members.count) members")
    }
}

extension Role {
    fileprivate var index: Int { Int(rawValue) - 1 }
}
