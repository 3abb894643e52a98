// What a study found, in full: everything that the result folder shows.

package import Regression

/// One row of the paper's table.
package struct TableRow: Sendable, Hashable {
    package var training: ErrorSummary
    package var clean: ErrorSummary
    /// On inputs of the attacked region, and the share at which the attack succeeds; nil without an attack.
    package var attack: ErrorSummary?
    package var attackSuccess: Double?
    /// On the validation set; nil where λ is not chosen.
    package var validationMSE: Double?
}

/// A training sample that was found out.
package struct FlaggedSample: Sendable, Hashable {
    package enum Reason: String, Sendable, Hashable {
        /// The oracle gives another label, which it now has.
        case wrongLabel
        /// In an overfull region around a suspicious maximizer; removed.
        case overfull
    }

    package var row: Int
    package var reason: Reason
    /// The label that it has now; nil if it was removed.
    package var label: Double?
}

/// What a study found.
package struct StudyOutcome: Sendable {
    /// A retraining with one λ.
    package struct Variant: Sendable {
        package var weight: Double
        package var table: TableRow
        package var parameters: BlobReference
        package var version: Int
    }

    package struct OracleCalls: Sendable, Hashable {
        package var training = 0
        package var test = 0
        package var validation = 0
        package var search = 0
        package var certificates = 0
        package var repricing = 0
        package var mitigation = 0

        package var total: Int { training + test + validation + search + repricing + certificates + mitigation }
    }

    /// Maximizers whose error may have been the oracle's noise.
    package struct Noise: Sendable, Hashable {
        /// Priced again, on more paths.
        package var repriced = 0
        /// Of these: not to be told from noise, and left out.
        package var dropped = 0
    }

    package var study: Study
    /// As trained on first, with the origin of each row.
    package var training: Samples
    package var origins: [Origin]
    /// The maximizers that retraining added.
    package var added: Samples
    package var flagged: [FlaggedSample]

    package var seeds = 0
    package var seedsAsked = 0
    /// Unique ones, the largest |error| first.
    package var maximizers: Maximizers
    package var findings: [ScanFinding]
    package var seedsPerMaximizer: [Int]
    /// NaN where it was not probed.
    package var residualGains: [Double]
    /// From 1.
    package var stages: [Int]
    package var inRegion = 0
    package var inSurround = 0

    /// The version that was searched, and its parameters.
    package var version = 1
    package var parameters: BlobReference
    package var epochs: [EpochReport] = []
    package var before: TableRow
    package var variants: [Variant] = []
    /// Which variant was kept; nil if nothing was retrained.
    package var chosen: Int?

    package var oracleFingerprint = ""
    package var oracleCalls = OracleCalls()
    package var noise = Noise()
    /// What could not be done: abandoned jobs, budgets that ran out.
    package var incomplete: [String] = []
}
