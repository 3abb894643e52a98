import CairnCommand
import Regression

struct Forward: Oracle {
    let descriptor = OracleDescriptor(
        name: "forward", version: "1", summary: "forward price of a share without dividends", citation: "",
        inputs: [
            .init(name: "rate", unit: "1/yr", meaning: "interest rate", lower: 0, upper: 0.1),
            .init(name: "maturityYears", unit: "yr", meaning: "time to delivery", lower: 0.1, upper: 5),
        ])

    func evaluate(_ points: [Double], gradient: Bool) -> Valuations {
        var prices: [Double] = []
        for row in stride(from: 0, to: points.count, by: 2) { prices.append(1 + points[row] * points[row + 1]) }
        return Valuations(prices: prices)
    }
}

runCairn(oracles: [Forward()])
