/// The European option of Black, Scholes (1973) and Merton (1973): what the exotic ones are measured against.
///
/// Without time or volatility the share ends at its forward. All numbers as in the inputs of the oracles.
func vanilla<Number: Scalar>(
    isCall: Bool, spot: Number, strike: Number, maturity: Number, volatility: Number, rate: Number,
    dividendYield: Number
) -> Number {
    let discount = Number.exp(-(rate * maturity))
    let sign = isCall ? 1.0 : -1
    guard volatility.value * maturity.value.squareRoot() > 1e-9 else {
        let end = sign * (spot * Number.exp((rate - dividendYield) * maturity) - strike)
        return end.value > 0 ? discount * end : Number(0)
    }
    let law = LogNormal(maturity: maturity, volatility: volatility, rate: rate, dividendYield: dividendYield)
    let k = Number.log(strike / spot)
    let (low, high): (Number?, Number?) = isCall ? (k, nil) : (nil, k)
    return sign * discount
        * (spot * law.integral(1, from: low, to: high) - strike * law.integral(0, from: low, to: high))
}
