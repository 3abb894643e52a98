"""Reference prices of barriers under Heston's model where they are reflections: Tests/PricingTests/Resources/hestonReflection.csv.

Share and variance uncorrelated, rate = yield: the option that dies at B is G(S) - (S/B) G(B²/S), G the European option that pays
the same on the side where it lives (P. Carr, K. Ellis and V. Gupta, Journal of Finance 53 (1998)). G is made of calls, puts
and digitals by Fourier integration (A. Lewis, Option Valuation under Stochastic Volatility (2000)); error 1e-9. Contracts are
from all of the oracle's domain, its corners and a volatility of variance of 0.01 too; 24 more from where the tails are longest.

    pip install numpy && python3 heston_reflection.py ../PricingTests/Resources
"""
import random
import sys

import numpy as np

draw = random.Random(20261130)
nodes, weights = np.polynomial.legendre.leggauss(64)
edges = np.concatenate([np.linspace(0, 60, 61), np.linspace(60, 3000, 300)[1:]])
u = (edges[:-1, None] + np.diff(edges)[:, None] / 2 * (1 + nodes)).ravel()
du = (np.diff(edges)[:, None] / 2 * weights).ravel()


def characteristic(u, T, v, kappa, theta, sigma):
    """E[exp(iu ln(F_T/F_0))] without correlation."""
    d = np.sqrt(kappa * kappa + sigma * sigma * (1j * u + u * u))
    g, e = (kappa - d) / (kappa + d), np.exp(-d * T)
    c = kappa * theta / sigma**2 * ((kappa - d) * T - 2 * np.log((1 - g * e) / (1 - g)))
    return np.exp(c + (kappa - d) / sigma**2 * (1 - e) / (1 - g * e) * v)


def call(S, K, T, r, *model):
    inner = np.real(np.exp(1j * u * np.log(S / K)) * characteristic(u - 0.5j, T, *model)) / (u * u + 0.25)
    return np.exp(-r * T) * (S - np.sqrt(S * K) / np.pi * np.dot(du, inner))


def above(S, K, T, r, *model):
    """One unit if S ends above K."""
    inner = np.real(np.exp(1j * u * np.log(S / K)) * characteristic(u, T, *model) / (1j * u))
    return np.exp(-r * T) * (0.5 + np.dot(du, inner) / np.pi)


def put(S, K, T, r, *model):
    return call(S, K, T, r, *model) - np.exp(-r * T) * (S - K)


def end(low, high):
    return draw.choice([low, high, draw.uniform(low, high)])


rows = []
for k in range(56):
    S, K, T, r = end(80.5, 120), end(80, 120), end(0.1, 2), end(0, 0.1)
    model = end(0.01, 0.16), end(0.5, 4), end(0.01, 0.16), [0.01, 0.1, 0.6, draw.uniform(0.1, 0.6)][k % 4]
    if k >= 32:
        # The variance is near zero for most of the time, and goes far when it leaves.
        T, model = end(0.5, 2), (end(0.01, 0.02), end(0.5, 0.8), end(0.01, 0.012), end(0.4, 0.6))
    kind, option = ["upAndOut", "downAndOut"][k // 4 % 2], ["call", "put"][k // 8 % 2]
    B = S * (draw.choice([1.02, draw.uniform(1.02, 1.6)]) if kind == "upAndOut" else draw.choice([0.98, draw.uniform(0.6, 0.98)]))
    def european(x):
        value = call(x, K, T, r, *model) if option == "call" else put(x, K, T, r, *model)
        if option == "call" and kind == "upAndOut":
            value -= call(x, B, T, r, *model) + (B - K) * above(x, B, T, r, *model)
        if option == "put" and kind == "downAndOut":
            value -= put(x, B, T, r, *model) + (K - B) * (np.exp(-r * T) - above(x, B, T, r, *model))
        return value
    if kind == "upAndOut":
        K = min(K, 0.95 * B)
    else:
        K = max(K, 1.05 * B)
    names = ["variance", "reversion", "meanVariance", "varianceVolatility"]
    rows.append({"optionType": option, "barrierType": kind, "spot": S, "strike": K, "barrier": B, "maturityYears": T,
                 "rate": r, "dividendYield": r} | dict(zip(names, model))
                | {"correlation": 0.0, "price": float(european(S) - S / B * european(B * B / S))})
with open(f"{sys.argv[1]}/hestonReflection.csv", "w") as file:
    file.write(",".join(rows[0]) + "\n")
    for row in rows:
        file.write(",".join(x if isinstance(x, str) else repr(float(x)) for x in row.values()) + "\n")
