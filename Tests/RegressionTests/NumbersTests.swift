import Regression
import Testing

@Suite struct RandomStreamTests {
    /// Known answers of Philox 4×32-10, published with Random123 (Salmon et al. 2011).
    @Test func philoxKnownAnswers() {
        func words(_ block: RandomStream.Block) -> [UInt32] { [block.0, block.1, block.2, block.3] }
        #expect(
            words(RandomStream.philox((0, 0, 0, 0), (0, 0))) == [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8])
        let ones = UInt32.max
        #expect(
            words(RandomStream.philox((ones, ones, ones, ones), (ones, ones)))
                == [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd])
        #expect(
            words(
                RandomStream.philox(
                    (0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344), (0xa409_3822, 0x299f_31d0)))
                == [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1])
    }

    @Test func streamsAreIndependentAndRepeat() {
        func draw(_ seed: UInt64, _ purpose: RandomStream.Purpose, _ index: UInt32) -> [UInt64] {
            var stream = RandomStream(seed: seed, purpose: purpose, index: index)
            return (0..<5).map { _ in stream.next() }
        }
        #expect(draw(1, .weights, 0) == draw(1, .weights, 0))
        let all = [draw(1, .weights, 0), draw(2, .weights, 0), draw(1, .batches, 0), draw(1, .weights, 1)]
        #expect(Set(all.flatMap { $0 }).count == 20)
    }

    @Test func uniformNumbersAreUniform() {
        var stream = RandomStream(seed: 5, purpose: .other)
        let numbers = (0..<100_000).map { _ in stream.uniform() }
        #expect(numbers.allSatisfy { $0 >= 0 && $0 < 1 })
        // Four standard errors of the mean and of the variance.
        let mean = numbers.reduce(0, +) / 1e5
        #expect(abs(mean - 0.5) < 4 * (1.0 / 12 / 1e5).squareRoot())
        let variance = numbers.reduce(0) { $0 + ($1 - 0.5) * ($1 - 0.5) } / 1e5
        #expect(abs(variance - 1.0 / 12) < 4 * (1.0 / 180 / 1e5).squareRoot())
        var counts = [Int](repeating: 0, count: 7)
        for _ in 0..<70_000 { counts[stream.below(7)] += 1 }
        let chi = counts.reduce(0.0) { $0 + (Double($1) - 10_000) * (Double($1) - 10_000) / 10_000 }
        #expect(chi < 22.5, "six degrees of freedom, one in a thousand")
    }

    @Test func permutationsArePermutations() {
        var stream = RandomStream(seed: 5, purpose: .batches)
        for count in [1, 2, 100] {
            #expect(stream.permutation(count).sorted() == (0..<Int32(count)).map { $0 })
        }
        #expect(stream.permutation(0).isEmpty)
    }
}

@Suite struct DistributionTests {
    /// References: sums and root searches of 30 digits with mpmath.
    @Test(arguments: [
        (1, 10, 0.3, 0.9717524751), (5, 10, 0.3, 0.15026833259999998), (10, 10, 0.3, 5.9048999999999978e-6),
        (20, 209999, 7e-05, 0.10871739694040278), (40, 209999, 7e-05, 3.8549378527626935e-8),
        (3600, 209999, 0.017, 0.30842879818008217), (3900, 209999, 0.017, 2.0773288979563114e-8),
        (30000, 50000, 0.6, 0.50194229605578101), (3, 3, 1e-09, 1e-27), (1, 1_000_000, 1e-12, 9.9999950000066665e-7),
    ])
    func binomialTails(_ count: Int, _ trials: Int, _ probability: Double, _ expected: Double) {
        let tail = binomialUpperTail(count: count, trials: trials, probability: probability)
        #expect(abs(tail - expected) <= 1e-9 * expected)
    }

    @Test func binomialLimits() {
        #expect(binomialUpperTail(count: 0, trials: 10, probability: 0.2) == 1)
        #expect(binomialUpperTail(count: -3, trials: 10, probability: 0.2) == 1)
        #expect(binomialUpperTail(count: 11, trials: 10, probability: 0.2) == 0)
        #expect(binomialUpperTail(count: 1, trials: 10, probability: 0) == 0)
        #expect(binomialUpperTail(count: 10, trials: 10, probability: 1) == 1)
        #expect(binomialUpperTail(count: 400, trials: 209_999, probability: 7e-5) == 0, "below what a double holds")
        #expect(abs(binomialUpperTail(count: 29_000, trials: 50_000, probability: 0.6) - 1) < 1e-12)
    }

    @Test func normalQuantiles() {
        for (p, x) in [
            (1e-300, -37.0470962993611992), (1e-20, -9.26234008979840758), (1e-5, -4.26489079392282461),
            (0.02, -2.05374891063182304), (0.3, -0.524400512708040816), (0.7, 0.524400512708040656),
            (0.975, 1.95996398454005386), (0.999999, 4.75342430881708777),
        ] {
            #expect(abs(normalQuantile(p) - x) <= 4e-15 * abs(x))
        }
        #expect(normalQuantile(0.5) == 0)
    }

    @Test func directionsHaveLengthOneAndNoFavourite() {
        var stream = RandomStream(seed: 1, purpose: .probes)
        var mean = [0.0, 0, 0]
        for _ in 0..<10_000 {
            let ray = stream.direction(3)
            #expect(abs(ray.reduce(0) { $0 + $1 * $1 } - 1) < 1e-14)
            for i in 0..<3 { mean[i] += ray[i] / 10_000 }
        }
        #expect(mean.allSatisfy { abs($0) < 4 * (1.0 / 3 / 10_000).squareRoot() })
    }
}
