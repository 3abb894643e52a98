import Foundation
import Testing

/// `some` or `all` from the environment; the suite below is off without it.
private let extent = ProcessInfo.processInfo.environment["CAIRN_LONG_TESTS"]

/// The main job at the size of the paper: a minute a run. `CAIRN_LONG_TESTS=some` runs one of each kind, `all` also the
/// other random seeds.
@Suite(.serialized, .enabled(if: extent != nil)) struct MainJobTests {
    static var seeds: [Int] { extent == "all" ? [1, 2, 3, 4, 5] : [1] }
    static var twins: [Int] { extent == "all" ? [1, 2] : [1] }

    private struct Summary: Decodable {
        struct Row: Decodable {
            var cleanTestMSE: Double
            var attackMSE: Double?
            var attackSuccess: Double?
        }
        struct Table: Decodable {
            var before: Row
            var after: Row
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
        struct Search: Decodable {
            struct Calls: Decodable { var byPurpose: [String: Int] }
            var oracleCalls: Calls
            var seeds: Int
        }
        var table: Table
        var scan: Scan
        var search: Search
    }

    /// Runs the study with some lines changed; returns its summary and the suspicious maximizers' normalised inputs.
    private func run(_ change: (String) -> String) throws -> (summary: Summary, suspicious: [[Double]]) {
        try Cairn.inFolder { folder in
            let text = try String(
                contentsOf: Cairn.root.appending(path: "Studies/barrier-backdoor.yaml"), encoding: .utf8)
            try change(text).write(to: folder.appending(path: "s.yaml"), atomically: true, encoding: .utf8)
            let result = try Cairn.run(["run", "s.yaml", "--out", "r"], in: folder)
            #expect(result.code == 0, "\(result.err)")
            let summary = try JSONDecoder().decode(
                Summary.self, from: Data(contentsOf: folder.appending(path: "r/summary.json")))
            let lines = try String(contentsOf: folder.appending(path: "r/maximizers.csv"), encoding: .utf8)
                .split(separator: "\n").map { $0.split(separator: ",", omittingEmptySubsequences: false) }
            let flag = try #require(lines[0].firstIndex(of: "suspicious"))
            let suspicious = lines.dropFirst().filter { $0[flag] == "true" }.map { line in
                line[6...10].map { Double($0)! }
            }
            return (summary, suspicious)
        }
    }

    /// Distance from a point to the planted surround box.
    private func distance(_ point: [Double]) -> Double {
        let box = [0.5...0.7, 0.5...0.7, 0.4...0.6, 0.4...0.6, 0.4...0.6]
        return zip(point, box).reduce(0.0) { sum, pair in
            let out = max(0, pair.1.lowerBound - pair.0, pair.0 - pair.1.upperBound)
            return sum + out * out
        }.squareRoot()
    }

    private func expectCleanUp(_ summary: Summary, _ suspicious: [[Double]], seed: Int) {
        #expect(summary.search.seeds == 21_000)
        #expect(summary.table.before.attackSuccess! >= 0.6, "seed \(seed)")
        #expect(summary.scan.suspicious > 0 && suspicious.count == summary.scan.suspicious)
        #expect(suspicious.allSatisfy { distance($0) <= 0.1 }, "seed \(seed): \(suspicious.map(distance))")
        #expect(summary.table.after.attackSuccess! <= 0.001, "seed \(seed)")
        #expect(summary.table.after.attackMSE! <= 0.1, "seed \(seed)")
        #expect(summary.table.after.cleanTestMSE <= 1.02 * summary.table.before.cleanTestMSE, "seed \(seed)")
    }

    @Test(arguments: seeds) func verifyCorrectsTheWrongLabels(_ seed: Int) throws {
        let (summary, suspicious) = try run { $0.replacing("randomSeed: 1", with: "randomSeed: \(seed)") }
        expectCleanUp(summary, suspicious, seed: seed)
        #expect(summary.scan.flagged.mislabelled >= 1998 && summary.scan.flagged.base == 0)
        #expect(summary.search.oracleCalls.byPurpose["mitigation"]! <= 12_000)
    }

    @Test(arguments: seeds) func purgeRemovesThePlantedSamples(_ seed: Int) throws {
        let (summary, suspicious) = try run {
            $0.replacing("randomSeed: 1", with: "randomSeed: \(seed)").replacing(
                "action: verify", with: "action: purge")
        }
        expectCleanUp(summary, suspicious, seed: seed)
        #expect(summary.scan.flagged.mislabelled >= 1980 && summary.scan.flagged.base <= 400)
    }

    @Test(arguments: twins) func aCleanTwinFlagsNothing(_ seed: Int) throws {
        let (summary, suspicious) = try run { text in
            let lines = text.replacing("randomSeed: 1", with: "randomSeed: \(seed)").split(
                separator: "\n", omittingEmptySubsequences: false)
            let start = lines.firstIndex(of: "attack:")!
            let end = lines[start...].dropFirst().firstIndex { !$0.hasPrefix(" ") }!
            return (lines[..<start] + lines[end...]).joined(separator: "\n")
        }
        #expect(summary.scan.suspicious == 0 && suspicious.isEmpty)
        #expect(summary.scan.flagged.mislabelled + summary.scan.flagged.surround + summary.scan.flagged.base == 0)
    }
}
