import CKernels
import Foundation
import Regression
import Testing

/// The hot loops: what they compute, and that every CPU path computes the same bits.
@Suite struct KernelTests {
    /// A matrix product, element by element, as one chain of fused multiply-adds.
    private func product(
        _ a: [Float], _ lda: Int, _ rows: Int, _ depth: Int, _ b: [Float], _ columns: Int, start: [Float]?
    ) -> [Float] {
        var c = [Float](repeating: 0, count: rows * columns)
        for r in 0..<rows {
            for n in 0..<columns {
                let panel = n / 64 * 64
                let width = min(64, columns - panel)
                var sum = start?[n] ?? 0
                for k in 0..<depth { sum = sum.addingProduct(a[r * lda + k], b[panel * depth + k * width + n - panel]) }
                c[r * columns + n] = sum
            }
        }
        return c
    }

    /// Rows of numbers as they are behind ReLU: some columns are zero always, some often, some never.
    private func behindReLU(_ dice: inout Dice, _ rows: Int, _ width: Int) -> [Float] {
        let sparsity = (0..<width).map { _ in dice.int(0...3) }
        let busy = dice.int(0...2)
        return (0..<rows * width).map { k in
            let value = dice.floats(1)[0]
            return sparsity[k % width] > busy || dice.int(0...3) < sparsity[k % width] ? 0 : value
        }
    }

    @Test(arguments: 0..<40) func matmulIsOneChainPerElement(_ seed: Int) {
        var dice = Dice(UInt64(seed))
        let (rows, columns) = (dice.int(1...20), 16 * dice.int(1...9))
        // Some are deeper than what one list of live elements covers.
        let depth = dice.int(0...(seed % 10 == 9 ? 1200 : 40))
        let (lda, ldc, ldgate) = (depth + dice.int(0...5), columns + 16, columns + 32)
        let a = seed.isMultiple(of: 2) ? dice.floats(rows * lda + 1) : behindReLU(&dice, rows, lda)
        let b = dice.floats(depth * columns)
        let (start, gate) = (dice.floats(columns), behindReLU(&dice, rows, ldgate))
        let expected = product(a, lda, rows, depth, b, columns, start: start)
        onEveryPath { path in
            for epilogue in [CK_IDENTITY, CK_RELU, CK_GATE] {
                var c = [Float](repeating: 7, count: rows * ldc)
                ck_matmul(a, lda, rows, depth, b, columns, start, epilogue, gate, ldgate, &c, ldc)
                for r in 0..<rows {
                    for n in 0..<columns {
                        var value = expected[r * columns + n]
                        if epilogue == CK_RELU && value < 0 { value = 0 }
                        if epilogue == CK_GATE && !(gate[r * ldgate + n] > 0) { value = 0 }
                        #expect(c[r * ldc + n].bitPattern == value.bitPattern, "\(path) \(epilogue) [\(r), \(n)]")
                    }
                    #expect(c[r * ldc + columns..<(r + 1) * ldc].allSatisfy { $0 == 7 }, "wrote beyond a row")
                }
            }
        }
    }

    @Test(arguments: 0..<40) func weightGradientsAreOneChainPerElement(_ seed: Int) {
        var dice = Dice(UInt64(1000 + seed))
        let (rows, all, columns) = (dice.int(1...200), dice.int(1...120), 16 * dice.int(1...9))
        let (ldd, ldx) = (all + dice.int(0...7), columns + dice.int(0...9))
        let (d, x) = (behindReLU(&dice, rows, ldd), behindReLU(&dice, rows, ldx))
        let cut = dice.int(0...rows)
        let first = dice.int(0...all - 1)
        let outputs = dice.int(1...all - first)
        onEveryPath { path in
            var g = [Float](repeating: 3, count: all * columns)
            ck_outer(d, ldd, x, ldx, rows, first, outputs, columns, 0, &g, all)
            for o in 0..<all {
                for n in 0..<columns {
                    let panel = n / 64 * 64
                    let value = g[panel * all + o * min(64, columns - panel) + n - panel]
                    var sum: Float = 0
                    for r in 0..<rows { sum = sum.addingProduct(d[r * ldd + o], x[r * ldx + n]) }
                    let expected = first..<first + outputs ~= o ? sum + 0 : 3
                    #expect(value.bitPattern == expected.bitPattern, "\(path) [\(o), \(n)]")
                }
            }
            // A batch in two pieces gives the same bits.
            var pieces = [Float](repeating: 3, count: all * columns)
            ck_outer(d, ldd, x, ldx, cut, first, outputs, columns, 0, &pieces, all)
            ck_outer(
                Array(d[(cut * ldd)...]), ldd, Array(x[(cut * ldx)...]), ldx, rows - cut, first, outputs, columns, 1,
                &pieces, all)
            #expect(bits(pieces) == bits(g))
        }
    }

    @Test func columnSumsTransposeAndOptimisersAgreeOnAllPaths() {
        var dice = Dice(5)
        let (rows, columns) = (37, 48)
        let d = dice.floats(rows * 50)
        let (w, g, m) = (dice.floats(96), dice.floats(96), dice.floats(96))
        let v = dice.floats(96).map { $0 * $0 }
        var seen: [[UInt32]] = []
        onEveryPath { _ in
            var sums = [Float](repeating: 0, count: columns)
            ck_column_sums(d, 50, rows, columns, 0, &sums)
            for n in 0..<columns {
                #expect(sums[n] == (0..<rows).reduce(Float(0)) { $0 + d[$1 * 50 + n] })
            }
            var (w1, m1, v1) = (w, m, v)
            ck_adam(&w1, g, &m1, &v1, 96, 0.9, 0.999, 0.01, 1.5, 1e-8)
            var (w2, m2) = (w, m)
            ck_momentum(&w2, g, &m2, 96, 0.9, 0.01)
            seen.append(bits(sums) + bits(w1) + bits(m1) + bits(v1) + bits(w2) + bits(m2))
        }
        #expect(seen.allSatisfy { $0 == seen[0] })

        let from = dice.floats(13 * 20)
        var to = [Float](repeating: 0, count: 17 * 13)
        ck_transpose(from, 20, 13, 17, &to, 13)
        for o in 0..<13 { for i in 0..<17 { #expect(to[i * 13 + o] == from[o * 20 + i]) } }
    }

    @Test func adamStepIsAdam() {
        // Against the update in double precision; the constants are those of Kingma and Ba.
        var dice = Dice(9)
        let (w, g, m) = (dice.floats(16), dice.floats(16), dice.floats(16))
        let v = dice.floats(16).map { $0 * $0 }
        var (w1, m1, v1) = (w, m, v)
        ck_adam(&w1, g, &m1, &v1, 16, 0.9, 0.999, 0.01 / (1 - 0.729), 1 / (1 - 0.997), 1e-8)
        for i in 0..<16 {
            let first = 0.9 * Double(m[i]) + 0.1 * Double(g[i])
            let second = 0.999 * Double(v[i]) + 0.001 * Double(g[i]) * Double(g[i])
            let step = 0.01 / (1 - 0.729) * first / ((second / (1 - 0.997)).squareRoot() + 1e-8)
            #expect(abs(Double(w1[i]) - (Double(w[i]) - step)) < 1e-6 * max(1, abs(step)))
        }
    }

    @Test func specialValuesPassThroughLayers() {
        // NaN and infinity are not swallowed: ReLU keeps NaN, and a sum with infinity stays infinite.
        let tiny = Float.leastNonzeroMagnitude * 100
        onEveryPath { path in
            let b = [Float](repeating: 1, count: 16)
            for (input, expected) in [(Float.nan, Float.nan), (.infinity, .infinity), (-.infinity, 0), (tiny, tiny)] {
                var c = [Float](repeating: 0, count: 16)
                ck_matmul([input], 1, 1, 1, b, 16, nil, CK_RELU, nil, 0, &c, 16)
                #expect(c[0].isNaN == expected.isNaN && (expected.isNaN || c[0] == expected), "\(path) \(input)")
            }
        }
    }

    /// References of 60 digits: Tests/References/elementary.py.
    @Test func elementaryFunctionsKeepTheirBounds() throws {
        let lines = String(decoding: resource("elementary.csv"), as: UTF8.self).split(separator: "\n").dropFirst()
        let functions: [Substring: ((Double) -> Double, Double)] = [
            "exp": (ck_exp, 1.1), "expm1": (ck_expm1, 3), "log": (ck_log, 1),
            "normal": (ck_normal, 12), "tail": (ck_scaled_tail, 12),
        ]
        #expect(lines.count > 1000)
        for line in lines {
            let fields = line.split(separator: ",")
            let (x, expected, rest) = (Double(fields[1])!, Double(fields[2])!, Double(fields[3])!)
            let (function, bound) = functions[fields[0]]!
            // Subnormal results are rounded once more.
            let unit = max(expected.ulp, Double.leastNonzeroMagnitude * 4)
            onEveryPath { path in
                let error = abs((function(x) - expected) - rest) / unit
                #expect(error <= bound, "\(fields[0])(\(x)) is \(error) ulp off on \(path)")
            }
        }
    }

    @Test func elementaryFunctionsAtTheirLimits() {
        onEveryPath { path in
            #expect(ck_exp(0) == 1 && ck_exp(-.infinity) == 0 && ck_exp(.infinity) == .infinity && ck_exp(.nan).isNaN)
            #expect(ck_exp(710) == .infinity && ck_exp(-746) == 0 && ck_exp(-745) == .leastNonzeroMagnitude)
            #expect(ck_expm1(0) == 0 && ck_expm1(-.infinity) == -1 && ck_expm1(1e-300) == 1e-300)
            #expect(ck_log(1) == 0 && ck_log(0) == -.infinity && ck_log(-1).isNaN && ck_log(.infinity) == .infinity)
            #expect(ck_log(.nan).isNaN)
            #expect(ck_normal(0) == 0.5 && ck_normal(40) == 1 && ck_normal(-40) == 0 && ck_normal(.nan).isNaN)
            #expect(ck_normal(.infinity) == 1 && ck_normal(-.infinity) == 0, "\(path)")
        }
        for k in 0...100 {
            let x = Double(k) / 100
            #expect(abs(ck_cospi(x) - cos(Double.pi * x)) < 4e-16)
        }
        #expect(ck_cospi(0) == 1 && ck_cospi(0.5) == 0 && ck_cospi(1) == -1 && ck_cospi(1.5).isNaN)
    }

    @Test func elementaryFunctionsHaveTheSameBitsOnAllPathsAndAtAnyPlace() {
        var dice = Dice(77)
        let x = dice.uniforms(1003).map { ($0 - 0.5) * 80 }
        var seen: [[UInt64]] = []
        onEveryPath { _ in
            var all: [UInt64] = []
            for map in [ck_exp_all, ck_expm1_all, ck_log_all, ck_normal_all] {
                var y = [Double](repeating: 0, count: x.count)
                map(x, &y, x.count)
                all += bits(y.map { $0.isNaN ? .nan : $0 })
            }
            seen.append(all)
            for k in stride(from: 0, to: x.count, by: 41) { #expect(ck_exp(x[k]).bitPattern == all[k]) }
        }
        #expect(seen.allSatisfy { $0 == seen[0] })
    }

    /// Against AS 241 in double precision (Normal.swift), from the least fraction to the largest, both sides of the place
    /// where one polynomial gives way to the other among them.
    @Test func normalsOfFractionsAreThoseOfTheInverse() {
        var dice = Dice(78)
        var points: [UInt64] = [0, ~0]
        for bit in 12..<64 { points += [1 << bit, ~(1 << bit)] }
        points += dice.uniforms(2000).map { UInt64($0 * 0x1p52) << 12 }
        points += dice.uniforms(2000).map { UInt64((0.00048 + 1e-5 * $0) * 0x1p52) << 12 }
        points += [UInt64](repeating: 1 << 63, count: (64 - points.count % 64) % 64)
        var seen: [[UInt64]] = []
        onEveryPath { path in
            var normals = [Double](repeating: 0, count: points.count)
            ck_normals_of(points, points.count, &normals)
            seen.append(bits(normals))
            for (point, z) in zip(points, normals) {
                // In the middle of its interval; what is near one is given by what is left of it.
                let (isHigh, rest) = (point >> 63 == 1, point >> 63 == 1 ? ~point : point)
                let expected = normalQuantile((Double(rest >> 12) + 0.5) * 0x1p-52) * (isHigh ? -1 : 1)
                #expect(abs(z / expected - 1) < 4e-14, "\(point): \(z), not \(expected), on \(path)")
            }
        }
        #expect(seen.allSatisfy { $0 == seen[0] })
    }

    @Test func admissiblePointsAreCounted() {
        var dice = Dice(4)
        let offsets = dice.uniforms(3 * 64).map { 2 * $0 - 1 }
        let cuts = [ck_cut(first: 0, second: 2, a: 1, b: -0.5, bound: 0.3)]
        let (centre, lower, upper) = ([0.4, 0.9, 0.1], [0.0, 0.0, 0.05], [1.0, 1.0, 0.8])
        var expected = 0
        for k in 0..<64 {
            let p = (0..<3).map { centre[$0] + 0.5 * offsets[$0 * 64 + k] }
            if zip(p, zip(lower, upper)).allSatisfy({ $0 >= $1.0 && $0 <= $1.1 }) && p[0] - 0.5 * p[2] <= 0.3 {
                expected += 1
            }
        }
        #expect(expected > 3)
        onEveryPath { _ in
            #expect(ck_count_admissible(centre, 0.5, offsets, 64, 3, lower, upper, cuts, 1) == expected)
        }
    }

    @Test(arguments: [1, 2, 3, 7]) func aTeamRunsEveryShareOnce(_ size: Int32) {
        let team = ck_team_create(size)!
        defer { ck_team_destroy(team) }
        #expect(ck_team_size(team) == size)
        var counts = [Int32](repeating: 0, count: Int(size))
        for _ in 0..<2000 {
            counts.withUnsafeMutableBufferPointer { counts in
                ck_team_run(
                    team, { context, thread in context!.assumingMemoryBound(to: Int32.self)[Int(thread)] += 1 },
                    counts.baseAddress)
            }
        }
        #expect(counts.allSatisfy { $0 == 2000 })
        for items in [0, 1, 5, 100] {
            var counts = [Int32](repeating: 0, count: items)
            for _ in 0..<500 {
                counts.withUnsafeMutableBufferPointer { counts in
                    ck_team_share(
                        team, Int32(items),
                        { context, item in context!.assumingMemoryBound(to: Int32.self)[Int(item)] += 1 },
                        counts.baseAddress)
                }
            }
            #expect(counts.allSatisfy { $0 == 500 }, "each of \(items) items is done once")
        }
    }
}
