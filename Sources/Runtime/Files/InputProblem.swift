// What is wrong with a file that a user wrote: where, what, and what to do.

/// One problem in one file.
package struct InputProblem: Sendable, Hashable, CustomStringConvertible {
    package var file: String
    /// From 1; nil where a file has no lines or the problem no place.
    package var line: Int?
    package var column: Int?
    /// Such as `training.schedule`, a column's name, or a tensor's.
    package var key: String?
    /// What is wrong and how to mend it.
    package var message: String

    package init(file: String, line: Int? = nil, column: Int? = nil, key: String? = nil, message: String) {
        self.file = file
        self.line = line
        self.column = column
        self.key = key
        self.message = message
    }

    package var description: String {
        var place = file
        if let line { place += ":\(line)" }
        if let column { place += ":\(column)" }
        return "\(place): \(key.map { "\($0): " } ?? "")\(message)"
    }
}

/// All problems of some files, in the order in which they stand there.
package struct InputError: Error, Sendable, Hashable, CustomStringConvertible {
    package var problems: [InputProblem]

    package init(_ problems: [InputProblem]) { self.problems = problems }

    package var description: String { problems.map(\.description).joined(separator: "\n") }
}

/// The known word that a wrong one was probably meant to be: at most two letters away, and nearer than it is long.
func suggestion(for word: String, among known: some Sequence<String>) -> String? {
    let best = known.map { (word: $0, distance: editDistance(word.lowercased(), $0.lowercased())) }
        .min { ($0.distance, $0.word) < ($1.distance, $1.word) }
    guard let best, best.distance <= 2, best.distance < word.count else { return nil }
    return best.word
}

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b` (Damerau and Levenshtein).
private func editDistance(_ a: String, _ b: String) -> Int {
    let (a, b) = (Array(a.prefix(64)), Array(b.prefix(64)))
    var rows = [Array(0...b.count)]
    for i in 1...max(1, a.count) where !a.isEmpty {
        var row = [i]
        for j in 1...max(1, b.count) where !b.isEmpty {
            var cost = min(rows[i - 1][j] + 1, row[j - 1] + 1, rows[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1))
            if i > 1, j > 1, a[i - 1] == b[j - 2], a[i - 2] == b[j - 1] { cost = min(cost, rows[i - 2][j - 2] + 1) }
            row.append(cost)
        }
        rows.append(row)
    }
    return rows.last!.last!
}
