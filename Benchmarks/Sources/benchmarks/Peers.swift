// The peers: Python scripts in Peers/ that time other software on the same work and print one JSON object of numbers
// and names. They run where `peers.sh` has installed them; without, a benchmark says so and goes on.

import Foundation

struct Peers {
    /// Python of the peers' environment; nil if it was not made.
    let python: String?
    /// Folder of the scripts.
    let folder: String

    /// The package's folder, from where this file was compiled.
    static let package = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().path()

    init() {
        folder = Self.package + "Peers/"
        let named = ProcessInfo.processInfo.environment["CAIRN_PEERS"] ?? Self.package + ".build/peers"
        let python = named + "/bin/python"
        self.python = FileManager.default.isExecutableFile(atPath: python) ? python : nil
    }

    /// How Intel's MKL inside PyTorch chooses its code.
    enum MKL: String, CaseIterable {
        /// As installed: on AMD the AVX2 path.
        case stock = "as installed"
        /// Told that this is an Intel CPU, so that it looks at the instructions that there are: Peers/mkl_avx512.c.
        case forced = "MKL told to use AVX-512"
    }

    struct Result {
        var numbers: [String: Double] = [:]
        var names: [String: String] = [:]
    }

    /// Runs a script with so many threads; nil if it cannot run here.
    func run(_ script: String, threads: Int = 1, mkl: MKL = .stock, arguments: [String] = []) -> Result? {
        guard let python else { return nil }
        let process = Process()
        process.executableURL = URL(filePath: python)
        process.arguments = [folder + script] + arguments
        var environment = ProcessInfo.processInfo.environment
        // Settings that would slow a peer down; each shall choose by the CPU.
        for key in ["OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "LD_PRELOAD"] {
            environment[key] = nil
        }
        for key in ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"] { environment[key] = "\(threads)" }
        if mkl == .forced {
            let library = URL(filePath: python).deletingLastPathComponent().path() + "../mkl_avx512.so"
            guard FileManager.default.fileExists(atPath: library) else { return nil }
            environment["LD_PRELOAD"] = library
        }
        process.environment = environment
        let output = Pipe()
        process.standardOutput = output
        guard (try? process.run()) != nil else { return nil }
        let data = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0,
            let object = try? JSONSerialization.jsonObject(with: data) as? [String: Any]
        else {
            FileHandle.standardError.write(Data("benchmarks: \(script) failed\n".utf8))
            return nil
        }
        var result = Result()
        for (key, value) in object {
            if let text = value as? String { result.names[key] = text }
            if let number = value as? NSNumber { result.numbers[key] = number.doubleValue }
        }
        return result
    }
}
