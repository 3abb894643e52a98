import Foundation
import Pricing
import Regression
import Testing

/// Contracts on several shares: against prices made another way (Tests/References/multi_asset.py), and against each other.
@Suite struct MultiAssetTests {
    /// A row of an oracle's inputs; what is not named takes its usual value.
    private func row(_ oracle: any Oracle, _ terms: [String: String]) throws -> [Double] {
        try oracle.descriptor.inputs.map { input in
            guard let text = terms[input.name] else { return try #require(input.usual, "\(input.name)") }
            return try #require(input.value(of: text), "\(input.name) = \(text)")
        }
    }

    private func price(_ oracle: any Oracle, _ terms: [String: String]) throws -> (price: Double, error: Double) {
        let valuations = oracle.evaluate(try row(oracle, terms), gradient: false)
        #expect(valuations.statuses[0] == .ok, "\(terms)")
        return (valuations.prices[0], valuations.standardErrors[0])
    }

    private func table(_ name: String) throws -> [[String: String]] {
        let url = try #require(Bundle.module.url(forResource: name, withExtension: "csv", subdirectory: "Resources"))
        let lines = try String(contentsOf: url, encoding: .utf8).split(separator: "\n").map {
            $0.split(separator: ",").map(String.init)
        }
        return lines.dropFirst().map { Dictionary(uniqueKeysWithValues: zip(lines[0], $0)) }
    }

    /// A market of three shares.
    private let three = [
        "maturityYears": "1.5", "rate": "0.04", "volatility.1": "0.2", "volatility.2": "0.3", "volatility.3": "0.25",
        "dividendYield.1": "0.02", "dividendYield.2": "0", "dividendYield.3": "0.03", "correlation.1.2": "0.5",
        "correlation.1.3": "0.2", "correlation.2.3": "0.4",
    ]

    @Test(arguments: MultiAsset.Product.allCases) func pricesAreThoseOfTheReferences(_ product: MultiAsset.Product)
        throws
    {
        for assets in [2, 3, 5] where product != .atlas || assets > 2 {
            let oracle = MultiAsset(product, assets: assets)
            for terms in try table("\(product.rawValue)\(assets)") {
                let (ours, error) = try price(oracle, terms)
                let (reference, noise) = (Double(terms["reference"]!)!, Double(terms["referenceError"]!)!)
                let bound = 4 * (error * error + noise * noise).squareRoot()
                #expect(abs(ours - reference) <= bound, "\(product) \(assets): \(ours) ± \(error), \(terms)")
                // The stated error is worth stating.
                #expect(error < 3e-3 * max(1, reference), "\(product) \(assets): \(error)")
            }
        }
    }

    @Test func errorsAreWhatTheySay() throws {
        // Over independent path sets, the distance to the truth in standard errors has variance 1.
        let terms = try table("himalaya2")[0].merging(["paths": "8192"]) { $1 }
        let truth = Double(terms["reference"]!)!
        var squares = 0.0
        for seed in 1...60 {
            let (price, error) = try price(
                MultiAsset(.himalaya, assets: 2), terms.merging(["randomSeed": "\(seed)"]) { $1 })
            squares += (price - truth) * (price - truth) / (error * error)
        }
        // χ² with 60 degrees of freedom, a little wider for the estimated error: 1e-4 on either side.
        #expect(squares > 28 && squares < 115, "\(squares)")
    }

    @Test func everyPathAndBatchGivesTheSameBits() throws {
        for product in MultiAsset.Product.allCases {
            let oracle = MultiAsset(product)
            var points: [Double] = []
            for terms in try table("\(product.rawValue)3") {
                points += try row(oracle, terms.merging(["paths": "4096"]) { $1 })
            }
            let width = oracle.descriptor.inputs.count
            let whole = oracle.evaluate(points, gradient: false)
            for path in KernelPath.allCases where path.select() {
                for k in 0..<whole.prices.count {
                    let alone = oracle.evaluate(Array(points[k * width..<(k + 1) * width]), gradient: false)
                    #expect(alone.prices[0].bitPattern == whole.prices[k].bitPattern, "\(product) \(path)")
                    #expect(alone.standardErrors[0].bitPattern == whole.standardErrors[k].bitPattern)
                }
            }
            _ = KernelPath.allCases.last(where: \.isSupported)?.select()
        }
    }

    @Test func ranksOfAllSharesMakeTheirSum() throws {
        // max(best − K, 0) + max(worst − K, 0) = the calls on both shares.
        var terms = try table("rainbow2")[0].merging(["optionType": "call", "strike": "100"]) { $1 }
        var sum = 0.0
        var error = 0.0
        for rank in ["best", "worst"] {
            terms["rank"] = rank
            let leg = try price(MultiAsset(.rainbow, assets: 2), terms)
            sum += leg.price
            error += leg.error
        }
        var calls = 0.0
        for i in 1...2 {
            // A barrier that is never reached leaves the European call.
            calls +=
                Barrier().evaluate(
                    [
                        0, 0, Double(terms["spot.\(i)"]!)!, 100, 1e-4, 0, Double(terms["maturityYears"]!)!,
                        Double(terms["volatility.\(i)"]!)!, Double(terms["rate"]!)!,
                        Double(terms["dividendYield.\(i)"]!)!,
                    ], gradient: false
                ).prices[0]
        }
        #expect(abs(sum - calls) <= 4 * error, "\(sum) \(calls) \(error)")
    }

    @Test func aBasketOfOneKindIsAnOptionOnOneShare() throws {
        // Three shares that always move together.
        var terms = ["optionType": "put", "strike": "105", "maturityYears": "1.5", "rate": "0.04"]
        for i in 1...3 {
            terms["volatility.\(i)"] = "0.3"
            terms["dividendYield.\(i)"] = "0.02"
            for j in 1..<i { terms["correlation.\(j).\(i)"] = "1" }
        }
        let basket = try price(MultiAsset(.basket), terms)
        let put = Barrier().evaluate([1, 0, 100, 105, 1e-4, 0, 1.5, 0.3, 0.04, 0.02], gradient: false).prices[0]
        #expect(abs(basket.price - put) <= 4 * basket.error + 1e-9, "\(basket) \(put)")
    }

    @Test func theOrderOfSharesDoesNotMatter() throws {
        func turned(_ name: String) -> String {
            // 1 → 2 → 3 → 1.
            let parts = name.split(separator: ".")
            guard parts.count > 1 else { return name }
            let numbers = parts.dropFirst().map { Int($0)! % 3 + 1 }.sorted()
            return "\(parts[0]).\(numbers.map(String.init).joined(separator: "."))"
        }
        let other = Dictionary(uniqueKeysWithValues: three.map { (turned($0), $1) })
        let extra = [
            "strike": "1", "barrier": "0.7", "coupon": "0.1", "protectionBarrier": "0.6", "guarantee": "-0.1",
            "optionType": "call",
        ]
        for product in MultiAsset.Product.allCases where product != .basket && product != .rainbow {
            let (a, b) = (
                try price(MultiAsset(product), three.merging(extra) { $1 }),
                try price(MultiAsset(product), other.merging(extra) { $1 })
            )
            #expect(
                abs(a.price - b.price) <= 5 * (a.error * a.error + b.error * b.error).squareRoot(),
                "\(product) \(a) \(b)")
        }
    }

    @Test func putCallParityOfTheHimalaya() throws {
        // Call minus put at two strikes differ by the discounted strikes, path by path.
        func difference(_ strike: String) throws -> Double {
            let terms = three.merging(["strike": strike]) { $1 }
            return try price(MultiAsset(.himalaya), terms.merging(["optionType": "call"]) { $1 }).price
                - price(MultiAsset(.himalaya), terms.merging(["optionType": "put"]) { $1 }).price
        }
        #expect(abs(try difference("0.9") - difference("1.1") - 0.2 * exp(-0.06)) < 1e-12)
    }

    @Test func correlationsAsTheyAreAndPartialOnes() throws {
        let oracle = MultiAsset(.himalaya)
        let base = try price(oracle, three)
        // ρ₂₃ = ρ₁₂ρ₁₃ + p √(1 − ρ₁₂²) √(1 − ρ₁₃²).
        let p = (0.4 - 0.5 * 0.2) / ((1 - 0.25) * (1 - 0.04)).squareRoot()
        let partial = try price(
            oracle, three.merging(["correlationInput": "partial", "correlation.2.3": "\(p)"]) { $1 })
        #expect(abs(base.price - partial.price) < 1e-12)
        // Any partial correlations make a matrix; plain ones need not.
        let odd = three.merging(["correlation.1.2": "0.9", "correlation.1.3": "0.9", "correlation.2.3": "-0.9"]) { $1 }
        #expect(oracle.evaluate(try row(oracle, odd), gradient: false).statuses[0] == .invalid)
        _ = try price(oracle, odd.merging(["correlationInput": "partial"]) { $1 })
    }

    /// Two shares that move nearly as a third leave their own correlation 0.004 of room, less than a difference's usual step.
    @Test(arguments: [MultiAsset.Product.himalaya, .rainbow]) func aCorrelationWithLittleRoomHasADerivative(
        _ product: MultiAsset.Product
    ) throws {
        let oracle = MultiAsset(product)
        let terms = three.merging([
            "optionType": "call", "rank": "best", "strike": product == .rainbow ? "100" : "1",
            "correlation.1.2": "0.999", "correlation.1.3": "0.999", "correlation.2.3": "0.998",
        ]) { $1 }
        let place = try #require(oracle.descriptor.inputs.firstIndex { $0.name == "correlation.2.3" })
        let found = oracle.evaluate(try row(oracle, terms), gradient: true)
        func moved(_ by: Double) throws -> Double {
            try price(oracle, terms.merging(["correlation.2.3": "\(0.998 + by)"]) { $1 }).price
        }
        let difference = (try moved(1e-3) - moved(-1e-3)) / 2e-3
        #expect(found.statuses[0] == .ok && found.gradients[place] != 0)
        #expect(
            abs(found.gradients[place] - difference) < 1e-6 * (1 + abs(difference)),
            "\(found.gradients[place]) \(difference)")
    }

    @Test func derivativesOfTheHimalayaAreNotThoseAlongPaths() throws {
        // From prices of the reference's integral (multi_asset.py), moved by ±0.01 in each volatility.
        let lines = try table("himalaya2Vega")
        for terms in lines {
            let oracle = MultiAsset(.himalaya, assets: 2)
            let valuations = oracle.evaluate(try row(oracle, terms), gradient: true)
            for i in 1...2 {
                let place = oracle.descriptor.inputs.firstIndex { $0.name == "volatility.\(i)" }!
                let reference = Double(terms["d_volatility.\(i)"]!)!
                #expect(abs(valuations.gradients[place] - reference) < 4e-3, "\(valuations.gradients[place]) \(terms)")
            }
        }
    }

    @Test(arguments: [MultiAsset.Product.altiplano, .autocallable]) func whatJumpsHasDerivatives(
        _ product: MultiAsset.Product
    ) throws {
        // Two shares at one date; references integrate one of them in closed form and take differences.
        for terms in try table("\(product.rawValue)2Gradient") {
            let oracle = MultiAsset(product, assets: 2)
            let valuations = oracle.evaluate(try row(oracle, terms), gradient: true)
            let error = valuations.standardErrors[0]
            #expect(abs(valuations.prices[0] - Double(terms["reference"]!)!) < 4 * error && error < 5e-5)
            for (i, input) in oracle.descriptor.inputs.enumerated() {
                guard let reference = terms["d_\(input.name)"].flatMap(Double.init) else { continue }
                #expect(
                    abs(valuations.gradients[i] - reference) < 1e-3,
                    "\(input.name): \(valuations.gradients[i]) \(terms)")
            }
        }
    }

    @Test func aCertainPathIsJudgedAsTheContractSays() throws {
        // Shares that stay where they are: at a level, and just below one.
        var still = ["maturityYears": "2", "rate": "0.05", "coupon": "0.1", "observationDates": "4"]
        for i in 1...3 {
            still["volatility.\(i)"] = "0"
            still["dividendYield.\(i)"] = "0.05"
            for j in 1..<i { still["correlation.\(j).\(i)"] = "0.3" }
        }
        func certain(_ product: MultiAsset.Product, _ terms: [String: String]) throws -> Double {
            try price(MultiAsset(product), still.merging(terms) { $1 }).price
        }
        let (early, late) = (exp(-0.025), exp(-0.1))
        let called = try certain(.autocallable, ["autocallBarrier": "1", "protectionBarrier": "0.7"])
        #expect(abs(called - 1.1 * early) < 1e-12)
        let kept = try certain(.autocallable, ["autocallBarrier": "1.01", "protectionBarrier": "1"])
        #expect(abs(kept - late) < 1e-12)
        let lost = try certain(.autocallable, ["autocallBarrier": "1.02", "protectionBarrier": "1.01"])
        #expect(abs(lost - late) < 1e-12)
        let put = ["optionType": "put", "strike": "1.2"]
        #expect(abs(try certain(.altiplano, put.merging(["barrier": "0.99"]) { $1 }) - 0.1 * late) < 1e-12)
        // At the barrier is not above it.
        #expect(abs(try certain(.altiplano, put.merging(["barrier": "1"]) { $1 }) - 0.2 * late) < 1e-12)
    }

    @Test(arguments: [MultiAsset.Product.altiplano, .autocallable], ["1", "-1"]) func sharesThatMoveTogetherOrAgainst(
        _ product: MultiAsset.Product, correlation: String
    ) throws {
        // The limit of correlations that are nearly so.
        let terms = [
            "maturityYears": "1", "rate": "0.03", "coupon": "0.08", "observationDates": "3", "volatility.1": "0.2",
            "volatility.2": "0.3", "strike": "1", "barrier": "0.8", "autocallBarrier": "1", "protectionBarrier": "0.7",
        ]
        let oracle = MultiAsset(product, assets: 2)
        let at = try price(oracle, terms.merging(["correlation.1.2": correlation]) { $1 })
        let near = try price(oracle, terms.merging(["correlation.1.2": "\(Double(correlation)! * 0.99999999)"]) { $1 })
        let noise = (at.error * at.error + near.error * near.error).squareRoot()
        #expect(abs(at.price - near.price) < 5 * noise + 1e-3, "\(at) \(near)")
    }

    @Test(arguments: MultiAsset.Product.allCases) func addedPathsGiveTheBitsOfAllAtOnce(_ product: MultiAsset.Product)
        throws
    {
        let oracle = MultiAsset(product)
        let place = oracle.descriptor.inputs.firstIndex { $0.name == "paths" }!
        var point = try row(oracle, try table("\(product.rawValue)3")[1])
        var sums: PathSums?
        for paths in [2048.0, 4096, 4096, 65_536] {
            point[place] = paths
            sums = oracle.sums(point, after: sums)
            let whole = oracle.evaluate(point, gradient: false)
            let found = try #require(sums)
            #expect(found == oracle.sums(point) && Double(found.paths) == paths)
            #expect(found.price.bitPattern == whole.prices[0].bitPattern)
            #expect(found.standardError.bitPattern == whole.standardErrors[0].bitPattern)
        }
    }

    @Test func pathsAreAddedUntilTheErrorIsAsWanted() throws {
        let oracle = MultiAsset(.himalaya)
        let place = oracle.descriptor.inputs.firstIndex { $0.name == "paths" }!
        let point = try row(oracle, three.merging(["paths": "2048"]) { $1 })
        let bad = point.indices.map { $0 == place ? point[$0] : -1 }
        let found = oracle.evaluate(point + bad, gradient: true, standardError: 1e-4)
        let loose = oracle.evaluate(point, gradient: false)
        #expect(found.statuses == [.ok, .invalid])
        #expect(found.standardErrors[0] <= 1e-4 && loose.standardErrors[0] > 1e-4)
        #expect(abs(found.prices[0] - loose.prices[0]) < 4 * loose.standardErrors[0])
        // No more paths than `paths` may have.
        let limited = MultiAsset(.everest, assets: 2)
        let terms = [
            "paths": "33554432", "maturityYears": "1", "rate": "0.03", "volatility.1": "0.2", "volatility.2": "0.3",
            "correlation.1.2": "0.4",
        ]
        #expect(
            limited.evaluate(try row(limited, terms), gradient: false, standardError: 1e-15).statuses == [.notConverged]
        )
    }

    @Test func aBadRowFailsAlone() throws {
        for product in MultiAsset.Product.allCases {
            let oracle = MultiAsset(product)
            let width = oracle.descriptor.inputs.count
            let good = try row(oracle, try table("\(product.rawValue)3")[0].merging(["paths": "2048"]) { $1 })
            let alone = oracle.evaluate(good, gradient: false)
            for bad in [Double.nan, .infinity, -1e300, 1e300] {
                for i in 0..<width {
                    var points = good + good
                    points[i] = bad
                    let found = oracle.evaluate(points, gradient: false)
                    #expect(found.prices[1].bitPattern == alone.prices[0].bitPattern)
                    #expect(found.statuses[0].hasPrice == found.prices[0].isFinite, "\(product) input \(i) = \(bad)")
                }
            }
        }
    }

    @Test func morePathsAreBetter() throws {
        let coarse = try price(MultiAsset(.himalaya), three.merging(["paths": "4096"]) { $1 })
        let fine = try price(MultiAsset(.himalaya), three.merging(["paths": "1048576"]) { $1 })
        #expect(fine.error < coarse.error / 8, "\(coarse) \(fine)")
    }
}
