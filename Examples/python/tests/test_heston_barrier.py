"""The example that prices with QuantLib: limits in which the answer is known."""

import pathlib
import sys

import pytest

ql = pytest.importorskip("QuantLib")
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "examples"))
import heston_barrier as example  # noqa: E402

USUAL = dict(
    barrierOverSpot=0.8, strikeOverSpot=1.0, maturityYears=1.0, rate=0.05, variance=0.04, meanReversion=2.0,
    longVariance=0.04, volOfVol=0.3, correlation=-0.5,
)  # fmt: skip


def black_scholes(barrier, strike, volatility):
    today = example.TODAY
    process = ql.BlackScholesMertonProcess(
        ql.QuoteHandle(ql.SimpleQuote(1.0)),
        example.curve(0.0),
        example.curve(0.05),
        ql.BlackVolTermStructureHandle(ql.BlackConstantVol(today, ql.NullCalendar(), volatility, example.DAYS)),
    )
    payoff = ql.PlainVanillaPayoff(ql.Option.Call, strike)
    option = ql.BarrierOption(ql.Barrier.DownOut, barrier, 0.0, payoff, ql.EuropeanExercise(today + 365))
    option.setPricingEngine(ql.AnalyticBarrierEngine(process))
    return option.NPV()


@pytest.mark.parametrize("barrier", [0.7, 0.85])
@pytest.mark.parametrize("volatility", [0.15, 0.3])
def test_variance_that_hardly_moves_is_black_scholes(barrier, volatility):
    arguments = {**USUAL, "barrierOverSpot": barrier, "volOfVol": 0.05, "correlation": 0.0}
    arguments.update(variance=volatility**2, longVariance=volatility**2)
    assert example.hestonBarrier(**arguments) == pytest.approx(black_scholes(barrier, 1.0, volatility), abs=3e-4)


def test_a_higher_barrier_is_worth_less():
    prices = [example.hestonBarrier(**{**USUAL, "barrierOverSpot": barrier}) for barrier in (0.6, 0.75, 0.9)]
    assert prices[0] > prices[1] > prices[2] > 0


def test_the_same_input_gives_the_same_bits():
    assert example.hestonBarrier(**USUAL) == example.hestonBarrier(**USUAL)


def test_it_passes_its_own_test():
    vector = example.hestonBarrier.descriptor.test_vectors[0]
    names = [entry.name for entry in example.hestonBarrier.inputs]
    assert example.hestonBarrier(**dict(zip(names, vector.inputs))) == pytest.approx(vector.price, abs=vector.tolerance)
