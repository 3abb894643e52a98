"""Reference prices of the exotic oracles on one share: Tests/PricingTests/Resources/<oracle>.csv.

Columns are those that `cairn oracle price` reads, then `price` and, where derivatives are exact, `d_<input>`.

- barrier: terms A to F of Reiner and Rubinstein (Haug 2007, section 4.17) in 300 digits; derivatives are differences in the
  same precision, so they owe nothing to formulas for the greeks.
- doubleBarrier: the sine series in 300 digits with as many terms as it takes, for any corridor.
- lookback: the formulas of Haug (2007), section 4.15, in 100 digits; where they divide by zero, at a rate moved by 1e-40.
- asian: products of Gauss rules over the growths (2 to 4 fixings), the last integrated in closed form.
- discreteBarrier: one date in closed form, two by adaptive integration in 30 digits; more by recursion with 40-point
  Gauss rules on panels of 2.5 standard deviations in NumPy.
- american, americanCorners: QuantLib's QdFp engine with 60 points and up to 120 iterations; its own "high precision" scheme
  is off by up to 6e-6. In the corners (lives of a week and of ten years, little and much volatility, yields above, at and
  below the rate) a lattice of 200,000 steps is off by up to 8e-5, and finite differences with 1,500 nodes to a standard
  deviation by 5e-6 in three that were tried; the perpetual put, which the ten years' comes next to, is met to 3e-8.

    pip install mpmath numpy scipy QuantLib && python3 exotics.py ../PricingTests/Resources
"""
import random
import sys

import numpy
from mpmath import cos, erfc, exp, inf, log, mp, mpf, pi, quad, sin, sqrt
from scipy.special import ndtr

folder = sys.argv[1]
only = sys.argv[2:]
uniform = random.Random(20261123).uniform
choose = random.Random(7).choice


def normal(x):
    return erfc(-x / sqrt(mpf(2))) / 2


def write(name, columns, rows):
    with open(f"{folder}/{name}.csv", "w") as file:
        file.write(",".join(columns) + "\n")
        for row in rows:
            file.write(",".join(x if isinstance(x, str) else repr(float(x)) for x in row) + "\n")


def derivative(f, x, i):
    h = abs(x[i]) * mpf(10) ** -40 if x[i] else mpf(10) ** -40
    def at(step):
        y = list(x)
        y[i] += step
        return f(*y)
    return (4 * (at(h / 2) - at(-h / 2)) / h - (at(h) - at(-h)) / (2 * h)) / 3


# --- single barriers

def barrier(option, kind, S, K, H, R, T, v, r, q):
    b = r - q
    phi = 1 if option == "call" else -1
    eta = 1 if kind.startswith("down") else -1
    s = v * sqrt(T)
    mu = (b - v * v / 2) / (v * v)
    lam = sqrt(mu * mu + 2 * r / (v * v))
    x1 = log(S / K) / s + (1 + mu) * s
    x2 = log(S / H) / s + (1 + mu) * s
    y1 = log(H * H / (S * K)) / s + (1 + mu) * s
    y2 = log(H / S) / s + (1 + mu) * s
    z = log(H / S) / s + lam * s
    carry, disc = exp((b - r) * T), exp(-r * T)
    P2, P0 = (H / S) ** (2 * (mu + 1)), (H / S) ** (2 * mu)
    A = phi * S * carry * normal(phi * x1) - phi * K * disc * normal(phi * (x1 - s))
    B = phi * S * carry * normal(phi * x2) - phi * K * disc * normal(phi * (x2 - s))
    C = phi * S * carry * P2 * normal(eta * y1) - phi * K * disc * P0 * normal(eta * (y1 - s))
    D = phi * S * carry * P2 * normal(eta * y2) - phi * K * disc * P0 * normal(eta * (y2 - s))
    E = R * disc * (normal(eta * (x2 - s)) - P0 * normal(eta * (y2 - s)))
    F = R * ((H / S) ** (mu + lam) * normal(eta * z) + (H / S) ** (mu - lam) * normal(eta * (z - 2 * lam * s)))
    above = K > H
    table = {
        ("downAndIn", "call"): (C + E) if above else (A - B + D + E),
        ("upAndIn", "call"): (A + E) if above else (B - C + D + E),
        ("downAndIn", "put"): (B - C + D + E) if above else (A + E),
        ("upAndIn", "put"): (A - B + D + E) if above else (C + E),
        ("downAndOut", "call"): (A - C + F) if above else (B - D + F),
        ("upAndOut", "call"): F if above else (A - B + C - D + F),
        ("downAndOut", "put"): (A - B + C - D + F) if above else F,
        ("upAndOut", "put"): (B - D + F) if above else (A - C + F),
    }
    return table[kind, option]


kinds = ["downAndOut", "downAndIn", "upAndOut", "upAndIn"]
inputs = ["spot", "strike", "barrier", "rebate", "maturityYears", "volatility", "rate", "dividendYield"]


def barriers():
    mp.dps = 300
    points = []
    for option in ["call", "put"]:
        for kind in kinds:
            for k in range(40):
                S = uniform(60, 140)
                wide = k >= 25
                move = uniform(0.001, 0.6 if wide else 0.35)
                H = S * (1 - move) if kind.startswith("down") else S * (1 + move)
                points.append((option, kind, [
                    S, S * uniform(0.5, 1.6), H, choose([0, uniform(0, 10)]),
                    uniform(0.01, 10) if wide else uniform(0.1, 2), uniform(0.02, 1.2) if wide else uniform(0.1, 0.6),
                    uniform(0, 0.15) if wide else uniform(0, 0.1), uniform(0, 0.1)]))
    rows = []
    for option, kind, x in points:
        exact = [mpf(y) for y in x]
        f = lambda *y: barrier(option, kind, *y)
        rows.append([option, kind] + x + [f(*exact)] + [derivative(f, exact, i) for i in range(8)])
    write("barrier", ["optionType", "barrierType"] + inputs + ["price"] + ["d_" + i for i in inputs], rows)


# --- double barriers

def double_out(option, S, K, L, U, T, v, r, q):
    width = log(U / L)
    x = log(S / L)
    nu = r - q - v * v / 2
    a = nu / (v * v)
    lo, hi = (max(log(K / L), mpf(0)), width) if option == "call" else (mpf(0), min(log(K / L), width))
    if lo >= hi:
        return mpf(0)
    total = mpf(0)
    n = 1
    while True:
        f = n * pi / width
        def primitive(g, y):
            return exp(g * y) * (g * sin(f * y) - f * cos(f * y)) / (g * g + f * f)
        share = L * (primitive(a + 1, hi) - primitive(a + 1, lo))
        cash = K * (primitive(a, hi) - primitive(a, lo))
        fade = exp(-(f * v) ** 2 * T / 2)
        total += sin(f * x) * fade * (share - cash if option == "call" else cash - share)
        if fade < mpf(10) ** -(mp.dps - 20) or n > 4000:
            break
        n += 1
    return exp(-r * T) * 2 / width * exp(-a * x - nu * nu * T / (2 * v * v)) * total


def european(option, S, K, T, v, r, q):
    s = v * sqrt(T)
    d = log(S / K) / s + (r - q) * T / s + s / 2
    phi = 1 if option == "call" else -1
    return phi * (S * exp(-q * T) * normal(phi * d) - K * exp(-r * T) * normal(phi * (d - s)))


def double_barriers():
    mp.dps = 150
    names = ["spot", "strike", "lowerBarrier", "upperBarrier", "maturityYears", "volatility", "rate", "dividendYield"]
    rows = []
    for option in ["call", "put"]:
        for kind in ["knockOut", "knockIn"]:
            for k in range(30):
                S = 100
                x = [S, uniform(60, 160), S * uniform(0.5, 0.98), S * uniform(1.02, 1.8), uniform(0.05, 3),
                     uniform(0.08, 0.8), uniform(0, 0.1), uniform(0, 0.1)]
                def f(*y):
                    out = double_out(option, *y)
                    return out if kind == "knockOut" else european(option, y[0], y[1], *y[4:]) - out
                exact = [mpf(y) for y in x]
                rows.append([option, kind] + x + [f(*exact)] + ([derivative(f, exact, i) for i in range(8)]))
    write("doubleBarrier", ["optionType", "barrierType"] + names + ["price"] + ["d_" + i for i in names], rows)


# --- lookbacks

def lookback(option, kind, S, K, M, T, v, r, q):
    b = r - q
    if abs(b) < mpf(10) ** -35:
        b = b + mpf(10) ** -40
        q = r - b
    def on_max(X):  # e^{-rT} E max(max - X, 0), X >= S
        d1 = (log(S / X) + (b + v * v / 2) * T) / (v * sqrt(T))
        d2 = d1 - v * sqrt(T)
        return (S * exp((b - r) * T) * normal(d1) - X * exp(-r * T) * normal(d2)
                + S * exp(-r * T) * v * v / (2 * b)
                * (-(S / X) ** (-2 * b / (v * v)) * normal(d1 - 2 * b / v * sqrt(T)) + exp(b * T) * normal(d1)))
    def on_min(X):
        d1 = (log(S / X) + (b + v * v / 2) * T) / (v * sqrt(T))
        d2 = d1 - v * sqrt(T)
        return (X * exp(-r * T) * normal(-d2) - S * exp((b - r) * T) * normal(-d1)
                + S * exp(-r * T) * v * v / (2 * b)
                * ((S / X) ** (-2 * b / (v * v)) * normal(-d1 + 2 * b / v * sqrt(T)) - exp(b * T) * normal(-d1)))
    D = exp(-r * T)
    if kind == "fixed" and option == "call":
        return on_max(K) if K >= M else D * (M - K) + on_max(M)
    if kind == "fixed":
        return on_min(K) if K <= M else D * (K - M) + on_min(M)
    if option == "call":
        return S * exp((b - r) * T) - D * M + on_min(M)
    return D * M - S * exp((b - r) * T) + on_max(M)


def lookbacks():
    mp.dps = 100
    names = ["spot", "strike", "runningExtreme", "maturityYears", "volatility", "rate", "dividendYield"]
    rows = []
    for option in ["call", "put"]:
        for kind in ["fixed", "floating"]:
            for k in range(40):
                S = uniform(80, 120)
                up = (option == "call") == (kind == "fixed")
                M = S * uniform(1.0, 1.3) if up else S * uniform(0.7, 1.0)
                r = uniform(0, 0.1)
                q = [uniform(0, 0.1), r, r - 10.0 ** -uniform(3, 12), r + 1e-5][k % 4]
                x = [S, S * uniform(0.7, 1.4), M, uniform(0.05, 5), uniform(0.03, 0.8), r, q]
                exact = [mpf(y) for y in x]
                f = lambda *y: lookback(option, kind, *y)
                rows.append([option, kind] + x + [f(*exact)] + [derivative(f, exact, i) for i in range(7)])
    write("lookback", ["optionType", "strikeType"] + names + ["price"] + ["d_" + i for i in names], rows)


# --- arithmetic Asian options

def black(phi, S, K, T, v, r, q):
    s = v * numpy.sqrt(T)
    d = (numpy.log(S / K) + (r - q) * T) / s + s / 2
    return phi * (S * numpy.exp(-q * T) * ndtr(phi * d) - K * numpy.exp(-r * T) * ndtr(phi * (d - s)))


def asians():
    nodes, weights = numpy.polynomial.legendre.leggauss(90)
    z, w = 9 * nodes, 9 * weights * numpy.exp(-0.5 * (9 * nodes) ** 2) / numpy.sqrt(2 * numpy.pi)
    names = ["spot", "strike", "maturityYears", "volatility", "rate", "dividendYield"]
    rows = []
    for option in ["call", "put"]:
        for n in [1, 2, 3, 4]:
            for k in range(8):
                x = [100, uniform(70, 140), uniform(0.1, 3), uniform(0.05, 0.7), uniform(-0.02, 0.1), uniform(0, 0.08)]
                S, K, T, v, r, q = x
                step = T / n
                s, nu = v * numpy.sqrt(step), (r - q - v * v / 2) * step
                R = numpy.exp(nu + s * z)
                X, mass = numpy.ones(1), numpy.ones(1)
                for _ in range(n - 1):
                    X = (1 + R[:, None] * X[None, :]).ravel()
                    mass = (w[:, None] * mass[None, :]).ravel()
                price = numpy.dot(mass, black(1 if option == "call" else -1, S * X / n, K, step, v, r, q))
                rows.append([option, str(n)] + x + [price * numpy.exp(-r * step * (n - 1))])
    write("asian", ["optionType", "fixings"] + names + ["price"], rows)


# --- discretely monitored barriers

def discrete_out(option, up, m, S, K, H, T, v, r, q, knock, end, order=40, width=2.5):
    """An out option in NumPy; log-prices above (below) the barrier on Gauss panels."""
    phi = 1 if option == "call" else -1
    step = T / m
    s, nu, D = v * numpy.sqrt(step), (r - q - v * v / 2) * step, numpy.exp(-r * step)
    b = numpy.log(H)
    nodes, weights = numpy.polynomial.legendre.leggauss(order)
    reach = 10 * v * numpy.sqrt(T) + abs(nu) * m + v * v * T + abs(numpy.log(S / H))
    count = int(numpy.ceil(reach / (width * s)))
    edges = b + (-1 if up else 1) * width * s * numpy.arange(count + 1)
    y = numpy.concatenate([0.5 * (edges[i] + edges[i + 1]) + 0.5 * (edges[i + 1] - edges[i]) * nodes for i in range(count)])
    wy = numpy.tile(0.5 * width * s * weights, count)
    def last(x):
        """One step before the end, in closed form."""
        share = numpy.exp(x)
        lo, hi = (-numpy.inf, b) if up else (b, numpy.inf)
        k = numpy.log(K)
        pay = (max(lo, k), hi) if phi > 0 else (lo, min(hi, k))
        def mass(lo, hi, shift):
            if lo >= hi:
                return 0 * x
            a, c = (lo - x - nu) / s - shift, (hi - x - nu) / s - shift
            flip = a > 0
            return numpy.where(flip, ndtr(-a) - ndtr(-c), ndtr(c) - ndtr(a))
        value = phi * (share * numpy.exp(nu + s * s / 2) * mass(*pay, s) - K * mass(*pay, 0))
        dead = mass(b, numpy.inf, 0) if up else mass(-numpy.inf, b, 0)
        return D * (value + end * mass(lo, hi, 0) + knock * dead)
    x0 = numpy.array([numpy.log(S)])
    if m == 1:
        return last(x0)[0]
    V = last(y)
    def back(x, V):
        kernel = numpy.exp(-0.5 * ((y[None, :] - x[:, None] - nu) / s) ** 2) / (s * numpy.sqrt(2 * numpy.pi))
        dead = ndtr((x + nu - b) / s) if up else ndtr((b - x - nu) / s)
        return D * (kernel @ (wy * V) + knock * dead)
    for _ in range(m - 2):
        V = back(y, V)
    return back(x0, V)[0]


def discrete_two(option, up, S, K, H, T, v, r, q, knock, end):
    """Two dates: one integral, adaptively."""
    mp.dps = 30
    step = mpf(T) / 2
    s, nu = v * sqrt(step), (r - q - mpf(v) ** 2 / 2) * step
    def density(y):
        return exp(-((y - log(mpf(S)) - nu) / s) ** 2 / 2) / (s * sqrt(2 * pi))
    def after(y):
        return mpf(discrete_one(option, up, exp(y), K, H, step, v, r, q, knock, end))
    b = log(mpf(H))
    middle = log(mpf(S)) + nu
    low, high = middle - 13 * s, middle + 13 * s
    alive = (low, min(b, high)) if up else (max(b, low), high)
    cuts = [alive[0] + (alive[1] - alive[0]) * k / 16 for k in range(17)]
    value = quad(lambda y: density(y) * after(y), cuts) if alive[1] > alive[0] else mpf(0)
    dead = normal((middle - b) / s) if up else normal((b - middle) / s)
    return exp(-r * step) * (value + knock * dead)


def discrete_one(option, up, S, K, H, T, v, r, q, knock, end):
    s, nu = v * sqrt(T), (r - q - mpf(v) ** 2 / 2) * T
    x, b, k = log(S), log(mpf(H)), log(mpf(K))
    lo, hi = (mpf("-inf"), b) if up else (b, mpf("inf"))
    pay = (max(lo, k), hi) if option == "call" else (lo, min(hi, k))
    def mass(lo, hi, shift):
        if lo >= hi:
            return mpf(0)
        top = normal((hi - x - nu) / s - shift) if hi != inf else mpf(1)
        return top - (normal((lo - x - nu) / s - shift) if lo != -inf else mpf(0))
    value = S * exp(nu + s * s / 2) * mass(*pay, s) - K * mass(*pay, 0)
    if option == "put":
        value = -value
    dead = mass(b, inf, 0) if up else mass(-inf, b, 0)
    return exp(-r * T) * (value + end * mass(lo, hi, 0) + knock * dead)


def discrete_barriers():
    names = ["spot", "strike", "barrier", "rebate", "maturityYears", "volatility", "rate", "dividendYield"]
    rows = []
    for option in ["call", "put"]:
        for kind in kinds:
            for m in [1, 2, 2, 5, 12, 50, 60]:
                S = 100
                x = [S, uniform(70, 130), S * uniform(0.7, 1.0) if "down" in kind else S * uniform(1.0, 1.4),
                     choose([0, 3]), uniform(0.1, 2), uniform(0.1, 0.6), uniform(0, 0.1), uniform(0, 0.08)]
                S, K, H, R, T, v, r, q = x
                up, is_in = kind.startswith("up"), kind.endswith("In")
                knock, end = (0, -R) if is_in else (R, 0)
                out = (discrete_two if m == 2 else lambda *a: discrete_out(a[0], a[1], m, *a[2:]))(
                    option, up, S, K, H, T, v, r, q, knock, end)
                price = european(option, mpf(S), *[mpf(y) for y in (K, T, v, r, q)]) - out if is_in else out
                rows.append([option, kind, str(m)] + x + [price])
    write("discreteBarrier", ["optionType", "barrierType", "monitoringDates"] + names + ["price"], rows)



# --- American options

def american(option, S, K, days, v, r, q):
    import QuantLib as ql
    today = ql.Date(23, 11, 2026)
    ql.Settings.instance().evaluationDate = today
    day = ql.Actual365Fixed()
    curve = lambda x: ql.YieldTermStructureHandle(ql.FlatForward(today, x, day))
    process = ql.BlackScholesMertonProcess(
        ql.QuoteHandle(ql.SimpleQuote(S)), curve(q), curve(r),
        ql.BlackVolTermStructureHandle(ql.BlackConstantVol(today, ql.NullCalendar(), v, day)))
    instrument = ql.VanillaOption(
        ql.PlainVanillaPayoff(ql.Option.Call if option == "call" else ql.Option.Put, K),
        ql.AmericanExercise(today, today + days))
    instrument.setPricingEngine(ql.QdFpAmericanEngine(process, ql.QdFpTanhSinhIterationScheme(120, 60, 1e-11)))
    return [option, S, K, days / 365, v, r, q, instrument.NPV()]


american_columns = ["optionType", "spot", "strike", "maturityYears", "volatility", "rate", "dividendYield", "price"]


def americans():
    uniform = random.Random(20261125).uniform
    rows = []
    for k in range(90):
        option = ["call", "put"][k % 2]
        K, days = uniform(70, 140), int(uniform(20, 1100))
        v, r, q = uniform(0.08, 0.6), uniform(0.005, 0.1), [uniform(0.005, 0.1), 0.0][k % 3 == 0]
        rows.append(american(option, 100, K, days, v, r, q))
    write("american", american_columns, rows)


def american_corners():
    # Of a put: rate and yield.
    carries = [(0.001, 0.0), (0.1, 0.0), (0.05, 0.05), (0.02, 0.1), (0.1, 0.001), (0.08, -0.03), (0.0, 0.06)]
    rows = []
    for days in [7, 37, 730, 3650]:
        for v in [0.06, 0.15, 0.6]:
            for r, q in carries:
                k = len(rows)
                S = 100 * (1 + [-1, 0, 1][k % 3] * min(0.2, v * (days / 365) ** 0.5))
                rows.append(american(*(["put", S, 100, days, v, r, q] if k % 2 == 0 else ["call", S, 100, days, v, q, r])))
    write("americanCorners", american_columns, rows)


for task in [barriers, double_barriers, lookbacks, asians, discrete_barriers, americans, american_corners]:
    if not only or task.__name__ in only:
        task()
