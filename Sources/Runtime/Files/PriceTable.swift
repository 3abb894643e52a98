package import Regression

/// Prices the rows of a CSV file: the text of a CSV with `price,standardError,status` and, if asked for, a column
/// `d_<input>` for every continuous input.
///
/// Choices are written as words. An input with a usual value may be left out. The number of underlyings is that of the
/// columns `volatility.1`, `volatility.2`, …
///
/// - Throws: `InputError` with every problem of the file.
package func priceTable(_ oracle: any Oracle, csv path: String, gradient: Bool) throws(InputError) -> String {
    var sized = oracle
    var present: [Int] = []
    let table = try NumberTable(csv: path, try StudyInputs.bytes(path)) { header in
        let assets = header.compactMap { $0.hasPrefix("volatility.") ? Int($0.dropFirst(11)) : nil }.max()
        if let assets, let resized = oracle.resized(assets: assets) { sized = resized }
        let inputs = sized.descriptor.inputs
        present = inputs.indices.filter { inputs[$0].usual == nil || header.contains(inputs[$0].name) }
        return present.map { i in
            NumberTable.Column(
                name: inputs[i].name, read: { inputs[i].value(of: $0) }, expected: { Contract.expected(inputs[i], $0) })
        }
    }
    let inputs = sized.descriptor.inputs
    var rows: [Double] = []
    rows.reserveCapacity(table.count * inputs.count)
    for row in 0..<table.count {
        let start = rows.count
        rows += inputs.map { $0.usual ?? 0 }
        for (column, i) in present.enumerated() { rows[start + i] = table.values[row * present.count + column] }
    }
    let valuations = sized.evaluate(rows, gradient: gradient)
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
