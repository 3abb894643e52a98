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
        Valuations(prices: (0..<points.count / 2).map { 1 + points[2 * $0] * points[2 * $0 + 1] })
    }
}

runCairn(oracles: [Forward()])
