// Surrogates in files: the safetensors layout (https://github.com/huggingface/safetensors), so that PyTorch reads what
// Cairn writes and the other way round.
//
// A file is the length of its header (8 bytes, little-endian), the header in JSON, and the numbers. Layer k is
// `layers.k.weight` [outputs, inputs] and `layers.k.bias` [outputs], float32.

internal import FoundationEssentials

/// Everything that is wrong with a safetensors file.
public struct SafetensorsError: Error, Sendable, Hashable, CustomStringConvertible {
    public let problems: [String]
    public var description: String { problems.joined(separator: "\n") }
}

extension Surrogate {
    /// Headers longer than this are refused unread (the format's own limit).
    private static let longestHeader = 100_000_000
    /// Surrogates of more weights than this are refused: they are no pricing surrogates.
    private static let mostWeights = 1 << 28

    /// The surrogate as the bytes of a safetensors file.
    ///
    /// - Parameter metadata: string pairs for the header's `__metadata__`; `activation` is added.
    public func safetensors(metadata: [String: String] = [:]) -> [UInt8] {
        var metadata = metadata
        metadata["activation"] = "relu"
        metadata["format"] = "pt"
        var entries: [String] = []
        var data: [UInt8] = []
        func add(_ name: String, _ shape: [Int], _ numbers: [Float]) {
            let start = data.count
            for number in numbers {
                withUnsafeBytes(of: number.bitPattern.littleEndian) { data.append(contentsOf: $0) }
            }
            entries.append(
                "\(Self.quoted(name)):{\"dtype\":\"F32\",\"shape\":[\(shape.map(String.init).joined(separator: ","))],"
                    + "\"data_offsets\":[\(start),\(data.count)]}")
        }
        for (k, layer) in layers.enumerated() {
            add("layers.\(k).weight", [layer.outputs, layer.inputs], layer.weights)
            add("layers.\(k).bias", [layer.outputs], layer.biases)
        }
        let pairs = metadata.sorted { $0.key < $1.key }.map { "\(Self.quoted($0.key)):\(Self.quoted($0.value))" }
        var header = Array(
            "{\"__metadata__\":{\(pairs.joined(separator: ","))},\(entries.joined(separator: ","))}".utf8)
        while !header.count.isMultiple(of: 8) { header.append(UInt8(ascii: " ")) }
        return withUnsafeBytes(of: UInt64(header.count).littleEndian) { Array($0) } + header + data
    }

    private static func quoted(_ text: String) -> String {
        var out = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": out += "\\\""
            case "\\": out += "\\\\"
            case _ where scalar.value < 0x20:
                let hex = String(scalar.value, radix: 16)
                out += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out + "\""
    }

    private struct Header: Decodable {
        struct Tensor: Decodable {
            var dtype: String
            var shape: [Int]
            var offsets: [Int]

            enum CodingKeys: String, CodingKey {
                case dtype, shape
                case offsets = "data_offsets"
            }
        }
        struct Key: CodingKey {
            var stringValue: String
            var intValue: Int? { nil }
            init(stringValue: String) { self.stringValue = stringValue }
            init?(intValue: Int) { nil }
        }

        var metadata: [String: String] = [:]
        var tensors: [String: Tensor] = [:]
        var problems: [String] = []

        init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: Key.self)
            for key in container.allKeys.sorted(by: { $0.stringValue < $1.stringValue }) {
                let name = key.stringValue
                if name == "__metadata__" {
                    do {
                        metadata = try container.decode([String: String].self, forKey: key)
                    } catch {
                        problems.append("__metadata__: must map strings to strings")
                    }
                } else {
                    do {
                        tensors[name] = try container.decode(Tensor.self, forKey: key)
                    } catch {
                        problems.append("\(name): needs dtype (a string), shape and data_offsets (lists of integers)")
                    }
                }
            }
        }
    }

    /// Reads a safetensors file.
    ///
    /// - Returns: the surrogate and the header's metadata.
    /// - Throws: `SafetensorsError` with every problem: a truncated or oversized header, a tensor of another type or
    ///   shape, offsets that overlap, leave gaps or leave the file, missing or unknown tensors, weights that are not finite.
    public init(safetensors bytes: [UInt8], metadata: inout [String: String]) throws(SafetensorsError) {
        guard bytes.count >= 8 else {
            throw SafetensorsError(problems: ["the file has \(bytes.count) bytes; a safetensors file has at least 8"])
        }
        let length = (0..<8).reduce(UInt64(0)) { $0 | UInt64(bytes[$1]) << (8 * UInt64($1)) }
        guard length <= UInt64(Self.longestHeader), Int(length) <= bytes.count - 8 else {
            throw SafetensorsError(problems: [
                "the header claims \(length) bytes, the file holds \(bytes.count - 8) after its length; "
                    + "is it a safetensors file, and complete?"
            ])
        }
        let header: Header
        do {
            header = try JSONDecoder().decode(Header.self, from: Data(bytes[8..<8 + Int(length)]))
        } catch {
            throw SafetensorsError(problems: ["the header is not a JSON object of tensors"])
        }
        var problems = header.problems
        let data = bytes[(8 + Int(length))...]

        // Which layers there are: `layers.k.…` with any ascending k.
        var positions: [Int] = []
        for name in header.tensors.keys.sorted() {
            let parts = name.split(separator: ".", omittingEmptySubsequences: false)
            if parts.count == 3, parts[0] == "layers", let k = Int(parts[1]), k >= 0, String(k) == parts[1],
                parts[2] == "weight" || parts[2] == "bias"
            {
                if !positions.contains(k) { positions.append(k) }
            } else {
                problems.append("\(name): unknown tensor; a surrogate has layers.K.weight and layers.K.bias only")
            }
        }
        positions.sort()
        if positions.isEmpty { problems.append("no tensor layers.0.weight: there is no surrogate in the file") }

        func numbers(_ name: String, rank: Int) -> (shape: [Int], values: [Float])? {
            guard let tensor = header.tensors[name] else {
                problems.append("\(name): missing")
                return nil
            }
            guard tensor.dtype == "F32" else {
                problems.append("\(name): dtype \(tensor.dtype); save it as float32")
                return nil
            }
            guard tensor.shape.count == rank, tensor.shape.allSatisfy({ $0 > 0 && $0 <= Self.mostWeights }) else {
                problems.append(
                    "\(name): shape \(tensor.shape); expected \(rank == 2 ? "[outputs, inputs]" : "[outputs]")")
                return nil
            }
            let product = tensor.shape.reduce((count: 1, overflow: false)) { product, width in
                let (count, overflow) = product.count.multipliedReportingOverflow(by: width)
                return (count, overflow || product.overflow || count > Self.mostWeights)
            }
            guard !product.overflow else {
                problems.append("\(name): shape \(tensor.shape) is more than \(Self.mostWeights) weights")
                return nil
            }
            let offsets = tensor.offsets
            guard offsets.count == 2, offsets[0] >= 0, offsets[0] <= offsets[1], offsets[1] <= data.count else {
                problems.append(
                    "\(name): data_offsets \(offsets) leave the \(data.count) bytes of data; is the file complete?")
                return nil
            }
            guard offsets[1] - offsets[0] == 4 * product.count else {
                problems.append(
                    "\(name): \(offsets[1] - offsets[0]) bytes for shape \(tensor.shape), expected \(4 * product.count)"
                )
                return nil
            }
            let values = data[(data.startIndex + offsets[0])..<(data.startIndex + offsets[1])].withUnsafeBytes { raw in
                (0..<product.count).map { k in
                    Float(bitPattern: UInt32(littleEndian: raw.loadUnaligned(fromByteOffset: 4 * k, as: UInt32.self)))
                }
            }
            if let bad = values.firstIndex(where: { !$0.isFinite }) {
                problems.append("\(name): element \(bad) is \(values[bad]); weights must be finite")
                return nil
            }
            return (tensor.shape, values)
        }

        var spans: [(name: String, start: Int, end: Int)] = []
        for (name, tensor) in header.tensors where tensor.offsets.count == 2 {
            spans.append((name, tensor.offsets[0], tensor.offsets[1]))
        }
        spans.sort { ($0.start, $0.end, $0.name) < ($1.start, $1.end, $1.name) }
        for (a, b) in zip(spans, spans.dropFirst()) where b.start < a.end {
            problems.append("\(b.name): its data overlap those of \(a.name)")
        }
        // No byte is left over: also not those of a name that stands in the header twice.
        var covered = 0
        for span in spans + [("the end of the file", data.count, data.count)] {
            if span.start > covered {
                problems.append(
                    "bytes \(covered) to \(span.start - 1) of the data, before \(span.name), belong to no tensor; was one "
                        + "named twice, or something added?")
            }
            covered = max(covered, span.end)
        }

        var layers: [Layer] = []
        for k in positions {
            let weight = numbers("layers.\(k).weight", rank: 2)
            let bias = numbers("layers.\(k).bias", rank: 1)
            guard let weight, let bias else { continue }
            let (outputs, inputs) = (weight.shape[0], weight.shape[1])
            if bias.shape[0] != outputs {
                problems.append("layers.\(k).bias: \(bias.shape[0]) numbers for \(outputs) outputs")
                continue
            }
            if let before = layers.last, before.outputs != inputs {
                problems.append(
                    "layers.\(k).weight: takes \(inputs) inputs, the layer before gives \(before.outputs)")
            }
            layers.append(Layer(inputs: inputs, outputs: outputs, weights: weight.values, biases: bias.values))
        }
        if problems.isEmpty, let last = layers.last, last.outputs != 1 {
            problems.append("layers.\(positions.last!).weight: \(last.outputs) outputs; a surrogate has one, the price")
        }
        if let activation = header.metadata["activation"], activation != "relu" {
            problems.append("__metadata__.activation: \(activation); only relu is supported")
        }
        guard problems.isEmpty else { throw SafetensorsError(problems: problems) }
        metadata = header.metadata
        self.init(layers: layers)
    }
}
