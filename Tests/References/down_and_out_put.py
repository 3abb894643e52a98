"""Reference prices and derivatives of the down-and-out put: Tests/PricingTests/Resources/downAndOutPut.csv.

The closed form of Reiner and Rubinstein (1991), as in Haug (2007), section 4.17: A - B + C - D, in 400 digits (terms of size 1 may leave 1e-200); the
derivatives are Richardson-extrapolated central differences in the same precision, so they owe nothing to formulas for
the greeks. Groups: the domain of the main study, a wider one, the limits, and far tails.

    pip install mpmath && python3 down_and_out_put.py > ../PricingTests/Resources/downAndOutPut.csv
"""
import random

from mpmath import erfc, exp, log, mp, mpf, sqrt

mp.dps = 400


def normal(x):
    return erfc(-x / sqrt(mpf(2))) / 2


def price(b, k, t, sigma, r):
    if b >= 1 or b >= k:
        return mpf(0)
    s = sigma * sqrt(t)
    mu = (r - sigma**2 / 2) / sigma**2
    x1 = -log(k) / s + (1 + mu) * s
    x2 = -log(b) / s + (1 + mu) * s
    y1 = log(b * b / k) / s + (1 + mu) * s
    y2 = log(b) / s + (1 + mu) * s
    d = exp(-r * t)
    p1, p2 = exp(2 * mu * log(b)), exp(2 * (mu + 1) * log(b))
    a_ = -normal(-x1) + k * d * normal(-x1 + s)
    b_ = -normal(-x2) + k * d * normal(-x2 + s)
    c_ = -p2 * normal(y1) + k * d * p1 * normal(y1 - s)
    d_ = -p2 * normal(y2) + k * d * p1 * normal(y2 - s)
    return a_ - b_ + c_ - d_


def derivative(point, i):
    room = min(abs(1 - point[0]), abs(point[1] - point[0]), point[2], point[3])
    h = room * mpf(10) ** -40
    def difference(step):
        up, down = list(point), list(point)
        up[i] += step
        down[i] -= step
        return (price(*up) - price(*down)) / (2 * step)
    return (4 * difference(h / 2) - difference(h)) / 3


generator = random.Random(20261122)
uniform = generator.uniform
points = [("golden", [0.8, 1.05, 1.0, 0.2, 0.03])]


def inside(group, count, ranges):
    while count:
        p = [uniform(*r) for r in ranges]
        if p[0] < 1 and p[0] < p[1]:
            points.append((group, p))
            count -= 1


inside("domain", 200, [(0.5, 1), (0.5, 1.5), (0.05, 2.05), (0.1, 0.6), (0, 0.1)])
inside("wide", 150, [(0.05, 1), (0.1, 3), (0.01, 20), (0.02, 1.5), (-0.1, 0.3)])
for e in range(1, 12):
    near = 10.0**-e
    points += [
        ("barrier near strike", [0.8, 0.8 + near, 1.0, 0.3, 0.05]),
        ("barrier near spot", [1 - near, 1.2, 1.0, 0.3, 0.05]),
        ("both near", [1 - near, 1 - near / 2, 0.5, 0.2, 0.02]),
        ("short", [0.8, 1.1, near, 0.3, 0.05]),
        ("short at the money", [0.9, 1.0, near, 0.3, 0.05]),
        ("quiet", [0.8, 1.1, 1.0, near, 0.05]),
        ("quiet, strike at the forward", [0.8, 1.05, 1.0, near, 0.04879016416943205]),
    ]
inside("far tail", 60, [(0.3, 0.6), (0.35, 0.7), (0.02, 0.2), (0.05, 0.15), (0, 0.1)])
inside("rate zero", 20, [(0.5, 1), (0.5, 1.5), (0.05, 2), (0.1, 0.6), (0, 0)])

print("group,barrierOverSpot,strikeOverSpot,maturityYears,volatility,rate,price,d_1,d_2,d_3,d_4,d_5")
for group, p in points:
    exact = [mpf(x) for x in p]
    numbers = p + [float(price(*exact))] + [float(derivative(exact, i)) for i in range(5)]
    print(",".join([group.replace(",", ";")] + [repr(float(x)) for x in numbers]))
