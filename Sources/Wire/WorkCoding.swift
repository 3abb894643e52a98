// Work and its results, between Cluster and Protos/work.proto.

internal import Cluster
internal import Regression
internal import SwiftProtobuf

#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

extension PBBlobReference {
    init(_ blob: BlobReference) {
        digest = Data(blob.digest.bytes)
        size = UInt64(blob.size)
    }

    var value: BlobReference {
        get throws(WireError) {
            guard let digest = Digest(bytes: digest) else {
                throw WireError("a digest has \(self.digest.count) bytes, not \(Digest.length)")
            }
            return BlobReference(digest: digest, size: try count(size, upTo: 1 << 40, "a blob's size"))
        }
    }
}

extension PBOracleReference {
    init(_ oracle: OracleReference) {
        name = oracle.name
        fingerprint = oracle.fingerprint
    }

    var value: OracleReference {
        get throws(WireError) {
            OracleReference(
                name: try text(name, "oracle.name"), fingerprint: try text(fingerprint, "oracle.fingerprint"))
        }
    }
}

extension PBDomain {
    init(_ domain: Domain) {
        inputs = domain.inputs.map { input in
            .with {
                $0.name = input.name
                $0.lower = input.lower
                $0.upper = input.upper
            }
        }
        constraints = domain.constraints.map { constraint in
            .with {
                $0.name = constraint.name
                $0.bound = constraint.bound
                for i in constraint.coefficients.keys.sorted() {
                    $0.inputs.append(UInt32(i))
                    $0.coefficients.append(constraint.coefficients[i]!)
                }
            }
        }
    }

    var value: Domain {
        get throws(WireError) {
            try check(inputs.count <= 1024 && constraints.count <= 1024, "a domain of \(inputs.count) inputs")
            var cuts: [LinearConstraint] = []
            for constraint in constraints {
                try check(
                    constraint.inputs.count == constraint.coefficients.count
                        && Set(constraint.inputs).count == constraint.inputs.count,
                    "constraint \(constraint.name) does not have one coefficient per input")
                _ = try finite(constraint.coefficients + [constraint.bound], "constraint \(constraint.name)")
                cuts.append(
                    LinearConstraint(
                        name: try text(constraint.name, "a constraint's name"),
                        coefficients: Dictionary(
                            uniqueKeysWithValues: zip(constraint.inputs.map(Int.init), constraint.coefficients)),
                        bound: constraint.bound))
            }
            do {
                return try Domain(
                    inputs: inputs.map { .init(name: $0.name, lower: $0.lower, upper: $0.upper) }, constraints: cuts)
            } catch {
                throw WireError("\(error)")
            }
        }
    }
}

extension PBSurface {
    init(_ surface: SurfaceSettings) {
        oracle = .init(surface.oracle)
        domain = .init(surface.domain)
        labelScale = surface.labelScale
        if case .differences(let step) = surface.gradient { difference = step }
    }

    var value: SurfaceSettings {
        get throws(WireError) {
            try check(labelScale.isFinite && labelScale != 0, "the label scale is \(labelScale)")
            try check(difference >= 0 && difference <= 0.5, "the difference step is \(difference)")
            return SurfaceSettings(
                oracle: try oracle.value, domain: try domain.value, labelScale: labelScale,
                gradient: difference > 0 ? .differences(step: difference) : .own)
        }
    }
}

extension PBTrainingSettings {
    init(_ settings: TrainingSettings) {
        switch settings.optimizer {
        case .adam: optimizer = .adam
        case .sgd(let momentum):
            optimizer = .sgd
            self.momentum = momentum
        }
        if case .rows(let rows) = settings.batch { batch = UInt64(rows) }
        epochs = UInt32(settings.epochs)
        learningRate = settings.learningRate
        switch settings.schedule {
        case .cosine(let finalFraction):
            schedule = .cosine
            self.finalFraction = finalFraction
        case .step(let every, let factor):
            schedule = .step
            self.every = UInt32(every)
            self.factor = factor
        case .constant: schedule = .constant
        }
        if let halt = settings.halt {
            haltRelativeChange = halt.relativeChange
            haltOverEpochs = UInt32(halt.overEpochs)
        }
    }

    var value: TrainingSettings {
        get throws(WireError) {
            _ = try finite([momentum, learningRate, finalFraction, factor, haltRelativeChange], "training settings")
            try check(epochs <= 1_000_000, "\(epochs) epochs")
            let optimizer: TrainingSettings.Optimizer
            switch self.optimizer {
            case .adam: optimizer = .adam
            case .sgd: optimizer = .sgd(momentum: momentum)
            default: throw WireError("an unknown optimizer")
            }
            let schedule: TrainingSettings.Schedule
            switch self.schedule {
            case .cosine: schedule = .cosine(finalFraction: finalFraction)
            case .step: schedule = .step(every: Int(every), factor: factor)
            case .constant: schedule = .constant
            default: throw WireError("an unknown schedule")
            }
            return TrainingSettings(
                optimizer: optimizer, batch: batch == 0 ? .full : .rows(try count(batch, upTo: 1 << 32, "the batch")),
                epochs: Int(epochs), learningRate: learningRate, schedule: schedule,
                halt: haltOverEpochs == 0
                    ? nil : .init(relativeChange: haltRelativeChange, overEpochs: Int(haltOverEpochs)))
        }
    }
}

extension PBAscentStage {
    init(_ stage: AscentStage) {
        steps = UInt32(stage.steps)
        stepSize = stage.stepSize
        momentum = stage.momentum
        decay = stage.decay
        decayEvery = UInt32(stage.decayEvery)
        stopStep = stage.stopStep
    }

    var value: AscentStage {
        get throws(WireError) {
            _ = try finite([stepSize, momentum, decay, stopStep], "an ascent stage")
            try check(steps <= 10_000_000, "\(steps) steps")
            return AscentStage(
                steps: Int(steps), stepSize: stepSize, momentum: momentum, decay: decay, decayEvery: Int(decayEvery),
                stopStep: stopStep)
        }
    }
}

extension PBMaximizers {
    init(_ maximizers: Maximizers) {
        dimension = UInt32(maximizers.dimension)
        inputs = maximizers.inputs
        predictions = maximizers.predictions
        labels = maximizers.labels
        standardErrors = maximizers.standardErrors
    }

    /// Predictions and labels may be NaN: a seed at which there was no price.
    var value: Maximizers {
        get throws(WireError) {
            let rows = predictions.count
            try check(
                dimension > 0 && dimension <= 1024 && inputs.count == rows * Int(dimension) && labels.count == rows
                    && standardErrors.count == rows, "maximizers with columns of unlike length")
            return Maximizers(
                dimension: Int(dimension), inputs: try finite(inputs, "maximizers"), predictions: predictions,
                labels: labels, standardErrors: standardErrors)
        }
    }
}

extension PBWork {
    init(_ work: Work) {
        switch work {
        case .train(let training):
            train = .with {
                switch training.start {
                case .fresh(let hidden): $0.hidden = hidden.map(UInt32.init)
                case .from(let parameters): $0.parameters = .init(parameters)
                case .resumed(let state): $0.state = .init(state)
                }
                $0.samples = .init(training.samples)
                if let second = training.second { $0.second = .init(second) }
                $0.weightOfFirst = training.weightOfFirst
                $0.settings = .init(training.settings)
                $0.randomSeed = training.randomSeed
                $0.run = training.run
                $0.epochs = UInt32(exactly: training.epochs) ?? 0
            }
        case .ascend(let surface, let parameters, let stage, let seeds):
            ascend = .with {
                $0.surface = .init(surface)
                $0.parameters = .init(parameters)
                $0.stage = .init(stage)
                $0.seeds = seeds
            }
        case .probe(let surface, let parameters, let settings, let maximizers):
            probe = .with {
                $0.surface = .init(surface)
                $0.parameters = .init(parameters)
                $0.radius = settings.radius
                $0.directions = UInt32(settings.directions)
                $0.randomSeed = settings.randomSeed
                $0.maximizers = .init(maximizers)
            }
        case .label(let oracle, let points, let gradient):
            label = .with {
                $0.gradient = gradient
                $0.oracle = .init(oracle)
                $0.points = points
            }
        case .predict(let parameters, let inputs):
            predict = .with {
                $0.parameters = .init(parameters)
                $0.inputs = inputs
            }
        }
    }

    var value: Work {
        get throws(WireError) {
            switch kind {
            case .train(let train):
                try check(train.weightOfFirst >= 0 && train.weightOfFirst <= 1, "a weight of \(train.weightOfFirst)")
                let start: TrainingWork.Start
                if train.hasState {
                    start = .resumed(try train.state.value)
                } else if train.hasParameters {
                    start = .from(try train.parameters.value)
                } else {
                    try check(
                        train.hidden.count <= 256 && train.hidden.allSatisfy { $0 > 0 && $0 <= 1 << 16 },
                        "hidden layers \(train.hidden.prefix(8))")
                    start = .fresh(hidden: train.hidden.map(Int.init))
                }
                return .train(
                    TrainingWork(
                        start: start, samples: try train.samples.value,
                        second: train.hasSecond ? try train.second.value : nil, weightOfFirst: train.weightOfFirst,
                        settings: try train.settings.value, randomSeed: train.randomSeed, run: train.run,
                        epochs: train.epochs == 0 ? .max : Int(train.epochs)))
            case .ascend(let ascend):
                let surface = try ascend.surface.value
                try check(
                    ascend.seeds.count.isMultiple(of: surface.domain.dimension), "seeds are no rows of the domain")
                return .ascend(
                    surface, parameters: try ascend.parameters.value, stage: try ascend.stage.value,
                    seeds: try finite(ascend.seeds, "seeds"))
            case .probe(let probe):
                let surface = try probe.surface.value
                let maximizers = try probe.maximizers.value
                try check(maximizers.dimension == surface.domain.dimension, "maximizers are no rows of the domain")
                try check(
                    probe.radius.isFinite && probe.radius > 0 && probe.directions <= 65_536,
                    "\(probe.directions) directions at \(probe.radius)")
                return .probe(
                    surface, parameters: try probe.parameters.value,
                    ProbeSettings(
                        radius: probe.radius, directions: Int(probe.directions), randomSeed: probe.randomSeed),
                    maximizers)
            case .label(let label):
                return .label(
                    try label.oracle.value, points: try finite(label.points, "points"), gradient: label.gradient)
            case .predict(let predict):
                return .predict(
                    parameters: try predict.parameters.value, inputs: try finite(predict.inputs, "inputs"))
            case nil: throw WireError("work of no known kind")
            }
        }
    }
}

extension PBEpochReport {
    init(_ report: EpochReport) {
        epoch = UInt32(report.epoch)
        trainingMse = report.trainingMSE
        learningRate = report.learningRate
        isLast = report.isLast
    }

    var value: EpochReport {
        get throws(WireError) {
            _ = try finite([trainingMse, learningRate], "an epoch's report")
            return EpochReport(
                epoch: Int(epoch), trainingMSE: trainingMse, learningRate: learningRate, isLast: isLast)
        }
    }
}

extension PBWorkResult {
    init(_ result: WorkResult) {
        switch result {
        case .trained(let parameters, let reports):
            trained = .with {
                $0.parameters = .init(parameters)
                $0.epochs = reports.map(PBEpochReport.init)
            }
        case .maximizers(let found, let calls):
            climbed = .with {
                $0.maximizers = .init(found)
                $0.oracleCalls = calls.map(UInt64.init)
            }
        case .gains(let values, let calls):
            gains = .with {
                $0.gains = values
                $0.oracleCalls = calls.map(UInt64.init)
            }
        case .labels(let valuations):
            labels = .with {
                $0.prices = valuations.prices
                $0.standardErrors = valuations.standardErrors
                $0.statuses = Data(valuations.statuses.map(\.rawValue))
                $0.gradients = valuations.gradients
            }
        case .predictions(let values): predictions = .with { $0.predictions = values }
        }
    }

    var value: WorkResult {
        get throws(WireError) {
            switch kind {
            case .trained(let trained):
                var reports: [EpochReport] = []
                for report in trained.epochs { reports.append(try report.value) }
                return .trained(try trained.parameters.value, epochs: reports)
            case .climbed(let climbed):
                return .maximizers(
                    try climbed.maximizers.value,
                    oracleCalls: try counts(climbed.oracleCalls))
            case .gains(let gains):
                return .gains(
                    gains.gains, oracleCalls: try counts(gains.oracleCalls))
            case .labels(let labels):
                var statuses: [ValuationStatus] = []
                statuses.reserveCapacity(labels.statuses.count)
                for byte in labels.statuses {
                    guard let status = ValuationStatus(rawValue: byte) else { throw WireError("a status of \(byte)") }
                    statuses.append(status)
                }
                try check(
                    statuses.count == labels.prices.count
                        && (labels.standardErrors.isEmpty || labels.standardErrors.count == labels.prices.count)
                        && (labels.gradients.isEmpty || labels.gradients.count.isMultiple(of: max(1, statuses.count))),
                    "labels with columns of unlike length")
                return .labels(
                    Valuations(
                        prices: labels.prices, standardErrors: labels.standardErrors, gradients: labels.gradients,
                        statuses: statuses))
            case .predictions(let predictions): return .predictions(predictions.predictions)
            case nil: throw WireError("a result of no known kind")
            }
        }
    }
}

/// Oracle calls per item.
private func counts(_ calls: [UInt64]) throws(WireError) -> [Int] {
    var counts: [Int] = []
    for call in calls { counts.append(try count(call, upTo: 1 << 32, "oracle calls")) }
    return counts
}
