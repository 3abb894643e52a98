package import Cluster
internal import Logging
import Synchronization

/// Blobs at hand: in memory, or in a journal, whole and on their way. Safe from any thread.
package final class BlobShelf: Sendable {
    private struct State {
        var whole: [Digest: [UInt8]] = [:]
        var partial: [Digest: [UInt8]] = [:]
    }

    /// What became of a chunk.
    package enum Accepted: Sendable, Hashable {
        case incomplete
        /// It was the last, and the blob is what its name says.
        case stored
        /// It was the last, and the blob is something else: its bytes are gone.
        case damaged
    }

    private let state = Mutex(State())
    private let journal: Journal?

    /// - Parameter journal: holds blobs that are not in memory.
    package init(journal: Journal? = nil) { self.journal = journal }

    package func put(_ bytes: [UInt8]) -> BlobReference {
        let blob = BlobReference(to: bytes)
        state.withLock { $0.whole[blob.digest] = bytes }
        return blob
    }

    package func bytes(_ digest: Digest) -> [UInt8]? {
        state.withLock { $0.whole[digest] } ?? journal?.blob(digest)
    }

    package func forget(_ digest: Digest) { state.withLock { $0.whole[digest] = nil } }

    /// Drops what has come of a blob that is not whole.
    package func dropPart(_ digest: Digest) { state.withLock { $0.partial[digest] = nil } }

    /// Takes a chunk that follows the ones before; the first starts the blob anew.
    package func accept(_ chunk: BlobChunk) -> Accepted {
        let digest = chunk.blob.digest
        let bytes: [UInt8]? = state.withLock { state in
            if chunk.offset == 0 {
                state.partial[digest] = nil
                if chunk.bytes.count >= chunk.blob.size { return chunk.bytes }
                state.partial[digest] = []
            }
            guard state.partial[digest]?.count == chunk.offset else { return nil }
            state.partial[digest]!.append(contentsOf: chunk.bytes)
            guard state.partial[digest]!.count >= chunk.blob.size else { return nil }
            return state.partial.removeValue(forKey: digest)
        }
        guard let bytes else { return .incomplete }
        guard BlobReference(to: bytes) == chunk.blob else { return .damaged }
        state.withLock { $0.whole[digest] = bytes }
        return .stored
    }

    /// A part of a blob, at most `limit` bytes; empty if the blob is not here.
    package func chunk(_ request: BlobRequest, limit: Int) -> BlobChunk {
        let digest = request.blob.digest
        let part = state.withLock { $0.whole[digest].map { Array($0.dropFirst(request.offset).prefix(limit)) } }
        return BlobChunk(
            blob: request.blob, offset: request.offset,
            bytes: part ?? journal?.part(digest, offset: request.offset, limit: limit) ?? [])
    }
}

extension BlobReference {
    /// For debugging: what it is, and now on the clock that all processes of a machine share.
    var logged: Logger.Metadata {
        ["digest": "\(digest)", "bytes": "\(size)", "nanoseconds": "\(Instant.now.nanoseconds)"]
    }
}
