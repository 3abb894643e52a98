import Cluster
import Glibc
import Regression
import Runtime

/// Shows how a study goes: a line that changes on a terminal, else a line per phase.
struct Progress {
    private let isShown: Bool
    private let isTerminal = isatty(2) == 1
    private var hasLine = false

    init(isShown: Bool) { self.isShown = isShown }

    mutating func note(_ text: String) {
        guard isShown else { return }
        clear()
        writeError("  \(text)\n")
    }

    mutating func show(_ event: StudyEvent) {
        guard isShown else { return }
        switch event.what {
        case .phase(let phase, let note): line(event, "\(phase.rawValue)\(note.isEmpty ? "" : ": \(note)")")
        case .progress(let phase, let done, let total):
            passing(event, "\(phase.rawValue) \(bar(Double(done) / Double(max(1, total)))) \(done) of \(total)")
        case .epoch(let phase, let report, let epochs):
            passing(
                event,
                "\(phase.rawValue) \(bar(Double(report.epoch) / Double(max(1, epochs)))) epoch \(report.epoch) of \(epochs), "
                    + "training MSE \(short(report.trainingMSE))")
        case .worker(let change, let name, let detail): line(event, "worker \(name) \(change.name): \(detail)")
        case .reassigned(let what): line(event, "given back: \(what)")
        case .abandoned(let what): line(event, "abandoned: \(what)")
        case .ended: break
        }
    }

    mutating func finish() { clear() }

    private func bar(_ share: Double) -> String {
        let full = Int((share * 20).rounded(.down))
        return "[" + String(repeating: "#", count: full) + String(repeating: ".", count: 20 - full) + "]"
    }

    private func stamp(_ event: StudyEvent) -> String {
        let tenths = Int((event.at.seconds * 10).rounded())
        let text = "\(tenths / 10).\(tenths % 10) s"
        return String(repeating: " ", count: max(0, 9 - text.count)) + text
    }

    private mutating func line(_ event: StudyEvent, _ text: String) {
        clear()
        writeError("\(stamp(event))  \(text)\n")
    }

    /// A line that the next one replaces; without a terminal there is none.
    private mutating func passing(_ event: StudyEvent, _ text: String) {
        guard isTerminal else { return }
        clear()
        writeError("\(stamp(event))  \(text)")
        hasLine = true
    }

    private mutating func clear() {
        if hasLine { writeError("\r\u{1B}[2K") }
        hasLine = false
    }
}

/// A number with four significant digits.
func short(_ value: Double) -> String {
    guard value.isFinite, value != 0 else { return "\(value)" }
    var digits = 0
    var size = abs(value)
    while size < 1000 && digits < 12 {
        size *= 10
        digits += 1
    }
    let scale = (0..<digits).reduce(1.0) { scale, _ in scale * 10 }
    return "\((value * scale).rounded() / scale)"
}

extension StudyEvent {
    /// The event as a line of `events.jsonl`. Terms count the coordinator's lives; each numbers its events from 1.
    func json(term: UInt64) -> JSON {
        var pairs: [(String, JSON)] = [
            ("term", .integer(Int(clamping: term))), ("number", .integer(number)), ("seconds", .number(at.seconds)),
        ]
        switch what {
        case .phase(let phase, let note):
            pairs += [("event", .text("phase")), ("phase", .text(phase.rawValue)), ("note", .text(note))]
        case .progress(let phase, let done, let total):
            pairs += [
                ("event", .text("progress")), ("phase", .text(phase.rawValue)), ("done", .integer(done)),
                ("total", .integer(total)),
            ]
        case .epoch(let phase, let report, let epochs):
            pairs += [
                ("event", .text("epoch")), ("phase", .text(phase.rawValue)), ("epoch", .integer(report.epoch)),
                ("epochs", .integer(epochs)), ("trainingMSE", .number(report.trainingMSE)),
                ("learningRate", .number(report.learningRate)),
            ]
        case .worker(let change, let name, let detail):
            pairs += [("event", .text("worker \(change.name)")), ("name", .text(name)), ("detail", .text(detail))]
        case .reassigned(let what): pairs += [("event", .text("reassigned")), ("detail", .text(what))]
        case .abandoned(let what): pairs += [("event", .text("abandoned")), ("detail", .text(what))]
        case .ended(.done(_, let incomplete)):
            pairs += [("event", .text("done")), ("incomplete", .bool(incomplete))]
        case .ended(.failed(let reason)): pairs += [("event", .text("failed")), ("detail", .text(reason))]
        case .ended(.cancelled): pairs += [("event", .text("cancelled"))]
        }
        return .object(pairs)
    }
}
