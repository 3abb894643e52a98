"""Reference prices of the oracles on several shares: Tests/PricingTests/Resources/<oracle>.csv.

Columns are those that `cairn oracle price` reads, then `reference` and `referenceError`.

- two shares at one date (and the Himalaya of two, whose last date has a closed form): two-dimensional Gauss integration, the
  first normal outside, the second inside on panels that end where the payoff has its kinks, found by bisection; error 1e-8.
- altiplano and autocallable of two shares at one date, with derivatives: one normal in closed form; error 1e-10.
- more shares or dates: plain Monte Carlo by NumPy's PCG64 on 2,000,000 antithetic pairs; error one standard deviation.

    pip install numpy scipy && python3 multi_asset.py ../PricingTests/Resources
"""
import random
import sys

import numpy
from scipy.special import ndtr

folder = sys.argv[1]
uniform = random.Random(20261124).uniform
PAIRS = 2_000_000


def product_payoff(product, c, X, D):
    """X: paths x dates x shares of performances; D: discount factors of the dates."""
    n = X.shape[2]
    phi = 1 if c.get("optionType", "call") == "call" else -1
    positive = lambda x: numpy.maximum(x, 0)
    end = X[:, -1]
    if product == "himalaya":
        live = numpy.ones((len(X), n), bool)
        rows = numpy.arange(len(X))
        recorded = []
        for j in range(n):
            key = X[:, j] / (X[:, j - 1] if j and c["selection"] == "sinceLastFixing" else 1)
            pick = numpy.where(live, key, -1).argmax(1)
            recorded.append(X[rows, j, pick])
            live[rows, pick] = False
        if c["floor"] == "global":
            return D[-1] * positive(phi * (sum(recorded) / n - c["strike"]))
        when = D if c["payment"] == "atFixings" else [D[-1]] * n
        return sum(d * positive(phi * (y - c["strike"])) for d, y in zip(when, recorded)) / n
    if product == "basket":
        return D[-1] * positive(phi * (end @ numpy.array(c["money"]) - c["strike"]))
    if product == "rainbow":
        prices = end * numpy.array(c["spots"])
        return D[-1] * positive(phi * ((prices.max(1) if c["rank"] == "best" else prices.min(1)) - c["strike"]))
    if product == "everest":
        return D[-1] * (1 + numpy.maximum(end.min(1) - 1, c["guarantee"]))
    if product == "atlas":
        kept = numpy.sort(end, 1)[:, c["removeWorst"]:n - c["removeBest"]]
        return D[-1] * positive(phi * (kept.mean(1) - c["strike"]))
    if product == "altiplano":
        safe = (X > c["barrier"]).all((1, 2))
        return D[-1] * numpy.where(safe, c["coupon"], positive(phi * (end.mean(1) - c["strike"])))
    if product == "autocallable":
        value, live = numpy.zeros(len(X)), numpy.ones(len(X), bool)
        for j, d in enumerate(D):
            called = live & (X[:, j].min(1) >= c["autocallBarrier"])
            value[called] = d * (1 + c["coupon"] * (j + 1))
            live &= ~called
        worst = end.min(1)
        return value + live * D[-1] * numpy.where(worst >= c["protectionBarrier"], 1, worst)


def monte_carlo(product, c, T, r, v, q, rho, dates, seed):
    n = len(v)
    rng = numpy.random.Generator(numpy.random.PCG64(seed))
    L = numpy.linalg.cholesky(rho)
    times = T * numpy.arange(1, dates + 1) / dates
    D = numpy.exp(-r * times)
    total = squares = count = 0
    while count < PAIRS:
        size = 100_000
        z = rng.standard_normal((size, dates, n)) @ L.T
        steps = numpy.sqrt(T / dates) * v * z
        drift = (r - q - v * v / 2) * T / dates
        values = 0
        for sign in (1, -1):
            X = numpy.exp(numpy.cumsum(drift + sign * steps, 1))
            values = values + 0.5 * product_payoff(product, c, X, D)
        total += values.sum()
        squares += (values * values).sum()
        count += size
    mean = total / count
    return mean, numpy.sqrt((squares / count - mean * mean) / count)


def integrate_two(payoff, v, q, r, t, rho):
    """E of a payoff of two performances at t: many Gauss panels in both normals, refined until two levels agree."""
    nodes, weights = numpy.polynomial.legendre.leggauss(8)
    def level(panels):
        edges = numpy.linspace(-8.5, 8.5, panels + 1)
        half = (edges[1] - edges[0]) / 2
        z = (edges[:-1, None] + half + half * nodes).ravel()
        w = numpy.tile(half * weights, panels) * numpy.exp(-z * z / 2) / numpy.sqrt(2 * numpy.pi)
        total = 0.0
        X1 = numpy.exp((r - q[0] - v[0] ** 2 / 2) * t + v[0] * numpy.sqrt(t) * z)
        for zi, wi, x1 in zip(z, w, X1):
            y = rho * zi + numpy.sqrt(1 - rho * rho) * z
            x2 = numpy.exp((r - q[1] - v[1] ** 2 / 2) * t + v[1] * numpy.sqrt(t) * y)
            total += wi * numpy.dot(w, payoff(x1, x2))
        return total
    fine, coarse = level(450), level(300)
    return fine, max(abs(fine - coarse), 1e-9)


def black(phi, x, k, v, q, r, t):
    """Undiscounted, k of any sign."""
    f = x * numpy.exp((r - q) * t)
    s = v * numpy.sqrt(t)
    safe = numpy.where(k > 0, k, 1)
    d = numpy.log(f / safe) / s + s / 2
    return numpy.where(k > 0, phi * (f * ndtr(phi * d) - safe * ndtr(phi * (d - s))), numpy.maximum(phi * (f - k), 0))


def exact(product, c, T, r, v, q, rho):
    phi = 1 if c.get("optionType", "call") == "call" else -1
    if product == "himalaya":
        def payoff(x1, x2):
            first = x1 > x2
            y = numpy.where(first, x1, x2)
            k = 2 * c["strike"] - y if c["floor"] == "global" else c["strike"]
            left = numpy.where(first, black(phi, x2, k, v[1], q[1], r, T / 2), black(phi, x1, k, v[0], q[0], r, T / 2))
            late = numpy.exp(-r * T)
            if c["floor"] == "global":
                return late * left / 2
            early = numpy.exp(-r * T / 2) if c["payment"] == "atFixings" else late
            return (early * numpy.maximum(phi * (y - c["strike"]), 0) + late * left) / 2
        return integrate_two(payoff, v, q, r, T / 2, rho)
    D = [numpy.exp(-r * T)]
    def payoff(x1, x2):
        X = numpy.stack([numpy.broadcast_to(x1, x2.shape), x2], 1)[:, None, :]
        return product_payoff(product, c, X, D)
    return integrate_two(payoff, v, q, r, T, rho)


def contract(product, n, k):
    option = ["call", "put"][k % 2]
    if product == "himalaya":
        return {"optionType": option, "selection": ["sinceStart", "sinceLastFixing"][k % 3 == 2],
                "floor": ["global", "local"][k % 4 >= 2], "payment": "atFixings" if k % 4 == 3 else "atMaturity",
                "strike": round(uniform(0.8, 1.2), 3)}
    if product in ("basket", "rainbow"):
        c = {"optionType": option, "strike": round(uniform(80, 120), 2), "spots": [round(uniform(80, 120), 2) for _ in range(n)]}
        if product == "basket":
            c["weights"] = [round(uniform(0.1, 1), 3) for _ in range(n)]
            c["money"] = [a * b for a, b in zip(c["spots"], c["weights"])]
            c["strike"] = round(sum(c["money"]) * uniform(0.85, 1.15), 2)
        else:
            c["rank"] = ["best", "worst"][k % 4 >= 2]
        return c
    if product == "everest":
        return {"guarantee": [-1, round(uniform(-0.3, 0.05), 3)][k % 2]}
    if product == "atlas":
        return {"optionType": option, "removeBest": 1, "removeWorst": 1 if n > 2 else 0, "strike": round(uniform(0.8, 1.2), 3)}
    if product == "altiplano":
        return {"optionType": option, "observationDates": [1, 4, 12][k % 3] if n > 2 else 1, "strike": 1.0,
                "barrier": round(uniform(0.6, 0.85), 3), "coupon": round(uniform(0.05, 0.2), 3)}
    return {"observationDates": [1, 4, 6][k % 3] if n > 2 else 1, "autocallBarrier": round(uniform(0.95, 1.1), 3),
            "protectionBarrier": round(uniform(0.5, 0.8), 3), "coupon": round(uniform(0.02, 0.1), 3)}


for product in ["himalaya", "basket", "rainbow", "everest", "atlas", "altiplano", "autocallable"]:
    for n in [2, 3, 5]:
        if product == "atlas" and n == 2:
            continue
        rows = []
        smooth = n == 2 and product not in ("altiplano", "autocallable")
        for k in range(6 if n == 2 else 4):
            c = contract(product, n, k)
            T, r = round(uniform(0.5, 4), 3), round(uniform(0, 0.08), 4)
            v = numpy.array([round(uniform(0.1, 0.5), 3) for _ in range(n)])
            q = numpy.array([round(uniform(0, 0.05), 4) for _ in range(n)])
            A = numpy.array([[uniform(-0.3, 1) for _ in range(n)] for _ in range(n)]) + numpy.eye(n)
            S = A @ A.T
            d = numpy.sqrt(numpy.diag(S))
            rho = numpy.round(S / d[:, None] / d, 4)
            dates = n if product == "himalaya" else c.get("observationDates", 1)
            if smooth:
                price, error = exact(product, c, T, r, v, q, rho[0, 1])
            else:
                price, error = monte_carlo(product, c, T, r, v, q, rho, dates, 1000 + 10 * n + k)
            columns = {key: value for key, value in c.items() if key not in ("spots", "weights", "money")}
            columns |= {"maturityYears": T, "rate": r}
            for i in range(n):
                columns[f"volatility.{i + 1}"] = v[i]
                columns[f"dividendYield.{i + 1}"] = q[i]
                if "spots" in c:
                    columns[f"spot.{i + 1}"] = c["spots"][i]
                if "weights" in c:
                    columns[f"weight.{i + 1}"] = c["weights"][i]
                for j in range(i + 1, n):
                    columns[f"correlation.{i + 1}.{j + 1}"] = rho[i, j]
            rows.append(columns | {"reference": float(price), "referenceError": float(error)})
        with open(f"{folder}/{product}{n}.csv", "w") as file:
            file.write(",".join(rows[0]) + "\n")
            for row in rows:
                file.write(",".join(x if isinstance(x, str) else repr(x.item() if hasattr(x, "item") else x) for x in row.values()) + "\n")
        print(product, n, flush=True)

# Vegas of the Himalaya of two, by differences of the integral: what differentiating along paths gets wrong.
rows = []
for v1, v2 in [(0.15, 0.45), (0.3, 0.2)]:
    c = {"optionType": "call", "selection": "sinceStart", "floor": "global", "payment": "atMaturity", "strike": 1.0}
    v, q = numpy.array([v1, v2]), numpy.array([0.0, 0.02])
    columns = c | {"maturityYears": 2.0, "rate": 0.03, "volatility.1": v1, "volatility.2": v2, "dividendYield.1": 0.0,
                   "dividendYield.2": 0.02, "correlation.1.2": 0.5}
    for i in range(2):
        h = numpy.zeros(2)
        h[i] = 0.01
        up, down = exact("himalaya", c, 2.0, 0.03, v + h, q, 0.5)[0], exact("himalaya", c, 2.0, 0.03, v - h, q, 0.5)[0]
        columns[f"d_volatility.{i + 1}"] = float((up - down) / 0.02)
    rows.append(columns)
with open(f"{folder}/himalaya2Vega.csv", "w") as file:
    file.write(",".join(rows[0]) + "\n")
    for row in rows:
        file.write(",".join(str(x) for x in row.values()) + "\n")


# Two shares at one date, contracts that jump: the first normal by Gauss panels between the jumps, the second in closed form;
# derivatives by differences of that.

def jumping(product, c):
    T, r, rho = c["maturityYears"], c["rate"], c["correlation.1.2"]
    mean = [(r - c[f"dividendYield.{i}"] - c[f"volatility.{i}"] ** 2 / 2) * T for i in (1, 2)]
    s = [c[f"volatility.{i}"] * numpy.sqrt(T) for i in (1, 2)]
    rest = s[1] * numpy.sqrt(1 - rho * rho)
    jumps = [c["barrier"], 2 * c["strike"]] if product == "altiplano" else [c["autocallBarrier"], c["protectionBarrier"]]
    ends = sorted({-9.0, 9.0} | {z for z in ((numpy.log(x) - mean[0]) / s[0] for x in jumps) if abs(z) < 9})
    edges = numpy.concatenate([numpy.linspace(a, b, 40)[:-1] for a, b in zip(ends, ends[1:])] + [ends[-1:]])
    nodes, weights = numpy.polynomial.legendre.leggauss(20)
    half = numpy.diff(edges) / 2
    z = (edges[:-1, None] + half[:, None] * (1 + nodes)).ravel()
    w = (half[:, None] * weights).ravel() * numpy.exp(-z * z / 2) / numpy.sqrt(2 * numpy.pi)
    x, mu = numpy.exp(mean[0] + s[0] * z), mean[1] + s[1] * rho * z
    chance = lambda k: ndtr((k - mu) / rest)                                                # of ln X_2 < k
    part = lambda k: numpy.exp(mu + rest * rest / 2) * ndtr((k - mu) / rest - rest)         # E[X_2; ln X_2 < k]
    if product == "autocallable":
        a, b = numpy.log(c["autocallBarrier"]), numpy.log(c["protectionBarrier"])
        called, safe = numpy.where(numpy.log(x) >= a, 1 - chance(a), 0), numpy.where(numpy.log(x) >= b, 1 - chance(b), 0)
        lost = part(numpy.minimum(numpy.log(x), b)) + numpy.where(numpy.log(x) < b, x * (1 - chance(numpy.log(x))), 0)
        pays = called * (1 + c["coupon"]) + (safe - called) + lost
    else:
        b, k = numpy.log(c["barrier"]), 2 * c["strike"] - x
        top = numpy.where(numpy.log(x) > b, b, 50.0)
        kink = numpy.minimum(numpy.log(numpy.where(k > 0, k, 1e-300)), top)
        if c["optionType"] == "call":
            option = (part(top) - part(kink) - k * (chance(top) - chance(kink))) / 2
        else:
            option = numpy.where(k > 0, (k * chance(kink) - part(kink)) / 2, 0)
        pays = numpy.where(numpy.log(x) > b, 1 - chance(b), 0) * c["coupon"] + option
    return float(numpy.exp(-r * T) * numpy.dot(w, pays))


uniform = random.Random(20261129).uniform
for product in ["altiplano", "autocallable"]:
    rows = []
    for k in range(6):
        c = contract(product, 2, k) | {
            "maturityYears": round(uniform(0.5, 3), 3), "rate": round(uniform(0, 0.08), 4), "correlation.1.2": round(uniform(-0.5, 0.95), 3)}
        for i in (1, 2):
            c |= {f"volatility.{i}": round(uniform(0.1, 0.5), 3), f"dividendYield.{i}": round(uniform(0, 0.05), 4)}
        names = [name for name in c if name not in ("optionType", "observationDates")]
        slope = lambda name: (jumping(product, c | {name: c[name] + 1e-4}) - jumping(product, c | {name: c[name] - 1e-4})) / 2e-4
        rows.append(c | {"reference": jumping(product, c)} | {f"d_{name}": slope(name) for name in names})
    with open(f"{folder}/{product}2Gradient.csv", "w") as file:
        file.write(",".join(rows[0]) + "\n")
        for row in rows:
            file.write(",".join(str(x) for x in row.values()) + "\n")
