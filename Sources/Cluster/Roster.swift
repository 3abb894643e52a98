/// The processes that work for the coordinator, by incarnation. Volatile: rebuilt as they say hello.
///
/// Members stay at their place while they are there, and are read and changed in place: a hello is large, and copying one
/// costs more than a message.
package struct Roster: Sendable {
    package struct Member: Sendable {
        package fileprivate(set) var hello: ToCoordinator.Hello
        package fileprivate(set) var peer: PeerID
        package fileprivate(set) var lastHeard: Instant
        /// Jobs leased to it, in the order in which it got them: the first ones run.
        package fileprivate(set) var held: ArraySlice<Lease> = []
        /// It missed three heartbeats: it gets nothing, and what it holds may be given to others too.
        package fileprivate(set) var isSuspect = false
        /// Time that it takes for a job, on a scale that is the same for all of its role and means nothing: see `pace`.
        fileprivate var slowness = 1.0
        /// By oracle, attempts in a row that it ended without a result, and when the last of them did.
        fileprivate var failures: [OracleReference?: (count: Int, last: Instant)] = [:]
        /// What it holds may well take so many nanoseconds, and so many jobs that nobody knows the time of.
        fileprivate var known: Int64 = 0
        fileprivate var unknown = 0
        /// How many assignments it was sent.
        fileprivate var assigned: UInt64 = 0
        /// Where it is listed: with those that hold as many jobs, between these two.
        fileprivate var level = -1
        fileprivate var previous = -1
        fileprivate var next = -1

        /// Whether it had better get nothing of an oracle for a while: its last attempts failed, perhaps for want of a
        /// licence, or because its plug-in has changed.
        package func rests(from oracle: OracleReference?, at now: Instant) -> Bool {
            guard !failures.isEmpty, let (count, last) = failures[oracle] else { return false }
            return now < last + .seconds(min(Roster.longestRest, 1 << min(count - 1, 10)))
        }

        package var hasSlot: Bool { !isSuspect && held.count < hello.slots }

        /// Whether a job may wait at it, so that its slots never do. Nothing waits behind a long job.
        package var hasCredit: Bool {
            hasSlot || !isSuspect && held.count < hello.credit && unknown == 0 && known < Roster.prefetch
        }

        fileprivate mutating func count(_ lease: Lease, _ sign: Int) {
            if let nanoseconds = lease.nanoseconds { known += Int64(sign) * nanoseconds } else { unknown += sign }
        }
    }

    /// The right to run an attempt, for as long as its holder is heard of.
    package struct Lease: Sendable, Hashable {
        package var attempt: Attempt
        package var since: Instant
        /// Seconds that it should take, and may well take; infinite while nobody knows.
        package var expected = Double.infinity
        package var high = Double.infinity
        /// It is noticed when it lasts too long.
        package var isTimed = false
        /// Given while another held the job.
        package var isCopy = false
        /// Seconds that its study was charged for it.
        package var charge = 0.0
        /// Which of the assignments of its holder it is, from 1; 0 if the holder told of it.
        package fileprivate(set) var serial: UInt64 = 0

        /// `high`, in numbers whose sums are exact.
        fileprivate var nanoseconds: Int64? { high.isFinite ? Int64(min(high, 1e6) * 1e9) : nil }
    }

    /// Who holds leases on a job: nearly always one.
    private struct Holders: Sendable {
        var first: Incarnation
        var others: [Incarnation] = []

        var all: [Incarnation] { [first] + others }

        func contains(_ incarnation: Incarnation) -> Bool { first == incarnation || others.contains(incarnation) }
    }

    /// The ends of a list of members.
    private struct Ends: Sendable {
        var first = -1
        var last = -1
    }

    /// Jobs wait at a worker whose jobs end within so many nanoseconds.
    private static let prefetch: Int64 = 100_000_000

    /// Seconds; after a first failure it is one, and doubles.
    private static let longestRest = 10

    private var members: [Member] = []
    /// Those whose last attempt failed: nearly always none, and then nobody is looked through.
    private var ailing: Set<Incarnation> = []
    /// Places that nobody has.
    private var free: [Int] = []
    private var places: [Incarnation: Int] = [:]
    private var peers: [PeerID: Int] = [:]
    private var holders: [JobID: Holders] = [:]
    private var counts = Role.allCases.map { _ in 0 }
    /// The sums of `slowness`.
    private var slowness = Role.allCases.map { _ in 0.0 }
    /// The most slots that a member of a role had.
    private var mostSlots = Role.allCases.map { _ in 0 }
    /// Members by when they were heard of when they were put here; one entry each, the oldest first.
    private var silence: Queue<(incarnation: Incarnation, heard: Instant)> = Queue()
    /// Those that are suspect, and some that were.
    private var suspects: [Incarnation] = []
    /// Members that have credit, by role and by the number of jobs that they hold; none below `lowest`.
    private var idle: [[Ends]] = Role.allCases.map { _ in [] }
    private var lowest = Role.allCases.map { _ in 0 }

    package init() {}

    package subscript(_ incarnation: Incarnation) -> Member? { places[incarnation].map { members[$0] } }

    /// The member at a place, without a copy.
    package subscript(at place: Int) -> Member {
        _read { yield members[place] }
    }

    package func place(of incarnation: Incarnation) -> Int? { places[incarnation] }

    package func place(of peer: PeerID) -> Int? { peers[peer] }

    package func incarnation(of peer: PeerID) -> Incarnation? { peers[peer].map { members[$0].hello.incarnation } }

    package var count: Int { places.count }

    /// Whether anybody holds a job of a batch.
    package func holdsAny(of study: StudyID, batch: Int) -> Bool {
        holders.keys.contains { $0.study == study && $0.batch == batch }
    }

    /// All members, ordered by incarnation.
    package var all: [Member] {
        places.sorted { $0.key.value < $1.key.value }.map { members[$0.value] }
    }

    package func count(_ role: Role) -> Int { counts[role.index] }

    /// Enters a process, or renews what is known of one that reconnected.
    ///
    /// - Returns: the leases that it held before, if it was known.
    package mutating func enter(_ hello: ToCoordinator.Hello, peer: PeerID, held: [Lease], now: Instant) -> [Lease] {
        let before = remove(hello.incarnation)
        for lease in held { hold(lease.attempt.job, hello.incarnation) }
        var member = Member(hello: hello, peer: peer, lastHeard: now, held: held[...])
        let known = before.flatMap { $0.hello.role == hello.role ? $0.slowness : nil }
        let r = hello.role.index
        member.assigned = before?.assigned ?? 0
        member.slowness = known ?? (counts[r] > 0 ? slowness[r] / Double(counts[r]) : 1)
        slowness[r] += member.slowness
        for lease in held { member.count(lease, 1) }
        let place = free.popLast() ?? members.count
        if place == members.count { members.append(member) } else { members[place] = member }
        places[hello.incarnation] = place
        peers[peer] = place
        counts[r] += 1
        mostSlots[hello.role.index] = max(mostSlots[hello.role.index], hello.slots)
        if before?.isSuspect ?? true { silence.append((hello.incarnation, now)) }
        list(place)
        return before.map { Array($0.held) } ?? []
    }

    package mutating func heard(_ place: Int, now: Instant) {
        members[place].lastHeard = now
        guard members[place].isSuspect else { return }
        members[place].isSuspect = false
        silence.append((members[place].hello.incarnation, now))
        list(place)
    }

    package mutating func remove(_ incarnation: Incarnation) -> Member? {
        guard let place = places.removeValue(forKey: incarnation) else { return nil }
        ailing.remove(incarnation)
        unlist(place)
        let member = members[place]
        members[place].held = []
        free.append(place)
        peers[member.peer] = nil
        let r = member.hello.role.index
        counts[r] -= 1
        slowness[r] = counts[r] == 0 ? 0 : slowness[r] - member.slowness
        for lease in member.held { unhold(lease.attempt.job, incarnation) }
        return member
    }

    private mutating func hold(_ job: JobID, _ incarnation: Incarnation) {
        if holders[job] == nil {
            holders[job] = Holders(first: incarnation)
        } else {
            holders[job]!.others.append(incarnation)
        }
    }

    private mutating func unhold(_ job: JobID, _ incarnation: Incarnation) {
        guard let holding = holders[job] else { return }
        let left = holding.others.isEmpty ? [] : holding.all.filter { $0 != incarnation }
        holders[job] = left.first.map { Holders(first: $0, others: Array(left.dropFirst())) }
    }

    /// Whether somebody holds a lease on a job.
    package func isHeld(_ job: JobID) -> Bool { holders[job] != nil }

    /// Who holds a lease on a job, in the order in which they got it.
    package func holders(of job: JobID) -> [Incarnation] { holders[job]?.all ?? [] }

    /// - Returns: the serial of its assignment.
    package mutating func lease(_ lease: Lease, at place: Int) -> UInt64 {
        members[place].assigned += 1
        var lease = lease
        lease.serial = members[place].assigned
        members[place].held.append(lease)
        members[place].count(lease, 1)
        hold(lease.attempt.job, members[place].hello.incarnation)
        list(place)
        return lease.serial
    }

    /// Ends a lease; nil if there was none.
    package mutating func release(_ job: JobID, of incarnation: Incarnation) -> Lease? {
        guard let place = places[incarnation], let k = members[place].held.firstIndex(where: { $0.attempt.job == job })
        else { return nil }
        let lease = members[place].held[k]
        // Results come in the order of the leases: the first one goes without a move of the others.
        if k == members[place].held.startIndex {
            members[place].held.removeFirst()
        } else {
            members[place].held.remove(at: k)
        }
        members[place].count(lease, -1)
        unhold(job, incarnation)
        list(place)
        return lease
    }

    /// Notes that a lease is timed.
    package mutating func time(_ lease: Int, at place: Int) { members[place].held[lease].isTimed = true }

    /// Time that a member takes for a job over the time that the average member of its role takes.
    package func pace(at place: Int) -> Double {
        let r = members[place].hello.role.index
        return members[place].slowness * Double(counts[r]) / slowness[r]
    }

    /// Learns from how long a job took: little from one, since it may have met what the next one does not, as a worker's first
    /// of a surrogate; nothing from a short one.
    package mutating func note(_ seconds: Double, expected: Double, at place: Int) {
        guard expected.isFinite, expected > 1e-2 else { return }
        let r = members[place].hello.role.index
        let mean = slowness[r] / Double(counts[r])
        let before = members[place].slowness
        let after = min(16 * mean, max(mean / 16, before * (0.8 + 0.2 * min(4, seconds / expected))))
        members[place].slowness = after
        slowness[r] += after - before
        // Jobs may become cheaper than they were thought to be for everybody: that makes nobody fast, and moves the scale.
        guard !(0.25...4).contains(mean) else { return }
        slowness[r] = 0
        for place in places.values where members[place].hello.role.index == r {
            members[place].slowness /= mean
            slowness[r] += members[place].slowness
        }
    }

    /// Notes that an attempt ended there, with a result or without.
    ///
    /// - Parameter oracle: that it called; nil if none.
    package mutating func note(isGood: Bool, of oracle: OracleReference?, at place: Int, now: Instant) {
        if isGood && members[place].failures.isEmpty { return }
        let incarnation = members[place].hello.incarnation
        if isGood {
            members[place].failures[oracle] = nil
            if members[place].failures.isEmpty { ailing.remove(incarnation) }
        } else {
            members[place].failures[oracle] = ((members[place].failures[oracle]?.count ?? 0) + 1, now)
            ailing.insert(incarnation)
        }
    }

    /// Whether those that rest can be left alone, because others can do the work.
    package func canSpare(
        _ role: Role, from oracle: OracleReference?, at now: Instant, where isAble: (Member) -> Bool
    ) -> Bool {
        !ailing.isEmpty
            && places.values.contains { place in
                let member = members[place]
                return member.hello.role == role && !member.isSuspect && !member.rests(from: oracle, at: now)
                    && isAble(member)
            }
    }

    /// The place of a member of a role that has room and can do the work, one with the fewest jobs; nil if there is none.
    ///
    /// - Parameter inSlot: whether the job must run at once.
    package mutating func idle(_ role: Role, inSlot: Bool = false, where isAble: (Member) -> Bool) -> Int? {
        let r = role.index
        while lowest[r] < idle[r].count, idle[r][lowest[r]].first < 0 { lowest[r] += 1 }
        var level = lowest[r]
        while level < (inSlot ? min(mostSlots[r], idle[r].count) : idle[r].count) {
            var place = idle[r][level].first
            while place >= 0 {
                if !inSlot || members[place].hasSlot, isAble(members[place]) { return place }
                place = members[place].next
            }
            level += 1
        }
        return nil
    }

    /// Lists a member where it belongs now.
    private mutating func list(_ place: Int) {
        let level = members[place].hasCredit ? members[place].held.count : -1
        guard level != members[place].level else { return }
        unlist(place)
        guard level >= 0 else { return }
        let r = members[place].hello.role.index
        while idle[r].count <= level { idle[r].append(Ends()) }
        let last = idle[r][level].last
        members[place].level = level
        members[place].previous = last
        if last >= 0 { members[last].next = place } else { idle[r][level].first = place }
        idle[r][level].last = place
        lowest[r] = min(lowest[r], level)
    }

    private mutating func unlist(_ place: Int) {
        let (level, previous, next) = (members[place].level, members[place].previous, members[place].next)
        guard level >= 0 else { return }
        let r = members[place].hello.role.index
        if previous >= 0 { members[previous].next = next } else { idle[r][level].first = next }
        if next >= 0 { members[next].previous = previous } else { idle[r][level].last = previous }
        (members[place].level, members[place].previous, members[place].next) = (-1, -1, -1)
    }

    /// When a member may next become suspect, or be lost.
    package func nextSilence(suspect: Duration, lost: Duration) -> Instant? {
        var due = silence.first.map { $0.heard + suspect }
        for incarnation in suspects {
            guard let place = places[incarnation] else { continue }
            let end = members[place].lastHeard + lost
            due = min(due ?? end, end)
        }
        return due
    }

    /// Members that were not heard of for `limit` and become suspect now.
    package mutating func suspected(after limit: Duration, now: Instant) -> [Incarnation] {
        var fresh: [Incarnation] = []
        while let oldest = silence.first, oldest.heard + limit <= now {
            _ = silence.popFirst()
            guard let place = places[oldest.incarnation], !members[place].isSuspect else { continue }
            if members[place].lastHeard + limit <= now {
                members[place].isSuspect = true
                list(place)
                suspects.append(oldest.incarnation)
                fresh.append(oldest.incarnation)
            } else {
                silence.append((oldest.incarnation, members[place].lastHeard))
            }
        }
        return fresh
    }

    /// Members that were not heard of for `limit`.
    package mutating func silent(for limit: Duration, now: Instant) -> [Incarnation] {
        guard !suspects.isEmpty else { return [] }
        var seen: Set<Incarnation> = []
        suspects = suspects.filter { self[$0]?.isSuspect == true && seen.insert($0).inserted }
        return suspects.filter { self[$0]!.lastHeard + limit <= now }
    }

    package func checkInvariants() {
        // Called after every step of a simulation: members are looked at in their places, and nothing is collected.
        var leases = 0
        var listed = 0
        for (incarnation, place) in places {
            precondition(members[place].hello.incarnation == incarnation, "\(incarnation) is not at its place")
            precondition(peers[members[place].peer] == place, "\(incarnation) is not found by its peer")
            var (known, unknown): (Int64, Int) = (0, 0)
            for lease in members[place].held {
                precondition(
                    holders[lease.attempt.job]?.contains(incarnation) == true, "\(incarnation) is no holder of its job")
                known += lease.nanoseconds ?? 0
                unknown += lease.nanoseconds == nil ? 1 : 0
                leases += 1
            }
            precondition(
                members[place].known == known && members[place].unknown == unknown,
                "\(incarnation) holds other work than it is thought to")
            precondition(
                members[place].level == (members[place].hasCredit ? members[place].held.count : -1),
                "\(incarnation) is not listed as idle")
            if members[place].level >= 0 { listed += 1 }
        }
        // Each lease has its holder: as many holders as leases are then the same, and no job is held twice by a member.
        precondition(
            leases == holders.values.reduce(0) { $0 + 1 + $1.others.count },
            "the holders of jobs are not what members hold")
        precondition(peers.count == places.count, "\(peers.count) peers for \(places.count) members")
        precondition(counts.reduce(0, +) == places.count, "\(counts) members of \(places.count)")
        for ends in idle.joined() {
            var place = ends.first
            while place >= 0 {
                listed -= 1
                place = members[place].next
            }
        }
        precondition(listed == 0, "members are listed as idle more or less than once")
    }
}

extension Role {
    fileprivate var index: Int { Int(rawValue) - 1 }
}
