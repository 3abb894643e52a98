"""Coefficients of the scaled normal tail in Sources/CKernels/math.inc.

R(t) = Q(t) exp(t^2 / 2), Q the upper tail of the normal distribution, t >= 0. (1 + t) R(t) is smooth in
u = (t - 5) / (t + 5), which maps [0, infinity) onto [-1, 1): the idea of Shepherd and Laframboise, "Chebyshev
approximation of (1 + 2x) exp(x^2) erfc x", Math. Comp. 36 (1981). Prints the polynomial in u, lowest power first, and
its largest relative error in exact arithmetic.

    pip install mpmath && python3 mills.py
"""
from mpmath import mp, mpf, erfc, exp, sqrt, pi, cos, nstr

mp.dps = 60
K, DEGREE, NODES = mpf(5), 24, 60


def scaled_tail(t):
    if t > 60:  # continued fraction of the Mills ratio
        s = mpf(0)
        for n in range(120, 0, -1):
            s = n / (t + s)
        return 1 / (t + s) / sqrt(2 * pi)
    return erfc(t / sqrt(mpf(2))) / 2 * exp(t * t / 2)


def chebyshev():
    angles = [pi * (j + mpf(1) / 2) / NODES for j in range(NODES)]
    values = []
    for a in angles:
        u = cos(a)
        t = K * (1 + u) / (1 - u)
        values.append((1 + t) * scaled_tail(t))
    out = []
    for m in range(DEGREE + 1):
        s = sum(v * cos(m * a) for v, a in zip(values, angles)) * 2 / NODES
        out.append(s if m else s / 2)
    return out


def monomials(chebyshev_coefficients):
    n = len(chebyshev_coefficients)
    before, now = [mpf(1)] + [mpf(0)] * (n - 1), [mpf(0), mpf(1)] + [mpf(0)] * (n - 2)
    total = [mpf(0)] * n
    for m, c in enumerate(chebyshev_coefficients):
        t = before if m == 0 else now
        if m >= 2:
            t = [2 * (now[i - 1] if i else 0) - before[i] for i in range(n)]
            before, now = now, t
        total = [a + c * b for a, b in zip(total, t)]
    return total


coefficients = monomials(chebyshev())
for c in coefficients:
    print(f"    {float(c)!r},")
worst = max(
    abs(sum(mpf(float(c)) * u**i for i, c in enumerate(coefficients)) / ((1 + t) * scaled_tail(t)) - 1)
    for t in [mpf(i) / 50 for i in range(0, 3000)]
    for u in [(t - K) / (t + K)]
)
print("largest relative error:", nstr(worst, 3))
