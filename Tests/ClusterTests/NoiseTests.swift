import Cluster
import Pricing
import Regression
import Testing

/// A straight line with independent noise in every price: the worst that a Monte Carlo oracle can do to a search.
private struct NoisyLine: Oracle {
    /// Height of a bump at (0.3, 0.7), in units of the standard error at the usual number of paths.
    var bump = 0.0

    static let usual = 1024.0
    static let error = 0.01

    let descriptor = OracleDescriptor(
        name: "noisyLine", version: "1", summary: "", citation: "",
        inputs: [
            .init(name: "a", unit: "1", meaning: "", lower: 0, upper: 1),
            .init(name: "b", unit: "1", meaning: "", lower: 0, upper: 1),
            .init(name: "paths", unit: "1", meaning: "", lower: 1, upper: 1e9, kind: .integer, usual: usual),
            .init(name: "randomSeed", unit: "1", meaning: "", lower: 0, upper: 1e9, kind: .integer, usual: 1),
        ],
        isStochastic: true, pathsInput: "paths")

    func evaluate(_ points: [Double], gradient: Bool) -> Valuations {
        var result = Valuations(prices: [], statuses: [])
        for k in stride(from: 0, to: points.count, by: 4) {
            let (a, b) = (points[k], points[k + 1])
            let error = Self.error * (Self.usual / points[k + 2]).squareRoot()
            var stream = RandomStream(
                seed: a.bitPattern ^ (b.bitPattern &* 0x9E37_79B9_7F4A_7C15), purpose: .other,
                index: UInt32(points[k + 3]))
            // Twelve uniforms: normal enough, and never beyond six.
            let noise = (0..<12).reduce(-6.0) { sum, _ in sum + stream.uniform() }
            let square = (a - 0.3) * (a - 0.3) + (b - 0.7) * (b - 0.7)
            let height = max(0, 1 - square / 0.01) * bump * Self.error
            result.prices.append(0.5 * a + 0.25 * b + height + error * noise)
            result.standardErrors.append(error)
            result.statuses.append(.ok)
        }
        return result
    }
}

@Suite struct NoiseTests {
    /// A study of the line by a surrogate that is the line.
    private func outcome(_ oracle: NoisyLine, seeds: Int) throws -> StudyOutcome {
        var study = smallStudy()
        study.oracle = "noisyLine"
        study.labelScale = 1
        study.domain = try Domain(inputs: ["a", "b"].map { .init(name: $0, lower: 0, upper: 1) })
        study.attack = nil
        study.data = .generated(base: 300, test: 20)
        study.surrogate = .attached
        study.search.seeds = .random(seeds)
        study.search.stages = [AscentStage(steps: 30)]
        study.search.gradient = .differences
        study.search.difference = 0.02
        study.mitigation.action = .none
        let line = Surrogate(layers: [.init(inputs: 2, outputs: 1, weights: [0.5, 0.25], biases: [0])])
        return try alone(study, StudyAttachments(model: line), oracles: [oracle]).get()
    }

    @Test func aPerfectSurrogateUnderANoisyOracleHasNoMaxima() throws {
        let outcome = try outcome(NoisyLine(), seeds: 400)
        #expect(outcome.noise.repriced > 100, "\(outcome.noise)")
        #expect(outcome.noise.dropped == outcome.noise.repriced && outcome.maximizers.count == 0, "\(outcome.noise)")
        #expect(outcome.oracleCalls.repricing == outcome.noise.repriced)
    }

    @Test func aBumpOfSixStandardErrorsIsReported() throws {
        let outcome = try outcome(NoisyLine(bump: 6), seeds: 400)
        #expect(outcome.maximizers.count > 0)
        for row in 0..<outcome.maximizers.count {
            let input = Array(outcome.maximizers.input(row))
            let distance = ((input[0] - 0.3) * (input[0] - 0.3) + (input[1] - 0.7) * (input[1] - 0.7)).squareRoot()
            #expect(distance < 0.1, "\(input) \(outcome.maximizers.error(row))")
            // Beyond eight standard errors no better price was asked for.
            let (error, noise) = (abs(outcome.maximizers.error(row)), outcome.maximizers.standardErrors[row])
            #expect(noise < NoisyLine.error / 3 || error >= 8 * noise, "\(error) \(noise)")
            #expect(error >= 4 * noise && error < 10 * NoisyLine.error)
        }
        #expect(outcome.noise.repriced > 0 && outcome.noise.dropped > 100, "\(outcome.noise)")
    }

    @Test func refiningChangesPathsAndSeedOnly() {
        let contract = try! Contract(MultiAsset(.himalaya), terms: ["optionType": "call"])
        let refined = OracleReference(contract).refined(contract.descriptor, by: 16)
        let other = Contract.oracle(
            named: "himalaya", fingerprint: refined?.fingerprint ?? "", among: builtInOracles)
        #expect((other as? Contract)?.terms["paths"] == "2097152")
        #expect((other as? Contract)?.terms["randomSeed"] == "2")
        #expect((other as? Contract)?.terms["optionType"] == "call")
        #expect(OracleReference(DownAndOutPut()).refined(DownAndOutPut().descriptor, by: 16) == nil)
    }
}
