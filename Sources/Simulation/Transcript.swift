// A study's outcome as bytes: everything that it says, but for times.

internal import Cluster
internal import Regression

/// The bytes of an outcome. Two outcomes are the same if and only if these are.
struct Transcript {
    private(set) var bytes: [UInt8] = []

    init(_ outcome: StudyOutcome) {
        bytes.reserveCapacity(4096)
        // The study is the same by construction; its name tells people which one this is.
        add(outcome.study.name)
        add(outcome.training)
        add(outcome.origins.count)
        for origin in outcome.origins { add(origin.name) }
        add(outcome.added)
        add(outcome.flagged.count)
        for sample in outcome.flagged {
            add(sample.row)
            add(sample.reason.rawValue)
            add(sample.label ?? .nan)
        }
        add(outcome.seeds)
        add(outcome.seedsAsked)
        add(outcome.maximizers.inputs)
        add(outcome.maximizers.predictions)
        add(outcome.maximizers.labels)
        add(outcome.maximizers.standardErrors)
        add(outcome.findings.count)
        for finding in outcome.findings {
            add([finding.errorPercentile, finding.proximalRadius, finding.pValue])
            add(finding.proximalCount)
            add(finding.isSuspicious ? 1 : 0)
        }
        for list in [
            outcome.seedsPerMaximizer, outcome.stages, [outcome.inRegion, outcome.inSurround, outcome.version],
        ] {
            add(list.count)
            for number in list { add(number) }
        }
        add(outcome.residualGains)
        add(outcome.parameters)
        add(outcome.epochs.count)
        for report in outcome.epochs {
            add(report.epoch)
            add([report.trainingMSE, report.learningRate, report.isLast ? 1 : 0])
        }
        add(outcome.before)
        add(outcome.variants.count)
        for variant in outcome.variants {
            add([variant.weight])
            add(variant.table)
            add(variant.parameters)
            add(variant.version)
        }
        add(outcome.chosen ?? -1)
        add(outcome.oracleFingerprint)
        let calls = outcome.oracleCalls
        for count in [
            calls.training, calls.test, calls.validation, calls.search, calls.certificates, calls.mitigation,
        ] {
            add(count)
        }
        add(outcome.incomplete.count)
        for line in outcome.incomplete { add(line) }
    }

    private mutating func add(_ word: UInt64) {
        withUnsafeBytes(of: word.littleEndian) { bytes.append(contentsOf: $0) }
    }

    private mutating func add(_ number: Int) { add(UInt64(bitPattern: Int64(number))) }

    private mutating func add(_ number: Double) { add(number.isNaN ? UInt64.max : number.bitPattern) }

    private mutating func add(_ numbers: [Double]) {
        add(numbers.count)
        for number in numbers { add(number) }
    }

    private mutating func add(_ text: String) {
        add(text.utf8.count)
        bytes += text.utf8
    }

    private mutating func add(_ samples: Samples) {
        add(samples.inputs)
        add(samples.labels)
    }

    private mutating func add(_ blob: BlobReference) {
        bytes += blob.digest.bytes
        add(blob.size)
    }

    private mutating func add(_ summary: ErrorSummary) {
        add([summary.mse, summary.mae, summary.below, summary.above])
    }

    private mutating func add(_ row: TableRow) {
        add(row.training)
        add(row.clean)
        if let attack = row.attack { add(attack) }
        add([row.attackSuccess ?? -1, row.validationMSE ?? -1])
    }
}
