import Foundation
import PlugIns
import Regression
import Testing

/// The bytes between Cairn and a plug-in: those that the codecs of C and Python read and write too, and those that
/// nobody should send.
@Suite struct OracleMessagesTests {
    private func golden(_ name: String) throws -> [UInt8] {
        let url = try #require(Bundle.module.url(forResource: "Resources/golden/\(name)", withExtension: nil))
        return Array(try Data(contentsOf: url))
    }

    private func described() throws -> PlugInDescriptor {
        try OracleMessages.descriptor(golden("reply-descriptor"), to: 1, name: "mine")
    }

    @Test func requestsAreTheGoldenBytes() throws {
        #expect(try OracleMessages.describe(id: 1) == golden("request-describe"))
        let rows = [0.05, 2, 0.025, 0.5, 0.1, -1]
        #expect(
            try OracleMessages.evaluate(id: 300, rows: rows[...], width: 2, gradient: true, seed: nil)
                == golden("request-evaluate"))
    }

    @Test func goldenRepliesAreRead() throws {
        let described = try described()
        let oracle = described.oracle
        #expect(oracle.name == "mine" && oracle.fingerprint == "mine/1+c-1" && described.fingerprint == "c-1")
        #expect(oracle.inputs.map(\.name) == ["rate", "maturityYears"] && oracle.inputs[1].upper == 5)
        #expect(oracle.gradientMethod == .exact && !oracle.isStochastic && oracle.costSeconds == 1e-8)
        #expect(oracle.testVectors == [.init([0.05, 2], price: 1.1, tolerance: 1e-15)])
        let answer = try OracleMessages.valuations(
            golden("reply-valuations"), to: 300, count: 3, gradient: true, described: described
        ).valuations
        #expect(answer.prices.prefix(2) == [1 + 0.05 * 2, 1 + 0.025 * 0.5] && answer.prices[2].isNaN)
        #expect(answer.gradients.prefix(4) == [2, 0.05, 0.5, 0.025])
        #expect(answer.statuses == [.ok, .ok, .invalid])
        let refused = #expect(throws: Incident.self) {
            try OracleMessages.descriptor(golden("reply-failure"), to: 2, name: "mine")
        }
        #expect(refused?.kind == .refused && refused?.words.contains("neither describe") == true)
    }

    /// Those of an oracle that has every kind of input, a constraint, seeds, standard errors, statuses.
    @Test func goldenBytesOfAllFields() throws {
        let rows: [Double] = [128, 3, 1, 48, 6, 0]
        let seed: UInt64 = 12_345_678_901_234_567_893
        #expect(
            try OracleMessages.evaluate(id: 301, rows: rows[...], width: 3, gradient: true, seed: seed)
                == golden("request-evaluate-seeds"))
        let described = try OracleMessages.descriptor(golden("reply-descriptor-all"), to: 1, name: "mine")
        let oracle = described.oracle
        #expect(oracle.inputs.map(\.name) == ["spot", "steps", "payoff"] && oracle.isStochastic)
        #expect(oracle.inputs.map(\.kind) == [.continuous, .integer, .choice(["call", "put"])])
        #expect(oracle.inputs[0].scale == .logarithmic && oracle.inputs.map(\.usual) == [100, nil, 1])
        #expect(oracle.inputs.map(\.lower) == [50, 1, 0] && oracle.inputs.map(\.upper) == [200, 12, 1])
        #expect(oracle.constraints == [.init(name: "not too dear", coefficients: [0: 1, 1: -10], bound: 150)])
        #expect(oracle.gradientMethod == .commonPaths && oracle.costSeconds == 0.5)
        #expect(oracle.testVectors == [.init([128, 3, 1], price: 5.625, tolerance: 0.5)])
        let answer = try OracleMessages.valuations(
            golden("reply-valuations-errors"), to: 301, count: 2, gradient: true, described: described
        ).valuations
        let noise = Double(seed % 8) / 8
        #expect(answer.prices == [5.5 + noise, 6.75 + noise] && answer.standardErrors == [0.25, 0.25])
        #expect(answer.gradients == [1 / 64, 1, 0.5, 1 / 64, 1, 0.5] && answer.statuses == [.ok, .extended])
    }

    /// Every cut, and every byte changed in a hundred ways: an answer or an incident, never a trap.
    @Test func damagedRepliesAreRefusedOrRead() throws {
        let described = try described()
        for name in ["reply-descriptor", "reply-valuations", "reply-failure"] {
            let bytes = try golden(name)
            for k in bytes.indices {
                var damaged = [Array(bytes[..<k])]
                for change in 1...100 {
                    var copy = bytes
                    copy[k] = copy[k] &+ UInt8(change * 2)
                    damaged.append(copy)
                }
                for bytes in damaged {
                    if let found = try? OracleMessages.descriptor(bytes, to: 1, name: "mine") {
                        #expect(found.oracle.inputs.allSatisfy { $0.lower < $0.upper })
                    }
                    if let answer = try? OracleMessages.valuations(
                        bytes, to: 300, count: 3, gradient: true, described: described
                    ).valuations {
                        #expect(answer.prices.count == 3 && answer.gradients.count == 6)
                        for k in 0..<3 { #expect(answer.statuses[k].hasPrice == answer.prices[k].isFinite) }
                    }
                }
            }
        }
    }
}
