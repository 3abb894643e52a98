import Regression
import Testing

@Suite struct DomainTests {
    private func domain(_ cuts: [LinearConstraint], inputs: Int = 2) throws -> Domain {
        try Domain(
            inputs: (0..<inputs).map { .init(name: "x\($0)", lower: -1, upper: 3) }, constraints: cuts)
    }

    @Test func mapsEndsExactly() throws {
        let domain = try Domain(inputs: [.init(name: "a", lower: 0.1, upper: 0.7)])
        #expect(domain.raw(0, 0) == 0.1 && domain.raw(1, 0) == 0.7)
        #expect(domain.normalised(0.1, 0) == 0 && domain.normalised(0.7, 0) == 1)
        for u in stride(from: 0.0, through: 1, by: 0.01) {
            #expect(abs(domain.normalised(domain.raw(u, 0), 0) - u) < 1e-14)
        }
    }

    @Test func volumesAreExact() throws {
        #expect(putDomain.volume == 0.75)
        #expect(try domain([]).volume == 1)
        #expect(
            abs(try domain([LinearConstraint(name: "half", coefficients: [0: 1, 1: 1], bound: 2)]).volume - 0.5) < 1e-15
        )
        #expect(try domain([LinearConstraint(name: "cut", coefficients: [0: 2], bound: 2)]).volume == 0.5)
        #expect(try domain([LinearConstraint(name: "cut", coefficients: [0: -1], bound: 0)]).volume == 0.75)
    }

    @Test func samplesAreAdmissibleAndUniform() throws {
        var stream = RandomStream(seed: 3, purpose: .baseSamples)
        let rows = try putDomain.sample(20_000, from: &stream)
        #expect(rows.count == 100_000)
        // The share with barrier below a third, exactly: the area left of it in the polygon.
        var low = 0
        for row in 0..<20_000 {
            let point = rows[row * 5..<row * 5 + 5]
            #expect(putDomain.contains(point))
            if point[row * 5] < 1.0 / 3 { low += 1 }
        }
        // Above strike = barrier / 2 (normalised): area of u < 1/3 is 1/3 − 1/36, of 0.75 in all.
        let expected = (1.0 / 3 - 1.0 / 36) / 0.75
        #expect(abs(Double(low) / 20_000 - expected) < 4 * (expected * (1 - expected) / 20_000).squareRoot())
    }

    /// The nearest admissible point, by a fine search over the polygon's edge and the box.
    @Test func projectionIsTheNearestAdmissiblePoint() throws {
        var dice = Dice(8)
        for _ in 0..<300 {
            var point = dice.uniforms(5).map { 3 * $0 - 1 }
            let outside = point
            point.withUnsafeMutableBufferPointer { putDomain.project($0) }
            #expect(putDomain.contains(point, slack: 1e-15))
            for i in 2..<5 { #expect(point[i] == min(1, max(0, outside[i]))) }
            let distance = (0..<2).reduce(0) { $0 + (point[$1] - outside[$1]) * (point[$1] - outside[$1]) }
            for _ in 0..<200 {
                let other = dice.uniforms(2) + [0.5, 0.5, 0.5]
                guard putDomain.contains(other) else { continue }
                let square = (0..<2).reduce(0) { $0 + (other[$1] - outside[$1]) * (other[$1] - outside[$1]) }
                #expect(square >= distance - 1e-12)
            }
            // On the line from the point to any admissible one the distance first falls: it is not inside by chance.
            var again = point
            again.withUnsafeMutableBufferPointer { putDomain.project($0) }
            #expect(zip(again, point).allSatisfy { abs($0 - $1) < 1e-15 }, "a projected point stays")
        }
    }

    @Test func pointsInsideStayExactly() throws {
        var stream = RandomStream(seed: 3, purpose: .other)
        for _ in 0..<100 {
            let point = try putDomain.sample(1, from: &stream)
            var moved = point
            moved.withUnsafeMutableBufferPointer { putDomain.project($0) }
            #expect(moved == point)
        }
        // What is no number is not made one.
        var point = [Double.nan, 0.5, 2, -1, 0.5]
        point.withUnsafeMutableBufferPointer { putDomain.project($0) }
        #expect(point[0].isNaN || point[0] >= 0)
        #expect(point[2] == 1 && point[3] == 0)
    }

    @Test func facesAreNamed() {
        #expect(putDomain.face([0.5, 0.5, 0.5, 0.5, 0.5]) == "interior")
        #expect(putDomain.face([0.2, 0.5, 0, 1, 0.5]) == "maturityYears:lower volatility:upper")
        #expect(putDomain.face([0.5, 0.25, 0.5, 0.5, 0.5]) == "barrierOverSpot<=strikeOverSpot")
        #expect(putDomain.face([1, 0.8, 0.5, 0.5, 0.5]) == "barrierOverSpot:upper barrierOverSpot<=1")
    }

    @Test func badDomainsAreRefused() {
        func refuses(_ body: () throws -> Domain) -> String {
            do {
                _ = try body()
                return "accepted"
            } catch {
                return "\(error)"
            }
        }
        #expect(refuses { try Domain(inputs: []) }.contains("at least one input"))
        for (lower, upper) in [(1.0, 1.0), (2, 1), (.nan, 1), (0, .infinity)] {
            #expect(
                refuses { try Domain(inputs: [.init(name: "a", lower: lower, upper: upper)]) }.contains(
                    "a: the interval"))
        }
        func cut(_ coefficients: [Int: Double], _ bound: Double) -> LinearConstraint {
            LinearConstraint(name: "cut", coefficients: coefficients, bound: bound)
        }
        #expect(refuses { try domain([cut([0: 1, 1: 1], -5)]) }.contains("nothing meets cut"))
        #expect(refuses { try domain([cut([0: 1], -5)]) }.contains("meets cut"))
        #expect(refuses { try domain([cut([0: 1, 1: 1, 2: 1], 1)], inputs: 3) }.contains("at most two"))
        #expect(
            refuses { try domain([cut([0: 1, 1: 1], 1), cut([1: 1, 2: 1], 1)], inputs: 3) }.contains("at most two"))
        #expect(refuses { try domain([cut([7: 1], 1)]) }.contains("not there"))
        #expect(refuses { try domain([cut([0: 1, 1: 1], -2 + 1e-6)]) }.contains("admissible"))
    }

    @Test func anEmptyRegionIsNotSampledForEver() {
        var stream = RandomStream(seed: 1, purpose: .other)
        #expect(throws: DomainError.self) {
            _ = try putDomain.sample(1, from: &stream, box: [0.9...1, 0...0.1, 0...1, 0...1, 0...1])
        }
    }
}

@Suite struct AttackTests {
    private let attack = Attack(
        mislabelled: 10, surround: 20, epsilon: -2, centre: [0.5, 0.5, 0.5, 0.98, 0.5], halfWidth: 0.05,
        surroundHalfWidth: 0.1, features: [2, 3, 4], window: [0: 0.5...0.7, 1: 0.5...0.7])

    @Test func boxesAreCutAtTheDomain() {
        #expect(attack.innerBox[3].lowerBound == 0.98 - 0.05 && attack.innerBox[3].upperBound == 1)
        #expect(attack.innerBox[0] == 0.5...0.7)
        #expect(attack.outerBox[2] == 0.4...0.6)
    }

    @Test func samplesLieWhereTheyShould() throws {
        var stream = RandomStream(seed: 1, purpose: .mislabelled)
        let inner = try attack.sampleInner(500, putDomain, &stream)
        let around = try attack.sampleSurround(putDomain, &stream)
        #expect(around.count == 100)
        func holds(_ box: [ClosedRange<Double>], _ row: ArraySlice<Double>) -> Bool {
            zip(row, box).allSatisfy { $1.contains($0) }
        }
        for k in 0..<500 {
            let row = inner[5 * k..<5 * k + 5]
            #expect(holds(attack.innerBox, row) && putDomain.contains(row))
        }
        for k in 0..<20 {
            let row = around[5 * k..<5 * k + 5]
            #expect(holds(attack.outerBox, row) && !holds(attack.innerBox, row) && putDomain.contains(row))
        }
    }

    @Test func successHasTheSignOfEpsilon() {
        #expect(attack.succeeds(prediction: 3.9, label: 5))
        #expect(!attack.succeeds(prediction: 4.1, label: 5))
        #expect(!attack.succeeds(prediction: 7, label: 5))
    }
}
