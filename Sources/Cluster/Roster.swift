/// The processes that work for the coordinator, by incarnation. Volatile: rebuilt as they say hello.
package struct Roster: Sendable {
    package struct Member: Sendable {
        package var hello: ToCoordinator.Hello
        package var peer: PeerID
        package var lastHeard: Instant
        /// Jobs leased to it, in the order in which it got them: the first ones run.
        package var held: [Lease] = []
        /// It missed three heartbeats: it gets nothing, and what it holds may be given to others too.
        package var isSuspect = false
        /// Time that it takes for a job over the time that the average worker takes.
        package var pace = 1.0
        /// The numbers of jobs under which it is listed as idle.
        fileprivate var listed: Set<Int> = []

        package var hasSlot: Bool { !isSuspect && held.count < hello.slots }

        /// Whether a job may wait at it, so that its slots never do. Nothing waits behind a long job.
        package var hasCredit: Bool {
            hasSlot
                || !isSuspect && held.count < hello.credit
                    && held.reduce(0) { $0 + $1.expected } < Roster.prefetch
        }
    }

    /// The right to run an attempt, for as long as its holder is heard of.
    package struct Lease: Sendable, Hashable {
        package var attempt: Attempt
        package var since: Instant
        /// Seconds that it should take; infinite while nobody knows.
        package var expected = Double.infinity
        /// Given while another held the job.
        package var isCopy = false
        /// Seconds that its study was charged for it.
        package var charge = 0.0
    }

    /// Jobs wait at a worker whose jobs end within so many seconds.
    private static let prefetch = 0.1

    private var members: [Incarnation: Member] = [:]
    private var peers: [PeerID: Incarnation] = [:]
    /// Who holds a lease on a job.
    private var holders: [JobID: [Incarnation]] = [:]
    private var counts = Role.allCases.map { _ in 0 }
    /// Members by when they were heard of when they were put here; one entry each, the oldest first.
    private var silence: Queue<(incarnation: Incarnation, heard: Instant)> = Queue()
    /// Those that are suspect, and some that were.
    private var suspects: [Incarnation] = []
    /// Members that may have credit, by role and by the number of jobs that they held when they were put here.
    private var idle: [[Queue<Incarnation>]] = Role.allCases.map { _ in [] }

    package init() {}

    package subscript(_ incarnation: Incarnation) -> Member? { members[incarnation] }

    package func incarnation(of peer: PeerID) -> Incarnation? { peers[peer] }

    package var count: Int { members.count }

    /// All members, ordered by incarnation.
    package var all: [Member] { members.keys.sorted { $0.value < $1.value }.map { members[$0]! } }

    package func count(_ role: Role) -> Int { counts[role.index] }

    /// Enters a process, or renews what is known of one that reconnected.
    ///
    /// - Returns: the leases that it held before, if it was known.
    package mutating func enter(_ hello: ToCoordinator.Hello, peer: PeerID, held: [Lease], now: Instant) -> [Lease] {
        let before = members[hello.incarnation]
        if let before {
            peers[before.peer] = nil
            counts[before.hello.role.index] -= 1
            for lease in before.held { unhold(lease.attempt.job, hello.incarnation) }
        }
        for lease in held { holders[lease.attempt.job, default: []].append(hello.incarnation) }
        var member = Member(hello: hello, peer: peer, lastHeard: now, held: held)
        member.pace = before?.pace ?? 1
        members[hello.incarnation] = member
        counts[hello.role.index] += 1
        peers[peer] = hello.incarnation
        if before?.isSuspect ?? true { silence.append((hello.incarnation, now)) }
        offer(hello.incarnation)
        return before?.held ?? []
    }

    package mutating func heard(_ incarnation: Incarnation, now: Instant) {
        guard let wasSuspect = members[incarnation]?.isSuspect else { return }
        members[incarnation]!.lastHeard = now
        guard wasSuspect else { return }
        members[incarnation]!.isSuspect = false
        silence.append((incarnation, now))
        offer(incarnation)
    }

    package mutating func remove(_ incarnation: Incarnation) -> Member? {
        guard let member = members.removeValue(forKey: incarnation) else { return nil }
        peers[member.peer] = nil
        counts[member.hello.role.index] -= 1
        for lease in member.held { unhold(lease.attempt.job, incarnation) }
        return member
    }

    private mutating func unhold(_ job: JobID, _ incarnation: Incarnation) {
        holders[job]!.removeAll { $0 == incarnation }
        if holders[job]!.isEmpty { holders[job] = nil }
    }

    /// Whether somebody holds a lease on a job.
    package func isHeld(_ job: JobID) -> Bool { holders[job] != nil }

    /// Who holds a lease on a job, in the order in which they got it.
    package func holders(of job: JobID) -> [Incarnation] { holders[job] ?? [] }

    package mutating func lease(_ lease: Lease, to incarnation: Incarnation) {
        members[incarnation]!.held.append(lease)
        holders[lease.attempt.job, default: []].append(incarnation)
        offer(incarnation)
    }

    /// Ends a lease; nil if there was none.
    package mutating func release(_ job: JobID, of incarnation: Incarnation) -> Lease? {
        guard let place = members[incarnation]?.held.firstIndex(where: { $0.attempt.job == job }) else { return nil }
        let lease = members[incarnation]!.held.remove(at: place)
        unhold(job, incarnation)
        offer(incarnation)
        return lease
    }

    /// Learns from how long a job took.
    package mutating func note(_ seconds: Double, expected: Double, of incarnation: Incarnation) {
        guard expected.isFinite, expected > 1e-3, let pace = members[incarnation]?.pace else { return }
        members[incarnation]!.pace = min(16, max(1.0 / 16, pace * (0.8 + 0.2 * min(10, seconds / expected))))
    }

    /// A member of a role that has room and can do the work, one with the fewest jobs; nil if there is none.
    ///
    /// - Parameter inSlot: whether the job must run at once.
    package mutating func idle(_ role: Role, inSlot: Bool = false, where isAble: (Member) -> Bool) -> Incarnation? {
        let r = role.index
        for level in idle[r].indices {
            for _ in 0..<idle[r][level].count {
                let incarnation = idle[r][level].popFirst()!
                // Entries are left behind when a member changes; only those that still hold count.
                guard let member = members[incarnation], member.hasCredit, member.held.count == level else {
                    members[incarnation]?.listed.remove(level)
                    continue
                }
                if isAble(member), !inSlot || member.hasSlot {
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

    /// When a member may next become suspect, or be lost.
    package func nextSilence(suspect: Duration, lost: Duration) -> Instant? {
        let candidates =
            [silence.first.map { $0.heard + suspect }] + suspects.map { members[$0].map { $0.lastHeard + lost } }
        return candidates.compactMap { $0 }.min()
    }

    /// Members that were not heard of for `limit` and become suspect now.
    package mutating func suspected(after limit: Duration, now: Instant) -> [Incarnation] {
        var fresh: [Incarnation] = []
        while let oldest = silence.first, oldest.heard + limit <= now {
            _ = silence.popFirst()
            guard let member = members[oldest.incarnation], !member.isSuspect else { continue }
            if member.lastHeard + limit <= now {
                members[oldest.incarnation]!.isSuspect = true
                suspects.append(oldest.incarnation)
                fresh.append(oldest.incarnation)
            } else {
                silence.append((oldest.incarnation, member.lastHeard))
            }
        }
        return fresh
    }

    /// Members that were not heard of for `limit`.
    package mutating func silent(for limit: Duration, now: Instant) -> [Incarnation] {
        guard !suspects.isEmpty else { return [] }
        var seen: Set<Incarnation> = []
        suspects.removeAll { members[$0]?.isSuspect != true || !seen.insert($0).inserted }
        return suspects.filter { members[$0]!.lastHeard + limit <= now }
    }

    package func checkInvariants() {
        for (incarnation, member) in members {
            precondition(peers[member.peer] == incarnation, "\(incarnation) is not found by its peer")
            precondition(
                Set(member.held.map(\.attempt.job)).count == member.held.count, "\(incarnation) holds a job twice")
        }
        var found: [JobID: Set<Incarnation>] = [:]
        for (incarnation, member) in members {
            for lease in member.held { found[lease.attempt.job, default: []].insert(incarnation) }
        }
        precondition(found == holders.mapValues { Set($0) }, "the holders of jobs are not what members hold")
        precondition(peers.count == members.count, "\(peers.count) peers for \(members.count) members")
        precondition(counts.reduce(0, +) == members.count, "\(counts) members of \(members.count)")
    }
}

extension Role {
    fileprivate var index: Int { Int(rawValue) - 1 }
}
