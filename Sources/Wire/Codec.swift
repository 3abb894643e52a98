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

/// The wire form of messages: `CRN`, the protocol's version, the length of an envelope of Protos/envelope.proto, and the
/// envelope. The bytes of a blob follow it: as a field they would be copied at every step.
package enum Codec {
    /// Of the protocol; peers of another version are refused.
    package static let version: UInt8 = 2
    /// The longest frame that is sent or taken, unless configured.
    package static let longestFrame = 64 << 20
    /// The most bytes of a blob in one message.
    package static let chunkSize = 1 << 20
    /// Parameters up to this size are published with their bytes.
    package static let longestPublished = 16 << 20

    private static let magic: [UInt8] = Array("CRN".utf8)

    package static func encode(_ message: ToCoordinator) -> [UInt8] {
        frame(PBToCoordinator(message), content: message.content)
    }

    package static func encode(_ message: FromCoordinator) -> [UInt8] {
        frame(PBFromCoordinator(message), content: message.content)
    }

    /// - Throws: `WireError` if the bytes are no message of this protocol version or say what cannot be.
    package static func decodeToCoordinator(_ bytes: [UInt8]) throws(WireError) -> ToCoordinator {
        let (envelope, content): (PBToCoordinator, _) = try parts(bytes)
        let message = try envelope.value(content)
        try check(content.count == message.content.count, "bytes after a message that has none")
        return message
    }

    /// - Throws: `WireError` if the bytes are no message of this protocol version or say what cannot be.
    package static func decodeFromCoordinator(_ bytes: [UInt8]) throws(WireError) -> FromCoordinator {
        let (envelope, content): (PBFromCoordinator, _) = try parts(bytes)
        let message = try envelope.value(content)
        try check(content.count == message.content.count, "bytes after a message that has none")
        return message
    }

    /// Before the envelope: `CRN`, the version, and its length, little-endian.
    private static let head = 8

    private static func frame(_ envelope: some Message, content: [UInt8]) -> [UInt8] {
        let text: [UInt8]
        do {
            text = try envelope.serializedBytes()
        } catch {
            preconditionFailure("a message of ours cannot be encoded: \(error)")
        }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(head + text.count + content.count)
        bytes += magic
        bytes.append(version)
        for shift in [0, 8, 16, 24] { bytes.append(UInt8(truncatingIfNeeded: text.count >> shift)) }
        bytes += text
        bytes += content
        return bytes
    }

    private static func parts<Envelope: Message>(
        _ bytes: [UInt8]
    ) throws(WireError) -> (Envelope, content: ArraySlice<UInt8>) {
        guard bytes.count >= 4, bytes.starts(with: magic) else { throw WireError("not a message of this protocol") }
        guard bytes[3] == version else {
            throw WireError("protocol version \(bytes[3]), this is version \(version)")
        }
        guard bytes.count >= head else { throw WireError("a message of \(bytes.count) bytes") }
        let length = bytes[4..<head].reversed().reduce(0) { $0 << 8 | Int($1) }
        guard length <= bytes.count - head else {
            throw WireError("an envelope of \(length) bytes in a message of \(bytes.count)")
        }
        do {
            return (try Envelope(serializedBytes: Part(bytes[head..<head + length])), bytes[(head + length)...])
        } catch {
            throw WireError("not a protobuf envelope")
        }
    }
}

/// A part of a frame, to be read in its place.
private struct Part: SwiftProtobufContiguousBytes {
    var bytes: ArraySlice<UInt8>

    init(_ bytes: ArraySlice<UInt8>) { self.bytes = bytes }
    init(_ bytes: some Sequence<UInt8>) { self.bytes = Array(bytes)[...] }
    init(repeating byte: UInt8, count: Int) { bytes = [UInt8](repeating: byte, count: count)[...] }

    var count: Int { bytes.count }

    func withUnsafeBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
        try bytes.withUnsafeBytes(body)
    }

    mutating func withUnsafeMutableBytes<R>(_ body: (UnsafeMutableRawBufferPointer) throws -> R) rethrows -> R {
        try bytes.withUnsafeMutableBytes(body)
    }
}

extension ToCoordinator {
    /// What follows the envelope.
    fileprivate var content: [UInt8] { if case .blob(let chunk) = self { chunk.bytes } else { [] } }
}

extension FromCoordinator {
    /// What follows the envelope.
    fileprivate var content: [UInt8] {
        switch self {
        case .blob(let chunk): chunk.bytes
        case .parameters(let published): published.bytes
        default: []
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
