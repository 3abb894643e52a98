// Which instructions compute, for `Hello`, the summary, and whoever wants to force a path.

internal import Glibc
internal import Regression

/// The environment variable that forces a CPU path: `avx512`, `avx2` or `portable`.
package let kernelVariable = "CAIRN_KERNELS"

/// Uses the CPU path that the environment names, if it names one.
///
/// - Returns: nil, or what is wrong with the variable.
package func chooseKernels() -> String? {
    guard let word = getenv(kernelVariable).map({ String(cString: $0) }), !word.isEmpty else { return nil }
    guard let path = KernelPath(rawValue: word) else {
        let names = KernelPath.allCases.map(\.rawValue).joined(separator: ", ")
        return "\(kernelVariable)=\(word) is not known; one of: \(names)"
    }
    return path.select() ? nil : "\(kernelVariable)=\(word): this CPU has no such instructions"
}

/// What the numbers of this process depend on.
package var numericFingerprint: String { "kernels 1, \(KernelPath.current.rawValue)" }
