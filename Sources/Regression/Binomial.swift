// How surprising a count is.

internal import CKernels

/// P(X >= count) for X binomial with `trials` and `probability`, within 1e-9 relative (0 below 1e-300).
///
/// The regularised incomplete beta function I_p(k, n − k + 1) by its continued fraction, evaluated by the modified Lentz
/// method on the side where it converges (Press et al., *Numerical Recipes*, section 6.4).
public func binomialUpperTail(count: Int, trials: Int, probability p: Double) -> Double {
    if count <= 0 || p >= 1 { return 1 }
    if count > trials || p <= 0 { return 0 }
    let (a, b) = (Double(count), Double(trials - count + 1))
    let front = ck_exp(
        logGamma(a + b) - logGamma(a) - logGamma(b) + a * ck_log(p) + b * -negativeLogOneMinus(p))
    if p < (a + 1) / (a + b + 2) { return min(1, front * betaFraction(a, b, p) / a) }
    return min(1, max(0, 1 - front * betaFraction(b, a, 1 - p) / b))
}

/// −ln(1 − p), accurate also for small p.
private func negativeLogOneMinus(_ p: Double) -> Double {
    guard p < 1e-4 else { return -ck_log(1 - p) }
    return p * (1 + p * (0.5 + p * (1.0 / 3 + p * 0.25)))
}

private func betaFraction(_ a: Double, _ b: Double, _ x: Double) -> Double {
    let tiny = 1e-300
    func away(_ v: Double) -> Double { abs(v) < tiny ? tiny : v }
    var c = 1.0
    var d = 1 / away(1 - (a + b) * x / (a + 1))
    var h = d
    for m in 1...10_000 {
        let m = Double(m)
        var term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 / away(1 + term * d)
        c = away(1 + term / c)
        h *= d * c
        term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d = 1 / away(1 + term * d)
        c = away(1 + term / c)
        h *= d * c
        if abs(d * c - 1) < 1e-14 { break }
    }
    return h
}

/// ln Γ(x) for x > 0: Stirling's series after shifting the argument above 10 (Abramowitz and Stegun 6.1.41).
func logGamma(_ x: Double) -> Double {
    var x = x
    var shift = 1.0
    while x < 10 {
        shift *= x
        x += 1
    }
    let z = 1 / (x * x)
    let series =
        (1.0 / 12 - z * (1.0 / 360 - z * (1.0 / 1260 - z * (1.0 / 1680 - z * (1.0 / 1188 - z * 691.0 / 360360))))) / x
    return (x - 0.5) * ck_log(x) - x + 0.91893853320467274178 + series - ck_log(shift)
}
