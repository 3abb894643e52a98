// An oracle in Swift that whoever builds the program brings along.

package import Regression

/// Such an oracle is part of the program and may crash it; but what it answers is put in order here, as it is for every
/// plug-in: one of everything per row, and a price is a finite number. Whatever reads prices need not ask.
package struct OwnOracle: Oracle {
    private let oracle: any Oracle

    package init(_ oracle: any Oracle) { self.oracle = oracle }

    package var descriptor: OracleDescriptor { oracle.descriptor }

    package func resized(assets: Int) -> (any Oracle)? { oracle.resized(assets: assets).map(OwnOracle.init) }

    package func evaluate(_ points: [Double], gradient: Bool) -> Valuations {
        let descriptor = oracle.descriptor
        let width = descriptor.inputs.count
        let count = points.count / width
        var given = oracle.evaluate(points, gradient: gradient)
        let errors = descriptor.isStochastic ? count : 0
        let slopes = gradient ? points.count : 0
        guard given.prices.count == count, given.statuses.count == count, given.standardErrors.count == errors,
            given.gradients.count == slopes
        else {
            var nothing = Valuations(
                prices: [Double](repeating: .nan, count: count),
                standardErrors: [Double](repeating: .nan, count: errors),
                gradients: [Double](repeating: .nan, count: slopes),
                statuses: [ValuationStatus](repeating: .failed, count: count))
            nothing.failure =
                "oracle \(descriptor.name): answered \(given.prices.count) prices, \(given.standardErrors.count) standard "
                + "errors, \(given.statuses.count) statuses and \(given.gradients.count) derivatives for \(count) points"
            return nothing
        }
        given.settle(width: width)
        given.place(of: descriptor, points)
        return given
    }
}

extension Valuations {
    /// What is no number has no price, and what failed says so: `failure` is kept if a row failed, and there then.
    ///
    /// - Parameter width: derivatives per row, if there are any.
    /// - Returns: the rows that were no numbers though their status was good.
    @discardableResult mutating func settle(width: Int) -> [Int] {
        let isSound =
            statuses.allSatisfy { $0.hasPrice } && prices.allSatisfy { $0.isFinite }
            && gradients.allSatisfy { $0.isFinite }
            && standardErrors.allSatisfy { $0.isFinite && $0 >= 0 }
        var bad: [Int] = []
        for k in statuses.indices where !isSound {
            let slopes = gradients.isEmpty ? 0..<0 : k * width..<(k + 1) * width
            if statuses[k].hasPrice {
                let isNumber =
                    prices[k].isFinite && gradients[slopes].allSatisfy { $0.isFinite }
                    && (standardErrors.isEmpty || standardErrors[k].isFinite && standardErrors[k] >= 0)
                if isNumber { continue }
                statuses[k] = .nonFinite
                bad.append(k)
            }
            prices[k] = .nan
            if !standardErrors.isEmpty { standardErrors[k] = .nan }
            for j in slopes { gradients[j] = .nan }
        }
        if isSound || !statuses.contains(.failed) {
            failure = nil
        } else if failure?.isEmpty != false {
            failure = "it says that it failed"
        }
        return bad
    }

    /// Adds to `failure` whose it is, and of which input.
    mutating func place(of descriptor: OracleDescriptor, _ points: [Double]) {
        guard let words = failure, let k = statuses.firstIndex(of: .failed) else { return }
        let width = descriptor.inputs.count
        let place = descriptor.place(of: points[k * width..<(k + 1) * width])
        failure = "oracle \(descriptor.name): at \(place): \(words)"
    }
}
