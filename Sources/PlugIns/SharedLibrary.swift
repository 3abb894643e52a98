// An oracle in a shared library: the C interface of `cairn_oracle.h`, called in this process.

internal import CPlugIn
internal import Regression
internal import SwiftProtobuf

/// As fast as a function, and as trusted: what crashes in it crashes this process.
final class SharedLibrary: Oracle, @unchecked Sendable {
    let descriptor: OracleDescriptor
    private let oracle: UnsafePointer<cairn_oracle>
    private let price:
        @convention(c) (
            UnsafeMutableRawPointer?, UnsafePointer<cairn_batch>?, UnsafeMutablePointer<cairn_result>?
        ) -> Int32
    private let width: Int

    private static let longestMessage = 1024

    /// - Throws: `PlugInError` if there is no oracle in the file, or it describes itself badly.
    init(_ path: String, name: String, fingerprint: String?) throws(PlugInError) {
        var problem = [CChar](repeating: 0, count: 1024)
        guard let oracle = plugin_open(path, &problem, problem.count) else {
            throw PlugInError(
                description: String(
                    decoding: problem.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self))
        }
        let described: PlugInDescriptor
        do {
            described = try OracleMessages.descriptor(PBOracleDescriptor(oracle.pointee), name: name)
        } catch {
            throw PlugInError(description: error.words)
        }
        try described.expect(fingerprint)
        guard let price = oracle.pointee.evaluate else {
            throw PlugInError(description: "its cairn_oracle has no function to evaluate")
        }
        descriptor = described.oracle
        width = descriptor.inputs.count
        self.oracle = oracle
        self.price = price
    }

    func evaluate(_ points: [Double], gradient: Bool) -> Valuations {
        evaluate(points, gradient: gradient, seed: usualSeed)
    }

    func evaluate(_ points: [Double], gradient: Bool, seed: UInt64) -> Valuations {
        precondition(points.count.isMultiple(of: width), "\(points.count) numbers are no rows of \(width)")
        let count = points.count / width
        guard count > 0 else { return Valuations(prices: []) }
        var failure: String?
        var failed = false
        func call(
            _ columns: UnsafePointer<Double>, _ prices: UnsafeMutablePointer<Double>,
            _ statuses: UnsafeMutablePointer<UInt8>, _ errors: UnsafeMutablePointer<Double>?,
            _ slopes: UnsafeMutablePointer<Double>?, _ seeds: UnsafePointer<UInt64>?
        ) {
            withUnsafeTemporaryAllocation(of: CChar.self, capacity: Self.longestMessage) { message in
                message[0] = 0
                var batch = cairn_batch(
                    count: count, inputs: columns, seeds: seeds, wants_gradient: gradient ? 1 : 0)
                var result = cairn_result(
                    prices: prices, standard_errors: errors, gradients: slopes, statuses: statuses,
                    message: message.baseAddress!, message_size: message.count)
                let code = price(oracle.pointee.context, &batch, &result)
                failed = code != 0
                guard failed || message[0] != 0 else { return }
                message[message.count - 1] = 0
                let words = shown(String(cString: message.baseAddress!))
                failure =
                    "oracle \(descriptor.name): "
                    + (words.isEmpty ? "its evaluate returned \(code)" : words)
            }
        }
        let isStochastic = descriptor.isStochastic
        let seeds = isStochastic ? [UInt64](repeating: seed, count: count) : []
        var prices = [Double](repeating: 0, count: count)
        var errors = isStochastic ? [Double](repeating: 0, count: count) : []
        var slopes = gradient ? [Double](repeating: 0, count: points.count) : []
        var statuses = [ValuationStatus](repeating: .ok, count: count)
        var isKnown = true
        points.withUnsafeBufferPointer { points in
            withUnsafeTemporaryAllocation(of: Double.self, capacity: points.count) { columns in
                withUnsafeTemporaryAllocation(of: UInt8.self, capacity: count) { codes in
                    for k in 0..<count {
                        codes[k] = 0
                        for i in 0..<width { columns[i * count + k] = points[k * width + i] }
                    }
                    prices.withUnsafeMutableBufferPointer { prices in
                        errors.withUnsafeMutableBufferPointer { errors in
                            slopes.withUnsafeMutableBufferPointer { slopes in
                                seeds.withUnsafeBufferPointer { seeds in
                                    call(
                                        columns.baseAddress!, prices.baseAddress!, codes.baseAddress!,
                                        isStochastic ? errors.baseAddress : nil, gradient ? slopes.baseAddress : nil,
                                        isStochastic ? seeds.baseAddress : nil)
                                }
                            }
                        }
                    }
                    for k in 0..<count where failed || codes[k] != 0 {
                        let status = failed ? .failed : ValuationStatus(rawValue: codes[k])
                        isKnown = isKnown && status != nil
                        statuses[k] = status ?? .failed
                    }
                }
            }
        }
        var valuations = Valuations(prices: prices, standardErrors: errors, statuses: statuses)
        valuations.failure = failure
        if gradient {
            valuations.gradients = [Double](unsafeUninitializedCapacity: points.count) { buffer, used in
                for k in 0..<count { for i in 0..<width { buffer[k * width + i] = slopes[i * count + k] } }
                used = points.count
            }
        }
        for k in 0..<count { settle(&valuations, k, gradient) }
        if !isKnown && valuations.failure == nil {
            valuations.failure = "oracle \(descriptor.name): answered with a status that there is not"
        }
        if !valuations.statuses.contains(.failed) { valuations.failure = nil }
        return valuations
    }

    /// A price is a number, and what is none has no price.
    private func settle(_ valuations: inout Valuations, _ k: Int, _ gradient: Bool) {
        let slopes = gradient ? k * width..<(k + 1) * width : 0..<0
        if valuations.statuses[k].hasPrice {
            guard
                !valuations.prices[k].isFinite || !valuations.gradients[slopes].allSatisfy(\.isFinite)
                    || !valuations.standardErrors.isEmpty
                        && !(valuations.standardErrors[k].isFinite && valuations.standardErrors[k] >= 0)
            else { return }
            valuations.statuses[k] = .nonFinite
        }
        valuations.prices[k] = .nan
        if !valuations.standardErrors.isEmpty { valuations.standardErrors[k] = .nan }
        for j in slopes { valuations.gradients[j] = .nan }
    }
}

extension PBOracleDescriptor {
    /// What a shared library says of itself, in the form that all plug-ins share.
    init(_ oracle: cairn_oracle) {
        func text(_ pointer: UnsafePointer<CChar>?) -> String { pointer.map { String(cString: $0) } ?? "" }
        func array<Element>(_ pointer: UnsafePointer<Element>?, _ count: Int) -> [Element] {
            Array(UnsafeBufferPointer(start: pointer, count: pointer == nil ? 0 : min(count, 10_000)))
        }
        self.init()
        name = text(oracle.name)
        version = text(oracle.version)
        fingerprint = text(oracle.fingerprint)
        summary = text(oracle.summary)
        citation = text(oracle.citation)
        licence = text(oracle.licence)
        gradient = Gradient(rawValue: Int(oracle.gradient)) ?? .UNRECOGNIZED(Int(oracle.gradient))
        stochastic = oracle.stochastic != 0
        costSeconds = oracle.cost_seconds
        inputs = array(oracle.inputs, oracle.input_count).map { given in
            .with {
                $0.name = text(given.name)
                $0.unit = text(given.unit)
                $0.meaning = text(given.meaning)
                $0.lower = given.lower
                $0.upper = given.upper
                $0.kind = Kind(rawValue: Int(given.kind)) ?? .UNRECOGNIZED(Int(given.kind))
                $0.scale = Scale(rawValue: Int(given.scale)) ?? .UNRECOGNIZED(Int(given.scale))
                $0.words = array(given.words, given.word_count).map { text($0) }
                if let usual = given.usual { $0.usual = usual.pointee }
            }
        }
        constraints = array(oracle.constraints, oracle.constraint_count).map { given in
            .with {
                $0.name = text(given.name)
                $0.inputs = array(given.inputs, given.count)
                $0.coefficients = array(given.coefficients, given.count)
                $0.bound = given.bound
            }
        }
        testVectors = array(oracle.test_vectors, oracle.test_vector_count).map { given in
            .with {
                $0.inputs = array(given.inputs, oracle.input_count)
                $0.price = given.price
                $0.tolerance = given.tolerance
            }
        }
    }
}
