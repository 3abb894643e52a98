// Messages to bytes and back. What comes in is not trusted: sizes, ranges and shapes are checked here, so that the state
// machines only see values that can be.

package import Cluster
internal import SwiftProtobuf

#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

/// Why bytes are no message.
package struct WireError: Error, Sendable, Hashable, CustomStringConvertible {
    package let description: String

    init(_ description: String) { self.description = description }
}

/// The wire form of messages: four bytes, `CRN` and the protocol's version, then an envelope of Protos/envelope.proto.
package enum Codec {
    /// Of the protocol; peers of another version are refused.
    package static let version: UInt8 = 1
    /// The longest frame that is sent or taken, unless configured.
    package static let longestFrame = 64 << 20
    /// The most bytes of a blob in one message.
    package static let chunkSize = 1 << 20
    /// Parameters up to this size are published with their bytes.
    package static let longestPublished = 16 << 20

    private static let magic: [UInt8] = Array("CRN".utf8)

    package static func encode(_ message: ToCoordinator) -> [UInt8] { frame(PBToCoordinator(message)) }
    package static func encode(_ message: FromCoordinator) -> [UInt8] { frame(PBFromCoordinator(message)) }

    /// - Throws: `WireError` if the bytes are no message of this protocol version or say what cannot be.
    package static func decodeToCoordinator(_ bytes: [UInt8]) throws(WireError) -> ToCoordinator {
        try (envelope(bytes) as PBToCoordinator).value
    }

    /// - Throws: `WireError` if the bytes are no message of this protocol version or say what cannot be.
    package static func decodeFromCoordinator(_ bytes: [UInt8]) throws(WireError) -> FromCoordinator {
        try (envelope(bytes) as PBFromCoordinator).value
    }

    private static func frame(_ envelope: some Message) -> [UInt8] {
        var bytes = magic + [version]
        do {
            bytes += try envelope.serializedBytes() as [UInt8]
        } catch {
            preconditionFailure("a message of ours cannot be encoded: \(error)")
        }
        return bytes
    }

    private static func envelope<Envelope: Message>(_ bytes: [UInt8]) throws(WireError) -> Envelope {
        guard bytes.count >= 4, bytes.starts(with: magic) else { throw WireError("not a message of this protocol") }
        guard bytes[3] == version else {
            throw WireError("protocol version \(bytes[3]), this is version \(version)")
        }
        do {
            return try Envelope(serializedBytes: Array(bytes[4...]))
        } catch {
            throw WireError("not a protobuf envelope")
        }
    }
}

// MARK: Checks

/// Throws unless something is as it should be.
func check(_ isRight: Bool, _ problem: @autoclosure () -> String) throws(WireError) {
    if !isRight { throw WireError(problem()) }
}

/// A number of things, not above `limit`.
func count(_ value: UInt64, upTo limit: Int, _ name: String) throws(WireError) -> Int {
    try check(value <= UInt64(limit), "\(name) is \(value), above \(limit)")
    return Int(value)
}

/// Finite numbers.
func finite(_ numbers: [Double], _ name: String) throws(WireError) -> [Double] {
    try check(numbers.allSatisfy(\.isFinite), "\(name) has a number that is not finite")
    return numbers
}

/// A text of bounded length.
func text(_ value: String, upTo limit: Int = 4096, _ name: String) throws(WireError) -> String {
    try check(value.utf8.count <= limit, "\(name) has \(value.utf8.count) bytes, above \(limit)")
    return value
}

/// Something that must be there.
func present<Value>(_ isThere: Bool, _ value: Value, _ name: String) throws(WireError) -> Value {
    try check(isThere, "\(name) is missing")
    return value
}
