// Cheap oracles with the traits that matter to a cluster: with and without derivatives, with rows that have no price,
// with standard errors.

internal import Regression

/// A polynomial that prices as real oracles do. Pure arithmetic, so the same bits everywhere.
struct SimulatedOracle: Oracle {
    enum Trait: CaseIterable {
        /// Gives its derivatives.
        case smooth
        /// Has a kink and no derivatives.
        case kinked
        /// Has no price in a corner of its domain.
        case gappy
        /// Says how uncertain it is.
        case noisy
    }

    let trait: Trait
    let descriptor: OracleDescriptor

    init(_ trait: Trait) {
        self.trait = trait
        let dimension =
            switch trait {
            case .smooth: 2
            case .kinked: 3
            case .gappy: 1
            case .noisy: 4
            }
        descriptor = OracleDescriptor(
            name: "\(trait)", version: "1", summary: "a polynomial", citation: "",
            inputs: (0..<dimension).map {
                .init(name: "x\($0)", unit: "1", meaning: "a coordinate", lower: -1, upper: 1 + Double($0))
            },
            providesGradient: trait == .smooth, isStochastic: trait == .noisy)
    }

    func evaluate(_ points: [Double], gradient: Bool) -> Valuations {
        let dimension = descriptor.inputs.count
        let count = points.count / dimension
        var values = Valuations(prices: [], statuses: [])
        for row in 0..<count {
            let x = points[row * dimension..<(row + 1) * dimension]
            var price = 0.1
            for (i, value) in x.enumerated() { price += value * (value * 0.25 - 0.125 * Double(i)) }
            var status = ValuationStatus.ok
            switch trait {
            case .smooth:
                if gradient { values.gradients += x.enumerated().map { i, value in 0.5 * value - 0.125 * Double(i) } }
            case .kinked: price += abs(x.first! - 0.25)
            case .gappy:
                if x.first! > 0.9 { (price, status) = (.nan, .invalid) }
                if x.first! < -0.8 { status = .extended }
            case .noisy: values.standardErrors.append(0.001 * (1 + abs(price)))
            }
            values.prices.append(price)
            values.statuses.append(status)
        }
        return values
    }
}
