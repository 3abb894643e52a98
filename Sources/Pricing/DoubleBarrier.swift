// Two barriers, watched continuously.

public import Regression

/// Knock-out and knock-in options between a lower and an upper barrier, Black and Scholes with a dividend yield, no
/// rebate.
///
/// Two series for the density between two absorbing barriers, each used where a handful of its terms is exact to the last
/// digit: images in the barriers while σ√T is below 0.7 of the corridor ln(U/L), sines above. The strike may lie
/// anywhere, also outside the corridor. A knock-in option is the vanilla one less the knock-out.
///
/// Source: N. Ikeda and M. Kunitomo, "Pricing options with curved boundaries", Mathematical Finance 2 (1992); H. Geman and
/// M. Yor, "Pricing and hedging double-barrier options", Mathematical Finance 6 (1996); Haug (2007), section 4.17.3.
///
/// Limits and extensions: a spot at or beyond a barrier has touched it (`extended`: 0, or the vanilla option); a lower
/// barrier at or above the upper, or one that is not positive, is `invalid`. Error: 1e-13 of the larger of spot and strike.
public struct DoubleBarrier: FormulaOracle {
    public let descriptor = OracleDescriptor(
        name: "doubleBarrier", version: "1",
        summary: "double-barrier option, continuously monitored, image and sine series",
        citation:
            "Ikeda and Kunitomo, Mathematical Finance 2 (1992); Geman and Yor, Mathematical Finance 6 (1996); "
            + "Haug (2007), section 4.17.3",
        inputs: [
            .optionType,
            .init(
                name: "barrierType", meaning: "what touching either barrier does", choices: ["knockOut", "knockIn"]),
            .spot(), .strike,
            .init(
                name: "lowerBarrier", unit: "currency", meaning: "level of the barrier below", lower: 50, upper: 80,
                scale: .logarithmic),
            .init(
                name: "upperBarrier", unit: "currency", meaning: "level of the barrier above", lower: 120, upper: 160,
                scale: .logarithmic),
            .maturityYears, .volatility, .rate, .dividendYield,
        ],
        constraints: [],
        gradientMethod: .exact, costSeconds: 2e-6,
        testVectors: [
            // Haug (1998), p. 75: S = K = 100, r = b = 0.1, L = 50, U = 150 and L = 80, U = 120.
            .init([0, 0, 100, 100, 50, 150, 0.25, 0.15, 0.1, 0], price: 4.3515, tolerance: 1e-4),
            .init([0, 0, 100, 100, 80, 120, 0.5, 0.25, 0.1, 0], price: 1.5098, tolerance: 1e-4),
        ])

    public init() {}

    func price<Number: Scalar>(_ words: [Int], _ x: [Number]) -> (price: Number, status: ValuationStatus)? {
        let (spot, strike, lower, upper) = (x[0], x[1], x[2], x[3])
        let (maturity, volatility, rate, yield) = (x[4], x[5], x[6], x[7])
        guard spot.value > 0, strike.value > 0, lower.value > 0, upper.value > lower.value, maturity.value >= 0,
            volatility.value >= 0
        else { return nil }
        let (isCall, isIn) = (words[0] == 0, words[1] == 1)
        let discount = Number.exp(-(rate * maturity))
        let isTouched = spot.value <= lower.value || spot.value >= upper.value
        if isTouched && !isIn { return (Number(0), .extended) }

        guard volatility.value * maturity.value.squareRoot() > 1e-9 else {
            let forward = spot * Number.exp((rate - yield) * maturity)
            let end = isCall ? forward - strike : strike - forward
            let touches = isTouched || forward.value <= lower.value || forward.value >= upper.value
            let price = touches == isIn && end.value > 0 ? discount * end : Number(0)
            return (price, isTouched ? .extended : .ok)
        }
        let law = LogNormal(maturity: maturity, volatility: volatility, rate: rate, dividendYield: yield)
        let k = Number.log(strike / spot)
        let sign = isCall ? 1.0 : -1
        func vanilla() -> Number {
            let (low, high): (Number?, Number?) = isCall ? (k, nil) : (nil, k)
            return sign * discount
                * (spot * law.integral(1, from: low, to: high) - strike * law.integral(0, from: low, to: high))
        }
        if isTouched { return (vanilla(), .extended) }

        let bottom = Number.log(lower / spot)
        let top = Number.log(upper / spot)
        let (low, high) = isCall ? (k.value > bottom.value ? k : bottom, top) : (bottom, k.value < top.value ? k : top)
        var out = Number(0)
        if low.value < high.value {
            let width = top - bottom
            out =
                law.deviation.value < 0.7 * width.value
                ? images(law, spot, strike, low, high, bottom, width)
                : sines(law, spot, strike, low, high, bottom, width)
            out = sign * discount * out
        }
        return (isIn ? vanilla() - out : out, .ok)
    }

    /// The process started at 0 minus its reflection in the lower barrier, both repeated every two widths.
    private func images<Number: Scalar>(
        _ law: LogNormal<Number>, _ spot: Number, _ strike: Number, _ low: Number, _ high: Number, _ bottom: Number,
        _ width: Number
    ) -> Number {
        var sum = Number(0)
        let most = Int(4.7 * law.deviation.value / width.value) + 2
        for n in -most...most {
            let shift = (2 * Double(n)) * width
            for (sign, image) in [(1.0, shift), (-1.0, shift + bottom + bottom)] {
                let share = law.integral(1, from: low, to: high, shift: image)
                let cash = law.integral(0, from: low, to: high, shift: image)
                sum = sum + sign * (spot * share - strike * cash)
            }
        }
        return sum
    }

    /// The eigenfunctions of the corridor: sin(kπ(y − bottom)/width), each fading with its own e^{−(kπσ√T/width)²/2}.
    private func sines<Number: Scalar>(
        _ law: LogNormal<Number>, _ spot: Number, _ strike: Number, _ low: Number, _ high: Number, _ bottom: Number,
        _ width: Number
    ) -> Number {
        let damping = 0.5 * law.tilt * law.tilt * law.deviation * law.deviation
        var sum = Number(0)
        let most = Int(2.9 * width.value / law.deviation.value) + 2
        for n in 1...most {
            let frequency = (Double(n) * Double.pi) / 1.0 * (Number(1) / width)
            let fading = frequency * law.deviation
            let weight = Number.turn(Double(n) * (-bottom) / width).sine
            /// ∫ e^{γy − damping} sin(frequency (y − bottom)) dy up to y.
            func primitive(_ gamma: Number, _ y: Number) -> Number {
                let (sine, cosine) = Number.turn(Double(n) * (y - bottom) / width)
                return Number.exp(gamma * y - damping - 0.5 * fading * fading)
                    * (gamma * sine - frequency * cosine) / (gamma * gamma + frequency * frequency)
            }
            let share = primitive(law.tilt + 1, high) - primitive(law.tilt + 1, low)
            let cash = primitive(law.tilt, high) - primitive(law.tilt, low)
            sum = sum + weight * (spot * share - strike * cash)
        }
        return 2 * sum / width
    }
}
