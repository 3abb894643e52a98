// Knock-out options where the volatility moves with the share: by finite differences.

internal import CKernels
public import Regression

/// Knock-out call or put, watched continuously, no rebate, under a local volatility σ(S) = `volatility` (S/`reference`)^`elasticity`,
/// the constant elasticity of variance, held within a quarter and four times `volatility`; elasticity 0 is Black and Scholes.
///
/// Method: a grid of ln S that is denser at the barrier, with barrier and strike on nodes, the payoff averaged over cells, second-order central
/// differences, Crank and Nicolson in time after four implicit half steps, which damp what the payoff's kink and its jump at
/// the barrier excite. Two grids, the second with halved steps in both directions, are extrapolated; `extrapolation` none
/// gives the price on the one of `gridPoints`, which converges with second order.
///
/// Source: J. Cox and S. Ross, Journal of Financial Economics 3 (1976); R. Rannacher, Numerische Mathematik 43 (1984);
/// M. Giles and R. Carter, Journal of Computational Finance 9 (2006); Tavella and Randall (2000).
///
/// Limits and extensions: a spot at or beyond the barrier is knocked out (`extended`, 0); where two grids differ by more than
/// 1e-3 of the price and 1e-4 of the strike, `notConverged`. Error: 1e-6 of the strike in the intervals that `describe` tells.
public struct LocalVolatilityBarrier: Oracle {
    public let descriptor = OracleDescriptor(
        name: "localVolatilityBarrier", version: "1",
        summary: "knock-out option under constant elasticity of variance, by finite differences",
        citation:
            "Cox and Ross, J. Financial Economics 3 (1976); Rannacher, Numerische Mathematik 43 (1984); Giles and Carter, "
            + "J. Comp. Finance 9 (2006)",
        inputs: [
            .optionType, .knockOut, .spot(), .strike, .barrier, .maturityYears, .volatility,
            .init(
                name: "elasticity", unit: "1", meaning: "of the volatility by the share's price", lower: -1, upper: 0,
                usual: 0),
            .init(
                name: "reference", unit: "currency", meaning: "price at which the volatility is as given", lower: 80,
                upper: 120, scale: .logarithmic, usual: 100),
            .rate, .dividendYield,
            .init(
                name: "gridPoints", unit: "1", meaning: "steps of the coarser grid, and twice its steps in time",
                lower: 50,
                upper: 3200, kind: .integer, usual: 400), .extrapolation,
        ],
        gradientMethod: OracleDescriptor.GradientMethod.none, costSeconds: 1e-3)

    public init() {}

    public func evaluate(_ points: [Double], gradient: Bool) -> Valuations {
        evaluateRows(descriptor, points, gradient: false) { words, x in
            price(words, x).map { (price: $0.price, gradient: [], status: $0.status) }
        }
    }

    private func price(_ words: [Int], _ x: [Double]) -> (price: Double, status: ValuationStatus)? {
        let (spot, strike, barrier, maturity, volatility) = (x[0], x[1], x[2], x[3], x[4])
        let (elasticity, reference, rate, yield) = (x[5], x[6], x[7], x[8])
        guard spot > 0, strike > 0, barrier > 0, maturity > 0, volatility > 0, reference > 0 else { return nil }
        let (isCall, isUp) = (words[0] == 0, words[1] == 1)
        if isUp ? spot >= barrier : spot <= barrier { return (0, .extended) }

        func local(_ price: Double) -> Double {
            volatility * min(max(ck_exp(elasticity * ck_log(price / reference)), 0.25), 4)
        }
        let here = abs(ck_log(spot / barrier))
        // The volatility three deviations further from the barrier, if that is larger.
        let root = maturity.squareRoot()
        let far = spot * ck_exp((isUp ? -3 : 3) * min(local(spot) * root, 100))
        let reach = here + 7 * max(local(spot), local(far)) * root + abs(rate - yield) * maturity
        guard reach < 600, reach > 1e-6 else { return (.nan, .nonFinite) }

        func solve(_ grid: BarrierGrid, _ steps: Int) -> Double {
            let volatilities = (0..<grid.count).map { local(grid.price($0)) }
            let diffusion = volatilities.map { 0.5 * $0 * $0 }
            let matrix = grid.rows(diffusion: diffusion, drift: diffusion.map { rate - yield - $0 }, rate: rate)
            let dt = maturity / Double(steps)
            var u = grid.payoff(isCall: isCall)
            let half = matrix.implicit(dt / 2)
            // Implicit half steps and Crank and Nicolson's whole ones have the same matrix.
            for _ in 0..<4 { u = half.solution(u) }
            for _ in 2..<steps { u = half.solution(matrix.applied(dt / 2, to: u, plus: u)) }
            let (first, weights) = grid.interpolation(at: spot)
            return weights.indices.reduce(0) { $0 + weights[$1] * u[first + $1] }
        }
        let grid = BarrierGrid(
            isUp: isUp, barrier: barrier, strike: strike, reach: reach, density: 0.25, points: words[2])
        return extrapolated(words[3] == 0, strike) { halved in
            halved ? solve(BarrierGrid(halving: grid), words[2]) : solve(grid, words[2] / 2)
        }
    }
}

/// The price of a second-order method from a grid and its halving, or of the grid alone.
func extrapolated(_ isExtrapolated: Bool, _ strike: Double, _ solve: (_ halved: Bool) -> Double)
    -> (price: Double, status: ValuationStatus)
{
    let coarse = solve(false)
    guard isExtrapolated else { return (coarse, .ok) }
    let fine = solve(true)
    let isClose = abs(fine - coarse) <= max(1e-3 * abs(fine), 1e-4 * strike)
    return (fine + (fine - coarse) / 3, isClose ? .ok : .notConverged)
}

extension OracleDescriptor.Input {
    static let knockOut = Self(
        name: "barrierType", meaning: "which way the barrier lies", choices: ["downAndOut", "upAndOut"])
    static let extrapolation = Self(
        name: "extrapolation", meaning: "from the grid and its halving, or the grid alone",
        choices: ["richardson", "none"])
}
