import Foundation
import Pricing
import Regression
import Testing

/// Oracles against reference prices made independently (Tests/References/exotics.py), and against each other.
@Suite struct ClosedFormTests {
    /// An oracle's reference table: the columns that `cairn oracle price` reads, `price`, and `d_<input>` where known.
    private struct Table {
        var points: [Double] = []
        var prices: [Double] = []
        /// By input; empty where the table has none.
        var derivatives: [Int: [Double]] = [:]

        /// - Parameter name: of the table, if it is not the oracle's.
        init(_ oracle: any Oracle, name: String? = nil) throws {
            let name = name ?? oracle.descriptor.name
            let url = try #require(
                Bundle.module.url(forResource: name, withExtension: "csv", subdirectory: "Resources"))
            let lines = try String(contentsOf: url, encoding: .utf8).split(separator: "\n").map {
                $0.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
            }
            let inputs = oracle.descriptor.inputs
            for line in lines.dropFirst() {
                for input in inputs {
                    if let column = lines[0].firstIndex(of: input.name) {
                        points.append(try #require(input.value(of: line[column]), "\(name): \(line[column])"))
                    } else {
                        points.append(try #require(input.usual, "\(name) has no column \(input.name)"))
                    }
                }
                prices.append(Double(line[lines[0].firstIndex(of: "price")!])!)
                for (i, input) in inputs.enumerated() {
                    if let column = lines[0].firstIndex(of: "d_\(input.name)") {
                        derivatives[i, default: []].append(Double(line[column])!)
                    }
                }
            }
        }
    }

    static let oracles: [(oracle: any Oracle, tolerance: Double)] = [
        (Barrier(), 1e-10), (DiscreteBarrier(), 1e-10), (DoubleBarrier(), 1e-12), (Lookback(), 1e-12), (Asian(), 1e-8),
        (American(), 1e-6), (LocalVolatilityBarrier(), 1e-6), (HestonBarrier(), 2e-4),
    ]

    @Test(arguments: oracles.indices) func pricesAreThoseOfTheReferences(_ k: Int) throws {
        let (oracle, tolerance) = Self.oracles[k]
        let table = try Table(oracle)
        let name = oracle.descriptor.name
        let valuations = oracle.evaluate(table.points, gradient: false)
        #expect(table.prices.count >= 8 && valuations.prices.count == table.prices.count)
        var worst = (0.0, 0)
        for (row, (price, reference)) in zip(valuations.prices, table.prices).enumerated() {
            // Per 100 of spot: the references' spots are of that order.
            let error = abs(price - reference) / max(1, abs(reference) / 100)
            if !(error <= worst.0) { worst = (error, row) }
        }
        let width = oracle.descriptor.inputs.count
        let point = table.points[worst.1 * width..<(worst.1 + 1) * width]
        #expect(worst.0 <= tolerance, "\(name): \(worst.0) at \(Array(point)), reference \(table.prices[worst.1])")
    }

    @Test(arguments: oracles.indices) func derivativesAreThoseOfTheReferences(_ k: Int) throws {
        let (oracle, _) = Self.oracles[k]
        let table = try Table(oracle)
        guard oracle.descriptor.providesGradient, !table.derivatives.isEmpty else { return }
        let width = oracle.descriptor.inputs.count
        let valuations = oracle.evaluate(table.points, gradient: true)
        #expect(valuations.gradients.count == table.points.count)
        for (i, derivatives) in table.derivatives {
            var worst = (0.0, 0)
            for (row, reference) in derivatives.enumerated() where valuations.statuses[row] == .ok {
                let error = abs(valuations.gradients[row * width + i] - reference) / max(1, abs(reference))
                if !(error <= worst.0) { worst = (error, row) }
            }
            let input = oracle.descriptor.inputs[i].name
            let point = Array(table.points[worst.1 * width..<(worst.1 + 1) * width])
            #expect(
                worst.0 <= 1e-7,
                "\(oracle.descriptor.name), d_\(input): \(worst.0) at \(point), reference \(derivatives[worst.1])")
        }
    }

    /// A row's price and status do not depend on the rows beside it, and one bad row fails alone.
    @Test(arguments: oracles.indices) func aBadRowFailsAlone(_ k: Int) throws {
        let (oracle, _) = Self.oracles[k]
        let table = try Table(oracle)
        let width = oracle.descriptor.inputs.count
        let whole = oracle.evaluate(table.points, gradient: false)
        for bad in [Double.nan, .infinity, -1e300, 1e300] {
            for i in 0..<width {
                var points = Array(table.points.prefix(3 * width))
                points[width + i] = bad
                let found = oracle.evaluate(points, gradient: oracle.descriptor.providesGradient)
                for row in [0, 2] {
                    #expect(found.prices[row].bitPattern == whole.prices[row].bitPattern)
                    #expect(found.statuses[row] == whole.statuses[row])
                }
                if found.statuses[1].hasPrice {
                    #expect(found.prices[1].isFinite, "\(oracle.descriptor.name), input \(i) = \(bad)")
                } else {
                    #expect(found.prices[1].isNaN, "\(oracle.descriptor.name), input \(i) = \(bad)")
                }
            }
        }
        for row in 0..<3 {
            let alone = oracle.evaluate(Array(table.points[row * width..<(row + 1) * width]), gradient: false)
            #expect(alone.prices[0].bitPattern == whole.prices[row].bitPattern)
        }
    }

    @Test func testVectorsHold() {
        for oracle in builtInOracles {
            for vector in oracle.descriptor.testVectors {
                let price = oracle.evaluate(vector.inputs, gradient: false).prices[0]
                #expect(abs(price - vector.price) <= vector.tolerance, "\(oracle.descriptor.name): \(price)")
            }
        }
    }

    // MARK: Identities

    /// A row of an oracle's inputs from names and values; what is not named takes its usual value.
    private func row(_ oracle: any Oracle, _ terms: [String: String]) throws -> [Double] {
        try oracle.descriptor.inputs.map { input in
            guard let text = terms[input.name] else { return try #require(input.usual, "\(input.name)") }
            return try #require(input.value(of: text), "\(input.name) = \(text)")
        }
    }

    private func price(_ oracle: any Oracle, _ terms: [String: String]) throws -> Double {
        oracle.evaluate(try row(oracle, terms), gradient: false).prices[0]
    }

    private let market = [
        "spot": "100", "strike": "105", "maturityYears": "0.75", "volatility": "0.3", "rate": "0.05",
        "dividendYield": "0.02",
    ]

    private func vanilla(_ type: String) throws -> Double {
        // A barrier that is never reached.
        try price(
            Barrier(),
            market.merging(["optionType": type, "barrierType": "downAndOut", "barrier": "1e-3", "rebate": "0"]) { $1 })
    }

    @Test(arguments: ["call", "put"], ["down", "up"]) func inAndOutMakeAVanilla(type: String, side: String) throws {
        let barrier = side == "down" ? "90" : "120"
        func leg(_ kind: String) throws -> Double {
            try price(
                Barrier(),
                market.merging([
                    "optionType": type, "barrierType": "\(side)And\(kind)", "barrier": barrier, "rebate": "0",
                ]) { $1 })
        }
        let sum = try leg("In") + leg("Out")
        #expect(abs(sum - (try vanilla(type))) < 1e-11)
    }

    @Test func putCallParity() throws {
        let forward = 100 * exp(-0.02 * 0.75) - 105 * exp(-0.05 * 0.75)
        #expect(abs(try vanilla("call") - vanilla("put") - forward) < 1e-11)
    }

    @Test func moreMonitoringKnocksOutMore() throws {
        var last = Double.infinity
        for dates in [1, 2, 4, 12, 52, 250] {
            let price = try price(
                DiscreteBarrier(),
                market.merging([
                    "optionType": "call", "barrierType": "downAndOut", "barrier": "92", "rebate": "0",
                    "monitoringDates": "\(dates)",
                ]) { $1 })
            #expect(price < last)
            last = price
        }
        let continuous = try price(
            Barrier(),
            market.merging(["optionType": "call", "barrierType": "downAndOut", "barrier": "92", "rebate": "0"]) { $1 })
        #expect(last > continuous)
    }

    @Test func aWideCorridorIsNoBarrier() throws {
        for type in ["call", "put"] {
            let out = try price(
                DoubleBarrier(),
                market.merging([
                    "optionType": type, "barrierType": "knockOut", "lowerBarrier": "1", "upperBarrier": "10000",
                ]) { $1 })
            #expect(abs(out - (try vanilla(type))) < 1e-10)
        }
    }

    @Test func anAmericanOptionIsWorthItsExercise() throws {
        // At least the European option and the intrinsic value; the European call without dividends; symmetric in share and
        // strike, rate and yield.
        for spot in stride(from: 60.0, through: 160, by: 5) {
            let here = market.merging(["spot": "\(spot)"]) { $1 }
            let put = try price(American(), here.merging(["optionType": "put"]) { $1 })
            let european = try price(
                Barrier(),
                here.merging(["optionType": "put", "barrierType": "downAndOut", "barrier": "1e-3", "rebate": "0"]) {
                    $1
                })
            #expect(put >= european && put >= 105 - spot)
            let call = try price(
                American(),
                [
                    "optionType": "call", "spot": "105", "strike": "\(spot)", "maturityYears": "0.75",
                    "volatility": "0.3",
                    "rate": "0.02", "dividendYield": "0.05",
                ])
            #expect(abs(put - call) < 1e-12)
            let plain = here.merging(["optionType": "call", "dividendYield": "0"]) { $1 }
            let free = try price(
                Barrier(), plain.merging(["barrierType": "downAndOut", "barrier": "1e-3", "rebate": "0"]) { $1 })
            #expect(abs(try price(American(), plain) - free) < 1e-11)
        }
    }

    @Test func anAmericanOptionIsRightInTheCorners() throws {
        // A week and ten years, little and much volatility, yields above, at and below the rate, also negative ones.
        let table = try Table(American(), name: "americanCorners")
        let found = American().evaluate(table.points, gradient: false)
        #expect(table.prices.count == 84 && found.statuses.allSatisfy { $0 == .ok })
        for (row, (price, reference)) in zip(found.prices, table.prices).enumerated() {
            #expect(abs(price - reference) < 5e-8, "row \(row)")
        }
        // Where the rate is large beside the variance a long put is next to a perpetual one (Merton 1973).
        let put = try price(
            American(),
            [
                "optionType": "put", "spot": "100", "strike": "100", "maturityYears": "10", "volatility": "0.06",
                "rate": "0.1", "dividendYield": "0",
            ])
        let power = 2 * 0.1 / (0.06 * 0.06)
        let boundary = 100 * power / (power + 1)
        let perpetual = (100 - boundary) * exp(-power * log(100 / boundary))
        #expect(abs(put - perpetual) < 1e-7)
    }

    // MARK: Finite differences

    @Test(arguments: ["call", "put"], ["downAndOut", "upAndOut"]) func aGridTwiceAsFineIsFourTimesAsGood(
        type: String, barrierType: String
    ) throws {
        // Strike and barrier on nodes: second order also for payoffs that jump at the barrier; extrapolated, more.
        let terms = market.merging([
            "optionType": type, "barrierType": barrierType, "barrier": barrierType == "upAndOut" ? "130" : "80",
            "rebate": "0", "variance": "0.06", "reversion": "2", "meanVariance": "0.05", "varianceVolatility": "0.3",
            "correlation": "-0.5",
        ]) { $1 }
        let exact = try price(Barrier(), terms)
        func error(_ points: Int, _ extrapolation: String) throws -> Double {
            try price(
                LocalVolatilityBarrier(),
                terms.merging(["gridPoints": "\(points)", "extrapolation": extrapolation]) { $1 }) - exact
        }
        let ratio = try error(400, "none") / error(800, "none")
        #expect(ratio > 3.7 && ratio < 4.3, "\(ratio)")
        #expect(abs(try error(400, "richardson")) < 1e-6)

        let heston = try [64, 128, 256].map {
            try price(HestonBarrier(), terms.merging(["gridPoints": "\($0)", "extrapolation": "none"]) { $1 })
        }
        let shrink = (heston[1] - heston[0]) / (heston[2] - heston[1])
        #expect(shrink > 3 && shrink < 5, "\(heston)")
    }

    @Test func aBarrierWithoutDriftIsAReflection() throws {
        // Share and variance uncorrelated, no drift: Fourier integrals (Tests/References/heston_reflection.py), in all of
        // the domain and at a volatility of variance of 0.01; the last 24 where the tails of ln S are longest.
        let oracle = HestonBarrier()
        let table = try Table(oracle, name: "hestonReflection")
        let valuations = oracle.evaluate(table.points, gradient: false)
        #expect(table.prices.count == 56 && valuations.statuses.allSatisfy { $0 == .ok })
        for (row, (price, reference)) in zip(valuations.prices, table.prices).enumerated() {
            let width = oracle.descriptor.inputs.count
            let point = Array(table.points[row * width..<(row + 1) * width])
            #expect(abs(price - reference) < 2e-4, "\(price) \(reference) \(point)")
        }
    }

    @Test func derivativesStopAtKinks() throws {
        // A strike at the barrier leaves nothing to pay: the price is zero, and so is its derivative.
        let oracle = DiscreteBarrier()
        let terms = market.merging([
            "optionType": "put", "barrierType": "downAndOut", "monitoringDates": "12", "strike": "100",
            "barrier": "100",
            "rebate": "0", "volatility": "0.1", "maturityYears": "0.1",
        ]) { $1 }
        let valuations = oracle.evaluate(try row(oracle, terms), gradient: true)
        for (i, input) in oracle.descriptor.inputs.enumerated() where input.name == "strike" || input.name == "barrier"
        {
            #expect(abs(valuations.gradients[i]) < 1e-8, "\(input.name): \(valuations.gradients[i])")
        }
    }

    @Test(arguments: ["put", "call"]) func derivativesStopWhereExerciseBegins(type: String) throws {
        // Whatever the boundary, the price is homogeneous: of degree one in spot and strike, of degree none in (T, 1/σ², 1/r, 1/q).
        // A difference across the boundary, or a step too wide for a rate near none, breaks both.
        let oracle = American()
        let names = oracle.descriptor.inputs.map(\.name)
        for (maturity, volatility, rate, yield) in [
            (0.75, 0.3, 0.05, 0.02), (2, 0.1, 0.08, 0), (0.1, 0.6, 0.02, 0.07), (0.25, 0.15, 0.1, 0.1),
            (1, 0.4, 3e-4, 3e-4),
        ] where type == "put" || yield > 0 {
            func point(_ spot: Double) throws -> [Double] {
                try row(
                    oracle,
                    [
                        "optionType": type, "spot": "\(spot)", "strike": "100", "maturityYears": "\(maturity)",
                        "volatility": "\(volatility)", "rate": "\(rate)", "dividendYield": "\(yield)",
                    ])
            }
            // The boundary, by bisection.
            var (exercised, kept) = type == "put" ? (1e-3, 100.0) : (1e5, 100.0)
            for _ in 0..<45 {
                let middle = (exercised * kept).squareRoot()
                let price = oracle.evaluate(try point(middle), gradient: false).prices[0]
                if price <= abs(middle - 100) { exercised = middle } else { kept = middle }
            }
            for distance in [-1e-2, -1e-4, 1e-6, 1e-4, 1e-3, 1e-2, 0.3] {
                let spot = exercised * (type == "put" ? 1 + distance : 1 / (1 + distance))
                let found = oracle.evaluate(try point(spot), gradient: true)
                #expect(found.statuses[0] == .ok)
                func slope(_ name: String) -> Double { found.gradients[names.firstIndex(of: name)!] }
                let degree = spot * slope("spot") + 100 * slope("strike") - found.prices[0]
                let time =
                    maturity * slope("maturityYears") - 0.5 * volatility * slope("volatility") - rate * slope("rate")
                    - yield * slope("dividendYield")
                let what =
                    "\(type) \(maturity) \(volatility) \(rate) \(yield) at \(exercised) (1 + \(distance)): \(found)"
                #expect(abs(degree) < 1e-7 * max(spot, 100), "\(degree) \(what)")
                #expect(abs(time) < 1e-7 * max(spot, 100), "\(time) \(what)")
                if distance < 0 {
                    for name in ["maturityYears", "volatility", "rate", "dividendYield"] {
                        #expect(abs(slope(name)) < 1e-8, "\(name) \(what)")
                    }
                    #expect(abs(slope("spot") - (type == "put" ? -1 : 1)) < 1e-9, "\(what)")
                }
            }
        }
    }

    @Test func derivativesByARateNearNone() throws {
        // At a rate of none a put is never exercised early; close above it what exercise earns has grown little.
        let oracle = American()
        for (type, name, other) in [("put", "rate", "dividendYield"), ("call", "dividendYield", "rate")] {
            let terms = market.merging(["optionType": type, other: "0", "strike": "100"]) { $1 }
            let place = oracle.descriptor.inputs.firstIndex { $0.name == name }!
            func slope(_ rate: Double) throws -> Double {
                oracle.evaluate(try row(oracle, terms.merging([name: "\(rate)"]) { $1 }), gradient: true).gradients[
                    place]
            }
            func price(_ rate: Double) throws -> Double {
                try self.price(oracle, terms.merging([name: "\(rate)"]) { $1 })
            }
            // K T e^{−rT} N(−d₋) of a European put, S T e^{−qT} N(d₊) of a call, without the sign.
            let deviation = 0.3 * 0.75.squareRoot()
            let european = -75 * 0.5 * erfc(-0.5 * deviation / 2.squareRoot())
            let atNone = try slope(0)
            #expect(abs(atNone - european) < 1e-7, "\(type) \(atNone)")
            for rate in [1e-5, 1e-4, 2e-4, 5e-4, 2e-3] {
                // Three central differences, extrapolated.
                let d = [0.2, 0.1, 0.05].map { h in
                    try! (price(rate * (1 + h)) - price(rate * (1 - h))) / (2 * h * rate)
                }
                let (a, b) = ((4 * d[1] - d[0]) / 3, (4 * d[2] - d[1]) / 3)
                let reference = (16 * b - a) / 15
                let found = try slope(rate)
                #expect(abs(found - reference) < 1e-4 * abs(reference), "\(type) \(rate) \(found) \(reference)")
            }
        }
    }

    @Test func anAsianOfFewWildSteps() throws {
        // Three fixings in six years at a volatility of 1.4: steps of two standard deviations. By Gauss rules of 600 points on
        // 14 standard deviations of two growths, the last in closed form; 900 points agree within 2e-12.
        let price = try price(
            Asian(),
            [
                "optionType": "call", "fixings": "3", "spot": "83.87995005759663", "strike": "96.12024721317673",
                "maturityYears": "6.3652791933446595", "volatility": "1.4423970681771443",
                "rate": "0.014651695587595534",
                "dividendYield": "0",
            ])
        #expect(abs(price - 63.68186735058) < 1e-9, "\(price)")
    }

    @Test func anAsianWithOneFixingIsEuropean() throws {
        for type in ["call", "put"] {
            let asian = try price(Asian(), market.merging(["optionType": type, "fixings": "1"]) { $1 })
            #expect(abs(asian - (try vanilla(type))) < 1e-8)
        }
    }
}
