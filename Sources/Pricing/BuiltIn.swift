public import Regression

/// The oracles that every worker has. Those on several underlyings stand here for three.
public let builtInOracles: [any Oracle] =
    [
        DownAndOutPut(), Barrier(), DiscreteBarrier(), DoubleBarrier(), Lookback(), Asian(), American(),
        LocalVolatilityBarrier(), HestonBarrier(),
    ]
    + MultiAsset.Product.allCases.map { MultiAsset($0) }
