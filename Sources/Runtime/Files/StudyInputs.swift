// The files that a study names: read, checked against its domain, and made ready to attach.

package import Cluster
internal import FoundationEssentials
package import Regression

/// A study with its files' content.
package struct StudyInputs: Sendable {
    package var file: StudyFile
    package var attachments: StudyAttachments
    /// The attachments as blobs.
    package var blobs: [(attachment: ToCoordinator.Attachment, bytes: [UInt8])]

    /// Reads a study file and every file that it names.
    ///
    /// - Throws: `InputError` with every problem of all of them.
    package init(path: String, oracles: [any Oracle]) throws(InputError) {
        let text = try Self.text(path)
        file = try StudyFile(name: path, text: text, oracles: oracles)
        attachments = StudyAttachments()
        blobs = []
        var problems: [InputProblem] = []
        let folder = path.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
        for part in ToCoordinator.Attachment.Part.allCases {
            guard let name = file.files[part] else { continue }
            let path = name.hasPrefix("/") || folder.isEmpty ? name : "\(folder)/\(name)"
            do {
                try attach(part, path)
            } catch {
                problems += error.problems
            }
        }
        guard problems.isEmpty else { throw InputError(problems) }
    }

    /// The content of a text file.
    package static func text(_ path: String) throws(InputError) -> String {
        let bytes = try self.bytes(path)
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw InputError([InputProblem(file: path, message: "is not UTF-8; save it as UTF-8")])
        }
        return text.hasPrefix("\u{FEFF}") ? String(text.dropFirst()) : text
    }

    static func bytes(_ path: String) throws(InputError) -> [UInt8] {
        do {
            return Array(try Data(contentsOf: URL(filePath: path)))
        } catch {
            let reason = FileManager.default.fileExists(atPath: path) ? "cannot be read" : "there is no such file"
            throw InputError([InputProblem(file: path, message: reason)])
        }
    }

    private mutating func attach(_ part: ToCoordinator.Attachment.Part, _ path: String) throws(InputError) {
        let bytes = try Self.bytes(path)
        let domain = file.study.domain
        let blob: [UInt8]
        switch part {
        case .training, .test:
            let samples = try Self.samples(path, bytes, domain, labelled: true)
            if part == .training { attachments.training = samples } else { attachments.test = samples }
            blob = samples.encoded
        case .seeds:
            let samples = try Self.samples(path, bytes, domain, labelled: false)
            attachments.seeds = samples.inputs
            blob = samples.encoded
        case .model:
            var metadata: [String: String] = [:]
            let model: Surrogate
            do {
                model = try Surrogate(safetensors: bytes, metadata: &metadata)
            } catch {
                throw InputError(error.problems.map { InputProblem(file: path, message: $0) })
            }
            guard model.dimension == domain.dimension else {
                throw InputError([
                    InputProblem(
                        file: path, key: "layers.0.weight",
                        message: "takes \(model.dimension) inputs, the oracle has \(domain.dimension)")
                ])
            }
            let problems = Self.strangeness(metadata, file.study).map { InputProblem(file: path, key: $0, message: $1) }
            guard problems.isEmpty else { throw InputError(problems) }
            attachments.model = model
            blob = bytes
        }
        blobs.append((ToCoordinator.Attachment(part: part, blob: BlobReference(to: blob)), blob))
    }

    /// What a surrogate's file says of itself that does not fit the study. A file that says nothing fits.
    private static func strangeness(_ metadata: [String: String], _ study: Study) -> [(key: String, message: String)] {
        struct Input: Decodable {
            var name: String
            var lower: Double
            var upper: Double
        }
        var problems: [(key: String, message: String)] = []
        func differs(_ key: String, _ other: String) {
            problems.append(
                (
                    "__metadata__.\(key)",
                    "\(String((metadata[key] ?? "").prefix(200))): the study has \(other); "
                        + "use the surrogate of this study, or take the entry out if it is wrong"
                ))
        }
        if let oracle = metadata["oracle"], oracle != study.oracle { differs("oracle", study.oracle) }
        if let scale = metadata["labelScale"], Double(scale) != study.labelScale {
            differs("labelScale", "\(study.labelScale)")
        }
        if let domain = metadata["domain"] {
            let inputs = try? JSONDecoder().decode([Input].self, from: Data(domain.utf8))
            let isSame = inputs.map { inputs in
                inputs.count == study.domain.inputs.count
                    && zip(inputs, study.domain.inputs).allSatisfy {
                        $0.name == $1.name && $0.lower == $1.lower && $0.upper == $1.upper
                    }
            }
            if isSame != true {
                let ours = study.domain.inputs.map { "\($0.name) \($0.lower) to \($0.upper)" }
                differs("domain", ours.joined(separator: ", "))
            }
        }
        return problems
    }

    /// Rows in raw units, and their labels, as samples of the domain.
    private static func samples(_ path: String, _ bytes: [UInt8], _ domain: Domain, labelled: Bool) throws(InputError)
        -> Samples
    {
        let columns = domain.inputs.map(\.name) + (labelled ? ["label"] : [])
        let isArray = path.hasSuffix(".npy")
        let table =
            isArray
            ? try NumberTable(npy: path, bytes, columns: columns) : try NumberTable(csv: path, bytes, columns: columns)
        var inputs: [Double] = []
        var labels: [Double] = []
        inputs.reserveCapacity(table.count * domain.dimension)
        var problems: [InputProblem] = []
        for row in 0..<table.count {
            let start = row * columns.count
            let line = isArray ? nil : table.lines[row]
            let place = isArray ? "row \(row): " : ""
            let first = inputs.count
            for (i, input) in domain.inputs.enumerated() {
                let value = table.values[start + i]
                let u = domain.normalised(value, i)
                if u < -1e-9 || u > 1 + 1e-9, problems.count < 100 {
                    problems.append(
                        InputProblem(
                            file: path, line: line, key: "\(place)\(input.name)",
                            message: "\(value) is outside [\(input.lower), \(input.upper)]; widen domain in the study"))
                }
                inputs.append(min(1, max(0, u)))
            }
            if problems.isEmpty, !domain.contains(inputs[first...], slack: 1e-9) {
                let names = domain.constraints.map(\.name).joined(separator: ", ")
                problems.append(
                    InputProblem(
                        file: path, line: line, message: "\(place)the point is not admissible; it must meet \(names)"))
            }
            if labelled { labels.append(table.values[start + columns.count - 1]) }
        }
        guard problems.isEmpty else { throw InputError(problems) }
        return Samples(
            dimension: domain.dimension, inputs: inputs,
            labels: labelled ? labels : [Double](repeating: 0, count: table.count))
    }
}

extension StudyAttachments {
    /// The attachments from the blobs of a submission; nil if one is not what it should be.
    init?(_ attachments: [ToCoordinator.Attachment], domain: Domain, blob: (Digest) -> [UInt8]?) {
        self.init()
        for attachment in attachments {
            guard let bytes = blob(attachment.blob.digest) else { return nil }
            switch attachment.part {
            case .training, .test, .seeds:
                guard let samples = Samples(encoded: bytes), samples.dimension == domain.dimension,
                    samples.inputs.allSatisfy({ $0 >= 0 && $0 <= 1 })
                else { return nil }
                switch attachment.part {
                case .training: training = samples
                case .test: test = samples
                default: seeds = samples.inputs
                }
            case .model:
                var metadata: [String: String] = [:]
                guard let surrogate = try? Surrogate(safetensors: bytes, metadata: &metadata),
                    surrogate.dimension == domain.dimension
                else { return nil }
                model = surrogate
            }
        }
    }
}
