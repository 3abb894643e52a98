public import Regression

/// The oracles that every worker has.
public let builtInOracles: [any Oracle] = [
    DownAndOutPut(), Barrier(), DiscreteBarrier(), DoubleBarrier(), Lookback(), Asian(),
]
