// Tables of numbers in files: CSV (RFC 4180, comma, a header line) and NumPy's .npy, read with the place of every problem.
//
// A library that splits lines into strings cannot say where in the file a number stands, and a training set has a million
// of them; so this reads bytes.

internal import FoundationEssentials

/// A table of finite numbers.
package struct NumberTable: Sendable {
    package var columns: [String]
    /// Rows of `columns.count` numbers.
    var values: [Double]
    /// The line of each row; empty for a file without lines.
    var lines: [Int] = []

    var count: Int { columns.isEmpty ? 0 : values.count / columns.count }

    /// Problems after which reading a file stops: nobody mends more at once.
    private static let mostProblems = 100

    /// Reads the wanted columns of a CSV file, in any order; others are ignored.
    ///
    /// - Parameters:
    ///   - name: of the file, for messages.
    ///   - bytes: UTF-8, with or without byte order mark, lines ending in LF or CRLF.
    ///   - wanted: the columns that must be there.
    /// - Throws: `InputError` with every problem (the first hundred): a missing or repeated column, a line with another
    ///   number of fields, a field that is no finite number, no rows.
    package init(csv name: String, _ bytes: [UInt8], columns wanted: [String]) throws(InputError) {
        try self.init(csv: name, bytes) { _ in wanted.map { .init(name: $0, read: decimal, expected: Self.number) } }
    }

    /// A column to read, and what its fields mean.
    struct Column {
        var name: String
        /// The number of a field's text; nil if it has none.
        var read: (String) -> Double?
        /// What is wrong with a text that has no number.
        var expected: (String) -> String
    }

    static func number(_ text: String) -> String { "'\(text.prefix(40))' is no finite number" }

    /// Reads columns that are chosen by what the header has.
    ///
    /// - Parameter choose: the columns to read, from the names in the header.
    init(
        csv name: String, _ bytes: [UInt8], choosing choose: (_ header: [String]) -> [Column]
    ) throws(InputError) {
        var problems: [InputProblem] = []
        func report(_ line: Int?, _ column: Int?, _ key: String?, _ message: String) {
            problems.append(InputProblem(file: name, line: line, column: column, key: key, message: message))
        }
        (columns, values) = ([], [])
        let (newline, carriageReturn) = (UInt8(ascii: "\n"), UInt8(ascii: "\r"))
        var position = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0
        var line = 0
        /// The next line without its end.
        func nextLine() -> Range<Int>? {
            guard position < bytes.count else { return nil }
            line += 1
            let start = position
            while position < bytes.count && bytes[position] != newline { position += 1 }
            let end = position > start && bytes[position - 1] == carriageReturn ? position - 1 : position
            position += 1
            return start..<end
        }
        /// The fields of a line, as ranges without surrounding blanks.
        func fields(_ range: Range<Int>) -> [Range<Int>] {
            var fields: [Range<Int>] = []
            var start = range.lowerBound
            for i in range.lowerBound...range.upperBound
            where i == range.upperBound || bytes[i] == UInt8(ascii: ",") {
                var (low, high) = (start, i)
                func isBlank(_ byte: UInt8) -> Bool { byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") }
                while low < high && isBlank(bytes[low]) { low += 1 }
                while low < high && isBlank(bytes[high - 1]) { high -= 1 }
                if high - low >= 2, bytes[low] == UInt8(ascii: "\""), bytes[high - 1] == UInt8(ascii: "\"") {
                    (low, high) = (low + 1, high - 1)
                }
                fields.append(low..<high)
                start = i + 1
            }
            return fields
        }
        func text(_ range: Range<Int>) -> String { String(decoding: bytes[range], as: UTF8.self) }

        guard let header = nextLine(), !header.isEmpty else {
            throw InputError([
                InputProblem(
                    file: name, line: bytes.isEmpty ? nil : 1,
                    message: "the file is empty; write a header line with "
                        + choose([]).map(\.name).joined(separator: ","))
            ])
        }
        let names = fields(header).map(text)
        let chosen = choose(names)
        let wanted = chosen.map(\.name)
        columns = wanted
        var places: [Int] = []
        for column in wanted {
            let found = names.indices.filter { names[$0] == column }
            if found.isEmpty {
                let meant = suggestion(for: column, among: names).map { "; is '\($0)' meant?" } ?? ""
                report(1, nil, column, "the column is missing\(meant)")
            } else if found.count > 1 {
                report(
                    1, fields(header)[found[1]].lowerBound - header.lowerBound + 1, column, "the column is there twice")
            }
            places.append(found.first ?? 0)
        }
        guard problems.isEmpty else { throw InputError(problems) }

        values.reserveCapacity(bytes.count / 18)
        while let range = nextLine(), problems.count < Self.mostProblems {
            let fields = fields(range)
            if fields.count == 1 && fields[0].isEmpty { continue }
            guard fields.count == names.count else {
                report(line, nil, nil, "\(fields.count) fields, the header has \(names.count)")
                continue
            }
            for (column, place) in zip(chosen, places) {
                let field = fields[place]
                let word = text(field)
                guard let value = column.read(word) else {
                    report(
                        line, field.lowerBound - range.lowerBound + 1, column.name,
                        word.isEmpty ? "the field is empty" : column.expected(word))
                    continue
                }
                values.append(value)
            }
            lines.append(line)
        }
        if problems.isEmpty && lines.isEmpty { report(nil, nil, nil, "there are no rows after the header") }
        guard problems.isEmpty else { throw InputError(problems) }
    }

    /// Reads a two-dimensional .npy array (NumPy's format 1 to 3) of little-endian float32 or float64 in C order.
    ///
    /// - Parameters:
    ///   - name: of the file, for messages.
    ///   - wanted: what its columns are, in order.
    /// - Throws: `InputError`.
    package init(npy name: String, _ bytes: [UInt8], columns wanted: [String]) throws(InputError) {
        func refuse(_ message: String, key: String? = nil) -> InputError {
            InputError([InputProblem(file: name, key: key, message: message)])
        }
        guard bytes.count >= 12, bytes.starts(with: [0x93] + Array("NUMPY".utf8)), (1...3).contains(bytes[6]) else {
            throw refuse("this is no .npy file; write it with numpy.save")
        }
        let isLong = bytes[6] > 1
        let start = isLong ? 12 : 10
        let length =
            Int(bytes[8]) | Int(bytes[9]) << 8 | (isLong ? Int(bytes[10]) << 16 | Int(bytes[11]) << 24 : 0)
        guard length <= bytes.count - start else {
            throw refuse("the header claims \(length) bytes, the file holds \(bytes.count - start); is it complete?")
        }
        let header = String(decoding: bytes[start..<start + length], as: UTF8.self)
        let size: Int
        if header.contains("'<f8'") {
            size = 8
        } else if header.contains("'<f4'") {
            size = 4
        } else {
            throw refuse("must hold float64 or float32, little-endian; use array.astype('<f8')", key: "descr")
        }
        guard !header.contains("'fortran_order': True") else {
            throw refuse("must be in C order; use numpy.ascontiguousarray", key: "fortran_order")
        }
        guard let shape = header.firstMatch(of: /'shape':\s*\((\d{1,12}),\s*(\d{1,6})\)/), let rows = Int(shape.1),
            let width = Int(shape.2)
        else { throw refuse("must have two dimensions: rows and columns", key: "shape") }
        guard width == wanted.count else {
            throw refuse(
                "has \(width) columns, expected \(wanted.count): \(wanted.joined(separator: ", "))", key: "shape")
        }
        guard rows > 0 else { throw refuse("has no rows", key: "shape") }
        let data = bytes.count - start - length
        guard data == rows * width * size else {
            throw refuse("holds \(data) bytes of data, its shape needs \(rows * width * size); is it complete?")
        }
        columns = wanted
        values = bytes.withUnsafeBytes { raw in
            (0..<rows * width).map { k in
                let offset = start + length + k * size
                return size == 8
                    ? Double(
                        bitPattern: UInt64(littleEndian: raw.loadUnaligned(fromByteOffset: offset, as: UInt64.self)))
                    : Double(
                        Float(
                            bitPattern: UInt32(
                                littleEndian: raw.loadUnaligned(fromByteOffset: offset, as: UInt32.self))))
            }
        }
        var problems: [InputProblem] = []
        for (k, value) in values.enumerated() where !value.isFinite && problems.count < Self.mostProblems {
            problems.append(
                InputProblem(
                    file: name, key: "[\(k / width), \(k % width)] (\(wanted[k % width]))", message: "is \(value)"))
        }
        guard problems.isEmpty else { throw InputError(problems) }
    }
}
