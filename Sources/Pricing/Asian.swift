// Options on an average price.

internal import CKernels
public import Regression

/// Call and put on the arithmetic mean of a share's prices at n equally spaced dates, the last at maturity:
/// max(mean − K, 0) with mean = (S(T/n) + S(2T/n) + … + S(T))/n. Black and Scholes with a dividend yield.
///
/// The sum is S R₁(1 + R₂(1 + … R_n)) with independent growths R. From the last backwards, the density of
/// ln Xⱼ = ln Rⱼ + ln(1 + Xⱼ₊₁) follows from that of ln Xⱼ₊₁ by one integral, which the trapezoidal rule on half a standard
/// deviation integrates to the last digit, as everything is analytic; the first growth is integrated in closed form.
///
/// Source: A. P. Carverhill and L. J. Clewlow, "Flexible convolution", Risk 3 (1990); E. Benhamou, "Fast Fourier transform
/// for discrete Asian options", Journal of Computational Finance 6 (2002).
///
/// Spot, strike must be positive, maturity and volatility not negative, else `invalid`. Error: 1e-11 of the spot.
public struct Asian: SmoothOracle {
    public let descriptor = OracleDescriptor(
        name: "asian", version: "2",
        summary: "option on the arithmetic mean of n equally spaced prices, by convolution",
        citation: "Carverhill and Clewlow, Flexible convolution, Risk 3 (1990); Benhamou, J. Comp. Finance 6 (2002)",
        inputs: [
            .optionType,
            .init(
                name: "fixings", unit: "1", meaning: "number of equally spaced dates, the last at maturity", lower: 1,
                upper: 1000, kind: .integer, usual: 12),
            .spot(), .strike, .maturityYears, .volatility, .rate, .dividendYield,
        ],
        gradientMethod: .differences, costSeconds: 5e-4)

    public init() {}

    func reach(_ words: [Int], _ x: [Double]) -> [Double] {
        let s = x[3] * x[2].squareRoot()
        return [1e-2 * x[0] * min(1, s), 1e-2 * x[1] * min(1, s), 5e-3 * x[2], 5e-3 * x[3], 5e-3 * s, 5e-3 * s].map {
            max($0, 1e-9)
        }
    }

    func price(_ words: [Int], _ x: [Double]) -> (price: Double, status: ValuationStatus)? {
        let (isCall, count) = (words[0] == 0, words[1])
        let (spot, strike, maturity, volatility, rate, yield) = (x[0], x[1], x[2], x[3], x[4], x[5])
        guard spot > 0, strike > 0, maturity >= 0, volatility >= 0 else { return nil }
        let n = Double(count)
        let step = maturity / n
        func option(_ factor: Double) -> Double {
            vanilla(
                isCall: isCall, spot: spot * factor / n, strike: strike, maturity: step, volatility: volatility,
                rate: rate, dividendYield: yield)
        }
        if count == 1 { return (option(1), .ok) }
        let deviation = volatility * step.squareRoot()
        let drift = (rate - yield) * step - 0.5 * deviation * deviation
        let discount = ck_exp(-rate * step * (n - 1))
        guard deviation > 1e-9 else {
            var sum = 1.0
            for _ in 1..<count { sum = 1 + ck_exp(drift) * sum }
            return (discount * option(sum), .ok)
        }
        // The density of ln X of the last n − 1 growths. Where drift and volatility are so far apart that the grid would not
        // end, there is no price.
        // ln(1 + e^z) is analytic within ±π of the real line only.
        let h = min(0.5 * deviation, 0.5)
        guard deviation < 1e3, abs(drift) < 1e9 * h else { return (.nan, .nonFinite) }
        var low = (-9 * deviation + drift) / h
        low = low.rounded(.down)
        var density = (0...Int((18 * deviation / h).rounded(.up)) + 1).map { i in
            Double.density(0, ((low + Double(i)) * h - drift) / deviation) / deviation
        }
        for terms in 2..<max(count, 2) where count > 2 {
            let k = Double(terms)
            let spread = 9 * deviation * k.squareRoot()
            let below = ((ck_log(k) + min(drift, k * drift) - spread) / h).rounded(.down)
            let above = (ck_log(k) + max(drift, k * drift) + spread + k * deviation * deviation) / h
            let points = (above - below).rounded(.up)
            guard points < 500_000, points * n < 2e7 else { return (.nan, .nonFinite) }
            var next = [Double](repeating: 0, count: Int(points) + 1)
            let reach = Int((9 * deviation / h).rounded(.up))
            // e^{−z²/2} on points at distance h/deviation: neighbours differ by a factor that itself changes by a factor.
            let ratio = h / deviation
            let bend = ck_exp(-ratio * ratio)
            for (m, mass) in density.enumerated() where mass > 0 {
                let centre = drift + log1pExp((low + Double(m)) * h)
                let nearest = (centre / h).rounded()
                let z = (nearest * h - centre) / deviation
                let peak = mass * Double.density(0, z) / deviation * h
                let place = Int(nearest - below)
                for side in [1, -1] {
                    var value = peak
                    var factor = ck_exp(-0.5 * ratio * ratio - Double(side) * ratio * z)
                    var i = place
                    if side < 0 {
                        value *= factor
                        factor *= bend
                        i -= 1
                    }
                    for _ in 0...reach {
                        if next.indices.contains(i) { next[i] += value }
                        value *= factor
                        factor *= bend
                        i += side
                    }
                }
            }
            (density, low) = (next, below)
        }
        var sum = 0.0
        for (m, mass) in density.enumerated() where mass > 1e-300 {
            sum += mass * option(1 + ck_exp((low + Double(m)) * h))
        }
        return (discount * h * sum, .ok)
    }

    /// ln(1 + e^z).
    private func log1pExp(_ z: Double) -> Double {
        let e = ck_exp(-abs(z))
        let u = 1 + e
        return max(z, 0) + (u == 1 ? e : ck_log(u) * (e / (u - 1)))
    }
}
