"""Exotic prices (and Himalaya paths) per second in QuantLib, one thread."""
import json
import time

import QuantLib as ql

today = ql.Date(1, 1, 2026)
ql.Settings.instance().evaluationDate = today
count = ql.Actual365Fixed()


def flat(x):
    return ql.YieldTermStructureHandle(ql.FlatForward(today, x, count))


def market(volatility, yield_=0.01, rate=None):
    rates = flat(0.03) if rate is None else ql.YieldTermStructureHandle(ql.FlatForward(today, ql.QuoteHandle(rate), count))
    return ql.BlackScholesMertonProcess(
        ql.QuoteHandle(ql.SimpleQuote(100.0)), flat(yield_), rates,
        ql.BlackVolTermStructureHandle(ql.BlackConstantVol(today, ql.NullCalendar(), volatility, count)))


def rate_of(option, engine, quote, repeats):
    option.setPricingEngine(engine)
    least = float("inf")
    for _ in range(5):
        start = time.thread_time()
        for k in range(repeats):
            quote.setValue(0.03 + 1e-7 * k)
            option.NPV()
        least = min(least, (time.thread_time() - start) / repeats)
    return 1 / least


quote = ql.SimpleQuote(0.03)
process = market(0.25, rate=quote)
put = ql.PlainVanillaPayoff(ql.Option.Put, 100)
call = ql.PlainVanillaPayoff(ql.Option.Call, 100)
european = ql.EuropeanExercise(today + 365)
answer = {
    "barrier": rate_of(ql.BarrierOption(ql.Barrier.DownOut, 80, 0, call, european), ql.AnalyticBarrierEngine(process), quote, 2000),
    "doubleBarrier": rate_of(
        ql.DoubleBarrierOption(ql.DoubleBarrier.KnockOut, 70, 140, 0, call, european),
        ql.AnalyticDoubleBarrierEngine(process), quote, 1000),
    "lookback": rate_of(
        ql.ContinuousFixedLookbackOption(100.0, call, european),
        ql.AnalyticContinuousFixedLookbackEngine(process), quote, 1000),
    "american": rate_of(
        ql.VanillaOption(put, ql.AmericanExercise(today, today + 365)),
        ql.QdFpAmericanEngine(process, ql.QdFpAmericanEngine.highPrecisionScheme()), quote, 20),
}
matrix = ql.Matrix(5, 5, 0.5)
for i in range(5):
    matrix[i][i] = 1.0
shares = ql.StochasticProcessArray([market(0.15 + 0.05 * i) for i in range(5)], matrix)
PATHS = 100_000
dates = [today + 365 * (j + 1) for j in range(5)]
himalaya = ql.HimalayaOption(dates, 1.0)
least = float("inf")
for seed in range(1, 4):
    himalaya.setPricingEngine(ql.MCHimalayaEngine(shares, "pr", requiredSamples=PATHS, seed=seed))
    start = time.thread_time()
    himalaya.NPV()
    least = min(least, time.thread_time() - start)
answer["himalaya"] = PATHS / least
everest = ql.EverestOption(1.0, 0.0, ql.EuropeanExercise(today + 365))
everest.setPricingEngine(ql.MCEverestEngine(shares, "pr", timeSteps=1, timeStepsPerYear=ql.nullInt(), requiredSamples=131072, seed=1))
start = time.thread_time()
everest.NPV()
answer["everest"] = 1 / (time.thread_time() - start)
print(json.dumps(answer | {"quantlib version": ql.__version__}))
