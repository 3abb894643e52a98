// An oracle in a shared library: the C interface of `cairn_oracle.h`, called in this process.

internal import CPlugIn
internal import Regression
internal import SwiftProtobuf

/// As fast as a function, and as trusted: what crashes in it crashes this process.
final class SharedLibrary: Oracle, @unchecked Sendable {
    let descriptor: OracleDescriptor
    let incidents = IncidentLog()
    private let oracle: UnsafePointer<cairn_oracle>
    private let price:
        @convention(c) (
            UnsafeMutableRawPointer?, UnsafePointer<cairn_batch>?, UnsafeMutablePointer<cairn_result>?
        ) -> Int32
    private let width: Int
    private let isStochastic: Bool
    /// The statuses of one sound point: an array that is there costs nothing.
    private let fine: [ValuationStatus] = [.ok]

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
        isStochastic = descriptor.isStochastic
        self.oracle = oracle
        self.price = price
    }

    func evaluate(_ points: [Double], gradient: Bool) -> Valuations {
        evaluate(points, gradient: gradient, seed: usualSeed)
    }

    func evaluate(_ points: [Double], gradient: Bool, seed: UInt64) -> Valuations {
        let (count, rest) = points.count.quotientAndRemainder(dividingBy: width)
        precondition(rest == 0, "\(points.count) numbers are no rows of \(width)")
        guard count > 0 else { return Valuations(prices: []) }
        let (errors, slopes) = (isStochastic ? count : 0, gradient ? points.count : 0)
        return withUnsafeTemporaryAllocation(of: Double.self, capacity: count + errors + slopes) { numbers in
            withUnsafeTemporaryAllocation(of: UInt8.self, capacity: count) { statuses in
                numbers.initialize(repeating: 0)
                statuses.initialize(repeating: 0)
                let prices = numbers.baseAddress!
                let failure = inColumns(points, count) { columns in
                    call(
                        columns, count, seed,
                        cairn_result(
                            prices: prices, standard_errors: errors > 0 ? prices + count : nil,
                            gradients: slopes > 0 ? prices + count + errors : nil, statuses: statuses.baseAddress,
                            message: nil,
                            message_size: 0))
                }
                // One sound price, of which nothing else is to be said: the call whose overhead shows.
                if numbers.count == 1, failure == nil, statuses[0] == 0, numbers[0].isFinite {
                    return Valuations(prices: [numbers[0]], statuses: fine)
                }
                var given = Valuations(
                    prices: [Double](numbers[..<count]),
                    standardErrors: [Double](numbers[count..<count + errors]),
                    gradients: slopes > 0 ? inRows(numbers[(count + errors)...], count) : [],
                    statuses: [ValuationStatus](repeating: .ok, count: count))
                for k in 0..<count where statuses[k] != 0 {
                    let status = ValuationStatus(rawValue: statuses[k])
                    given.statuses[k] = status ?? .failed
                    if status == nil, given.failure == nil { given.failure = "answered with status \(statuses[k])" }
                }
                if let failure { given.failure = failure }
                let bad = given.settle(width: width)
                if !bad.isEmpty { incidents.note(.nonFinite, times: bad.count) }
                if given.failure != nil {
                    incidents.note(.refused)
                    given.place(of: descriptor, points)
                }
                return given
            }
        }
    }

    /// Rows as the interface wants them: all values of the first input, then all of the second, ...; one row is that already.
    private func inColumns<Result>(_ points: [Double], _ count: Int, _ body: (UnsafePointer<Double>) -> Result)
        -> Result
    {
        points.withUnsafeBufferPointer { points in
            if count == 1 { return body(points.baseAddress!) }
            return withUnsafeTemporaryAllocation(of: Double.self, capacity: points.count) { columns in
                for k in 0..<count { for i in 0..<width { columns[i * count + k] = points[k * width + i] } }
                return body(columns.baseAddress!)
            }
        }
    }

    private func inRows(_ columns: Slice<UnsafeMutableBufferPointer<Double>>, _ count: Int) -> [Double] {
        let columns = UnsafeMutableBufferPointer(rebasing: columns)
        return [Double](unsafeUninitializedCapacity: columns.count) { rows, used in
            for k in 0..<count { for i in 0..<width { rows[k * width + i] = columns[i * count + k] } }
            used = columns.count
        }
    }

    /// - Parameter places: where the answer belongs; derivatives are wanted if they have a place.
    /// - Returns: what the whole batch failed of, or what the library says of points that did; nil if it says nothing.
    private func call(
        _ columns: UnsafePointer<Double>, _ count: Int, _ seed: UInt64, _ places: cairn_result
    ) -> String? {
        let seeds = isStochastic ? [UInt64](repeating: seed, count: count) : []
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: Self.longestMessage) { message in
            message[0] = 0
            let code = seeds.withUnsafeBufferPointer { seeds in
                var batch = cairn_batch(
                    count: count, inputs: columns, seeds: isStochastic ? seeds.baseAddress : nil,
                    wants_gradient: places.gradients == nil ? 0 : 1)
                var result = places
                result.message = message.baseAddress
                result.message_size = message.count
                return price(oracle.pointee.context, &batch, &result)
            }
            guard code != 0 || message[0] != 0 else { return nil }
            if code != 0 { for k in 0..<count { places.statuses[k] = ValuationStatus.failed.rawValue } }
            message[message.count - 1] = 0
            let words = shown(String(cString: message.baseAddress!))
            return words.isEmpty ? "its evaluate returned \(code)" : words
        }
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
