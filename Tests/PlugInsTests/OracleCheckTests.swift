import ChildProcess
import Foundation
import PlugIns
import Regression
import Synchronization
import Testing

/// Every line of `cairn oracle check`: an oracle that keeps all that oracles promise passes, and for each line there are
/// some that break what it is about, and are caught by it.
@Suite struct OracleCheckTests {
    /// 1 + rate · maturityYears, with derivatives, in as many ways wrong as `answer` likes.
    private struct Forward: Oracle {
        var descriptor: OracleDescriptor
        var answer: @Sendable (_ rows: [[Double]], _ gradient: Bool, Valuations) -> Valuations

        func evaluate(_ points: [Double], gradient: Bool) -> Valuations {
            let rows = stride(from: 0, to: points.count, by: 2).map { Array(points[$0..<$0 + 2]) }
            var good = Valuations(prices: rows.map { 1 + $0[0] * $0[1] })
            if gradient { good.gradients = rows.flatMap { [$0[1], $0[0]] } }
            return answer(rows, gradient, good)
        }
    }

    private func forward(
        lower: Double = 0.1, bound: Double = 0.3, vector: Double = 1.1, costSeconds: Double = 1e-6,
        _ answer: @escaping @Sendable (_ rows: [[Double]], _ gradient: Bool, Valuations) -> Valuations = { $2 }
    ) -> Forward {
        Forward(
            descriptor: OracleDescriptor(
                name: "forward", version: "1", summary: "", citation: "",
                inputs: [
                    .init(name: "rate", unit: "1/yr", meaning: "", lower: 0, upper: 0.1),
                    .init(name: "maturityYears", unit: "yr", meaning: "", lower: lower, upper: 5),
                ],
                // Not both are high: rate + maturityYears / 50 is at most `bound` · 0.5.
                constraints: [.init(name: "notBothHigh", coefficients: [0: 1, 1: 0.02], bound: bound / 2)],
                providesGradient: true, costSeconds: costSeconds,
                testVectors: [.init([0.05, 2], price: vector, tolerance: 1e-12)]),
            answer: answer)
    }

    private func verdicts(_ oracle: any Oracle) -> [String: OracleCheck.Verdict] {
        var check = OracleCheck(oracle)
        return Dictionary(uniqueKeysWithValues: check.run().map { ($0.name, $0) })
    }

    private static let names = [
        "shape", "test vectors", "determinism", "batch invariance", "bounds", "constraints", "gradient",
        "standard error",
        "speed", "restart",
    ]

    @Test func whoKeepsAllPasses() {
        let verdicts = verdicts(forward())
        #expect(verdicts.keys.sorted() == Self.names.sorted())
        for name in Self.names {
            let expected: OracleCheck.Outcome = ["standard error", "restart"].contains(name) ? .skipped : .passed
            #expect(verdicts[name]?.outcome == expected, "\(name): \(verdicts[name]?.words ?? "")")
        }
    }

    private func expectCaught(
        by name: String, _ words: String, _ oracle: any Oracle, at place: SourceLocation = #_sourceLocation
    ) {
        let verdict = verdicts(oracle)[name]
        #expect(
            verdict?.outcome == .failed && verdict?.words.contains(words) == true,
            "\(name): \(verdict?.words ?? "no verdict")", sourceLocation: place)
    }

    @Test func shape() {
        expectCaught(
            by: "shape", "31 prices",
            forward { _, _, good in
                var bad = good
                if bad.prices.count == 32 { bad.prices.removeLast() }
                return bad
            })
        expectCaught(
            by: "shape", "0 derivatives",
            forward { _, _, good in
                var bad = good
                bad.gradients = []
                return bad
            })
        expectCaught(
            by: "shape", "no price (nonFinite)",
            forward { rows, _, good in
                var bad = good
                for (k, row) in rows.enumerated() where row[1] > 3 { bad.prices[k] = .nan }
                return bad
            })
        expectCaught(
            by: "shape", "no price (nonFinite)",
            forward { rows, gradient, good in
                var bad = good
                if bad.gradients.count > 7 { bad.gradients[7] = .infinity }
                return bad
            })
        expectCaught(
            by: "shape", "no price (invalid)",
            forward { rows, _, good in
                var bad = good
                for (k, row) in rows.enumerated() where row[0] < 0.02 { bad.statuses[k] = .invalid }
                return bad
            })
        expectCaught(by: "shape", "do they contradict", forward(bound: -1))
    }

    @Test func testVectors() {
        expectCaught(by: "test vectors", "not 1.2 ± 1e-12", forward(vector: 1.2))
    }

    @Test func determinism() {
        let calls = Atomic<Int>(0)
        func counted(_ change: @escaping @Sendable (inout Valuations, Double) -> Void) -> Forward {
            forward { _, _, good in
                var bad = good
                change(&bad, Double(calls.wrappingAdd(1, ordering: .relaxed).newValue))
                return bad
            }
        }
        expectCaught(by: "determinism", "then 1.", counted { $0.prices[0] += 1e-13 * $1 })
        expectCaught(
            by: "determinism", "derivative by rate",
            counted { bad, k in if !bad.gradients.isEmpty { bad.gradients[0] += 1e-13 * k } })
        expectCaught(
            by: "determinism", "status",
            counted { bad, k in if Int(k).isMultiple(of: 2) { bad.statuses[0] = .notConverged } })
    }

    @Test func batchInvariance() {
        expectCaught(
            by: "batch invariance", "then alone",
            forward { rows, _, good in
                var bad = good
                for k in rows.indices { bad.prices[k] += 1e-15 * Double(rows.count) }
                return bad
            })
        expectCaught(
            by: "batch invariance", "derivative by maturityYears",
            forward { rows, gradient, good in
                var bad = good
                if gradient { bad.gradients[1] += 1e-12 * Double(rows.count) }
                return bad
            })
        // Whoever comes first warms something up.
        expectCaught(
            by: "batch invariance", "in another order",
            forward { rows, _, good in
                var bad = good
                if rows.count > 1, rows[0][0] < rows[rows.count - 1][0] { bad.prices[1] += 1e-12 }
                return bad
            })
    }

    @Test func bounds() {
        expectCaught(
            by: "bounds", "on a bound of its box",
            forward { rows, _, good in
                var bad = good
                for (k, row) in rows.enumerated() where row[1] == 0.1 { bad.statuses[k] = .invalid }
                return bad
            })
        expectCaught(
            by: "bounds", "where an input is not a number",
            forward { rows, _, good in
                var bad = good
                for (k, row) in rows.enumerated() where row.contains(where: \.isNaN) {
                    (bad.prices[k], bad.statuses[k]) = (0, .ok)
                }
                return bad
            })
    }

    @Test func constraints() {
        for status in [ValuationStatus.failed, .nonFinite] {
            expectCaught(
                by: "constraints", "outside of notBothHigh",
                forward { rows, _, good in
                    var bad = good
                    for (k, row) in rows.enumerated() where row[0] + 0.02 * row[1] > 0.15 { bad.statuses[k] = status }
                    return bad
                })
        }
    }

    @Test func gradient() {
        func changed(_ change: @escaping @Sendable (inout [Double]) -> Void) -> Forward {
            forward { _, gradient, good in
                var bad = good
                if gradient { change(&bad.gradients) }
                return bad
            }
        }
        expectCaught(by: "gradient", "by rate", changed { for k in $0.indices { $0[k] = -$0[k] } })
        expectCaught(
            by: "gradient", "by maturityYears",
            changed { for k in $0.indices where !k.isMultiple(of: 2) { $0[k] *= 1.1 } })
        expectCaught(
            by: "gradient", "by rate", changed { for k in stride(from: 0, to: $0.count, by: 2) { $0.swapAt(k, k + 1) } }
        )
    }

    @Test func speed() {
        let fast = verdicts(forward(costSeconds: 1000))
        #expect(fast["speed"]?.words.contains("far off") == true, "\(fast["speed"]?.words ?? "")")
        let slow = verdicts(
            forward { _, _, good in
                usleep(20_000)
                return good
            })
        #expect(slow["speed"]?.words.contains("far off") == true, "\(slow["speed"]?.words ?? "")")
    }

    /// A mean of 100 uniform numbers, in C; it says `SCALE` times its standard error, and draws from `SEED`.
    private static let noisy = """
        #include "cairn_oracle.h"

        static const cairn_input inputs[] = {{.name = "x", .unit = "1", .meaning = "", .lower = 0, .upper = 1}};

        static double uniform(uint64_t *state) {
            uint64_t z = *state += 0x9E3779B97F4A7C15u;
            z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
            z = (z ^ z >> 27) * 0x94D049BB133111EBu;
            return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
        }

        static int price(void *context, const cairn_batch *batch, cairn_result *result) {
            (void)context;
            for (size_t k = 0; k < batch->count; k++) {
                uint64_t state = SEED;
                double sum = 0;
                for (int draw = 0; draw < 100; draw++) sum += uniform(&state) - 0.5;
                result->prices[k] = batch->inputs[k] + sum / 100;
                result->standard_errors[k] = SCALE * 0.028867513459481287;
            }
            return 0;
        }

        static const cairn_oracle oracle = {
            .abi_version = CAIRN_ORACLE_ABI, .struct_size = sizeof oracle, .name = "noisy", .version = "1",
            .fingerprint = "1", .summary = "", .citation = "", .licence = "", .inputs = inputs, .input_count = 1,
            .stochastic = 1, .cost_seconds = 1e-6, .evaluate = price,
        };

        const cairn_oracle *cairn_oracle_entry(void) { return &oracle; }
        """

    @Test(arguments: [
        ("batch->seeds[k]", "1", OracleCheck.Outcome.passed, "of what it says"),
        ("batch->seeds[k]", "0.5", .failed, "the standard error says"),
        ("batch->seeds[k]", "2", .failed, "the standard error says"),
        ("7", "1", .failed, "the same price whatever the seed"),
    ])
    func standardError(seed: String, scale: String, outcome: OracleCheck.Outcome, words: String) throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "cairn-noisy-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        try Data(Self.noisy.utf8).write(to: folder.appending(path: "noisy.c"))
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        try ChildProcess.run(
            [
                "clang", "-std=c11", "-O2", "-fPIC", "-shared", "-DSEED=\(seed)", "-DSCALE=\(scale)",
                "-I\(root.appending(path: "Sources/CPlugIn/include").path)", "-o", "libnoisy.so", "noisy.c",
            ], in: folder.path)
        let library = folder.appending(path: "libnoisy.so").path
        let plugIn = try PlugIn(PlugInSettings(name: "noisy", kind: .library(path: library))) { _ in }
        let verdict = verdicts(plugIn)["standard error"]
        #expect(verdict?.outcome == outcome && verdict?.words.contains(words) == true, "\(verdict?.words ?? "")")
    }
}
