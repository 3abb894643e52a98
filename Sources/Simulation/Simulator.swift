// `cairn simulate`: schedules of faults, one after another, each from its seed; and the smallest schedule that still fails.

internal import Cluster

/// Runs schedules. Not to be shared by threads; each may have its own.
package final class Simulator {
    private let laboratory = Laboratory()

    package init() {}

    /// What a schedule came to.
    package struct Verdict: Sendable {
        package var divergence: Divergence?
        /// Of virtual time.
        package var seconds: Double
        package var steps: Int
        /// Facts that were persisted.
        package var facts: Int
        package var story: [StoryLine]
        /// What all of it depends on: two runs of one schedule have the same.
        package var fingerprint: String
    }

    /// Runs a schedule to its end.
    ///
    /// - Parameter tells: whether to write down everything that happens.
    package func run(_ schedule: Schedule, tells: Bool = false) -> Verdict {
        let world = World(schedule, laboratory: laboratory, tells: tells)
        world.run()
        let answers = world.clients.map { client -> [UInt8] in
            switch client.answer {
            case .done(let bytes): bytes
            case .failed(let reason): Array(reason.utf8)
            case .cancelled: [1]
            case nil: [0]
            }
        }
        return Verdict(
            divergence: world.checks.divergence, seconds: Double(world.now) / 1e9, steps: world.steps,
            facts: world.store.facts.count, story: world.story ?? [],
            fingerprint: "\(Digest(of: Array("\(world.now) \(world.steps)".utf8) + answers.joined()))")
    }

    /// The smallest schedule that is found to fail as this one does: without the kinds of faults that it does not take,
    /// with faults for as short a time as it takes, with as few studies.
    ///
    /// - Parameter fails: whether a schedule fails.
    package static func minimised(_ schedule: Schedule, fails: (Schedule) -> Bool) -> Schedule {
        var smallest = schedule
        var isSmaller = true
        while isSmaller {
            isSmaller = false
            func attempt(_ change: (inout Schedule) -> Void) {
                var candidate = smallest
                change(&candidate)
                if fails(candidate) {
                    smallest = candidate
                    isSmaller = true
                }
            }
            for kind in Faults.kinds where smallest.faults[keyPath: kind.field] > 0 {
                attempt { $0.faults[keyPath: kind.field] = 0 }
            }
            if smallest.requests.count > 1 {
                for k in smallest.requests.indices.reversed() {
                    attempt { $0.requests.remove(at: min(k, $0.requests.count - 1)) }
                }
            }
            if smallest.requests.contains(where: \.isRepeated) {
                attempt { for k in $0.requests.indices { $0.requests[k].isRepeated = false } }
            }
            if smallest.workers > 1 { attempt { $0.workers = 1 } }
            if smallest.trainers > 1 { attempt { $0.trainers = 1 } }
            if smallest.slots > 1 { attempt { $0.slots = 1 } }
            if smallest.prefetch > 0 { attempt { $0.prefetch = 0 } }
            if smallest.faults.lasting > 0.1 {
                attempt { $0.faults.lasting *= 0.5 }
                attempt { $0.faults.lasting *= 0.9 }
            }
        }
        return smallest
    }
}

extension Array where Element == StoryLine {
    /// Everything that happened to a job, in order. A job is named as in logs: `study/batch[items]`.
    package func story(_ job: String) -> [StoryLine] { filter { $0.job.map { "\($0)" } == job } }
}
