"""Make a pricer in Python an oracle for Cairn.

    from cairn_oracle import Input, oracle

    @oracle(version="1", inputs=[Input("rate", 0, 0.1, unit="1/yr"), Input("maturityYears", 0.1, 5, unit="yr")])
    def forward(rate, maturityYears):
        return 1 + rate * maturityYears

    if __name__ == "__main__":
        forward.run()

An oracle is a pure function: the same input gives the same bits, alone or in a batch, today and tomorrow, or its
fingerprint is another. A Monte Carlo oracle (`stochastic=True`) takes its random numbers from `seed` and nothing else.
"""

from ._oracle import Constraint, Input, NoPrice, Oracle, TestVector, Valuation, oracle

__all__ = ["Constraint", "Input", "NoPrice", "Oracle", "TestVector", "Valuation", "oracle"]
