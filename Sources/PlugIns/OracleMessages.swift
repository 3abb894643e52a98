// Protos/oracle.proto in Swift values. What a plug-in says is not trusted: sizes, ranges and shapes are checked here.

package import Regression
internal import SwiftProtobuf

/// A plug-in's description of itself, checked.
package struct PlugInDescriptor: Sendable, Hashable {
    package let fingerprint: String
    package let oracle: OracleDescriptor
}

/// Valuations of some rows.
package struct Answer: Sendable {
    /// `failure` is what the plug-in says of those that failed.
    package var valuations: Valuations
    /// Rows whose prices were no numbers, though their status was good.
    package var nonFinite: [Int]
}

package enum OracleMessages {
    private static let longestText = 4096
    private static let mostInputs = 1000

    /// The most bytes that the answer to a `describe` has.
    static let longestDescriptor = 4 << 20

    /// The most bytes that the answer to an `evaluate` of so many points has.
    static func longestAnswer(count: Int, width: Int) -> Int { 1 << 17 + count * (8 * (width + 4) + 16) }

    package static func describe(id: UInt64) -> [UInt8] {
        bytes(
            .with {
                $0.id = id
                $0.describe = PBOracleDescribe()
            })
    }

    /// - Parameter rows: of `width` numbers.
    package static func evaluate(
        id: UInt64, rows: ArraySlice<Double>, width: Int, gradient: Bool, seed: UInt64?
    ) -> [UInt8] {
        let count = rows.count / width
        let columns = [Double](unsafeUninitializedCapacity: rows.count) { buffer, used in
            rows.withUnsafeBufferPointer { rows in
                for k in 0..<count { for i in 0..<width { buffer[i * count + k] = rows[k * width + i] } }
            }
            used = count * width
        }
        return bytes(
            .with {
                $0.id = id
                $0.evaluate = .with {
                    $0.count = UInt32(count)
                    $0.inputs = columns
                    $0.gradient = gradient
                    if let seed { $0.seeds = [UInt64](repeating: seed, count: count) }
                }
            })
    }

    private static func bytes(_ request: PBOracleRequest) -> [UInt8] {
        do {
            return try request.serializedBytes()
        } catch {
            preconditionFailure("a request of ours cannot be encoded: \(error)")
        }
    }

    private static func reply(_ bytes: [UInt8], to id: UInt64) throws(Incident) -> PBOracleReply {
        let reply: PBOracleReply
        do {
            reply = try PBOracleReply(serializedBytes: bytes)
        } catch {
            throw Incident(kind: .nonsense, words: "answered \(bytes.count) bytes that are no reply")
        }
        guard reply.id == id else {
            throw Incident(kind: .nonsense, words: "answered request \(reply.id) instead of \(id)")
        }
        if case .failure(let words)? = reply.what {
            throw Incident(kind: .refused, words: "says: \(shown(words))")
        }
        return reply
    }

    // MARK: Valuations

    /// - Throws: `Incident` if the bytes are not the answer for `count` points of the oracle that was `described`.
    package static func valuations(
        _ bytes: [UInt8], to id: UInt64, count: Int, gradient: Bool, described: PlugInDescriptor
    ) throws(Incident) -> Answer {
        guard case .valuations(let given)? = try reply(bytes, to: id).what else {
            throw Incident(kind: .nonsense, words: "answered with no valuations")
        }
        guard given.fingerprint == described.fingerprint else {
            throw Incident(
                kind: .changed,
                words: "changed its fingerprint from \(described.fingerprint) to \(shown(given.fingerprint))")
        }
        let width = described.oracle.inputs.count
        let errors = described.oracle.isStochastic ? count : 0
        guard given.prices.count == count, given.standardErrors.count == errors,
            given.statuses.isEmpty || given.statuses.count == count,
            given.gradients.count == (gradient ? count * width : 0),
            given.seconds.isEmpty || given.seconds.count == count
        else {
            throw Incident(
                kind: .nonsense,
                words: "answered \(given.prices.count) prices, \(given.standardErrors.count) standard errors, "
                    + "\(given.statuses.count) statuses and \(given.gradients.count) derivatives for \(count) points"
                    + (gradient ? " with derivatives" : ""))
        }
        var valuations = Valuations(
            prices: given.prices, standardErrors: given.standardErrors,
            statuses: [ValuationStatus](repeating: .ok, count: count))
        for (k, status) in given.statuses.enumerated() {
            guard let known = ValuationStatus(rawValue: UInt8(clamping: status.rawValue)) else {
                throw Incident(kind: .nonsense, words: "answered with status \(status.rawValue)")
            }
            valuations.statuses[k] = known
        }
        if gradient {
            valuations.gradients = [Double](unsafeUninitializedCapacity: count * width) { buffer, used in
                for k in 0..<count { for i in 0..<width { buffer[k * width + i] = given.gradients[i * count + k] } }
                used = count * width
            }
        }
        valuations.failure = shown(given.message)
        let nonFinite = valuations.settle(width: width)
        return Answer(valuations: valuations, nonFinite: nonFinite)
    }

    // MARK: Descriptor

    /// - Parameter name: what studies call the oracle, whatever it calls itself.
    /// - Throws: `Incident`, with every problem of a descriptor that cannot be.
    package static func descriptor(
        _ bytes: [UInt8], to id: UInt64, name: String
    ) throws(Incident) -> PlugInDescriptor {
        guard case .descriptor(let given)? = try reply(bytes, to: id).what else {
            throw Incident(kind: .nonsense, words: "answered with no descriptor")
        }
        return try descriptor(given, name: name)
    }

    static func descriptor(_ given: PBOracleDescriptor, name: String) throws(Incident) -> PlugInDescriptor {
        var problems: [String] = []
        func expect(_ isRight: Bool, _ problem: @autoclosure () -> String) {
            if !isRight { problems.append(problem()) }
        }
        func word(_ text: String, _ what: String) {
            expect(
                text.wholeMatch(of: /[A-Za-z0-9][A-Za-z0-9._+:-]{0,127}/) != nil,
                "\(what) '\(shown(text, 40))' is not 1 to 128 of letters, digits and . _ + : -")
        }
        word(given.version, "version")
        word(given.fingerprint, "fingerprint")
        for text in [given.name, given.summary, given.citation, given.licence] {
            expect(text.utf8.count <= longestText, "a text of \(text.utf8.count) bytes, above \(longestText)")
        }
        expect(given.costSeconds.isFinite && given.costSeconds >= 0, "cost_seconds is \(given.costSeconds)")
        let count = given.inputs.count
        expect((1...mostInputs).contains(count), "\(count) inputs; an oracle has 1 to \(mostInputs)")
        var inputs: [OracleDescriptor.Input] = []
        for (k, input) in given.inputs.prefix(mostInputs).enumerated() {
            let which = "input \(k + 1) '\(shown(input.name, 40))'"
            expect(
                input.name.wholeMatch(of: /[A-Za-z][A-Za-z0-9_]*(\.[0-9]+)*/) != nil && input.name.utf8.count <= 64,
                "\(which): a name has 1 to 64 letters, digits and _")
            expect(input.name != "assets", "\(which): this name stands for the number of underlyings")
            expect(!inputs.contains { $0.name == input.name }, "\(which) is there twice")
            expect(
                input.unit.utf8.count <= 64 && input.meaning.utf8.count <= longestText,
                "\(which): unit or meaning too long")
            if case .UNRECOGNIZED(let number) = input.scale { problems.append("\(which): no scale is \(number)") }
            let scale = input.scale == .logarithmic ? OracleDescriptor.Input.Scale.logarithmic : .linear
            let usual = input.otherwise == nil ? nil : input.usual
            switch input.kind {
            case .choice:
                let words = input.words
                expect(
                    (1...1000).contains(words.count) && Set(words).count == words.count
                        && words.allSatisfy { $0.wholeMatch(of: /[A-Za-z0-9][A-Za-z0-9_-]{0,63}/) != nil },
                    "\(which): a choice has 1 to 1000 different words of letters, digits, _ and -")
                expect(
                    usual.map { Int(exactly: $0).map(words.indices.contains) ?? false } ?? true,
                    "\(which): its usual value is none of its words")
                guard !words.isEmpty else { continue }
                inputs.append(
                    .init(
                        name: input.name, unit: "word", meaning: input.meaning, lower: 0,
                        upper: Double(words.count - 1), kind: .choice(words), usual: usual))
            case .continuous, .integer:
                expect(input.words.isEmpty, "\(which): only a choice has words")
                expect(
                    input.lower.isFinite && input.upper.isFinite && input.lower < input.upper
                        && (input.upper - input.lower).isFinite,
                    "\(which): [\(input.lower), \(input.upper)] is no interval")
                expect(
                    scale == .linear || input.lower > 0, "\(which): a logarithmic scale needs a lower bound above 0")
                expect(usual.map(\.isFinite) ?? true, "\(which): its usual value is \(usual ?? 0)")
                if input.kind == .integer {
                    for number in [input.lower, input.upper] + (usual.map { [$0] } ?? []) {
                        expect(number == number.rounded() && abs(number) < 0x1p53, "\(which): \(number) is no integer")
                    }
                }
                inputs.append(
                    .init(
                        name: input.name, unit: input.unit, meaning: input.meaning, lower: input.lower,
                        upper: input.upper, kind: input.kind == .integer ? .integer : .continuous, scale: scale,
                        usual: usual))
            case .UNRECOGNIZED(let number): problems.append("\(which): no kind is \(number)")
            }
        }
        expect(
            inputs.contains { $0.kind == .continuous } || !problems.isEmpty, "none of its inputs is continuous")
        expect(given.constraints.count <= 1000, "\(given.constraints.count) constraints, above 1000")
        var constraints: [LinearConstraint] = []
        for constraint in given.constraints.prefix(1000) {
            let which = "constraint '\(shown(constraint.name, 40))'"
            let isSound =
                !constraint.inputs.isEmpty && constraint.inputs.count == constraint.coefficients.count
                && Set(constraint.inputs).count == constraint.inputs.count
                && constraint.inputs.allSatisfy { $0 < count } && constraint.coefficients.allSatisfy(\.isFinite)
                && constraint.bound.isFinite && constraint.name.utf8.count <= 256
            expect(isSound, "\(which) is no inequality between its inputs")
            guard isSound else { continue }
            constraints.append(
                LinearConstraint(
                    name: constraint.name,
                    coefficients: Dictionary(
                        uniqueKeysWithValues: zip(constraint.inputs.map(Int.init), constraint.coefficients)),
                    bound: constraint.bound))
        }
        var method = OracleDescriptor.GradientMethod.none
        switch given.gradient {
        case .noGradient: break
        case .exact: method = .exact
        case .differences: method = .differences
        case .commonPaths: method = .commonPaths
        case .UNRECOGNIZED(let number): problems.append("no gradient is \(number)")
        }
        expect(given.testVectors.count <= 1000, "\(given.testVectors.count) test vectors, above 1000")
        var vectors: [OracleDescriptor.TestVector] = []
        for (k, vector) in given.testVectors.prefix(1000).enumerated() {
            let isSound =
                vector.inputs.count == count && vector.inputs.allSatisfy(\.isFinite) && vector.price.isFinite
                && vector.tolerance.isFinite && vector.tolerance >= 0
            expect(isSound, "test vector \(k + 1) has not \(count) finite inputs, a price and a tolerance")
            vectors.append(.init(vector.inputs, price: vector.price, tolerance: vector.tolerance))
        }
        guard problems.isEmpty else {
            throw Incident(kind: .nonsense, words: "describes itself badly: \(problems.joined(separator: "; "))")
        }
        return PlugInDescriptor(
            fingerprint: given.fingerprint,
            oracle: OracleDescriptor(
                name: name, version: "\(given.version)+\(given.fingerprint)", summary: given.summary,
                citation: given.citation, licence: given.licence, inputs: inputs, constraints: constraints,
                gradientMethod: method, isStochastic: given.stochastic, costSeconds: given.costSeconds,
                testVectors: vectors))
    }
}

/// A text of a plug-in, fit for a log: one line of bounded length, without control characters.
func shown(_ text: String, _ limit: Int = 400) -> String {
    if text.isEmpty { return text }
    let line = String(
        text.unicodeScalars.prefix(limit).map { scalar in
            let isPrinted = ![.control, .format, .lineSeparator, .paragraphSeparator].contains(
                scalar.properties.generalCategory)
            return isPrinted ? Character(scalar) : " "
        })
    return line == text ? text : line.trimmingSuffix { $0 == " " } + (text.unicodeScalars.count > limit ? "…" : "")
}

extension String {
    fileprivate func trimmingSuffix(while predicate: (Character) -> Bool) -> String {
        var text = self
        while let last = text.last, predicate(last) { text.removeLast() }
        return text
    }
}
