package import Regression

/// Prices the rows of a CSV file: the text of a CSV with `price,standardError,status` and, if asked for, `d_<input>`.
///
/// - Throws: `InputError` with every problem of the file.
package func priceTable(_ oracle: any Oracle, csv path: String, gradient: Bool) throws(InputError) -> String {
    let names = oracle.descriptor.inputs.map(\.name)
    let table = try NumberTable(csv: path, try StudyInputs.bytes(path), columns: names)
    let valuations = oracle.evaluate(table.values, gradient: gradient)
    var csv = CSVWriter(["price", "standardError", "status"] + (gradient ? names.map { "d_\($0)" } : []))
    for row in 0..<table.count {
        csv.add(valuations.prices[row])
        csv.add(valuations.standardErrors.isEmpty ? 0 : valuations.standardErrors[row])
        csv.add(valuations.statuses[row].name)
        if gradient { for i in names.indices { csv.add(valuations.gradients[row * names.count + i]) } }
        csv.endRow()
    }
    return String(decoding: csv.bytes, as: UTF8.self)
}
