// The files of a study's result.

internal import Cluster
internal import Regression

/// What a study found, as files.
struct ResultFolder {
    private let outcome: StudyOutcome
    private let statistics: StudyStatistics

    init(_ outcome: StudyOutcome, _ statistics: StudyStatistics) {
        self.outcome = outcome
        self.statistics = statistics
    }

    private var study: Study { outcome.study }
    private var domain: Domain { outcome.study.domain }

    /// Every file but `events.jsonl`, which whoever watches the study writes.
    func files(blob: (Digest) -> [UInt8]?) -> [(name: String, bytes: [UInt8])] {
        var files: [(String, [UInt8])] = []
        files.append(("summary.json", Array((summary.text() + "\n").utf8)))
        files.append(("maximizers.csv", maximizers))
        files.append(("flagged.csv", flagged))
        files.append(("training.csv", training))
        files.append(("study.yaml", Array(StudyFile(outcome).effective.utf8)))
        if let bytes = surrogate(outcome.parameters, blob) { files.append(("surrogate.safetensors", bytes)) }
        if let chosen = outcome.chosen, let bytes = surrogate(outcome.variants[chosen].parameters, blob) {
            files.append(("surrogate-mitigated.safetensors", bytes))
        }
        return files
    }

    // MARK: Surrogates

    private func surrogate(_ parameters: BlobReference, _ blob: (Digest) -> [UInt8]?) -> [UInt8]? {
        var ignored: [String: String] = [:]
        guard let bytes = blob(parameters.digest),
            let surrogate = try? Surrogate(safetensors: bytes, metadata: &ignored)
        else { return nil }
        let inputs = domain.inputs.map { input in
            JSON.object([
                ("name", .text(input.name)), ("lower", .number(input.lower)), ("upper", .number(input.upper)),
            ])
        }
        return surrogate.safetensors(metadata: [
            "domain": JSON.array(inputs).text(isCompact: true),
            "labelScale": "\(study.labelScale)",
            "normalisation": "(x - lower) / (upper - lower)",
            "oracle": study.oracle,
            "study": study.name,
        ])
    }

    // MARK: Tables

    private var maximizers: [UInt8] {
        var csv = CSVWriter(
            ["rank"] + domain.inputs.map(\.name) + domain.inputs.map { "\($0.name)_n" } + [
                "prediction", "label", "standardError", "error", "errorPercentile", "seeds", "face", "residualGain",
                "proximalCount", "pValue", "suspicious", "stage", "parameterVersion", "proximalRadius",
            ])
        for row in 0..<outcome.maximizers.count {
            csv.add(row + 1)
            let input = outcome.maximizers.input(row)
            for (i, u) in input.enumerated() { csv.add(domain.raw(u, i)) }
            for u in input { csv.add(u) }
            csv.add(outcome.maximizers.predictions[row])
            csv.add(outcome.maximizers.labels[row])
            csv.add(outcome.maximizers.standardErrors[row])
            csv.add(outcome.maximizers.error(row))
            let finding = outcome.findings[row]
            csv.add(finding.errorPercentile)
            csv.add(outcome.seedsPerMaximizer[row])
            csv.add(domain.face(input))
            csv.add(outcome.residualGains[row])
            csv.add(finding.proximalCount)
            csv.add(finding.pValue)
            csv.add(finding.isSuspicious ? "true" : "false")
            csv.add(outcome.stages[row])
            csv.add(outcome.version)
            csv.add(finding.proximalRadius)
            csv.endRow()
        }
        return csv.bytes
    }

    private var training: [UInt8] {
        var csv = CSVWriter(domain.inputs.map(\.name) + ["label", "origin"])
        func add(_ samples: Samples, _ origin: (Int) -> Origin) {
            for row in 0..<samples.count {
                for (i, u) in samples.input(row).enumerated() { csv.add(domain.raw(u, i)) }
                csv.add(samples.labels[row])
                csv.add(origin(row).name)
                csv.endRow()
            }
        }
        add(outcome.training) { outcome.origins[$0] }
        add(outcome.added) { _ in .maximizer }
        return csv.bytes
    }

    private var flagged: [UInt8] {
        var csv = CSVWriter(["row"] + domain.inputs.map(\.name) + ["label", "origin", "correctedLabel", "reason"])
        for sample in outcome.flagged {
            // The row of training.csv, counted from 1, its header not among them.
            csv.add(sample.row + 1)
            for (i, u) in outcome.training.input(sample.row).enumerated() { csv.add(domain.raw(u, i)) }
            csv.add(outcome.training.labels[sample.row])
            csv.add(outcome.origins[sample.row].name)
            csv.add(sample.label ?? .nan)
            csv.add(sample.reason.rawValue)
            csv.endRow()
        }
        return csv.bytes
    }

    // MARK: Summary

    private func row(_ table: TableRow) -> JSON {
        .object([
            ("trainingMSE", .number(table.training.mse)), ("trainingMAE", .number(table.training.mae)),
            ("cleanTestMSE", .number(table.clean.mse)), ("cleanTestMAE", .number(table.clean.mae)),
            ("cleanBelow", .number(table.clean.below)), ("cleanAbove", .number(table.clean.above)),
            ("attackBelow", .optional(table.attack?.below)), ("attackAbove", .optional(table.attack?.above)),
            ("attackMSE", .optional(table.attack?.mse)), ("attackMAE", .optional(table.attack?.mae)),
            ("attackSuccess", .optional(table.attackSuccess)),
        ])
    }

    private func count(_ origin: Origin) -> Int {
        outcome.flagged.count { outcome.origins[$0.row] == origin && $0.label != outcome.training.labels[$0.row] }
    }

    private var summary: JSON {
        var table: [(String, JSON)] = [("before", row(outcome.before))]
        table.append(("after", outcome.chosen.map { row(outcome.variants[$0].table) } ?? .null))
        for (k, variant) in outcome.variants.enumerated() where k != outcome.chosen {
            table.append(("weight \(variant.weight)", row(variant.table)))
        }
        let suspicious = outcome.findings.indices.filter { outcome.findings[$0].isSuspicious }
        // Of the samples that are known to be right, those that were taken away. What was corrected was wrong: the oracle said so.
        let isKnown = outcome.origins.contains(.mislabelled)
        let right = outcome.origins.count { $0 != .mislabelled }
        let lost = outcome.flagged.count { $0.label == nil && outcome.origins[$0.row] != .mislabelled }
        let calls = outcome.oracleCalls
        let search = JSON.object([
            ("seeds", .integer(outcome.seeds)),
            (
                "oracleCalls",
                .object([
                    ("total", .integer(calls.total)),
                    (
                        "byPurpose",
                        .object([
                            ("training", .integer(calls.training)), ("test", .integer(calls.test)),
                            ("validation", .integer(calls.validation)), ("search", .integer(calls.search)),
                            ("repricing", .integer(calls.repricing)),
                            ("certificates", .integer(calls.certificates)), ("mitigation", .integer(calls.mitigation)),
                        ])
                    ),
                    ("repeated", .integer(statistics.repeatedCalls)),
                    ("reused", .integer(statistics.reusedCalls)),
                ])
            ),
            ("unique", .integer(outcome.maximizers.count)),
            ("repriced", .integer(outcome.noise.repriced)),
            ("droppedAsNoise", .integer(outcome.noise.dropped)),
            ("inRegion", .integer(outcome.inRegion)),
            ("inSurround", .integer(outcome.inSurround)),
            ("stages", .integer(study.search.stages.count)),
        ])
        let scan = JSON.object([
            ("suspicious", .integer(suspicious.count)),
            ("proximalCounts", .array(suspicious.map { .integer(outcome.findings[$0].proximalCount) })),
            (
                "flagged",
                .object([
                    ("mislabelled", .integer(count(.mislabelled))), ("surround", .integer(count(.surround))),
                    ("base", .integer(count(.base))),
                ])
            ),
            ("falsePositiveRate", isKnown && right > 0 ? .number(Double(lost) / Double(right)) : .null),
        ])
        let mitigation = JSON.object([
            ("action", .text(study.mitigation.action.rawValue)),
            ("weights", .array(outcome.variants.map { .number($0.weight) })),
            ("chosen", outcome.chosen.map { .number(outcome.variants[$0].weight) } ?? .null),
            ("corrected", .integer(outcome.flagged.count { $0.label != nil })),
            ("purged", .integer(outcome.flagged.count { $0.label == nil })),
            ("maximizersAdded", .integer(outcome.added.count)),
        ])
        let available = statistics.available.seconds
        let cluster = JSON.object([
            ("workers", .integer(statistics.workers)), ("jobs", .integer(statistics.jobs)),
            ("attempts", .integer(statistics.attempts)), ("reassigned", .integer(statistics.reassigned)),
            ("abandoned", .integer(statistics.abandoned)),
            ("duplicatesDropped", .integer(statistics.duplicatesDropped)),
            ("copies", .integer(statistics.copies)), ("copiesWon", .integer(statistics.copiesWon)),
            ("utilisation", available > 0 ? .number(min(1, statistics.busy.seconds / available)) : .null),
            ("numerics", .array(statistics.numerics.sorted().map(JSON.text))),
            (
                "incidents",
                .object(
                    statistics.incidents.sorted { $0.key < $1.key }.map { oracle, counts in
                        (oracle, .object(counts.sorted { $0.key < $1.key }.map { ($0, .integer($1)) }))
                    })
            ),
        ])
        var seconds: [(String, JSON)] = []
        for phase in Phase.allCases {
            if let duration = statistics.seconds[phase] { seconds.append((phase.rawValue, .number(duration.seconds))) }
        }
        let total = statistics.seconds.values.reduce(Duration.zero, +)
        seconds.append(("total", .number(total.seconds)))
        return .object([
            ("study", .text(study.name)), ("randomSeed", .text("\(study.randomSeed)")),
            ("table", .object(table)), ("search", search), ("scan", scan), ("mitigation", mitigation),
            ("cluster", cluster), ("seconds", .object(seconds)),
            (
                "fingerprint",
                .object([
                    ("study", .text(Digest(of: Array(StudyFile(outcome).effective.utf8)).description)),
                    ("data", .text(Digest(of: outcome.training.encoded).description)),
                    ("oracle", .text(outcome.oracleFingerprint)), ("code", .text("cairn \(cairnVersion)")),
                ])
            ),
            ("incomplete", .array(outcome.incomplete.map(JSON.text))),
        ])
    }
}

extension StudyFile {
    /// The file of a study that is done. The names of attached files are those under which they were attached.
    init(_ outcome: StudyOutcome) {
        study = outcome.study
        files = [.training: "training.csv", .test: "test.csv", .model: "surrogate.safetensors", .seeds: "seeds.csv"]
    }
}

/// Writes numbers in their shortest form that reads back the same; what is not a number is left empty.
struct CSVWriter {
    private(set) var bytes: [UInt8] = []
    private var isFirst = true

    init(_ columns: [String]) {
        for column in columns { add(column) }
        endRow()
    }

    mutating func add(_ value: Double) { add(value.isFinite ? "\(value)" : "") }

    mutating func add(_ value: Int) { add("\(value)") }

    mutating func add(_ text: String) {
        if !isFirst { bytes.append(UInt8(ascii: ",")) }
        bytes += text.utf8
        isFirst = false
    }

    mutating func endRow() {
        bytes.append(UInt8(ascii: "\n"))
        isFirst = true
    }
}
