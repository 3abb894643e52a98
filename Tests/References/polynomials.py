"""Coefficients of the polynomials in Sources/CKernels/math.inc for exp and log: Chebyshev fits of 50 digits.

Prints each polynomial with its error relative to the whole function, and leaves no doubt where a coefficient is from.
Needs mpmath.
"""
from mpmath import mp, mpf, chebyfit, exp, log, sqrt, polyval, linspace

mp.dps = 50


def fit(name, f, interval, terms, weight):
    coefficients = [mpf(float(c)) for c in chebyfit(f, interval, terms)]
    worst = max(abs((polyval(coefficients, x) - f(x)) * weight(x)) for x in linspace(*interval, 2001))
    print(f"{name}: {terms} terms, error {mp.nstr(worst, 3)}")
    for c in coefficients:
        print(f"    {float(c)!r}")


def series(f, limit):
    """f without its removable singularity at 0."""
    return lambda x: f(x) if abs(x) > mpf(10) ** -9 else limit


half_log = log(mpf(2)) / 2 * mpf("1.0001")
fit("(e^r - 1 - r) / r^2", series(lambda r: (exp(r) - 1 - r) / r**2, mpf(1) / 2), [-half_log, half_log], 10, lambda r: r**2)
top = ((sqrt(mpf(2)) - 1) / (sqrt(mpf(2)) + 1)) ** 2 * mpf("1.0001")
fit(
    "(ln((1 + s) / (1 - s)) - 2 s) / s^3 in z = s^2",
    series(lambda z: (log((1 + sqrt(z)) / (1 - sqrt(z))) / sqrt(z) - 2) / z, mpf(2) / 3),
    [mpf(0), top], 7, lambda z: z / 2,
)
