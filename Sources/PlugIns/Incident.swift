// What goes wrong with plug-ins, and how often.

internal import Synchronization

/// What a plug-in did against the protocol, or could not do, in words for the user.
package struct Incident: Error {
    package enum Kind: Sendable, Hashable {
        /// Its process ended.
        case died
        /// No answer in time.
        case late
        /// An answer that is none.
        case nonsense
        /// It answers, and says that it cannot.
        case refused
        /// It cannot be started or reached.
        case unavailable
        /// It is not the oracle that it was before.
        case changed
        /// A price that is infinite or not a number, though its status was good.
        case nonFinite
        /// Nobody waits for its answer any more: no fault of its own, and not counted.
        case unwanted
    }

    package var kind: Kind
    package var words: String

    static let unwanted = Incident(kind: .unwanted, words: "is not waited for any more")
}

/// Counts of incidents, by the name of their kind. Safe from any thread.
final class IncidentLog: Sendable {
    private let state = Mutex((counts: [String: Int](), told: [String: Int]()))

    func note(_ kind: Incident.Kind, times: Int = 1) {
        guard kind != .unwanted else { return }
        state.withLock { $0.counts["\(kind)", default: 0] += times }
    }

    /// So far.
    var counts: [String: Int] { state.withLock { $0.counts } }

    /// Since this was asked last.
    func news() -> [String: Int] {
        state.withLock { state in
            guard state.counts != state.told else { return [:] }
            defer { state.told = state.counts }
            return state.counts.merging(state.told) { $0 - $1 }.filter { $0.value > 0 }
        }
    }
}
