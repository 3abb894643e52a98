internal import CKernels

/// The instructions that the hot loops use. All paths give the same bits; a slower one is chosen for tests, or to compare
/// machines.
public enum KernelPath: String, Sendable, Hashable, CaseIterable {
    case portable, neon, avx2, avx512

    private var path: ck_path {
        switch self {
        case .portable: CK_PORTABLE
        case .neon: CK_NEON
        case .avx2: CK_AVX2
        case .avx512: CK_AVX512
        }
    }

    /// Whether this CPU has the instructions.
    public var isSupported: Bool { ck_path_supported(path) != 0 }

    /// The path in use: the fastest that this CPU supports, unless another was chosen.
    public static var current: KernelPath {
        let path = ck_path_current()
        return allCases.first { $0.path == path } ?? .portable
    }

    /// Uses this path from now on, in all threads.
    ///
    /// - Returns: false, and nothing changes, if this CPU does not have the instructions.
    public func select() -> Bool { ck_path_select(path) == 0 }
}
