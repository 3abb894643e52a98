internal import Pricing
package import Regression

/// Prices the rows of a CSV file: the text of a CSV with `price,standardError,status` and, if asked for, a column
/// `d_<input>` for every continuous input.
///
/// Choices are written as words. An input with a usual value may be left out. The number of underlyings is that of the
/// columns `volatility.1`, `volatility.2`, … Columns that are no inputs are ignored, unless one looks like an input that was
/// left out. A number that makes no sense (a negative volatility, `nan`, half a date) is `invalid` in its row.
///
/// - Parameter standardError: nil, or what paths are added for until prices have it; for Monte Carlo oracles.
/// - Throws: `InputError` with every problem of the file.
package func priceTable(
    _ oracle: any Oracle, csv path: String, gradient: Bool, standardError: Double? = nil
) throws(InputError) -> String {
    var sized = oracle
    var present: [Int] = []
    var problems: [InputProblem] = []
    let bytes = try StudyInputs.bytes(path)
    let table: NumberTable
    do throws(InputError) {
        table = try NumberTable(csv: path, bytes) { header in
            let assets = header.compactMap { $0.hasPrefix("volatility.") ? Int($0.dropFirst(11)) : nil }.max()
            if let assets, oracle.descriptor.inputs.contains(where: { $0.name == "volatility.1" }) {
                if let resized = oracle.resized(assets: assets) {
                    sized = resized
                } else {
                    problems.append(
                        InputProblem(
                            file: path, line: 1, key: "volatility.\(assets)",
                            message: "\(oracle.descriptor.name) cannot have \(assets) shares"))
                }
            }
            let inputs = sized.descriptor.inputs
            present = inputs.indices.filter { inputs[$0].usual == nil || header.contains(inputs[$0].name) }
            let strangers = header.filter { name in !inputs.contains { $0.name == name } }
            for input in inputs where !header.contains(input.name) && input.usual != nil {
                guard let meant = suggestion(for: input.name, among: strangers) else { continue }
                problems.append(
                    InputProblem(file: path, line: 1, key: meant, message: "no such input; is '\(input.name)' meant?"))
            }
            return present.map { i in
                let input = inputs[i]
                return NumberTable.Column(
                    name: input.name,
                    read: { text in
                        if let value = input.value(of: text) { return value }
                        if case .choice = input.kind { return nil }
                        return Double(text)
                    }, expected: { Contract.expected(input, $0) })
            }
        }
    } catch {
        throw InputError(problems + error.problems)
    }
    guard problems.isEmpty else { throw InputError(problems) }
    let inputs = sized.descriptor.inputs
    var rows: [Double] = []
    rows.reserveCapacity(table.count * inputs.count)
    for row in 0..<table.count {
        let start = rows.count
        rows += inputs.map { $0.usual ?? 0 }
        for (column, i) in present.enumerated() { rows[start + i] = table.values[row * present.count + column] }
    }
    let valuations =
        if let standardError, let sized = sized as? MultiAsset {
            sized.evaluate(rows, gradient: gradient, standardError: standardError)
        } else {
            sized.evaluate(rows, gradient: gradient)
        }
    let shown = gradient ? inputs.indices.filter { inputs[$0].kind == .continuous } : []
    var csv = CSVWriter(["price", "standardError", "status"] + shown.map { "d_\(inputs[$0].name)" })
    for row in 0..<table.count {
        csv.add(valuations.prices[row])
        csv.add(valuations.standardErrors.isEmpty ? 0 : valuations.standardErrors[row])
        csv.add(valuations.statuses[row].name)
        for i in shown { csv.add(valuations.gradients[row * inputs.count + i]) }
        csv.endRow()
    }
    return String(decoding: csv.bytes, as: UTF8.self)
}
