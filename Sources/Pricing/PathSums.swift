// What the paths of a contract have paid so far.

/// Sums over scrambled paths: a price, its standard error, and what it takes to go on with more paths (`MultiAsset.sums`).
public struct PathSums: Sendable, Hashable {
    /// Paths of each scramble, as a power of 2.
    let log2Paths: Int
    /// Of each scramble eight, path i's in the one i mod 8.
    let sums: [Double]

    /// All of them.
    public var paths: Int { SobolNet.scrambles << log2Paths }

    private var means: [Double] {
        let scale = 1 / Double(1 << log2Paths)
        return stride(from: 0, to: sums.count, by: 8).map { k in
            let s = sums[k..<k + 8]
            return (((s[k] + s[k + 1]) + (s[k + 2] + s[k + 3])) + ((s[k + 4] + s[k + 5]) + (s[k + 6] + s[k + 7])))
                * scale
        }
    }

    /// The mean discounted payoff.
    public var price: Double { means.reduce(0, +) / Double(SobolNet.scrambles) }

    /// From the spread of the scrambles' means.
    public var standardError: Double {
        let (means, price, n) = (means, price, Double(SobolNet.scrambles))
        return (means.reduce(0) { $0 + ($1 - price) * ($1 - price) } / (n * (n - 1))).squareRoot()
    }
}
