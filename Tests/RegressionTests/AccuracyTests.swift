import CKernels
import Regression
import Testing

/// What Docs/Numerics.md states about the single-precision kernels: their error against double precision, and what they do
/// with numbers that are not ordinary.
@Suite struct AccuracyTests {
    /// Half the distance from 1 to the next float.
    private let u = 0x1p-24
    /// Each of n roundings adds u of what is summed at that time; the last bit allows for what is not linear in u.
    private func bound(_ roundings: Int, _ magnitudes: Double) -> Double {
        Double(roundings) * u * magnitudes * 1.001 + 0x1p-149 * Double(roundings)
    }

    @Test(arguments: [1, 5, 128, 512, 3000]) func sumsKeepTheirBound(_ depth: Int) {
        var dice = Dice(UInt64(depth))
        let (rows, columns) = (7, 80)
        let a = dice.floats(rows * depth)
        let (b, start) = (dice.floats(depth * columns), dice.floats(columns))
        onEveryPath { path in
            // The portable path is slow.
            if path == .portable && depth > 200 { return }
            var c = [Float](repeating: 0, count: rows * columns)
            ck_matmul(a, depth, rows, depth, b, columns, start, CK_IDENTITY, nil, 0, &c, columns)
            var g = [Float](repeating: 0, count: rows * 64)
            // As gradients: the batch has `depth` rows, of `rows` outputs and 64 inputs.
            ck_outer(a, rows, b, 64, depth, 0, rows, 64, 0, &g, rows)
            var sums = [Float](repeating: 0, count: 16)
            ck_column_sums(b, 16, depth, 16, 0, &sums)
            for r in 0..<rows {
                for n in 0..<columns {
                    let panel = n / 64 * 64
                    let width = min(64, columns - panel)
                    var (exact, magnitudes) = (Double(start[n]), Double(abs(start[n])))
                    for k in 0..<depth {
                        let product = Double(a[r * depth + k]) * Double(b[panel * depth + k * width + n - panel])
                        exact += product
                        magnitudes += abs(product)
                    }
                    let error = abs(Double(c[r * columns + n]) - exact)
                    #expect(error <= bound(depth, magnitudes), "\(path) matmul [\(r), \(n)]: \(error)")
                }
                for n in 0..<64 {
                    var (exact, magnitudes) = (0.0, 0.0)
                    for k in 0..<depth {
                        let product = Double(a[k * rows + r]) * Double(b[k * 64 + n])
                        exact += product
                        magnitudes += abs(product)
                    }
                    let error = abs(Double(g[r * 64 + n]) - exact)
                    #expect(error <= bound(depth, magnitudes), "\(path) gradient [\(r), \(n)]: \(error)")
                }
            }
            for n in 0..<16 {
                let column = (0..<depth).map { Double(b[$0 * 16 + n]) }
                let error = abs(Double(sums[n]) - column.reduce(0, +))
                #expect(error <= bound(depth, column.reduce(0) { $0 + abs($1) }), "\(path) column \(n): \(error)")
            }
        }
    }

    @Test func stepsKeepTheirBounds() {
        var dice = Dice(31)
        let count = 4096
        let (w, g, m) = (dice.floats(count), dice.floats(count), dice.floats(count))
        let v = dice.floats(count).map { $0 * $0 }
        let (b1, b2, rate, scale, epsilon) = (Float(0.9), Float(0.999), Float(0.01), Float(1.5), Float(1e-8))
        onEveryPath { path in
            var (w1, m1, v1) = (w, m, v)
            ck_adam(&w1, g, &m1, &v1, count, b1, b2, rate, scale, epsilon)
            var (w2, m2) = (w, m)
            ck_momentum(&w2, g, &m2, count, b1, rate)
            for i in 0..<count {
                let (gradient, before) = (Double(g[i]), Double(m[i]))
                // The complements are taken in single precision: 1 - 0.999 has four digits of its own.
                let (new1, new2) = (Double(1 - b1), Double(1 - b2))
                let first = Double(b1) * before + new1 * gradient
                #expect(abs(Double(m1[i]) - first) <= bound(2, Double(b1) * abs(before) + new1 * abs(gradient)))
                let second = Double(b2) * Double(v[i]) + new2 * gradient * gradient
                #expect(abs(Double(v1[i]) - second) <= bound(3, second), "\(path) \(i)")
                // From the m and v that were stored, the step is within 6 roundings, and its subtraction within one.
                let root = (Double(v1[i]) * Double(scale)).squareRoot() + Double(epsilon)
                let step = Double(rate) * Double(m1[i]) / root
                let error = abs(Double(w1[i]) - (Double(w[i]) - step))
                #expect(error <= bound(6, abs(step)) + bound(1, abs(Double(w[i]) - step)), "\(path) \(i): \(error)")

                let velocity = Double(b1) * before + gradient
                #expect(abs(Double(m2[i]) - velocity) <= bound(1, abs(velocity)))
                let moved = Double(w[i]) - Double(rate) * Double(m2[i])
                #expect(abs(Double(w2[i]) - moved) <= bound(1, abs(moved)))
            }
        }
    }

    @Test func subnormalNumbersAreNumbers() {
        // No path flushes them: 2⁻¹⁴⁰ is counted, added and kept.
        let tiny = Float(sign: .plus, exponent: -140, significand: 1)
        onEveryPath { path in
            var c = [Float](repeating: 0, count: 16)
            ck_matmul([1, 1], 2, 1, 2, [Float](repeating: tiny, count: 32), 16, nil, CK_RELU, nil, 0, &c, 16)
            #expect(c.allSatisfy { $0 == 2 * tiny }, "\(path)")
            let gate = c
            ck_matmul([tiny], 1, 1, 1, [Float](repeating: 1, count: 16), 16, nil, CK_GATE, gate, 16, &c, 16)
            #expect(c.allSatisfy { $0 == tiny }, "\(path): a subnormal gate is open")
            var g = [Float](repeating: 0, count: 16)
            ck_outer([tiny], 1, [Float](repeating: 0.5, count: 16), 16, 1, 0, 1, 16, 0, &g, 1)
            #expect(g.allSatisfy { $0 == tiny / 2 }, "\(path)")
            ck_column_sums([Float](repeating: tiny, count: 48), 16, 3, 16, 0, &g)
            #expect(g.allSatisfy { $0 == 3 * tiny }, "\(path)")
        }
    }

    @Test func momentsBelowTheirLeastAreZero() {
        let least = Float(sign: .plus, exponent: -100, significand: 1)
        let zeros = [Float](repeating: 0, count: 32)
        onEveryPath { path in
            // Half of what is left of the moments is kept by the first 16 weights and too little by the others.
            var m = [Float](repeating: 2 * least, count: 16) + [Float](repeating: least, count: 16)
            var (v, w) = (m, zeros)
            ck_adam(&w, zeros, &m, &v, 32, 0.5, 0.5, 1, 1, 1e-8)
            let halves = [Float](repeating: least, count: 16) + zeros.prefix(16)
            #expect(m == halves && v == halves, "\(path)")
            #expect(w.prefix(16).allSatisfy { $0 < 0 } && w.suffix(16).allSatisfy { $0 == 0 }, "\(path)")
            // Without a moment, only v changes.
            (m, v, w) = (zeros, [Float](repeating: 1, count: 32), [Float](repeating: 3, count: 32))
            ck_adam(&w, zeros, &m, &v, 32, 0.5, 0.5, 1, 1, 1e-8)
            #expect(m == zeros && w.allSatisfy { $0 == 3 } && v.allSatisfy { $0 == 0.5 }, "\(path)")
            m = [Float](repeating: -2 * least, count: 16) + [Float](repeating: -least, count: 16)
            w = zeros
            ck_momentum(&w, zeros, &m, 32, 0.5, 1)
            #expect(m == halves.map { -$0 } && w == halves, "\(path)")
        }
    }

    @Test func whatIsNotFiniteStaysWhereItIsAndIsSeen() {
        onEveryPath { path in
            // One bad element of a reaches its row and no other; of b, its column.
            for bad in [Float.nan, .infinity, -.infinity] {
                var a = [Float](repeating: 1, count: 8 * 3)
                a[4 * 3 + 1] = bad
                let b = [Float](repeating: 0.5, count: 3 * 16)
                var c = [Float](repeating: 0, count: 8 * 16)
                ck_matmul(a, 3, 8, 3, b, 16, nil, CK_IDENTITY, nil, 0, &c, 16)
                for r in 0..<8 { for n in 0..<16 { #expect(c[r * 16 + n].isFinite == (r != 4), "\(path)") } }
                var g = [Float](repeating: 0, count: 3 * 16)
                ck_outer(a, 3, [Float](repeating: 1, count: 8 * 16), 16, 8, 0, 3, 16, 0, &g, 3)
                for o in 0..<3 { for n in 0..<16 { #expect(g[o * 16 + n].isFinite == (o != 1), "\(path)") } }
                var w = [Float](repeating: 1, count: 16)
                var (m, v) = ([Float](repeating: 0, count: 16), [Float](repeating: 0, count: 16))
                var gradient = [Float](repeating: 0.1, count: 16)
                gradient[3] = bad
                ck_adam(&w, gradient, &m, &v, 16, 0.9, 0.999, 0.01, 1, 1e-8)
                for i in 0..<16 { #expect(w[i].isFinite == (i != 3), "\(path): an infinite gradient gives no weight") }
            }
            // A gate is open only above zero: not at zero, and not where it is not a number.
            var gates = [Float](repeating: 1, count: 16)
            (gates[0], gates[1], gates[2], gates[3]) = (0, -0.0, .nan, -.infinity)
            gates[4] = .infinity
            var c = [Float](repeating: 0, count: 16)
            ck_matmul([2], 1, 1, 1, [Float](repeating: 3, count: 16), 16, nil, CK_GATE, gates, 16, &c, 16)
            for n in 0..<16 { #expect(c[n] == (n < 4 ? 0 : 6), "\(path)") }
            // Overflow is infinite, and a difference of infinities is not a number.
            let huge = Float.greatestFiniteMagnitude
            ck_matmul([huge, huge], 2, 1, 2, [Float](repeating: 2, count: 32), 16, nil, CK_RELU, nil, 0, &c, 16)
            #expect(c.allSatisfy { $0 == .infinity })
            ck_matmul(
                [.infinity, -.infinity], 2, 1, 2, [Float](repeating: 1, count: 32), 16, nil, CK_RELU, nil, 0, &c, 16)
            #expect(c.allSatisfy { $0.isNaN })
        }
    }

    @Test func trainingThatMeetsANumberThatIsNoneSaysSo() {
        let samples = Samples(dimension: 2, inputs: [0.1, 0.2, 0.3, 0.4], labels: [1, .infinity])
        let training = Training(
            Surrogate(dimension: 2, hidden: [5], randomSeed: 1), samples: samples,
            settings: TrainingSettings(batch: .full, epochs: 2), randomSeed: 1, run: 0, threads: 1)
        #expect(throws: TrainingDiverged.self) { try training.epoch() }
    }

    @Test func distancesAndCountsAreThoseOfPlainArithmetic() {
        var dice = Dice(12)
        for _ in 0..<50 {
            let (dimension, count) = (dice.int(1...9), dice.int(0...40))
            let stride = count + 8
            let (columns, x) = (dice.uniforms(stride * dimension), dice.uniforms(dimension))
            let limits = (0..<dice.int(0...19)).map { 0.03 * Double($0) }
            let expected = (0..<count).map { j in
                (0..<dimension).reduce(0.0) { sum, i in
                    let difference = columns[i * stride + j] - x[i]
                    return sum + difference * difference
                }
            }
            let within = limits.map { limit in 5 + expected.filter { $0 <= limit }.count }
            onEveryPath { path in
                var squares = [Double](repeating: -1, count: count + 1)
                ck_squared_distances(columns, stride, count, x, dimension, &squares)
                #expect(bits(Array(squares.dropLast())) == bits(expected) && squares[count] == -1, "\(path)")
                var counts = [Int](repeating: 5, count: limits.count)
                ck_count_within(columns, stride, count, x, dimension, limits, limits.count, &counts)
                #expect(counts == within, "\(path)")
            }
        }
    }
}
