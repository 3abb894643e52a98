"""Exotic prices (and Himalaya paths) per second in QuantLib, one thread, and each price with its standard error if it has one.

One contract of each kind: spot and strike 100, one year, volatility 0.25, rate 0.03, yield 0.01; several shares are five
with volatilities 0.15, 0.20 … 0.35 and correlations 0.5. `NAME` is prices per second, `NAME price` the price,
`NAME error` its standard error, `NAME engine` what made it.
"""
import json
import time

import QuantLib as ql

today = ql.Date(1, 1, 2026)
ql.Settings.instance().evaluationDate = today
count = ql.Actual365Fixed()
PATHS = 131_072


def flat(x):
    return ql.YieldTermStructureHandle(ql.FlatForward(today, x, count))


def market(volatility, yield_=0.01, rate=None):
    rates = flat(0.03) if rate is None else ql.YieldTermStructureHandle(ql.FlatForward(today, ql.QuoteHandle(rate), count))
    return ql.BlackScholesMertonProcess(
        ql.QuoteHandle(ql.SimpleQuote(100.0)), flat(yield_), rates,
        ql.BlackVolTermStructureHandle(ql.BlackConstantVol(today, ql.NullCalendar(), volatility, count)))


quote = ql.SimpleQuote(0.03)
process = market(0.25, rate=quote)
put = ql.PlainVanillaPayoff(ql.Option.Put, 100)
call = ql.PlainVanillaPayoff(ql.Option.Call, 100)
year = today + 365
european = ql.EuropeanExercise(year)
answer = {"quantlib version": ql.__version__}
tick = 0


def measure(name, option, engine, repeats=1, runs=5, unit=1):
    """The least time of some runs, each price with another rate so that none is remembered; prices are per `unit`."""
    global tick
    option.setPricingEngine(engine)
    least = float("inf")
    for _ in range(runs):
        start = time.thread_time()
        for _ in range(repeats):
            tick += 1
            quote.setValue(0.03 + 1e-9 * tick)
            option.recalculate()  # some engines do not notice
        least = min(least, (time.thread_time() - start) / repeats)
    quote.setValue(0.03)
    option.recalculate()
    answer[name] = 1 / least
    answer[f"{name} price"] = option.NPV() / unit
    try:
        answer[f"{name} error"] = option.errorEstimate() / unit
    except RuntimeError:
        pass
    answer[f"{name} engine"] = type(engine).__name__


def draws(name, option, engine, unit=1):
    """A Monte Carlo engine prices once: its paths are not made again. `engine` takes a seed; prices are per `unit`."""
    least = float("inf")
    for seed in (1, 2):
        option.setPricingEngine(engine(seed))
        start = time.thread_time()
        price = option.NPV()
        least = min(least, time.thread_time() - start)
    answer[name] = 1 / least
    answer[f"{name} price"] = price / unit
    answer[f"{name} error"] = option.errorEstimate() / unit
    answer[f"{name} engine"] = type(engine(1)).__name__


# Cairn's is on a spot of 1 without a yield.
measure("downAndOutPut", ql.BarrierOption(ql.Barrier.DownOut, 80, 0, put, european),
        ql.AnalyticBarrierEngine(market(0.25, yield_=0.0, rate=quote)), 2000, unit=100)
measure("barrier", ql.BarrierOption(ql.Barrier.DownOut, 80, 0, call, european), ql.AnalyticBarrierEngine(process), 2000)
measure("doubleBarrier", ql.DoubleBarrierOption(ql.DoubleBarrier.KnockOut, 70, 140, 0, call, european),
        ql.AnalyticDoubleBarrierEngine(process), 1000)
measure("lookback", ql.ContinuousFixedLookbackOption(100.0, call, european),
        ql.AnalyticContinuousFixedLookbackEngine(process), 1000)
measure("american", ql.VanillaOption(put, ql.AmericanExercise(today, year)),
        ql.QdFpAmericanEngine(process, ql.QdFpAmericanEngine.highPrecisionScheme()), 20)
months = [today + round(365 * (k + 1) / 12) for k in range(12)]
measure("asian", ql.DiscreteAveragingAsianOption(ql.Average.Arithmetic, 0.0, 0, months, call, european),
        ql.FdBlackScholesAsianEngine(process, 50, 100, 50), 1, 2)
draws("discreteBarrier", ql.BarrierOption(ql.Barrier.DownOut, 80, 0, call, european),
      lambda seed: ql.MCBarrierEngine(process, "pr", timeSteps=12, isBiased=True, requiredSamples=PATHS, seed=seed))
measure("localVolatilityBarrier", ql.BarrierOption(ql.Barrier.DownOut, 80, 0, put, european),
        ql.FdBlackScholesBarrierEngine(process, 400, 400), 2, 3)
heston = ql.HestonModel(ql.HestonProcess(
    ql.YieldTermStructureHandle(ql.FlatForward(today, ql.QuoteHandle(quote), count)), flat(0.01),
    ql.QuoteHandle(ql.SimpleQuote(100.0)), 0.0625, 1.5, 0.0625, 0.3, -0.5))
measure("hestonBarrier", ql.BarrierOption(ql.Barrier.DownOut, 80, 0, put, european),
        ql.FdHestonBarrierEngine(heston, 100, 200, 80), 1, 3)

matrix = ql.Matrix(5, 5, 0.5)
for i in range(5):
    matrix[i][i] = 1.0
shares = ql.StochasticProcessArray([market(0.15 + 0.05 * i) for i in range(5)], matrix)
fifths = [today + 73 * (j + 1) for j in range(5)]
# QuantLib's Himalaya is on the mean of prices, not of performances.
draws("himalaya", ql.HimalayaOption(fifths, 100.0),
      lambda seed: ql.MCHimalayaEngine(shares, "pr", requiredSamples=PATHS, seed=seed), 100)
answer["himalaya paths"] = answer["himalaya"] * PATHS
# Its Everest pays 1 + worst return + guarantee: with 0 the worst performance, Cairn's with a guarantee of -1.
draws("everest", ql.EverestOption(1.0, 0.0, european),
      lambda seed: ql.MCEverestEngine(shares, "pr", timeSteps=1, timeStepsPerYear=ql.nullInt(), requiredSamples=PATHS, seed=seed))
for name, payoff in [("basket", ql.AverageBasketPayoff(call, ql.Array(5, 0.2))), ("rainbow", ql.MaxBasketPayoff(call))]:
    draws(name, ql.BasketOption(payoff, european),
          lambda seed: ql.MCEuropeanBasketEngine(shares, "pr", timeSteps=1, requiredSamples=PATHS, seed=seed))
print(json.dumps(answer))
