import CKernels
import Foundation
import Pricing
import Regression
import Testing

/// Runs `body` on every kernel path of this CPU. The choice is process-wide, which is harmless while other tests run:
/// paths give the same bits.
func onEveryPath(_ body: (KernelPath) throws -> Void) rethrows {
    let before = KernelPath.current
    defer { _ = before.select() }
    for path in KernelPath.allCases where path.select() { try body(path) }
}

/// The bits of numbers, so that NaN and the sign of zero count.
func bits(_ numbers: [Float]) -> [UInt32] { numbers.map(\.bitPattern) }
func bits(_ numbers: [Double]) -> [UInt64] { numbers.map(\.bitPattern) }

func resource(_ name: String) -> Data {
    try! Data(contentsOf: Bundle.module.url(forResource: "Resources/\(name)", withExtension: nil)!)
}

/// The down-and-out put's usual domain.
let putDomain = try! Domain(
    inputs: DownAndOutPut().descriptor.inputs.map { .init(name: $0.name, lower: $0.lower, upper: $0.upper) },
    constraints: DownAndOutPut().descriptor.constraints)

/// Numbers for shapes and contents of random tests: a fixed seed, so that a failure comes back.
struct Dice {
    var stream: RandomStream

    init(_ seed: UInt64) { stream = RandomStream(seed: seed, purpose: .other) }

    mutating func float() -> Float { Float(stream.uniform() * 2 - 1) }
    mutating func floats(_ count: Int) -> [Float] { (0..<count).map { _ in float() } }
    mutating func uniforms(_ count: Int) -> [Double] { (0..<count).map { _ in stream.uniform() } }
    mutating func int(_ range: ClosedRange<Int>) -> Int { range.lowerBound + stream.below(range.count) }
}
