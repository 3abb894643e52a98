// Writing JSON with the keys in the order in which they are given.

/// A JSON value.
package enum JSON: Sendable, Hashable {
    case object([(key: String, value: JSON)])
    case array([JSON])
    case text(String)
    case integer(Int)
    /// A number that is not finite is written as null.
    case number(Double)
    case bool(Bool)
    case null

    package static func optional(_ number: Double?) -> JSON { number.map(JSON.number) ?? .null }

    /// The value as text; objects and arrays of objects on several lines.
    package func text(indent: Int = 0, isCompact: Bool = false) -> String {
        let space = isCompact ? "" : "\n" + String(repeating: "  ", count: indent + 1)
        let end = isCompact ? "" : "\n" + String(repeating: "  ", count: indent)
        switch self {
        case .object(let pairs):
            guard !pairs.isEmpty else { return "{}" }
            let lines = pairs.map {
                "\(Self.quoted($0.key)):\(isCompact ? "" : " ")\($0.value.text(indent: indent + 1, isCompact: isCompact))"
            }
            return "{" + space + lines.joined(separator: "," + space) + end + "}"
        case .array(let values):
            return "[" + values.map { $0.text(indent: indent + 1, isCompact: isCompact) }.joined(separator: ", ") + "]"
        case .text(let text): return Self.quoted(text)
        case .integer(let value): return "\(value)"
        case .number(let value): return value.isFinite ? "\(value)" : "null"
        case .bool(let value): return value ? "true" : "false"
        case .null: return "null"
        }
    }

    private static func quoted(_ text: String) -> String {
        var out = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": out += "\\\""
            case "\\": out += "\\\\"
            case "\n": out += "\\n"
            case "\r": out += "\\r"
            case "\t": out += "\\t"
            case _ where scalar.value < 0x20:
                let hex = String(scalar.value, radix: 16)
                out += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out + "\""
    }

    package static func == (a: JSON, b: JSON) -> Bool { a.text(isCompact: true) == b.text(isCompact: true) }

    package func hash(into hasher: inout Hasher) { hasher.combine(text(isCompact: true)) }
}
