// What a user asks for, after validation: every value is there and in range.

package import Regression

/// A study: data, attack, training, search, scan, mitigation. The file that it comes from is in Runtime/StudyFile.swift;
/// the meaning of every key is in Docs/Studies.md.
package struct Study: Sendable, Hashable {
    package enum Data: Sendable, Hashable {
        /// Drawn uniformly from the domain and labelled by the oracle.
        case generated(base: Int, test: Int)
        /// From files that the client attaches; without a test file, so many test samples are drawn.
        case attached(test: Int?)
    }

    package enum SurrogateSource: Sendable, Hashable {
        case fresh(hidden: [Int])
        /// A safetensors file that the client attaches.
        case attached
    }

    package enum Seeds: Sendable, Hashable {
        /// This share of the training samples, by |prediction − label|.
        case worst(Double)
        /// So many, uniform in the domain.
        case random(Int)
        /// From a file that the client attaches.
        case attached
    }

    package enum GradientChoice: Sendable, Hashable {
        /// The oracle's own derivatives when it has them, else differences.
        case auto
        case own
        case differences
    }

    package struct Search: Sendable, Hashable {
        package var seeds: Seeds = .worst(0.1)
        package var stages: [AscentStage] = [AscentStage()]
        package var gradient: GradientChoice = .auto
        package var difference = 1e-4
        package var mergeRadius = 0.01
        /// The most oracle calls that the search may make.
        package var oracleCalls: Int?
        package var wallClock: Duration?

        package init() {}
    }

    package enum Action: String, Sendable, Hashable, CaseIterable {
        /// Ask the oracle about the samples near suspicious maximizers and correct wrong labels.
        case verify
        /// Remove the samples chained to suspicious maximizers through overfull balls.
        case purge
        /// Ask the oracle about those samples instead and correct wrong labels.
        case relabel
        case none
    }

    package struct Mitigation: Sendable, Hashable {
        package var action: Action = .verify
        package var nearest = 16
        package var purgeLink = 0.05
        /// A label is wrong if it differs from the oracle's by more than this, in label units.
        package var tolerance = 1e-4
        /// λ: weights of the original samples against the maximizers, to try.
        package var weights: [Double] = [0.999]
        /// Maximizers closer than this to a larger one are left out of retraining.
        package var mergeRadius = 0.3
        package var training = TrainingSettings(
            batch: .rows(512), epochs: 2, learningRate: 0.001, schedule: .cosine(finalFraction: 0.002))

        package init() {}
    }

    package var name: String
    package var randomSeed: UInt64
    package var oracle: String
    /// What is fixed of the oracle: input names and values. Empty if nothing is.
    package var contract: [String: String] = [:]
    package var labelScale: Double
    package var domain: Domain
    package var data: Data
    package var attack: Attack?
    package var surrogate: SurrogateSource
    package var training: TrainingSettings
    package var search: Search
    package var scan: BackdoorScan
    package var mitigation: Mitigation

    package init(
        name: String, randomSeed: UInt64, oracle: String, labelScale: Double, domain: Domain, data: Data,
        attack: Attack?, surrogate: SurrogateSource, training: TrainingSettings, search: Search, scan: BackdoorScan,
        mitigation: Mitigation
    ) {
        self.name = name
        self.randomSeed = randomSeed
        self.oracle = oracle
        self.labelScale = labelScale
        self.domain = domain
        self.data = data
        self.attack = attack
        self.surrogate = surrogate
        self.training = training
        self.search = search
        self.scan = scan
        self.mitigation = mitigation
    }
}

extension Study {
    /// An oracle with what a study fixes of it: itself, if nothing is to be fixed.
    ///
    /// - Throws: `Contract.Problem`.
    package static func fixed(_ oracle: any Oracle, terms: [String: String]) throws(Contract.Problem) -> any Oracle {
        let isContinuous = oracle.descriptor.inputs.allSatisfy { $0.kind == .continuous }
        return terms.isEmpty && isContinuous ? oracle : try Contract(oracle, terms: terms)
    }

    /// The study's oracle, among those that there are.
    package func fixedOracle(among oracles: [any Oracle]) -> (any Oracle)? {
        oracles.first { $0.descriptor.name == oracle }.flatMap { try? Self.fixed($0, terms: contract) }
    }
}

/// What a study brings along, read and checked.
package struct StudyAttachments: Sendable {
    package var training: Samples?
    package var test: Samples?
    package var model: Surrogate?
    /// Rows of normalised inputs.
    package var seeds: [Double]?

    package init(
        training: Samples? = nil, test: Samples? = nil, model: Surrogate? = nil, seeds: [Double]? = nil
    ) {
        self.training = training
        self.test = test
        self.model = model
        self.seeds = seeds
    }
}
