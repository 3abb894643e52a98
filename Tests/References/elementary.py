"""Reference values of elementary functions: Tests/RegressionTests/Resources/elementary.csv (function,x,value).

    pip install mpmath && python3 elementary.py > ../RegressionTests/Resources/elementary.csv
"""
import random

from mpmath import erfc, exp, expm1, log, mp, mpf, sqrt

mp.dps = 60
generator = random.Random(3)


def spread(low, high, count):
    return [generator.uniform(low, high) for _ in range(count)]


def signed_powers(count, low, high):
    return [generator.choice([-1, 1]) * 10 ** generator.uniform(low, high) for _ in range(count)]


def normal(x):
    return erfc(-mpf(x) / sqrt(mpf(2))) / 2


def tail(x):
    """The upper tail of the normal distribution times exp(x^2 / 2)."""
    return normal(-x) * exp(mpf(x) ** 2 / 2)


cases = []
cases += [("exp", x, exp) for x in spread(-745, 709.7, 150) + spread(-2, 2, 100) + signed_powers(50, -18, 0)]
cases += [("expm1", x, expm1) for x in spread(-1, 1, 150) + signed_powers(100, -18, 1)]
cases += [("log", x, log) for x in spread(0.5, 2, 150) + [10 ** generator.uniform(-300, 300) for _ in range(100)]]
cases += [("log", 1 + s, log) for s in signed_powers(50, -15, -2)] + [("log", 5e-324, log), ("log", 1e-310, log)]
cases += [("normal", x, normal) for x in spread(-37, 9, 150) + spread(-2, 2, 100) + signed_powers(30, -18, 0)]
cases += [("tail", x, tail) for x in spread(0, 2, 100) + spread(0, 37, 100)]
print("function,x,value,rest")  # the exact result is value + rest
for name, x, f in cases:
    exact = f(mpf(x))
    print(f"{name},{x!r},{float(exact)!r},{float(exact - mpf(float(exact)))!r}")
