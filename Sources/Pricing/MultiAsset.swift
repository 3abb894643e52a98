// Contracts on several shares, by randomised quasi-Monte Carlo.

internal import CKernels
public import Regression

/// Options on several shares under Black and Scholes with correlated Brownian motions.
///
/// X_i(t) = S_i(t)/S_i(0) is the performance of share i; means are over shares, K is the strike (of performances: 1 is at the
/// money), φ is 1 for a call and −1 for a put. Discounting is at the continuous rate from the date of payment.
///
/// - `himalaya`: at each of N equally spaced dates (N shares, the last date at maturity) the best live share is recorded as
///   Y_j = X_i(t_j) and removed. `selection`: best since the start, or since the last date (what is recorded is X since the
///   start in both cases). `floor` global: max(φ(mean Y − K), 0) at maturity; local: mean of max(φ(Y_j − K), 0), paid at
///   maturity or, with `payment` atFixings, each at its date. (A global floor paid at fixings makes no sense: `invalid`.)
/// - `basket`: max(φ(Σ w_i S_i(T) − K), 0), in currency.
/// - `rainbow`: max(φ(M − K), 0), M the highest (`rank` best) or lowest (worst) price S_i(T), in currency.
/// - `everest`: 1 + max(min X_i(T) − 1, guarantee).
/// - `atlas`: max(φ(mean − K), 0), the mean over what is left at maturity after `removeBest` and `removeWorst` shares.
/// - `altiplano`: the coupon, if no share is at or below the barrier at any of m equally spaced dates; else
///   max(φ(mean X(T) − K), 0). Paid at maturity.
/// - `autocallable`: at the first of m equally spaced dates t_j at which the worst performance is at or above
///   `autocallBarrier` it pays 1 + j · coupon and ends; at maturity 1 if the worst is at or above `protectionBarrier`, else
///   the worst performance.
///
/// Method: 32 independent scrambles of Sobol's net (52 bits), normals by inversion, Brownian bridges in time and Cholesky's
/// factor across shares; the Himalaya's last date is integrated in closed form, which halves its error. The price is the mean of
/// the scrambles' means and the standard error their spread. One set of paths, fixed by `randomSeed` and `paths`, serves
/// all inputs: prices are smooth in them as far as the payoff is, and derivatives are central differences on these paths.
/// Differentiating along the Himalaya's paths would be wrong: where two shares change ranks, the survivors jump.
///
/// Altiplano and autocallable jump where a share passes a level. Their factors are turned so that all shares rise alike with the
/// first one; at each date the chance that the contract goes on is a normal probability in that factor, and the path goes on
/// under the condition that it does (one-step survival). What a path pays is then continuous in all inputs.
///
/// Correlations: as they are (`correlationInput` plain; a matrix that is not positive definite is `invalid`), or as canonical
/// partial correlations, of i and j given 1 … i − 1, where every point of (−1, 1) is a correlation matrix, so that a step
/// stays inside (D. Lewandowski, D. Kurowicka and H. Joe, Journal of Multivariate Analysis 100 (2009)).
///
/// Sources: M. Overhaus, "Himalaya options", Risk 15 (2002); R. Quessette, "New products, new risks", Risk 15 (2002);
/// M. Bouzoubaa and A. Osseiran, *Exotic Options and Hybrids* (2010); R. Stulz, Journal of Financial Economics 10 (1982);
/// P. Glasserman, *Monte Carlo Methods in Financial Engineering* (2003), chapter 5; P. Glasserman and J. Staum, "Conditioning
/// on one-step survival for barrier option simulations", Operations Research 49 (2001); T. Alm, B. Harrach, D. Harrach and
/// M. Keller, "A Monte Carlo pricing algorithm for autocallables that allows for stable differentiation", Journal of
/// Computational Finance 17 (2013).
public struct MultiAsset: Oracle {
    /// The contracts.
    public enum Product: String, Sendable, Hashable, CaseIterable {
        case himalaya, basket, rainbow, everest, atlas, altiplano, autocallable
    }

    public let descriptor: OracleDescriptor
    public let product: Product
    public let assets: Int

    /// Where each input stands in a row.
    private let places: [String: Int]

    /// - Parameters:
    ///   - product: the contract.
    ///   - assets: number of shares, 2 to 16; for the Atlas from 3.
    public init(_ product: Product, assets: Int = 3) {
        precondition(Self.sizes(product).contains(assets), "\(product) on \(assets) shares")
        self.product = product
        self.assets = assets
        descriptor = Self.describe(product, assets)
        places = Dictionary(uniqueKeysWithValues: descriptor.inputs.enumerated().map { ($1.name, $0) })
    }

    private static func sizes(_ product: Product) -> ClosedRange<Int> {
        switch product {
        case .atlas: 3...Int(CK_ASSETS)
        default: 2...Int(CK_ASSETS)
        }
    }

    /// The same contract on another number of shares; nil if there is none such.
    public func resized(assets: Int) -> (any Oracle)? {
        Self.sizes(product).contains(assets) ? MultiAsset(product, assets: assets) : nil
    }

    private static func describe(_ product: Product, _ n: Int) -> OracleDescriptor {
        typealias Input = OracleDescriptor.Input
        func number(_ name: String, _ meaning: String, _ range: ClosedRange<Double>, usual: Double? = nil) -> Input {
            Input(
                name: name, unit: "1", meaning: meaning, lower: range.lowerBound, upper: range.upperBound, usual: usual)
        }
        func count(_ name: String, _ meaning: String, _ range: ClosedRange<Double>, usual: Double) -> Input {
            Input(
                name: name, unit: "1", meaning: meaning, lower: range.lowerBound, upper: range.upperBound,
                kind: .integer, usual: usual)
        }
        let strike = number("strike", "strike, of performances: 1 is at the money", 0.8...1.2, usual: 1)
        let money = Input.strike
        let coupon = number("coupon", "paid where the contract says", 0...0.2)
        let dates = count(
            "observationDates", "equally spaced dates, the last at maturity", 1...Double(SobolNumbers.coordinates / n),
            usual: 4)
        var inputs: [Input]
        let summary: String
        switch product {
        case .himalaya:
            summary = "option on the mean of the best performances, each share leaving when it was best"
            inputs = [
                .optionType,
                Input(
                    name: "selection", meaning: "best since the start or since the last date",
                    choices: ["sinceStart", "sinceLastFixing"]),
                Input(name: "floor", meaning: "on the mean or on each recorded value", choices: ["global", "local"]),
                Input(name: "payment", meaning: "when it is paid", choices: ["atMaturity", "atFixings"]), strike,
            ]
        case .basket:
            summary = "option on a weighted sum of shares"
            inputs = [.optionType, money]
        case .rainbow:
            summary = "option on the best or the worst of several shares"
            inputs = [
                .optionType,
                Input(name: "rank", meaning: "the highest or the lowest price", choices: ["best", "worst"]),
                money,
            ]
        case .everest:
            summary = "the worst performance of several shares, with a guarantee"
            inputs = [number("guarantee", "least return that is paid, −1 for none", -1...0.1, usual: 0)]
        case .atlas:
            summary = "option on the mean performance without the best and the worst shares"
            inputs = [
                .optionType, count("removeBest", "how many of the best leave", 0...Double(n - 1), usual: 1),
                count("removeWorst", "how many of the worst leave", 0...Double(n - 1), usual: 1), strike,
            ]
        case .altiplano:
            summary = "a coupon if no share falls to the barrier at any date, else an option on the mean"
            inputs = [
                .optionType, dates, strike, number("barrier", "of performances", 0.5...0.9), coupon,
            ]
        case .autocallable:
            summary = "note on the worst performance, called early with its coupons when that is high"
            inputs = [
                dates, number("autocallBarrier", "worst performance that calls", 0.9...1.2, usual: 1),
                number("protectionBarrier", "worst performance that still repays in full", 0.4...0.9), coupon,
            ]
        }
        inputs += [.maturityYears, .rate]
        for i in 1...n {
            inputs.append(
                Input(
                    name: "volatility.\(i)", unit: "1/yr^0.5", meaning: "volatility of share \(i)", lower: 0.1,
                    upper: 0.4))
        }
        for i in 1...n {
            inputs.append(
                Input(
                    name: "dividendYield.\(i)", unit: "1/yr", meaning: "continuous dividend yield of share \(i)",
                    lower: 0,
                    upper: 0.05, usual: 0))
        }
        if product == .basket || product == .rainbow {
            for i in 1...n {
                inputs.append(
                    Input(
                        name: "spot.\(i)", unit: "currency", meaning: "price of share \(i) today", lower: 80,
                        upper: 120,
                        scale: .logarithmic, usual: 100))
            }
        }
        if product == .basket {
            for i in 1...n {
                inputs.append(number("weight.\(i)", "number of shares \(i)", 0...1, usual: 1 / Double(n)))
            }
        }
        for i in 1..<n {
            for j in i + 1...n {
                inputs.append(number("correlation.\(i).\(j)", "correlation of shares \(i) and \(j)", 0...0.6))
            }
        }
        inputs += [
            Input(
                name: "correlationInput", meaning: "correlations, or partial ones, of which any numbers make a matrix",
                choices: ["plain", "partial"]),
            count("paths", "number of paths, rounded up to a power of two", 2048...67_108_864, usual: 131_072),
            count("randomSeed", "of the paths", 0...2_147_483_647, usual: 1),
        ]
        let isStepwise = product == .altiplano || product == .autocallable
        return OracleDescriptor(
            name: product.rawValue, version: isStepwise ? "2" : "1", summary: summary,
            citation:
                "Overhaus, Risk 15 (2002); Quessette, Risk 15 (2002); Bouzoubaa and Osseiran, Exotic Options and Hybrids "
                + "(2010); Glasserman, Monte Carlo Methods in Financial Engineering (2003), ch. 5"
                + (isStepwise ? "; Glasserman and Staum, Operations Research 49 (2001)" : ""),
            inputs: inputs, gradientMethod: .commonPaths, isStochastic: true, pathsInput: "paths",
            costSeconds: 2e-9 * 131_072 * Double(n * n))
    }

    // MARK: One contract

    /// A contract, ready for the kernel but for its arrays' addresses.
    private struct Terms {
        var contract = ck_basket()
        var dates = 0
        var log2Paths = 6
        var seed: UInt64 = 1
        var (drifts, factors, discounts, weights) = ([Double](), [Double](), [Double](), [Double]())
        var (lastDrifts, lastDeviations) = ([Double](), [Double]())
    }

    /// A row's contract; nil if it makes no sense.
    private func terms(_ row: ArraySlice<Double>) -> Terms? {
        let start = row.startIndex
        func input(_ name: String) -> Double { row[start + places[name]!] }
        func optional(_ name: String) -> Double? { places[name].map { row[start + $0] } }
        for (x, input) in zip(row, descriptor.inputs) {
            guard x.isFinite else { return nil }
            guard input.kind == .continuous || (x == x.rounded() && x >= input.lower && x <= input.upper) else {
                return nil
            }
        }
        let n = assets
        let (maturity, rate) = (input("maturityYears"), input("rate"))
        guard maturity > 0 else { return nil }
        let volatilities = (1...n).map { input("volatility.\($0)") }
        let yields = (1...n).map { input("dividendYield.\($0)") }
        guard volatilities.allSatisfy({ $0 >= 0 }), let matrix = cholesky(input) else { return nil }

        var terms = Terms()
        let perScramble = input("paths") / Double(SobolNet.scrambles)
        while Double(1 << terms.log2Paths) < perScramble { terms.log2Paths += 1 }
        terms.seed = UInt64(input("randomSeed"))
        terms.contract.strike = optional("strike") ?? 0
        terms.contract.sign = optional("optionType") == 1 ? -1 : 1
        terms.contract.coupon = optional("coupon") ?? 0
        // Positive strikes: what is paid against a negative one is no option.
        guard terms.contract.strike >= 0 else { return nil }

        // Fractions of the maturity at which paths stand.
        var times = [1.0]
        switch product {
        case .himalaya:
            let (floor, payment) = (input("floor"), input("payment"))
            guard floor == 1 || payment == 0 else { return nil }
            times = (1..<n).map { Double($0) / Double(n) }
            terms.contract.product = CK_HIMALAYA
            terms.contract.since_last = Int32(input("selection"))
            terms.contract.local_floor = Int32(floor)
            terms.discounts = (1...n).map {
                ck_exp(-rate * maturity * (payment == 1 ? Double($0) / Double(n) : 1))
            }
            let step = maturity / Double(n)
            terms.lastDeviations = volatilities.map { $0 * step.squareRoot() }
            terms.lastDrifts = (0..<n).map { (rate - yields[$0] - 0.5 * volatilities[$0] * volatilities[$0]) * step }
        case .basket:
            let (spots, weights) = ((1...n).map { input("spot.\($0)") }, (1...n).map { input("weight.\($0)") })
            guard spots.allSatisfy({ $0 > 0 }) else { return nil }
            terms.contract.product = CK_BASKET
            terms.weights = zip(spots, weights).map(*)
        case .rainbow:
            let spots = (1...n).map { input("spot.\($0)") }
            guard spots.allSatisfy({ $0 > 0 }) else { return nil }
            terms.contract.product = input("rank") == 0 ? CK_BEST : CK_WORST
            terms.weights = spots.map(ck_log)
        case .everest:
            guard input("guarantee") >= -1 else { return nil }
            terms.contract.product = CK_EVEREST
            terms.contract.strike = 1 + input("guarantee")
        case .atlas:
            let (best, worst) = (Int32(input("removeBest")), Int32(input("removeWorst")))
            guard Int(best + worst) < n else { return nil }
            terms.contract.product = CK_ATLAS
            (terms.contract.drop_best, terms.contract.drop_worst) = (best, worst)
        case .altiplano, .autocallable:
            let count = Int(input("observationDates"))
            times = (1...count).map { Double($0) / Double(count) }
            let level = input(product == .altiplano ? "barrier" : "autocallBarrier")
            guard level > 0 else { return nil }
            terms.contract.product = product == .altiplano ? CK_ALTIPLANO : CK_AUTOCALLABLE
            terms.contract.barrier = ck_log(level)
            if product == .autocallable {
                guard input("protectionBarrier") > 0 else { return nil }
                terms.contract.protection = ck_log(input("protectionBarrier"))
            }
        }
        terms.dates = times.count
        if terms.discounts.isEmpty { terms.discounts = times.map { ck_exp(-rate * maturity * $0) } }
        for time in times {
            for i in 0..<n {
                let drift = rate - yields[i] - 0.5 * volatilities[i] * volatilities[i]
                terms.drifts.append(drift * maturity * time)
            }
        }
        let factors = isStepwise ? Self.risingTogether(matrix, n) : matrix
        for i in 0..<n {
            for a in 0..<n { terms.factors.append(factors[i * n + a] * volatilities[i] * maturity.squareRoot()) }
        }
        return terms
    }

    /// The lower triangle L with L Lᵀ the correlation matrix; nil if there is none.
    private func cholesky(_ input: (String) -> Double) -> [Double]? {
        let n = assets
        let isPartial = input("correlationInput") == 1
        var l = [Double](repeating: 0, count: n * n)
        for i in 0..<n {
            var rest = 1.0
            for j in 0..<i {
                let r = input("correlation.\(j + 1).\(i + 1)")
                guard abs(r) <= 1 else { return nil }
                if isPartial {
                    l[i * n + j] = r * rest.squareRoot()
                } else {
                    var sum = r
                    for k in 0..<j { sum -= l[i * n + k] * l[j * n + k] }
                    let pivot = l[j * n + j]
                    // A share that others determine leaves nothing to be correlated with.
                    guard pivot > 1e-8 || abs(sum) < 1e-8 else { return nil }
                    l[i * n + j] = pivot > 1e-8 ? sum / pivot : 0
                }
                rest -= l[i * n + j] * l[i * n + j]
            }
            guard rest > -1e-10 else { return nil }
            l[i * n + i] = max(rest, 0).squareRoot()
        }
        return l
    }

    /// Whether the payoff jumps along a path, so that paths go step by step under the condition that the contract goes on.
    private var isStepwise: Bool { product == .altiplano || product == .autocallable }

    /// L Q for a lower triangle L and an orthogonal Q whose first column e makes all rows equal in the first factor, and as
    /// large as can be: L e is a multiple of (1, 1, …). Where no direction does that (two shares that move against each
    /// other), L is singular, and e is a direction that it sends to zero. Q is a reflection, which moves smoothly with L.
    private static func risingTogether(_ l: [Double], _ n: Int) -> [Double] {
        /// The entry of y that makes row i of L y what it should be.
        func solved(_ i: Int, _ y: [Double], _ right: Double) -> Double {
            right - (0..<i).reduce(0) { $0 + l[i * n + $1] * y[$1] }
        }
        let isZero = (0..<n).map { l[$0 * n + $0] <= 1e-8 }
        var e = [Double](repeating: 0, count: n)
        var hasDirection = true
        for i in 0..<n {
            let rest = solved(i, e, 1)
            if !isZero[i] { e[i] = rest / l[i * n + i] } else if abs(rest) > 1e-6 { hasDirection = false }
        }
        if !hasDirection, let last = isZero.lastIndex(of: true) {
            e = [Double](repeating: 0, count: n)
            e[last] = 1
            for i in last + 1..<n { e[i] = solved(i, e, 0) / l[i * n + i] }
        }
        let length = e.reduce(0) { $0 + $1 * $1 }.squareRoot()
        // Householder: v = (1, 0, …) ± e, of which the sign is taken that does not cancel.
        let sign = e[0] >= 0 ? 1.0 : -1
        var v = e.map { sign * $0 / length }
        v[0] += 1
        let scale = v.reduce(0) { $0 + $1 * $1 } / 2
        return (0..<n).flatMap { i in
            let along = (0..<n).reduce(0) { $0 + l[i * n + $1] * v[$1] } / scale
            return (0..<n).map { sign * (along * v[$0] - l[i * n + $0]) }
        }
    }

    // MARK: Batches

    public func evaluate(_ points: [Double], gradient: Bool) -> Valuations {
        let width = descriptor.inputs.count
        precondition(points.count.isMultiple(of: width), "\(points.count) numbers are no rows of \(width)")
        let count = points.count / width
        let varied = gradient ? descriptor.inputs.indices.filter { descriptor.inputs[$0].kind == .continuous } : []

        // Each row, and its neighbours for the differences: all on the same paths.
        var all: [Terms] = []
        var here = [Int?](repeating: nil, count: count)
        var sides = [[(low: Int?, high: Int?, width: Double)]](repeating: [], count: count)
        for k in 0..<count {
            let row = points[k * width..<(k + 1) * width]
            guard let terms = terms(row) else { continue }
            here[k] = all.count
            all.append(terms)
            for i in varied {
                var step = step(descriptor.inputs[i].name, row[row.startIndex + i])
                func moved(_ sign: Double) -> Int? {
                    var row = row
                    row[row.startIndex + i] += sign * step
                    guard let terms = self.terms(row) else { return nil }
                    all.append(terms)
                    return all.count - 1
                }
                var (low, high) = (moved(-1), moved(1))
                // A correlation may have little room between the others.
                for _ in 0..<3 where low == nil && high == nil {
                    step /= 10
                    (low, high) = (moved(-1), moved(1))
                }
                sides[k].append((low, high, step * (low == nil || high == nil ? 1 : 2)))
            }
        }
        let sums = Self.sums(all, assets: assets)
        let (means, errors) = (sums.map(\.price), sums.map(\.standardError))

        var result = Valuations(prices: [], statuses: [])
        for k in 0..<count {
            guard let place = here[k] else {
                result.prices.append(.nan)
                result.standardErrors.append(.nan)
                result.statuses.append(.invalid)
                if gradient { result.gradients += [Double](repeating: .nan, count: width) }
                continue
            }
            var slopes = [Double](repeating: 0, count: gradient ? width : 0)
            for (j, i) in varied.enumerated() {
                let side = sides[k][j]
                slopes[i] = (means[side.high ?? place] - means[side.low ?? place]) / side.width
            }
            let isFinite = means[place].isFinite && errors[place].isFinite && slopes.allSatisfy(\.isFinite)
            result.prices.append(isFinite ? means[place] : .nan)
            result.standardErrors.append(isFinite ? errors[place] : .nan)
            result.statuses.append(isFinite ? .ok : .nonFinite)
            result.gradients += isFinite ? slopes : slopes.map { _ in .nan }
        }
        return result
    }

    /// How far differences go. Himalaya's ranks change with its inputs, where the derivative is a density that a step must be
    /// wide enough to see; the others are continuous along each path.
    private func step(_ name: String, _ x: Double) -> Double {
        let share = product == .himalaya ? 1e-2 : 1e-3
        if name == "strike" || name.hasPrefix("spot") { return 1e-3 * max(abs(x), 1e-3) }
        if name.hasPrefix("correlation") { return share }
        if name.hasPrefix("volatility") || name == "maturityYears" { return share * max(abs(x), 1e-2) }
        return share * 0.1
    }

    /// What the paths of each contract pay, contracts of one path set together.
    ///
    /// - Parameter earlier: for a single contract, what fewer of its paths paid.
    private static func sums(_ all: [Terms], assets: Int, after earlier: PathSums? = nil) -> [PathSums] {
        struct PathSet: Hashable {
            var dates: Int
            var log2Paths: Int
            var seed: UInt64
            var isHimalaya: Bool
        }
        var groups: [PathSet: [Int]] = [:]
        var order: [PathSet] = []
        for (k, terms) in all.enumerated() {
            let set = PathSet(
                dates: terms.dates, log2Paths: terms.log2Paths, seed: terms.seed,
                isHimalaya: terms.contract.product == CK_HIMALAYA)
            if groups[set] == nil { order.append(set) }
            groups[set, default: []].append(k)
        }
        var found = [PathSums?](repeating: nil, count: all.count)
        for set in order {
            let members = groups[set]!
            let net = SobolNet(coordinates: assets * set.dates, log2Paths: set.log2Paths, seed: set.seed)
            let last = set.isHimalaya ? Double(assets) : Double(set.dates)
            let bridge = brownianBridge(times: (1...set.dates).map { Double($0) / last })
            // All arrays of all contracts in one, so that addresses stay put.
            var numbers: [Double] = []
            var starts: [Int] = []
            for k in members {
                let terms = all[k]
                for array in [
                    terms.drifts, terms.factors, terms.discounts, terms.weights, terms.lastDrifts, terms.lastDeviations,
                ] {
                    starts.append(numbers.count)
                    numbers += array
                }
            }
            // Scramble by scramble, eight for each contract.
            var sums: [Double] = []
            numbers.withUnsafeBufferPointer { numbers in
                let contracts = members.enumerated().map { position, k -> ck_basket in
                    func array(_ i: Int) -> UnsafePointer<Double> { numbers.baseAddress! + starts[6 * position + i] }
                    var contract = all[k].contract
                    (contract.assets, contract.dates) = (assets, set.dates)
                    (contract.drifts, contract.factors, contract.discounts) = (array(0), array(1), array(2))
                    (contract.weights, contract.last_drifts, contract.last_deviations) = (array(3), array(4), array(5))
                    return contract
                }
                let blocks = 1 << (set.log2Paths - 6)
                for scramble in 0..<SobolNet.scrambles {
                    var some =
                        earlier.map { Array($0.sums[8 * scramble..<8 * scramble + 8]) }
                        ?? [Double](repeating: 0, count: 8 * members.count)
                    let done = ck_basket_sums(
                        contracts, contracts.count, assets, set.dates, bridge, net.directions[scramble],
                        net.shifts[scramble], Int32(set.log2Paths), earlier.map { 1 << ($0.log2Paths - 6) } ?? 0,
                        blocks,
                        &some)
                    sums += done == 0 ? some : some.map { _ in .nan }
                }
            }
            for (position, k) in members.enumerated() {
                var mine: [Double] = []
                for scramble in 0..<SobolNet.scrambles {
                    let start = 8 * (scramble * members.count + position)
                    mine += sums[start..<start + 8]
                }
                found[k] = PathSums(log2Paths: set.log2Paths, sums: mine)
            }
        }
        return found.map { $0! }
    }

    // MARK: As many paths as it takes

    /// Prices a row on more paths than before, or from none on.
    ///
    /// - Parameters:
    ///   - row: one row; its `paths` (rounded up as always) says how many paths there shall be.
    ///   - earlier: what the same row gave on fewer paths. They are not made again, and the sums are those, to the bit, of
    ///     all paths at once.
    /// - Returns: nil if the row makes no sense.
    public func sums(_ row: [Double], after earlier: PathSums? = nil) -> PathSums? {
        guard let terms = terms(row[...]) else { return nil }
        if let earlier, earlier.log2Paths >= terms.log2Paths { return earlier }
        return Self.sums([terms], assets: assets, after: earlier)[0]
    }

    /// Prices each row on twice as many paths until its standard error is as wanted, from its own `paths` on.
    ///
    /// - Parameter standardError: the largest that will do; a row that does not reach it with the most paths that `paths`
    ///   may have is `notConverged`.
    public func evaluate(_ points: [Double], gradient: Bool, standardError wanted: Double) -> Valuations {
        let (width, place) = (descriptor.inputs.count, places["paths"]!)
        var rows = points
        var missed: [Int] = []
        for (k, start) in stride(from: 0, to: points.count, by: width).enumerated() {
            var row = Array(points[start..<start + width])
            var sums = sums(row)
            while let found = sums, found.standardError > wanted, 2 * row[place] <= descriptor.inputs[place].upper {
                row[place] *= 2
                sums = self.sums(row, after: found)
            }
            if let sums, sums.standardError > wanted { missed.append(k) }
            rows.replaceSubrange(start..<start + width, with: row)
        }
        var result = evaluate(rows, gradient: gradient)
        for k in missed where result.statuses[k] == .ok { result.statuses[k] = .notConverged }
        return result
    }
}
