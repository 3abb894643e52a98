internal import Cluster

/// Blobs of a simulated process, whole and on their way. A blob is kept only if it is what its name says.
struct Shelf {
    private(set) var whole: [Digest: [UInt8]] = [:]
    private var partial: [Digest: [UInt8]] = [:]
    /// Whether damaged blobs are refused; a shelf that does not is a canary.
    var checks = true

    mutating func put(_ bytes: [UInt8]) -> BlobReference {
        let blob = BlobReference(to: bytes)
        whole[blob.digest] = bytes
        return blob
    }

    mutating func put(_ bytes: [UInt8], as blob: BlobReference) { whole[blob.digest] = bytes }

    mutating func forget(_ digest: Digest) { whole[digest] = nil }

    mutating func dropPart(_ digest: Digest) { partial[digest] = nil }

    /// Takes a chunk that follows the ones before; the first starts the blob anew.
    ///
    /// - Returns: nil until the last; then whether the blob is what it claims to be.
    mutating func accept(_ chunk: BlobChunk) -> Bool? {
        let digest = chunk.blob.digest
        if chunk.offset == 0 { partial[digest] = [] }
        guard partial[digest]?.count == chunk.offset else { return nil }
        partial[digest]! += chunk.bytes
        guard partial[digest]!.count >= chunk.blob.size else { return nil }
        let bytes = partial.removeValue(forKey: digest)!
        guard !checks || BlobReference(to: bytes) == chunk.blob else { return false }
        whole[digest] = bytes
        return true
    }

    /// A part of a blob, at most `limit` bytes; empty if the blob is not here.
    func chunk(_ request: BlobRequest, limit: Int) -> BlobChunk {
        let bytes = whole[request.blob.digest] ?? []
        let (start, end) = (min(request.offset, bytes.count), min(bytes.count, request.offset + limit))
        return BlobChunk(blob: request.blob, offset: request.offset, bytes: Array(bytes[start..<end]))
    }
}
