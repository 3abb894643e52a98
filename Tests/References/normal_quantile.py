"""Coefficients of the vectorised normal quantile in Sources/CKernels/multiasset.inc.

With q = 2u - 1 and w = -ln(1 - q²) (after M. Giles, "Approximating the erfinv function", GPU Computing Gems 2, 2011), z = q f(w),
f a polynomial in t = (w - 3.125)/3.125 for w < 6.25 and in (sqrt(w) - 4.3)/1.81 above, interpolated at Chebyshev's points in 80
digits; t is 0.32 w - 1, and the logarithm -0.64 atanh(s) = s r(s²), r likewise. Prints the coefficients, the constant last, and
the largest relative error in double precision.

    pip install mpmath numpy && python3 normal_quantile.py
"""
import numpy
from mpmath import atanh, cos, erfinv, expm1, lu_solve, matrix, mp, mpf, pi, sqrt

mp.dps = 80


def f(w):
    if w == 0:
        return sqrt(pi / 2)
    q = sqrt(-expm1(-w))
    return sqrt(2) * erfinv(q) / q


def fit(g, degree):
    n = degree + 1
    t = [cos(pi * (2 * k + 1) / (2 * n)) for k in range(n)]
    values = [g(x) for x in t]
    c = [2 / mpf(n) * sum(values[k] * cos(pi * j * (2 * k + 1) / (2 * n)) for k in range(n)) for j in range(n)]
    c[0] /= 2
    # Clenshaw's coefficients to powers.
    previous, current = [mpf(1)], [mpf(0), mpf(1)]
    power = [mpf(0)] * n
    power[0] += c[0]
    for i, x in enumerate(current):
        power[i] += c[1] * x
    for j in range(2, n):
        following = [mpf(0)] + [2 * x for x in current]
        for i, x in enumerate(previous):
            following[i] -= x
        previous, current = current, following
        for i, x in enumerate(current):
            power[i] += c[j] * x
    return [float(x) for x in power]


for name, g, degree in [
    ("w < 6.25", lambda t: f(mpf("3.125") * (1 + t)), 18),
    ("above", lambda t: f((mpf("4.3") + mpf("1.81") * t) ** 2), 27),
]:
    coefficients = fit(g, degree)
    worst = 0
    for t in numpy.linspace(-1, 1, 801):
        value = 0.0
        for c in reversed(coefficients):
            value = value * t + c
        worst = max(worst, abs(value / float(g(mpf(t))) - 1))
    print(f"// {name}: degree {degree}, {worst:.1e}")
    print(", ".join(repr(c) for c in reversed(coefficients)))

largest = ((sqrt(2) - 1) / (sqrt(2) + 1)) ** 2
n = 7
z = [largest * (1 + cos(pi * (2 * k + 1) / (2 * n))) / 2 for k in range(n)]
powers = matrix([[x**j for j in range(n)] for x in z])
r = lu_solve(powers, matrix([mpf("-0.64") * atanh(sqrt(x)) / sqrt(x) for x in z]))
print("// the logarithm")
print(", ".join(repr(float(x)) for x in reversed(list(r))))
