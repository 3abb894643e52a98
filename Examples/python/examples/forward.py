"""The smallest oracle: the forward price of a share without dividends, with its derivatives."""

from cairn_oracle import Input, TestVector, Valuation, oracle


@oracle(
    version="1",
    inputs=[
        Input("rate", 0, 0.1, unit="1/yr", meaning="interest rate"),
        Input("maturityYears", 0.1, 5, unit="yr", meaning="time to delivery"),
    ],
    gradient="exact",
    test_vectors=[TestVector({"rate": 0.05, "maturityYears": 2.0}, 1.1, 1e-15)],
    cost_seconds=1e-6,
)
def forward(rate, maturityYears, gradient):
    """Forward price of a share without dividends, simple interest"""
    if not gradient:
        return 1 + rate * maturityYears
    return Valuation(1 + rate * maturityYears, gradient={"rate": maturityYears, "maturityYears": rate})


if __name__ == "__main__":
    forward.run()
