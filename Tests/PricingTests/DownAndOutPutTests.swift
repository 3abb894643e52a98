import Foundation
import Pricing
import Regression
import Testing

/// Reference prices with 400 digits behind them: see Tests/References/down_and_out_put.py.
private struct Reference {
    var group: String
    var point: [Double]
    var price: Double
    var gradient: [Double]

    static let all: [Reference] = {
        let url = Bundle.module.url(forResource: "Resources/downAndOutPut", withExtension: "csv")!
        let lines = try! String(contentsOf: url, encoding: .utf8).split(separator: "\n").dropFirst()
        return lines.map { line in
            let fields = line.split(separator: ",")
            let numbers = fields.dropFirst().map { Double($0)! }
            return Reference(
                group: String(fields[0]), point: Array(numbers[0..<5]), price: numbers[5],
                gradient: Array(numbers[6..<11]))
        }
    }()
}

@Suite struct DownAndOutPutTests {
    private let oracle = DownAndOutPut()

    private func price(_ b: Double, _ k: Double, _ t: Double, _ sigma: Double, _ r: Double) -> Double {
        oracle.evaluate([b, k, t, sigma, r], gradient: false).prices[0]
    }

    @Test func goldenValue() {
        // B = 0.8, K = 1.05, T = 1, σ = 0.2, r = 0.03.
        #expect(abs(price(0.8, 1.05, 1, 0.2, 0.03) - 0.031681455014161926) < 1e-15)
    }

    @Test func pricesAndDerivativesMeetTheReferences() {
        let all = Reference.all
        #expect(all.count > 500)
        for path in KernelPath.allCases where path.select() {
            let values = oracle.evaluate(all.flatMap(\.point), gradient: true)
            for (row, reference) in all.enumerated() {
                #expect(values.statuses[row] == .ok, "\(reference.group) \(reference.point)")
                #expect(
                    abs(values.prices[row] - reference.price) <= 1e-15 * max(1, reference.point[1]),
                    "\(path) \(reference)")
                // σ√T counts the distance of strike and forward in units that the inputs' own rounding fills at 1e-7.
                let s = reference.point[3] * reference.point[2].squareRoot()
                let isSharp = reference.group.contains("forward") && s < 1e-6
                for i in 0..<5 {
                    let (ours, theirs) = (values.gradients[5 * row + i], reference.gradient[i])
                    let bound = isSharp ? 1e-16 / s * max(1, abs(theirs)) * 10 : 1e-9 * abs(theirs) + 1e-250
                    #expect(abs(ours - theirs) <= bound, "\(path) d\(i) \(ours) \(reference)")
                }
            }
        }
        _ = KernelPath.allCases.last(where: \.isSupported)?.select()
    }

    @Test func theIntegralAgreesWithTheClosedForm() {
        // Two methods that share nothing but the elementary functions.
        for reference in Reference.all {
            let p = reference.point
            let integral = DownAndOutPut.reference(
                barrier: p[0], strike: p[1], maturity: p[2], volatility: p[3], rate: p[4])
            #expect(abs(integral.price - reference.price) <= 3e-15 * max(1, p[1]), "\(reference)")
            guard reference.group == "domain" || reference.group.contains("near") else { continue }
            #expect(abs(integral.price - reference.price) <= 1e-12 * reference.price, "\(reference)")
            for (ours, theirs) in zip(integral.gradient, reference.gradient) {
                #expect(abs(ours - theirs) <= 1e-11 * max(abs(theirs), 1e-3 * reference.price))
            }
        }
    }

    /// Haug's formulas for the down-and-in put and the vanilla put, with the C library's erfc.
    @Test func inPlusOutIsVanilla() {
        func normal(_ x: Double) -> Double { erfc(-x / 2.0.squareRoot()) / 2 }
        for reference in Reference.all where ["domain", "wide", "golden", "rate zero"].contains(reference.group) {
            let (b, k, t, sigma, r) = (
                reference.point[0], reference.point[1], reference.point[2], reference.point[3], reference.point[4]
            )
            let s = sigma * t.squareRoot()
            let mu = (r - sigma * sigma / 2) / (sigma * sigma)
            // Powers of the barrier that overflow are beyond what this textbook form can do.
            guard abs(2 * mu * log(b)) < 30, s > 0.02 else { continue }
            let (x1, x2) = (-log(k) / s + (1 + mu) * s, -log(b) / s + (1 + mu) * s)
            let (y1, y2) = (log(b * b / k) / s + (1 + mu) * s, log(b) / s + (1 + mu) * s)
            let d = exp(-r * t)
            let vanilla = k * d * normal(s - x1) - normal(-x1)
            let knockIn =
                k * d * normal(s - x2) - normal(-x2)
                - (k * d * pow(b, 2 * mu) * normal(y1 - s) - pow(b, 2 * (mu + 1)) * normal(y1))
                + (k * d * pow(b, 2 * mu) * normal(y2 - s) - pow(b, 2 * (mu + 1)) * normal(y2))
            #expect(abs(price(b, k, t, sigma, r) + knockIn - vanilla) < 1e-13 * max(1, k), "\(reference)")
        }
    }

    @Test func pricesLieBetweenTheirBounds() {
        // 0 <= out <= vanilla put <= discounted strike; falling in the barrier, rising in the strike.
        var stream = RandomStream(seed: 2, purpose: .other)
        for _ in 0..<2000 {
            let b = 0.4 + 0.6 * stream.uniform()
            let k = b + (2 - b) * stream.uniform()
            let (t, sigma, r) = (0.01 + 3 * stream.uniform(), 0.05 + stream.uniform(), 0.1 * stream.uniform())
            let p = price(b, k, t, sigma, r)
            #expect(p >= 0 && p <= k * exp(-r * t))
            #expect(price(b - 0.01, k, t, sigma, r) >= p - 1e-15)
            #expect(price(b, k + 0.01, t, sigma, r) >= p - 1e-15)
            // A barrier that is never reached leaves the vanilla put.
            #expect(p <= price(0, k, t, sigma, r) + 1e-15)
        }
    }

    @Test func limits() {
        func valuation(_ b: Double, _ k: Double, _ t: Double, _ sigma: Double, _ r: Double) -> (
            Double, [Double], ValuationStatus
        ) {
            let v = oracle.evaluate([b, k, t, sigma, r], gradient: true)
            return (v.prices[0], v.gradients, v.statuses[0])
        }
        let zero = [0.0, 0, 0, 0, 0]
        // Knocked out at once, or nothing left to pay.
        for (b, k) in [(1.0, 1.2), (1.5, 2), (0.9, 0.9), (0.9, 0.8)] {
            #expect(valuation(b, k, 1, 0.2, 0.05) == (0, zero, .extended))
        }
        // Continuity towards them.
        #expect(price(1 - 1e-13, 1.2, 1, 0.2, 0.05) < 1e-12)
        #expect(price(0.9, 0.9 + 1e-9, 1, 0.2, 0.05) < 1e-9)
        // No time: the payoff. Its derivative by T is the limit from above.
        #expect(valuation(0.8, 1.2, 0, 0.2, 0.05).0 == 1.2 - 1)
        #expect(valuation(0.8, 1.2, 0, 0.2, 0.05).1 == [0, 1, -0.05 * 1.2, 0, 0])
        #expect(valuation(0.8, 0.9, 0, 0.2, 0.05) == (0, zero, .ok))
        #expect(valuation(0.8, 1, 0, 0.2, 0.05).1[1] == 0.5)
        #expect(abs(price(0.8, 1.2, 1e-12, 0.2, 0.05) - 0.2) < 1e-12)
        // No volatility: the share grows at the rate, and a falling one meets the barrier.
        #expect(abs(valuation(0.8, 1.2, 1, 0, 0.05).0 - (1.2 * exp(-0.05) - 1)) < 1e-15)
        #expect(valuation(0.8, 1.02, 1, 0, 0.05) == (0, zero, .ok))
        #expect(valuation(0.8, 1.2, 1, 0, -0.3) == (0, zero, .extended))
        #expect(abs(valuation(0.7, 1.2, 1, 0, -0.3).0 - (1.2 * exp(0.3) - 1)) < 1e-15)
        #expect(abs(price(0.8, 1.2, 1, 1e-9, 0.05) - (1.2 * exp(-0.05) - 1)) < 1e-14)
        // No barrier: the vanilla put (Haug: S = K = 1, T = 1, σ = 0.2, r = 0.05).
        #expect(abs(price(0, 1, 1, 0.2, 0.05) - 0.055735260222569656) < 1e-15)
        #expect(valuation(0, 1, 1, 0.2, 0.05).1[0] == 0)
        // Numbers that make no sense.
        for point in [
            [Double.nan, 1, 1, 0.2, 0.05], [0.8, .infinity, 1, 0.2, 0.05], [0.8, 1.2, -1, 0.2, 0.05],
            [0.8, 1.2, 1, -0.2, 0.05], [-0.1, 1.2, 1, 0.2, 0.05], [0.8, 1.2, 1, 0.2, .nan],
        ] {
            let v = oracle.evaluate(point, gradient: true)
            #expect(v.statuses[0] == .invalid && v.prices[0].isNaN && v.gradients.allSatisfy(\.isNaN), "\(point)")
        }
        // Huge ones are priced or say that they cannot be.
        for point in [
            [0.8, 1e300, 1, 0.2, 0.05], [0.8, 1.2, 1e6, 5, 0.05], [0.8, 1.2, 1e300, 1e300, 0.05],
            [1e-300, 1.2, 1, 0.2, 0.05],
            [0.8, 1.2, 1, 1e200, 0.05], [0.8, 1.2, 1e4, 0.2, -10],
        ] {
            let v = oracle.evaluate(point, gradient: true)
            #expect(
                v.statuses[0] == .nonFinite || (v.prices[0].isFinite && v.gradients.allSatisfy(\.isFinite)), "\(point)")
        }
    }

    @Test func aBadPointFailsAlone() {
        let v = oracle.evaluate([0.8, 1.05, 1, 0.2, 0.03, .nan, 1, 1, 1, 1, 0.8, 1.05, 1, 0.2, 0.03], gradient: true)
        #expect(v.statuses == [.ok, .invalid, .ok] && v.prices[0] == v.prices[2])
        #expect(oracle.evaluate([], gradient: true).prices.isEmpty)
    }

    @Test func aRowsPriceDoesNotDependOnItsBatchOrPath() throws {
        let domain = try Domain(
            inputs: oracle.descriptor.inputs.map { .init(name: $0.name, lower: $0.lower, upper: $0.upper) },
            constraints: oracle.descriptor.constraints)
        var stream = RandomStream(seed: 8, purpose: .other)
        let points = domain.raw(rows: try domain.sample(1003, from: &stream))
        let whole = oracle.evaluate(points, gradient: true)
        for path in KernelPath.allCases where path.select() {
            #expect(oracle.evaluate(points, gradient: true) == whole, "\(path)")
            for row in stride(from: 0, to: 1003, by: 97) {
                let alone = oracle.evaluate(Array(points[5 * row..<5 * row + 5]), gradient: true)
                #expect(alone.prices[0].bitPattern == whole.prices[row].bitPattern)
                #expect(alone.gradients == Array(whole.gradients[5 * row..<5 * row + 5]))
            }
        }
        _ = KernelPath.allCases.last(where: \.isSupported)?.select()
    }
}
