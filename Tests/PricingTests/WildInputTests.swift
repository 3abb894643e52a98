import Pricing
import Regression
import Testing

/// What an oracle makes of inputs that nobody should ask about: far outside of their intervals, tiny, huge.
@Suite struct WildInputTests {
    /// A number that an input may be sent by mistake.
    private func wild(_ input: OracleDescriptor.Input, _ stream: inout RandomStream) -> Double {
        let span = input.upper - input.lower
        if input.kind != .continuous {
            // Counts stay small here, or the test is long; their bounds are the business of `aBadRowFailsAlone`.
            let usual = input.kind == .integer ? min(input.upper, max(input.lower, 12)) : input.upper
            return stream.uniform() < 0.9 ? (input.lower + (usual - input.lower) * stream.uniform()).rounded() : -1
        }
        let odd = [
            0, -0.0, 1, -1, Double.leastNonzeroMagnitude, 1e-300, 1e-16, 1e16, 1e300, 1.7e308, -1.7e308, .infinity,
            .nan,
        ]
        switch stream.uniform() {
        case ..<0.6: return input.lower + span * stream.uniform()
        case ..<0.8: return input.lower + span * (7 * stream.uniform() - 3)
        case ..<0.92:
            // e^{46} is 1e20.
            var factor = 1.0
            for _ in 0..<Int(46 * stream.uniform()) { factor *= 2.718 }
            return stream.uniform() < 0.5 ? factor : 1 / factor
        default: return odd[Int(Double(odd.count) * stream.uniform())]
        }
    }

    @Test(arguments: builtInOracles.map(\.descriptor.name)) func aStatusAndNoTrap(_ name: String) throws {
        let oracle = try #require(builtInOracles.first { $0.descriptor.name == name })
        var stream = RandomStream(seed: 7, purpose: .other)
        let points = (0..<150).flatMap { _ in
            oracle.descriptor.inputs.map { $0.name == oracle.descriptor.pathsInput ? 2048 : wild($0, &stream) }
        }
        let width = oracle.descriptor.inputs.count
        for gradient in oracle.descriptor.providesGradient ? [false, true] : [false] {
            let found = oracle.evaluate(points, gradient: gradient)
            #expect(found.prices.count == 150 && found.statuses.count == 150)
            #expect(found.statuses.contains(.ok) && found.statuses.contains(.invalid))
            for row in 0..<150 {
                let point = Array(points[row * width..<(row + 1) * width])
                #expect(found.prices[row].isFinite == found.statuses[row].hasPrice, "\(name) \(point)")
                if gradient, found.statuses[row].hasPrice {
                    let slopes = found.gradients[row * width..<(row + 1) * width]
                    #expect(slopes.allSatisfy { $0.isFinite }, "\(name) \(point)")
                }
            }
        }
    }
}
