// Names of things that travel: digests, incarnations, studies, jobs.

internal import CCrypto

/// A point in time on a monotonic clock that the shell chooses; only differences mean something.
package struct Instant: Sendable, Hashable, Comparable {
    package var nanoseconds: Int64

    package init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    package static func < (a: Instant, b: Instant) -> Bool { a.nanoseconds < b.nanoseconds }

    package static func + (instant: Instant, duration: Duration) -> Instant {
        Instant(nanoseconds: instant.nanoseconds + duration.nanoseconds)
    }

    package static func - (instant: Instant, duration: Duration) -> Instant { instant + (.zero - duration) }

    package static func - (a: Instant, b: Instant) -> Duration { .nanoseconds(a.nanoseconds - b.nanoseconds) }
}

extension Duration {
    package var nanoseconds: Int64 {
        // Up to nine seconds without a division of 128 bits, which costs as much as all else in an event.
        _high == 0 ? Int64(_low / 1_000_000_000) : Int64(attoseconds / 1_000_000_000)
    }

    /// In seconds, for people and for statistics.
    package var seconds: Double { Double(nanoseconds) / 1e9 }
}

/// The name of some bytes: their SHA-256.
package struct Digest: Sendable, Hashable, Comparable, CustomStringConvertible {
    /// The 32 bytes as big-endian numbers: digests are compared, hashed and copied far more often than they are written.
    private let words: (UInt64, UInt64, UInt64, UInt64)

    package static let length = 32

    /// Nil unless there are 32 bytes.
    package init?(bytes: some Collection<UInt8>) {
        guard bytes.count == Self.length else { return nil }
        var stored: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
        withUnsafeMutableBytes(of: &stored) { $0.copyBytes(from: bytes) }
        words = (stored.0.bigEndian, stored.1.bigEndian, stored.2.bigEndian, stored.3.bigEndian)
    }

    /// The digest of `content`.
    package init(of content: [UInt8]) {
        var out = [UInt8](repeating: 0, count: Self.length)
        let isDone = EVP_Digest(content, content.count, &out, nil, EVP_sha256(), nil)
        // It fails only where there is no memory for its own state.
        precondition(isDone == 1, "libcrypto has no SHA-256")
        self.init(bytes: out)!
    }

    package var bytes: [UInt8] {
        let stored = (words.0.bigEndian, words.1.bigEndian, words.2.bigEndian, words.3.bigEndian)
        return withUnsafeBytes(of: stored) { Array($0) }
    }

    package var description: String {
        let digits = Array("0123456789abcdef")
        return String(bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
    }

    package static func == (a: Digest, b: Digest) -> Bool { a.words == b.words }

    package static func < (a: Digest, b: Digest) -> Bool { a.words < b.words }

    package func hash(into hasher: inout Hasher) {
        // All of it: who claims digests that are nobody's can choose any part.
        hasher.combine(words.0)
        hasher.combine(words.1)
        hasher.combine(words.2)
        hasher.combine(words.3)
    }
}

/// Immutable bytes, named by their digest: parameters, data sets, files of a result. They move in chunks, on request.
package struct BlobReference: Sendable, Hashable {
    package var digest: Digest
    package var size: Int

    package init(digest: Digest, size: Int) {
        self.digest = digest
        self.size = size
    }

    package init(to content: [UInt8]) {
        self.init(digest: Digest(of: content), size: content.count)
    }
}

/// One life of a worker process, drawn at random when it starts. An old one never comes back.
package struct Incarnation: Sendable, Hashable, CustomStringConvertible {
    package let value: UInt64

    package init(_ value: UInt64) { self.value = value }

    package var description: String { hexadecimal(value) }
}

/// A study, named at random when it is accepted, so that a late result of another coordinator's study finds no home.
package struct StudyID: Sendable, Hashable, CustomStringConvertible {
    package let value: UInt64

    package init(_ value: UInt64) { self.value = value }

    package var description: String { hexadecimal(value) }
}

private func hexadecimal(_ value: UInt64) -> String {
    let text = String(value, radix: 16)
    return String(repeating: "0", count: 16 - text.count) + text
}

/// A connection at the coordinator, named by the bytes that its transport routes by. A peer that reconnects has a new
/// one, unless it chose its name itself.
package struct PeerID: Sendable, Hashable {
    package let routing: [UInt8]

    package init(routing: [UInt8]) { self.routing = routing }

    /// For transports that number their connections.
    package init(_ number: UInt64) { routing = (0..<8).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) } }

    /// The number of such a connection.
    package var number: UInt64 { routing.reversed().reduce(0) { $0 << 8 | UInt64($1) } }
}

/// A job: some items of one batch of a study, or one oracle call of an item. What it computes is a pure function of this
/// name, since the plan of a study is deterministic; so a result is welcome from anyone, at any time, as often as it
/// comes.
package struct JobID: Sendable, Hashable, CustomStringConvertible {
    package var study: StudyID
    /// The batch's position in the study's plan.
    package var batch: Int
    /// Which items of the batch.
    package var items: Range<Int>
    /// The number of the oracle call, from 0, that the one item makes on its course; nil for all that the items take.
    package var call: Int?

    package init(study: StudyID, batch: Int, items: Range<Int>, call: Int? = nil) {
        self.study = study
        self.batch = batch
        self.items = items
        self.call = call
    }

    package func hash(into hasher: inout Hasher) {
        // The end and the call in one: a call is of one item. Nothing that a peer may choose is left out.
        hasher.combine(study.value)
        hasher.combine(batch)
        hasher.combine(items.lowerBound)
        hasher.combine(call.map { ~$0 } ?? items.upperBound)
    }

    /// What its item takes in all.
    package var whole: JobID { JobID(study: study, batch: batch, items: items) }

    package var description: String {
        "\(study)/\(batch)[\(items.lowerBound)..<\(items.upperBound)]" + (call.map { " call \($0)" } ?? "")
    }
}
