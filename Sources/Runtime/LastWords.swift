// What a process wrote to standard error before it died: said with the job that killed it.

internal import Glibc
internal import Synchronization

/// Passes a child's standard error on to this process's, and keeps the end of it.
final class LastWords: Sendable {
    private static let most = 2000

    private let bytes = Mutex<[UInt8]>([])
    private let isClosed = Mutex(false)

    /// - Parameter descriptor: the pipe's end to read from; closed when the other end is.
    init(_ descriptor: Int32) {
        // It is read as long as anybody can write, whoever else forgets about it.
        let reader = WorkThread()
        reader.perform { self.read(descriptor) }
        reader.stop()
    }

    private func read(_ descriptor: Int32) {
        var buffer = [UInt8](repeating: 0, count: 1 << 14)
        while true {
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { break }
            _ = buffer.withUnsafeBytes { write(2, $0.baseAddress, count) }
            bytes.withLock { bytes in
                bytes += buffer[..<count]
                if bytes.count > 2 * Self.most { bytes.removeFirst(bytes.count - Self.most) }
            }
        }
        close(descriptor)
        isClosed.withLock { $0 = true }
    }

    /// The last lines on one line, of what was written until now, or until the writer's end.
    var tail: String {
        // Its death may be known before its last words have come through the pipe.
        for _ in 0..<50 where !isClosed.withLock({ $0 }) { usleep(1000) }
        let text = String(decoding: bytes.withLock { $0.suffix(Self.most) }, as: UTF8.self)
        return text.split(whereSeparator: \.isNewline).suffix(5).joined(separator: " | ")
    }
}
