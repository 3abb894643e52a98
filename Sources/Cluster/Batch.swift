// What a study asks of the cluster at one time: many items of one kind, to be cut into jobs at will.

package import Regression

/// A list of like items. Which of them share a job does not matter to any result. Immutable and large: shared, not copied.
package final class Batch: Sendable {
    package enum Content: Sendable {
        case train([TrainingWork])
        case ascend(SurfaceSettings, parameters: BlobReference, stage: AscentStage, seeds: [Double])
        case probe(SurfaceSettings, parameters: BlobReference, ProbeSettings, Maximizers)
        case label(OracleReference, points: [Double])
        case predict(parameters: BlobReference, inputs: [Double])
    }

    package let content: Content
    package let count: Int
    /// Numbers per item in the content's rows.
    package let dimension: Int
    package let kind: Work.Kind
    /// The oracle that it calls, and that which workers offer of it.
    package let oracle: OracleReference?
    let baseOracle: OracleReference?

    package init(_ content: Content, dimension: Int) {
        self.content = content
        self.dimension = dimension
        switch content {
        case .train(let trainings): count = trainings.count
        case .probe(_, _, _, let maximizers): count = maximizers.count
        case .ascend(_, _, _, let rows), .label(_, let rows), .predict(_, let rows): count = rows.count / dimension
        }
        (kind, oracle) =
            switch content {
            case .train: (.train, nil)
            case .ascend(let surface, _, _, _): (.ascend, surface.oracle)
            case .probe(let surface, _, _, _): (.probe, surface.oracle)
            case .label(let oracle, _): (.label, oracle)
            case .predict: (.predict, nil)
            }
        baseOracle = oracle?.base
    }

    /// The most oracle calls that one of its items takes.
    package var callsPerItem: Int {
        switch content {
        case .ascend(let surface, _, let stage, _):
            switch surface.gradient {
            case .own: stage.steps + 1
            case .differences: stage.steps * (2 * dimension + 1) + 1
            }
        case .probe(_, _, let probe, _): probe.directions
        case .label: 1
        case .train, .predict: 0
        }
    }

    /// The work of some items; a training is always one item.
    package func work(_ items: Range<Int>) -> Work {
        func rows(_ all: [Double]) -> [Double] {
            Array(all[items.lowerBound * dimension..<items.upperBound * dimension])
        }
        switch content {
        case .train(let trainings): return .train(trainings[items.lowerBound])
        case .ascend(let surface, let parameters, let stage, let seeds):
            return .ascend(surface, parameters: parameters, stage: stage, seeds: rows(seeds))
        case .probe(let surface, let parameters, let probe, let maximizers):
            return .probe(surface, parameters: parameters, probe, maximizers.rows(Array(items)))
        case .label(let oracle, let points): return .label(oracle, points: rows(points), gradient: false)
        case .predict(let parameters, let inputs): return .predict(parameters: parameters, inputs: rows(inputs))
        }
    }
}

/// The results of a batch, item by item, in whatever order they come.
package struct BatchResults: Sendable {
    /// Why an item has no result.
    package struct Abandoned: Sendable, Hashable {
        package var items: Range<Int>
        package var reason: String

        package init(items: Range<Int>, reason: String) {
            self.items = items
            self.reason = reason
        }
    }

    private let kind: Work.Kind
    private let dimension: Int
    private var isDone: [Bool]
    package private(set) var remaining: Int
    package private(set) var abandoned: [Abandoned] = []
    package private(set) var oracleCalls = 0

    package private(set) var trained: [BlobReference?] = []
    package private(set) var epochs: [[EpochReport]] = []
    /// NaN where an item was abandoned.
    package private(set) var maximizers: Maximizers
    /// Gains or predictions.
    package private(set) var numbers: [Double] = []
    package private(set) var valuations = Valuations(prices: [])

    package init(for batch: Batch, dimension: Int) {
        kind = batch.kind
        self.dimension = dimension
        isDone = [Bool](repeating: false, count: batch.count)
        remaining = batch.count
        maximizers = Maximizers(dimension: dimension)
        let count = batch.count
        let nothing = [Double](repeating: .nan, count: count)
        switch kind {
        case .train:
            trained = [BlobReference?](repeating: nil, count: count)
            epochs = [[EpochReport]](repeating: [], count: count)
        case .ascend:
            maximizers = Maximizers(
                dimension: dimension, inputs: [Double](repeating: .nan, count: count * dimension), predictions: nothing,
                labels: nothing, standardErrors: nothing)
        case .probe, .predict:
            numbers = nothing
        case .label:
            valuations = Valuations(
                prices: nothing, standardErrors: [Double](repeating: 0, count: count),
                statuses: [ValuationStatus](repeating: .invalid, count: count))
        }
    }

    package var isComplete: Bool { remaining == 0 }

    /// Whether some of these items have no result yet.
    package func isOpen(_ items: Range<Int>) -> Bool {
        items.upperBound <= isDone.count && isDone[items].contains(false)
    }

    /// Items without a result, as ascending ranges.
    package var open: [Range<Int>] {
        var ranges: [Range<Int>] = []
        var start: Int?
        for (item, isDone) in isDone.enumerated() {
            if !isDone, start == nil { start = item }
            if isDone, let first = start {
                ranges.append(first..<item)
                start = nil
            }
        }
        if let first = start { ranges.append(first..<isDone.count) }
        return ranges
    }

    /// Whether a result is one for these items: of the right kind and number.
    package func fits(_ items: Range<Int>, _ result: WorkResult) -> Bool {
        guard items.lowerBound >= 0, !items.isEmpty, items.upperBound <= isDone.count else { return false }
        switch (kind, result) {
        case (.train, .trained): return items.count == 1
        case (.ascend, .maximizers(let found, let calls)):
            return found.count == items.count && found.dimension == dimension && calls.count == items.count
        case (.probe, .gains(let gains, let calls)): return gains.count == items.count && calls.count == items.count
        case (.predict, .predictions(let predictions)): return predictions.count == items.count
        case (.label, .labels(let labels)):
            return labels.prices.count == items.count && labels.statuses.count == items.count
                && (labels.standardErrors.isEmpty || labels.standardErrors.count == items.count)
        default: return false
        }
    }

    /// Oracle calls of a result that fits, for items that are done already.
    func repeatedCalls(_ items: Range<Int>, _ result: WorkResult) -> Int {
        guard isDone[items].contains(true) else { return 0 }
        switch result {
        case .maximizers(_, let calls), .gains(_, let calls):
            return zip(items, calls).reduce(0) { isDone[$1.0] ? $0 + $1.1 : $0 }
        case .labels: return isDone[items].count { $0 }
        case .trained, .predictions: return 0
        }
    }

    /// Takes the result of some items; what is there already stays (it is the same).
    ///
    /// - Returns: false, and nothing changes, if the result does not fit.
    package mutating func record(_ items: Range<Int>, _ result: WorkResult) -> Bool {
        guard fits(items, result) else { return false }
        guard isOpen(items) else { return true }
        switch result {
        case .trained(let parameters, let reports):
            for item in items where !isDone[item] {
                trained[item] = parameters
                epochs[item] = reports
            }
        case .maximizers(let found, let calls):
            for (k, item) in items.enumerated() where !isDone[item] {
                oracleCalls += calls[k]
                for i in 0..<dimension { maximizers.inputs[item * dimension + i] = found.inputs[k * dimension + i] }
                maximizers.predictions[item] = found.predictions[k]
                maximizers.labels[item] = found.labels[k]
                maximizers.standardErrors[item] = found.standardErrors[k]
            }
        case .gains(let values, let calls):
            for (k, item) in items.enumerated() where !isDone[item] {
                oracleCalls += calls[k]
                numbers[item] = values[k]
            }
        case .predictions(let values):
            for (k, item) in items.enumerated() where !isDone[item] { numbers[item] = values[k] }
        case .labels(let labels):
            for (k, item) in items.enumerated() where !isDone[item] {
                oracleCalls += 1
                valuations.prices[item] = labels.prices[k]
                valuations.statuses[item] = labels.statuses[k]
                if !labels.standardErrors.isEmpty { valuations.standardErrors[item] = labels.standardErrors[k] }
            }
        }
        close(items)
        return true
    }

    /// Gives some items up.
    package mutating func abandon(_ items: Range<Int>, reason: String) {
        abandoned.append(Abandoned(items: items, reason: reason))
        close(items)
    }

    private mutating func close(_ items: Range<Int>) {
        for item in items where !isDone[item] {
            isDone[item] = true
            remaining -= 1
        }
    }
}
