import FoundationEssentials

/// The summary of a study, for people at a terminal.
struct Report {
    private struct Summary: Decodable {
        struct Row: Decodable {
            var cleanTestMSE: Double?
            var cleanTestMAE: Double?
            var attackMSE: Double?
            var attackMAE: Double?
            var attackSuccess: Double?
        }
        struct Search: Decodable {
            struct Calls: Decodable { var total: Int }
            var seeds: Int
            var unique: Int
            var oracleCalls: Calls
        }
        struct Scan: Decodable {
            struct Flagged: Decodable {
                var mislabelled: Int
                var surround: Int
                var base: Int
            }
            var suspicious: Int
            var flagged: Flagged
        }
        struct Mitigation: Decodable {
            var action: String
            var corrected: Int
            var purged: Int
        }
        struct Cluster: Decodable { var incidents: [String: [String: Int]] }
        var study: String
        var cluster: Cluster
        var table: [String: Row?]
        var search: Search
        var scan: Scan
        var mitigation: Mitigation
        var seconds: [String: Double]
        var incomplete: [String]
    }

    private let summary: Summary

    /// Nil if the bytes are no summary.
    init?(summary bytes: [UInt8]) {
        guard let summary = try? JSONDecoder().decode(Summary.self, from: Data(bytes)) else { return nil }
        self.summary = summary
    }

    var text: String {
        func cell(_ value: Double?) -> String {
            let text = value.map(short) ?? "-"
            return String(repeating: " ", count: max(1, 14 - text.count)) + text
        }
        var lines = ["", "study \(summary.study)", ""]
        lines.append(
            "            "
                + ["clean MSE", "clean MAE", "attack MSE", "attack MAE", "success"].map {
                    String(repeating: " ", count: 14 - $0.count) + $0
                }.joined())
        for name in ["before", "after"] {
            guard case let row?? = summary.table[name] else { continue }
            let cells = [row.cleanTestMSE, row.cleanTestMAE, row.attackMSE, row.attackMAE, row.attackSuccess].map(cell)
            lines.append(name + String(repeating: " ", count: 12 - name.count) + cells.joined())
        }
        let flagged = summary.scan.flagged
        lines += [
            "",
            "search      \(summary.search.seeds) seeds, \(summary.search.unique) unique maximizers, "
                + "\(summary.search.oracleCalls.total) oracle calls",
            "scan        \(summary.scan.suspicious) suspicious maximizers",
            "\(summary.mitigation.action)"
                + String(repeating: " ", count: max(1, 12 - summary.mitigation.action.count))
                + "\(summary.mitigation.corrected) labels corrected, \(summary.mitigation.purged) samples purged "
                + "(\(flagged.mislabelled) mislabelled, \(flagged.surround) surround, \(flagged.base) base)",
            "time        \(short(summary.seconds["total"] ?? .nan)) s",
        ]
        let incidents = summary.cluster.incidents.sorted { $0.key < $1.key }.map { oracle, counts in
            oracle + counts.sorted { $0.key < $1.key }.map { " \($0) \($1)" }.joined(separator: ",")
        }
        if !incidents.isEmpty { lines.append("incidents   \(incidents.joined(separator: "; "))") }
        for what in summary.incomplete { lines.append("incomplete: \(what)") }
        return lines.joined(separator: "\n") + "\n"
    }
}
