// What a study fixes of an oracle: the option's type, the number of underlyings, an input that it does not vary.

/// An oracle with some of its inputs fixed. What remains is continuous: the coordinates of a domain.
///
/// Choices and integers that a contract does not name take their usual value. The contract is part of the fingerprint,
/// in a form from which any process that has the oracle finds the same contract again:
/// `asian/1?fixings=12&optionType=call`.
public struct Contract: Oracle {
    /// What is wrong with a contract.
    public struct Problem: Error, Sendable, Hashable, CustomStringConvertible {
        /// The input that it is about.
        public let input: String
        public let message: String
        public var description: String { "\(input): \(message)" }
    }

    public let descriptor: OracleDescriptor
    /// The oracle with all its inputs.
    public let base: any Oracle
    /// The inputs that are fixed, by name, as a study writes them; the number of underlyings is `assets`.
    public let terms: [String: String]

    /// A row of `base`, where the free inputs are 0.
    private let row: [Double]
    private let free: [Int]

    /// - Parameters:
    ///   - oracle: to be fixed.
    ///   - terms: input names and their values, and `assets` for an oracle on several underlyings.
    /// - Throws: `Problem`.
    public init(_ oracle: any Oracle, terms: [String: String]) throws(Problem) {
        var base = oracle
        var terms = terms
        if let text = terms["assets"] {
            guard let assets = Int(text), let resized = oracle.resized(assets: assets) else {
                throw Problem(input: "assets", message: "\(oracle.descriptor.name) cannot have '\(text)' underlyings")
            }
            base = resized
            terms["assets"] = "\(assets)"
        }
        let all = base.descriptor
        let known = Set(all.inputs.map(\.name))
        for name in terms.keys.sorted() where name != "assets" && !known.contains(name) {
            throw Problem(
                input: name, message: "is no input of \(all.name); it has \(known.sorted().joined(separator: ", "))")
        }
        var row = [Double](repeating: 0, count: all.inputs.count)
        var fixed = [Bool](repeating: false, count: row.count)
        for (i, input) in all.inputs.enumerated() {
            if let text = terms[input.name] {
                guard let value = input.value(of: text) else {
                    throw Problem(input: input.name, message: Self.expected(input, text))
                }
                (row[i], fixed[i]) = (value, true)
            } else if input.kind != .continuous {
                guard let usual = input.usual else {
                    throw Problem(input: input.name, message: "is missing: \(input.meaning)")
                }
                (row[i], fixed[i]) = (usual, true)
            }
            if fixed[i] { terms[input.name] = input.text(of: row[i]) }
        }
        let free = row.indices.filter { !fixed[$0] }
        guard !free.isEmpty else { throw Problem(input: all.name, message: "no input is left to vary") }
        self.base = base
        self.terms = terms
        self.row = row
        self.free = free

        /// The constraint on what is free; nil if nothing of it is.
        func reduced(_ constraint: LinearConstraint) -> LinearConstraint? {
            var coefficients: [Int: Double] = [:]
            var bound = constraint.bound
            for i in constraint.coefficients.keys.sorted() {
                let coefficient = constraint.coefficients[i]!
                if let place = free.firstIndex(of: i) {
                    coefficients[place] = coefficient
                } else {
                    bound -= coefficient * row[i]
                }
            }
            return coefficients.isEmpty
                ? nil : LinearConstraint(name: constraint.name, coefficients: coefficients, bound: bound)
        }
        let applying = all.conditionalConstraints.filter { $0.words.contains(Int(row[$0.input])) }.map(\.constraint)
        let text = terms.keys.sorted().map { "\($0)=\(terms[$0]!)" }.joined(separator: "&")
        descriptor = OracleDescriptor(
            name: all.name, version: text.isEmpty ? all.version : "\(all.version)?\(text)", summary: all.summary,
            citation: all.citation, licence: all.licence, inputs: free.map { all.inputs[$0] },
            constraints: (all.constraints + applying).compactMap(reduced), gradientMethod: all.gradientMethod,
            isStochastic: all.isStochastic, pathsInput: all.pathsInput, costSeconds: all.costSeconds)
    }

    /// What an input takes, for the message about a text that it does not.
    public static func expected(_ input: OracleDescriptor.Input, _ text: String) -> String {
        switch input.kind {
        case .choice(let words): "'\(text.prefix(40))' is not one of \(words.joined(separator: ", "))"
        case .integer: "'\(text.prefix(40))' is no whole number"
        case .continuous: "'\(text.prefix(40))' is no finite number"
        }
    }

    public func evaluate(_ points: [Double], gradient: Bool) -> Valuations {
        let (width, all) = (free.count, row.count)
        precondition(points.count.isMultiple(of: width), "\(points.count) numbers are no rows of \(width)")
        let count = points.count / width
        var rows = [Double]()
        rows.reserveCapacity(count * all)
        for k in 0..<count {
            let start = rows.count
            rows += row
            for (j, i) in free.enumerated() { rows[start + i] = points[k * width + j] }
        }
        var valuations = base.evaluate(rows, gradient: gradient)
        if gradient {
            let full = valuations.gradients
            valuations.gradients = (0..<count).flatMap { k in free.map { full[k * all + $0] } }
        }
        return valuations
    }

    /// The oracle of a fingerprint, among those at hand: one of them, or a contract on one of them.
    public static func oracle(named name: String, fingerprint: String, among oracles: [any Oracle]) -> (any Oracle)? {
        if let oracle = oracles.first(where: { $0.descriptor.name == name && $0.descriptor.fingerprint == fingerprint })
        {
            return oracle
        }
        let parts = fingerprint.split(separator: "?", maxSplits: 1)
        guard parts.count == 2,
            let base = oracles.first(where: {
                $0.descriptor.name == name && $0.descriptor.fingerprint == parts[0]
            })
        else { return nil }
        var terms: [String: String] = [:]
        for term in parts[1].split(separator: "&") {
            let sides = term.split(separator: "=", maxSplits: 1)
            guard sides.count == 2 else { return nil }
            terms[String(sides[0])] = String(sides[1])
        }
        guard let contract = try? Contract(base, terms: terms), contract.descriptor.fingerprint == fingerprint else {
            return nil
        }
        return contract
    }

    /// The same contract priced with `factor` times the paths; nil for a deterministic oracle.
    public func refined(by factor: Int) -> Contract? {
        guard let name = descriptor.pathsInput, let paths = terms[name].flatMap({ Int($0) }) else { return nil }
        var refined = terms
        refined[name] = "\(paths * factor)"
        return try? Contract(base, terms: refined)
    }
}
