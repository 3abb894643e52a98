// What can go wrong in a simulated cluster, as one value: every field is a kind of fault and how much of it there is.

internal import Regression

/// The faults of a schedule. All fields are 0 in a good world. They act from the start until `lasting` is over; then the
/// world is good, and everything must come to its end within a bound.
///
/// Chances are per message (or blob chunk, attempt, write) and in [0, 1]; rates are per second of virtual time, for the
/// whole cluster.
package struct Faults: Sendable, Hashable {
    // MARK: The network, chances per message

    /// The message is lost.
    package var drop = 0.0
    /// It arrives twice; the second time up to a second later.
    package var duplicate = 0.0
    /// Messages take up to so many seconds longer.
    package var delay = 0.0
    /// It may overtake messages of its own connection, which TCP alone would not let it.
    package var reorder = 0.0
    /// A byte of a blob's chunk is another one on arrival.
    package var damage = 0.0

    // MARK: The network, rates

    /// Some processes cannot reach the coordinator, or be reached, or both, for up to 15 seconds.
    package var partition = 0.0
    /// A process's connection breaks; it comes back under another peer's name. What was on its way is lost.
    package var reconnect = 0.0

    // MARK: Processes, rates

    /// A worker or trainer is killed (SIGKILL) and started again as another life.
    package var crash = 0.0
    /// A process stands still (SIGSTOP, swapping) for up to 30 seconds and then goes on as if nothing had been.
    package var hang = 0.0
    /// A worker is asked to leave (SIGTERM).
    package var drain = 0.0
    /// Another worker joins.
    package var join = 0.0
    /// A process's or the coordinator's clock jumps ahead by up to 20 seconds: the machine slept.
    package var jump = 0.0

    // MARK: Jobs, chances per attempt

    /// It ends with a failure that another try need not have.
    package var flaky = 0.0
    /// Its result does not fit the job.
    package var misfit = 0.0
    /// Share of items that kill whoever computes them: not by chance per attempt, but these items always.
    package var poison = 0.0

    // MARK: Hostility, rates

    /// A message of the past is delivered again, to or from anybody.
    package var replay = 0.0
    /// A stranger says something false: another's incarnation, jobs that are not there, blobs nobody asked for.
    package var forge = 0.0
    /// Bytes that are no message.
    package var garbage = 0.0

    // MARK: The coordinator

    /// Chance that a write to the store takes up to 3 seconds, during which the coordinator does nothing else.
    package var slowDisk = 0.0
    /// Rate at which the coordinator is killed, in the middle of what it does, and started again.
    package var coordinatorCrash = 0.0
    /// Chance that a write to the store fails; a coordinator that cannot write dies and is started again.
    package var failingDisk = 0.0

    /// For how long faults act, in seconds of virtual time.
    package var lasting = 0.0

    package init() {}

    /// Every kind of fault by its name.
    package static let kinds: [(name: String, field: any WritableKeyPath<Faults, Double> & Sendable)] = [
        ("drop", \.drop), ("duplicate", \.duplicate), ("delay", \.delay), ("reorder", \.reorder), ("damage", \.damage),
        ("partition", \.partition), ("reconnect", \.reconnect), ("crash", \.crash), ("hang", \.hang),
        ("drain", \.drain), ("join", \.join), ("jump", \.jump), ("flaky", \.flaky), ("misfit", \.misfit),
        ("poison", \.poison), ("replay", \.replay), ("forge", \.forge), ("garbage", \.garbage),
        ("slowDisk", \.slowDisk), ("coordinatorCrash", \.coordinatorCrash), ("failingDisk", \.failingDisk),
    ]

    /// The kinds that a coordinator must survive by its store alone.
    package static let ofTheCoordinator: Set<String> = ["coordinatorCrash", "failingDisk"]

    /// The kinds that schedules have unless told otherwise.
    package static let usual = Set(kinds.map(\.name))

    /// How much of each kind a schedule has at the most.
    private static let most: [String: Double] = [
        "drop": 0.25, "duplicate": 0.3, "delay": 3, "reorder": 0.5, "damage": 0.2, "partition": 0.3, "reconnect": 0.5,
        "crash": 1, "hang": 0.4, "drain": 0.3, "join": 0.3, "jump": 0.3, "flaky": 0.3, "misfit": 0.2, "poison": 0.08,
        "replay": 5, "forge": 3, "garbage": 3, "slowDisk": 0.2, "coordinatorCrash": 0.2, "failingDisk": 0.02,
    ]

    /// The faults of a schedule: some kinds, each of some strength.
    ///
    /// - Parameter allowed: names of kinds; the others stay 0.
    init(drawnFrom stream: inout RandomStream, allowed: Set<String>) {
        // One schedule in twenty is a good world, some have one kind alone, most have several.
        let share = stream.uniform() < 0.05 ? 0 : 0.1 + 0.5 * stream.uniform()
        for kind in Self.kinds {
            let isChosen = stream.uniform() < share
            let square = stream.uniform()
            if isChosen, allowed.contains(kind.name) {
                self[keyPath: kind.field] = Self.most[kind.name]! * square * square
            }
        }
        lasting = 2 + 14 * stream.uniform()
    }

    /// Names of the kinds that there are, and how much of each.
    package var words: String {
        let present = Self.kinds.filter { self[keyPath: $0.field] > 0 }
        return present.isEmpty
            ? "no faults"
            : present.map { "\($0.name) \(rounded(self[keyPath: $0.field]))" }.joined(separator: ", ")
                + " for \(rounded(lasting)) s"
    }
}

/// Three digits after the point, for people.
func rounded(_ value: Double) -> String {
    let thousandths = Int((value * 1000).rounded())
    let rest = String(thousandths % 1000)
    return "\(thousandths / 1000).\(String(repeating: "0", count: 3 - rest.count))\(rest)"
}
