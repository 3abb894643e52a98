"""Coefficients of the scaled normal tail in Sources/CKernels/math.inc.

R(t) = Q(t) exp(t^2 / 2), Q the upper tail of the normal distribution, 0 <= t <= 100, as a quotient of polynomials of degrees
9 and 10: the best in relative error (Remez). Each polynomial is then put into the form of J. Eve, "The evaluation of
polynomials", Numerische Mathematik 6 (1964), which takes one multiplication for two degrees: with y = t + 2, z = y^2,

    start = (e1 z +) k y + e0,    then four times    value = value (z + a) + b.

The -a are the roots of the odd part in y, real because all roots of the polynomial lie on one side. Their order is the one
with the least bound of rounding errors; the shift by 2 makes that bound small (without: ten times as large). The last b of
the numerator is moved by what the kernel's roundings at t = 0 come to, so that R(0) is 1/2. Prints the constants and the
largest relative error in exact arithmetic.

    pip install mpmath && python3 mills.py
"""
from itertools import permutations

from mpmath import cos, erfc, exp, lu_solve, matrix, mp, mpf, nstr, pi, polyroots, re, sqrt

mp.dps = 50
TOP, SHIFT = mpf(100), 2


def scaled_tail(t):
    if t > 60:  # continued fraction of the Mills ratio
        s = mpf(0)
        for n in range(120, 0, -1):
            s = n / (t + s)
        return 1 / (t + s) / sqrt(2 * pi)
    return erfc(t / sqrt(mpf(2))) / 2 * exp(t * t / 2)


def value(coefficients, t):
    return sum(c * t**j for j, c in enumerate(coefficients))


def remez(n, d):
    """The quotient of degrees n and d, lowest powers first, whose relative error alternates n + d + 2 times."""
    count = n + d + 2

    def chebyshev(i, of):  # dense near 0, where R bends
        u = -1 + ((TOP - 4) / (TOP + 4) + 1) * (1 - cos(pi * i / of)) / 2
        return 4 * (1 + u) / (1 - u)

    grid = [(t, scaled_tail(t)) for t in (chebyshev(i, 1500) for i in range(1501))]
    points = [chebyshev(i, count - 1) for i in range(count)]
    level, below = mpf(0), [mpf(1)] + [mpf(0)] * d
    for _ in range(30):
        for _ in range(6):  # the equations are linear but for the product of level and denominator
            a, b = matrix(count, count), matrix(count, 1)
            for i, t in enumerate(points):
                sign, scale = (-1) ** i, (1 + t) ** -d
                for j in range(n + 1):
                    a[i, j] = t**j / scaled_tail(t) * scale
                for j in range(1, d + 1):
                    a[i, n + j] = -(1 + sign * level) * t**j * scale
                a[i, count - 1] = -sign * value(below, t) * scale
                b[i] = (1 + sign * level) * scale
            x = list(lu_solve(a, b))
            above, below = x[: n + 1], [mpf(1)] + x[n + 1 : count - 1]
            level += x[-1]
            if abs(x[-1]) < abs(level) * mpf(10) ** -12:
                break
        errors = [value(above, t) / value(below, t) / r - 1 for t, r in grid]
        peaks = []
        for i, e in enumerate(errors):
            if peaks and (errors[peaks[-1]] > 0) == (e > 0):
                if abs(e) > abs(errors[peaks[-1]]):
                    peaks[-1] = i
            else:
                peaks.append(i)
        while len(peaks) > count:
            peaks.pop(0 if abs(errors[peaks[0]]) < abs(errors[peaks[-1]]) else -1)
        if len(peaks) == count:
            points = [grid[i][0] for i in peaks]
            if max(map(abs, errors)) < 1.02 * abs(level):
                return above, below
    raise RuntimeError("no alternation")


def shifted(c):
    """The same polynomial in y = t + SHIFT."""
    c = list(c)
    for i in range(len(c)):
        for j in range(len(c) - 2, i - 1, -1):
            c[j] -= SHIFT * c[j + 1]
    return c


def eve(coefficients):
    c = shifted(coefficients)
    even, odd = c[0::2], c[1::2]
    nodes = [-re(root) for root in polyroots(odd[::-1], maxsteps=500, extraprec=400)]
    best = None
    for order in permutations(nodes):
        rest, adds = list(even), []
        for a in reversed(order):  # divide by z + a; the remainder is what is added last
            quotient = [rest[-1]]
            for x in reversed(rest[:-1]):
                quotient.append(x - quotient[-1] * a)
            adds.append(quotient.pop())
            rest = quotient[::-1]
        form = [float(x) for x in [odd[-1], *rest]], [(float(a), float(b)) for a, b in zip(order, reversed(adds))]
        bound = max(rounding(form, SHIFT + t / 20) for t in [*range(0, 60, 2), *range(60, 2000, 40)])
        if best is None or bound < best[0]:
            best = bound, form
    return best


def rounding(form, y):
    """Bound of the rounding errors in units of 2^-53 of the value."""
    (k, *e), levels = form
    z = y * y
    v = k * y + e[0] + (e[1] * z if len(e) > 1 else 0)
    error = abs(k * y) + abs(e[0]) + (2 * abs(e[1] * z) if len(e) > 1 else 0)
    for a, b in levels:
        error = error * abs(z + a) + abs(v) * (abs(z + a) + z + abs(a))
        v = v * (z + a) + b
        error += abs(v) + abs(b)
    return error / abs(v)


def evaluate(form, y, rounded=lambda x: x):
    """The form's value as the kernel computes it; `rounded` takes what every operation gives."""
    (k, *e), levels = form
    y = mpf(y)
    z = rounded(y * y)
    v = rounded(y * k + e[0])
    if len(e) > 1:
        v = rounded(z * e[1] + v)
    for a, b in levels:
        v = rounded(v * rounded(z + a) + b)
    return v


above, below = remez(9, 10)
(bound_above, numerator), (bound_below, denominator) = eve(above), eve(below)
double = lambda x: mpf(float(x))
a, b = numerator[1][-1]
steps = 0
while double(evaluate(numerator, SHIFT, double) / evaluate(denominator, SHIFT, double)) != mpf(1) / 2:
    steps = 1 - steps if steps <= 0 else -steps
    numerator[1][-1] = a, b + steps * 2e-18
for name, form in ("numerator", numerator), ("denominator", denominator):
    (k, *e), levels = form
    print(f"{name}: k {k!r}, e {e!r}")
    for a, b in levels:
        print(f"    {a!r}, {b!r}")
worst = max(
    abs(evaluate(numerator, SHIFT + t) / evaluate(denominator, SHIFT + t) / scaled_tail(t) - 1)
    for t in [mpf(i) / 50 for i in range(0, 5000)]
)
print(f"rounding: {bound_above:.1f} and {bound_below:.1f} units")
print("largest relative error:", nstr(worst, 3))
