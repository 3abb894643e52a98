"""A down-and-out call under Heston's model, priced by QuantLib's finite differences: pip install QuantLib."""

import QuantLib as ql

from cairn_oracle import Constraint, Input, NoPrice, TestVector, Valuation, oracle

ql.Settings.instance().evaluationDate = ql.Date(15, 5, 2026)
TODAY = ql.Settings.instance().evaluationDate
DAYS = ql.Actual365Fixed()


def curve(rate):
    return ql.YieldTermStructureHandle(ql.FlatForward(TODAY, rate, DAYS))


@oracle(
    version="1",
    depends=["QuantLib"],
    citation="in 't Hout and Foulon 2010; QuantLib's FdHestonBarrierEngine, 50 x 100 x 25",
    licence="BSD-3-Clause",
    inputs=[
        Input("barrierOverSpot", 0.6, 0.95, meaning="the call ends when the share falls this low"),
        Input("strikeOverSpot", 0.8, 1.2, meaning="strike"),
        Input("maturityYears", 0.25, 2, unit="yr", meaning="time to maturity, whole days"),
        Input("rate", 0, 0.1, unit="1/yr", meaning="continuous interest rate"),
        Input("variance", 0.01, 0.16, unit="1/yr", meaning="variance today", usual=0.04),
        Input("meanReversion", 0.5, 4, unit="1/yr", meaning="how fast variance goes back", usual=2),
        Input("longVariance", 0.01, 0.16, unit="1/yr", meaning="where it goes back to", usual=0.04),
        Input("volOfVol", 0.05, 0.8, unit="1/yr", meaning="volatility of variance", usual=0.3),
        Input("correlation", -0.9, 0.5, meaning="of share and variance", usual=-0.5),
    ],
    constraints=[Constraint("barrierOverSpot<=strikeOverSpot", {"barrierOverSpot": 1, "strikeOverSpot": -1})],
    test_vectors=[
        # Variance that hardly moves: the closed form at volatility 0.2, and what the grid is off by.
        TestVector(
            {
                "barrierOverSpot": 0.8, "strikeOverSpot": 1.0, "maturityYears": 1.0, "rate": 0.05, "variance": 0.04,
                "meanReversion": 2.0, "longVariance": 0.04, "volOfVol": 0.05, "correlation": 0.0,
            },
            0.103513,
            2e-4,
        )
    ],
    cost_seconds=0.06,
)  # fmt: skip
def hestonBarrier(
    barrierOverSpot, strikeOverSpot, maturityYears, rate, variance, meanReversion, longVariance, volOfVol, correlation
):
    """Down-and-out call, spot 1, Heston's model"""
    if barrierOverSpot >= 1:
        return Valuation(0.0, status="EXTENDED")
    expiry = TODAY + max(1, round(365 * maturityYears))
    option = ql.BarrierOption(
        ql.Barrier.DownOut,
        barrierOverSpot,
        0.0,
        ql.PlainVanillaPayoff(ql.Option.Call, strikeOverSpot),
        ql.EuropeanExercise(expiry),
    )
    spot = ql.QuoteHandle(ql.SimpleQuote(1.0))
    process = ql.HestonProcess(
        curve(rate), curve(0.0), spot, variance, meanReversion, longVariance, volOfVol, correlation
    )
    option.setPricingEngine(ql.FdHestonBarrierEngine(ql.HestonModel(process), 50, 100, 25))
    try:
        return option.NPV()
    except RuntimeError as problem:  # QuantLib's: the input is outside of what its grid covers
        raise NoPrice(str(problem)) from problem


if __name__ == "__main__":
    hestonBarrier.run()
