// Reading a configuration file in YAML: typed values with the place where they stand, and every problem at once.
//
// Values are read by what the schema expects, not by what YAML 1.1 makes of them (`off` is no number, `1e3` is one), and
// nothing is coerced in silence. Only keys of the schema are descended into, so that a file of nested aliases, a few lines
// which stand for gigabytes, costs no more than its lines.

internal import Yams

/// A configuration file that is being read.
final class YAMLFile {
    let name: String
    private(set) var problems: [InputProblem] = []
    private var content: Node?

    private static let longest = 1 << 20

    /// - Parameters:
    ///   - name: as in messages.
    ///   - text: the file's content.
    init(name: String, text: String) {
        self.name = name
        guard text.utf8.count <= Self.longest else {
            report(nil, nil, "the file has \(text.utf8.count) bytes; a configuration has at most \(Self.longest)")
            return
        }
        do {
            guard let node = try compose(yaml: text) else {
                report(nil, nil, "the file is empty")
                return
            }
            content = node
        } catch let error as YamlError {
            report(error)
        } catch {
            report(nil, nil, "\(error)")
        }
    }

    /// The whole file, to be read once; nil if it is no mapping (then that is a problem). A section keeps its file, so the
    /// file keeps no section.
    func root() -> Section? { content.flatMap { section($0, "") } }

    private func report(_ error: YamlError) {
        switch error {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
            .composer(_, let problem, let mark, _):
            report(mark, nil, "this is no YAML: \(problem)")
        case .duplicatedKeysInMapping(let duplicates, let context):
            report(context.mark, nil, "\(duplicates.joined(separator: ", ")): a key stands here twice; keep one")
        case .reader(let problem, let offset, _, _):
            report(nil, nil, "byte \(offset ?? 0) is no text: \(problem); save the file as UTF-8")
        default:
            report(nil, nil, "this is no YAML: \(error)")
        }
    }

    func report(_ mark: Mark?, _ key: String?, _ message: String) {
        problems.append(
            InputProblem(
                file: name, line: mark?.line, column: mark?.column, key: key?.isEmpty == true ? nil : key,
                message: message))
    }

    /// A mapping, or nil with a problem.
    func section(_ node: Node, _ path: String) -> Section? {
        guard case .mapping(let mapping) = node else {
            report(node.mark, path, "must be a mapping of keys to values")
            return nil
        }
        return Section(mapping, path, self)
    }

    /// Throws if anything was wrong.
    func finish() throws(InputError) {
        guard problems.isEmpty else {
            throw InputError(problems.sorted { ($0.line ?? 0, $0.column ?? 0) < ($1.line ?? 0, $1.column ?? 0) })
        }
    }
}

/// A mapping in a configuration file. Each reader of a key also makes the key known; `close` reports the others.
final class Section {
    let path: String
    let file: YAMLFile
    let mark: Mark?
    private let values: [(key: String, keyMark: Mark?, node: Node)]
    private var known: Set<String> = []

    init(_ mapping: Node.Mapping, _ path: String, _ file: YAMLFile) {
        self.path = path
        self.file = file
        mark = mapping.mark
        var values: [(String, Mark?, Node)] = []
        for (key, value) in mapping {
            guard case .scalar(let scalar) = key else {
                file.report(key.mark, path, "a key must be a word")
                continue
            }
            values.append((scalar.string, key.mark, value))
        }
        self.values = values
    }

    /// All keys, as they stand in the file.
    var keys: [String] { values.map(\.key) }

    func path(_ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }

    /// The place of a key, or of the section if it is not there.
    func mark(_ key: String) -> Mark? { values.first { $0.key == key }?.node.mark ?? mark }

    func has(_ key: String) -> Bool { node(key) != nil }

    /// Reports a problem at a key.
    func report(_ key: String, _ message: String) { file.report(mark(key), path(key), message) }

    /// The value of a key; nil if it is not there or null.
    func node(_ key: String) -> Node? {
        known.insert(key)
        guard let value = values.first(where: { $0.key == key })?.node else { return nil }
        if case .scalar(let scalar) = value, scalar.style == .plain, ["", "null", "~"].contains(scalar.string) {
            return nil
        }
        return value
    }

    /// Reports every key that no reader asked for.
    func close() {
        for (key, keyMark, _) in values where !known.contains(key) {
            let meant = suggestion(for: key, among: known)
            let advice =
                meant.map { "did you mean \($0)?" } ?? "known here: \(known.sorted().joined(separator: ", "))"
            file.report(keyMark, path(key), "unknown key; \(advice)")
        }
    }

    // MARK: Values

    /// A word or text.
    func text(_ key: String) -> String? {
        guard let node = node(key) else { return nil }
        guard case .scalar(let scalar) = node else {
            report(key, "must be a text, not a list or mapping")
            return nil
        }
        return scalar.string
    }

    func integer(_ key: String, in range: ClosedRange<Int>) -> Int? {
        guard let text = text(key) else { return nil }
        guard let value = Int(text.replacing("_", with: "")) else {
            report(key, "\(quoted(text)) is no integer")
            return nil
        }
        guard range.contains(value) else {
            report(key, "\(value) is out of range; \(words(range))")
            return nil
        }
        return value
    }

    /// A whole number of 64 bits.
    func unsigned(_ key: String) -> UInt64? {
        guard let text = text(key) else { return nil }
        guard let value = UInt64(text.replacing("_", with: "")) else {
            report(key, "\(quoted(text)) is no whole number below 2^64")
            return nil
        }
        return value
    }

    func number(_ key: String, in range: ClosedRange<Double>) -> Double? {
        guard let node = node(key) else { return nil }
        return number(node, path(key), in: range)
    }

    private func number(_ node: Node, _ path: String, in range: ClosedRange<Double>) -> Double? {
        guard case .scalar(let scalar) = node else {
            file.report(node.mark, path, "must be a number, not a list or mapping")
            return nil
        }
        guard let value = decimal(scalar.string) else {
            file.report(node.mark, path, "\(quoted(scalar.string)) is no finite number")
            return nil
        }
        guard range.contains(value) else {
            file.report(node.mark, path, "\(value) is out of range; \(words(range))")
            return nil
        }
        return value
    }

    /// A number above zero.
    func positive(_ key: String, upTo limit: Double = .greatestFiniteMagnitude) -> Double? {
        guard let value = number(key, in: -.greatestFiniteMagnitude...(.greatestFiniteMagnitude)) else { return nil }
        guard value > 0, value <= limit else {
            report(
                key,
                limit == .greatestFiniteMagnitude
                    ? "\(value) is not above 0" : "\(value) is out of range; above 0, at most \(limit)")
            return nil
        }
        return value
    }

    /// A list of numbers.
    func numbers(_ key: String, in range: ClosedRange<Double>) -> [Double]? {
        guard let node = node(key) else { return nil }
        guard case .sequence(let items) = node else {
            report(key, "must be a list of numbers, such as [0.1, 0.2]")
            return nil
        }
        let values = items.enumerated().map { number($1, "\(path(key))[\($0)]", in: range) }
        return values.contains { $0 == nil } ? nil : values.map { $0! }
    }

    /// A list of two ascending numbers.
    func interval(_ key: String, within range: ClosedRange<Double>) -> ClosedRange<Double>? {
        guard let values = numbers(key, in: range) else { return nil }
        guard values.count == 2, values[0] < values[1] else {
            report(key, "must be two ascending numbers, such as [0.5, 1.0]")
            return nil
        }
        return values[0]...values[1]
    }

    /// A list of words.
    func texts(_ key: String) -> [String]? {
        guard let node = node(key) else { return nil }
        guard case .sequence(let items) = node else {
            report(key, "must be a list, such as [a, b]")
            return nil
        }
        var values: [String] = []
        for (position, item) in items.enumerated() {
            guard case .scalar(let scalar) = item else {
                file.report(item.mark, "\(path(key))[\(position)]", "must be a word")
                return nil
            }
            values.append(scalar.string)
        }
        return values
    }

    /// One of some words.
    ///
    /// - Parameter hint: the end of what is said of another word.
    func choice<Value>(_ key: String, among choices: [(word: String, value: Value)], hint: String = "") -> Value? {
        guard let text = text(key) else { return nil }
        if let match = choices.first(where: { $0.word == text }) { return match.value }
        let meant = suggestion(for: text, among: choices.map(\.word)).map { "did you mean \($0)? " } ?? ""
        report(
            key, "\(quoted(text)) is not known; \(meant)one of: \(choices.map(\.word).joined(separator: ", "))\(hint)")
        return nil
    }

    /// A duration with its unit: `250ms`, `2s`, `10min`, `1.5h`.
    func duration(_ key: String) -> Duration? {
        guard let text = text(key) else { return nil }
        if let duration = Duration(words: text) { return duration }
        report(key, "\(quoted(text)) is no duration; write a number and a unit: ms, s, min, h or d, such as 2s")
        return nil
    }

    /// A size with its unit: `64MiB`.
    func size(_ key: String) -> Int? {
        guard let text = text(key) else { return nil }
        let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("kB", 1000), ("MB", 1_000_000), ("B", 1)]
        for (unit, bytes) in units where text.hasSuffix(unit) {
            guard let value = Int(text.dropLast(unit.count)), (1...(1 << 60) / bytes).contains(value) else { continue }
            return value * bytes
        }
        report(key, "\(quoted(text)) is no size; write a whole number and a unit: B, KiB, MiB or GiB, such as 64MiB")
        return nil
    }

    /// A mapping.
    func section(_ key: String) -> Section? {
        guard let node = node(key) else { return nil }
        return file.section(node, path(key))
    }

    /// A list of mappings.
    func sections(_ key: String) -> [Section]? {
        guard let node = node(key) else { return nil }
        guard case .sequence(let items) = node else {
            report(key, "must be a list of mappings")
            return nil
        }
        return items.enumerated().compactMap { file.section($1, "\(path(key))[\($0)]") }
    }

    /// Whether the value of a key is a mapping.
    func isSection(_ key: String) -> Bool {
        if case .mapping? = node(key) { return true }
        return false
    }

    /// Whether the value of a key is a list.
    func isList(_ key: String) -> Bool {
        if case .sequence? = node(key) { return true }
        return false
    }
}

extension Duration {
    /// A number above 0 with its unit, such as `250ms` or `1.5h`; nil if the text is something else.
    package init?(words text: String) {
        let units: [(String, Double)] = [("ms", 1e-3), ("s", 1), ("min", 60), ("m", 60), ("h", 3600), ("d", 86400)]
        for (unit, seconds) in units where text.hasSuffix(unit) {
            guard let value = decimal(text.dropLast(unit.count)), value > 0, value * seconds < 1e9 else { continue }
            self = .milliseconds(Int64(value * seconds * 1000))
            return
        }
        return nil
    }
}

/// A finite decimal number; no hexadecimal, no `nan`, no `inf`, no blanks.
func decimal(_ text: some StringProtocol) -> Double? {
    let allowed = text.utf8.allSatisfy { byte in
        (48...57).contains(byte) || byte == UInt8(ascii: ".") || byte == UInt8(ascii: "-") || byte == UInt8(ascii: "+")
            || byte == UInt8(ascii: "e") || byte == UInt8(ascii: "E")
    }
    guard allowed, let value = Double(text), value.isFinite else { return nil }
    return value
}

private func quoted(_ text: String) -> String { text.count > 40 ? "'\(text.prefix(40))…'" : "'\(text)'" }

private func words(_ range: ClosedRange<Int>) -> String {
    range.upperBound == .max ? "at least \(range.lowerBound)" : "from \(range.lowerBound) to \(range.upperBound)"
}

private func words(_ range: ClosedRange<Double>) -> String {
    if range.upperBound == .greatestFiniteMagnitude { return "at least \(range.lowerBound)" }
    return "from \(range.lowerBound) to \(range.upperBound)"
}

/// A text as a YAML scalar.
func yaml(_ text: String?) -> String {
    "\"" + (text ?? "").replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n") + "\""
}
