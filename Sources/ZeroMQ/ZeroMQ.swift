// libzmq in Swift: contexts, sockets, and waiting for them. Every unsafe pointer of Cairn's network I/O is in this target.

internal import CZeroMQ
internal import Glibc

/// What libzmq refused to do.
package struct ZeroMQError: Error, Sendable, Hashable, CustomStringConvertible {
    package let operation: String
    package let code: Int32

    package var description: String { "\(operation): \(String(cString: zmq_strerror(code)))" }

    init(_ operation: String, code: Int32 = zmq_errno()) {
        self.operation = operation
        self.code = code
    }
}

/// libzmq's threads and sockets. Sockets keep their context alive.
package final class Context: @unchecked Sendable {
    let pointer: UnsafeMutableRawPointer

    package init() {
        guard let pointer = zmq_ctx_new() else { preconditionFailure("no memory for a ZeroMQ context") }
        self.pointer = pointer
    }

    deinit {
        while zmq_ctx_term(pointer) != 0 && zmq_errno() == EINTR {}
    }
}

/// A ZeroMQ socket. Belongs to one thread at a time.
package final class Socket {
    package enum Kind: Sendable {
        case router, dealer, publish, subscribe

        fileprivate var type: Int32 {
            switch self {
            case .router: ZMQ_ROUTER
            case .dealer: ZMQ_DEALER
            case .publish: ZMQ_PUB
            case .subscribe: ZMQ_SUB
            }
        }
    }

    /// What became of a message.
    package enum Sent: Sendable, Hashable {
        case sent
        /// A router has no such peer, or its queue is full.
        case unreachable
    }

    private let context: Context
    fileprivate let pointer: UnsafeMutableRawPointer

    /// - Parameters:
    ///   - longestFrame: frames above this size (bytes) make libzmq drop the peer that sent them.
    ///   - linger: how long messages that were not sent yet keep the context alive after the socket is closed, ms.
    package init(_ context: Context, _ kind: Kind, longestFrame: Int, linger: Int = 100) throws(ZeroMQError) {
        guard let pointer = zmq_socket(context.pointer, kind.type) else { throw ZeroMQError("opening a socket") }
        self.context = context
        self.pointer = pointer
        try set(ZMQ_LINGER, Int32(linger))
        try set(ZMQ_MAXMSGSIZE, Int64(longestFrame))
        // Above what a worker's credit lets wait for it: a full queue is taken for a peer that is gone.
        try set(ZMQ_SNDHWM, Int32(1 << 14))
        try set(ZMQ_RCVHWM, Int32(1 << 14))
        switch kind {
        case .router: try set(ZMQ_ROUTER_MANDATORY, Int32(1))
        case .dealer, .subscribe:
            try set(ZMQ_RECONNECT_IVL, Int32(50))
            try set(ZMQ_RECONNECT_IVL_MAX, Int32(1000))
        case .publish: break
        }
        if kind == .subscribe {
            guard zmq_setsockopt(pointer, ZMQ_SUBSCRIBE, "", 0) == 0 else { throw ZeroMQError("subscribing") }
        }
    }

    deinit { zmq_close(pointer) }

    private func set<Value: BitwiseCopyable>(_ option: Int32, _ value: Value) throws(ZeroMQError) {
        var value = value
        guard zmq_setsockopt(pointer, option, &value, MemoryLayout<Value>.size) == 0 else {
            throw ZeroMQError("setting socket option \(option)")
        }
    }

    /// Listens at an address.
    ///
    /// - Parameter patience: for how long, in seconds, whoever listens there is waited for.
    /// - Throws: `ZeroMQError`, also where `ipc://` names something that is no socket, or a socket that somebody listens at:
    ///   libzmq would delete either.
    package func bind(_ address: String, patience: Double = 0) throws(ZeroMQError) {
        let tries = Int(patience / 0.05) + 1
        for k in 1...tries {
            do throws(ZeroMQError) {
                if address.hasPrefix("ipc://") { try Self.checkIsFree(path: String(address.dropFirst(6)), address) }
                guard zmq_bind(pointer, address) == 0 else { throw ZeroMQError("binding \(address)") }
                return
            } catch {
                guard error.code == EADDRINUSE, k < tries else { throw error }
                usleep(50_000)
            }
        }
    }

    private static func checkIsFree(path: String, _ address: String) throws(ZeroMQError) {
        var status = stat()
        guard !path.isEmpty, lstat(path, &status) == 0 else { return }
        guard status.st_mode & S_IFMT == S_IFSOCK else {
            throw ZeroMQError("binding \(address)", code: EEXIST)
        }
        let probe = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard probe >= 0 else { return }
        defer { close(probe) }
        var name = sockaddr_un()
        name.sun_family = sa_family_t(AF_UNIX)
        let isShort = withUnsafeMutableBytes(of: &name.sun_path) { bytes in
            guard path.utf8.count < bytes.count else { return false }
            bytes.copyBytes(from: path.utf8)
            return true
        }
        guard isShort else { return }
        let isTaken = withUnsafePointer(to: &name) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(probe, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) == 0
            }
        }
        if isTaken { throw ZeroMQError("binding \(address)", code: EADDRINUSE) }
    }

    package func connect(_ address: String) throws(ZeroMQError) {
        guard zmq_connect(pointer, address) == 0 else { throw ZeroMQError("connecting to \(address)") }
    }

    /// The address that the last `bind` got: with the port that the system chose for `*`.
    package var address: String {
        var buffer = [CChar](repeating: 0, count: 1024)
        var size = buffer.count
        guard zmq_getsockopt(pointer, ZMQ_LAST_ENDPOINT, &buffer, &size) == 0 else { return "" }
        return String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    /// Sends the frames of one message without waiting.
    package func send(_ frames: [[UInt8]]) throws(ZeroMQError) -> Sent {
        for (k, frame) in frames.enumerated() {
            let flags = ZMQ_DONTWAIT | (k + 1 < frames.count ? ZMQ_SNDMORE : 0)
            var result: Int32
            repeat { result = zmq_send(pointer, frame, frame.count, flags) } while result < 0 && zmq_errno() == EINTR
            guard result < 0 else { continue }
            if zmq_errno() == EHOSTUNREACH || zmq_errno() == EAGAIN { return .unreachable }
            throw ZeroMQError("sending")
        }
        return .sent
    }

    /// The frames of the next message, or nil if none has arrived.
    ///
    /// - Parameter milliseconds: how long to wait for it. Whoever waits for one socket alone is faster so than by `wait`.
    package func receive(waiting milliseconds: Int = 0) throws(ZeroMQError) -> [[UInt8]]? {
        var frames: [[UInt8]] = []
        if milliseconds > 0 { try set(ZMQ_RCVTIMEO, Int32(clamping: milliseconds)) }
        while true {
            var message = zmq_msg_t()
            zmq_msg_init(&message)
            defer { zmq_msg_close(&message) }
            var result: Int32
            let flags = milliseconds > 0 && frames.isEmpty ? 0 : ZMQ_DONTWAIT
            repeat { result = zmq_msg_recv(&message, pointer, flags) } while result < 0 && zmq_errno() == EINTR
            if result < 0 {
                if zmq_errno() == EAGAIN && frames.isEmpty { return nil }
                throw ZeroMQError("receiving")
            }
            let size = zmq_msg_size(&message)
            frames.append(
                [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
                    if size > 0 {
                        buffer.baseAddress!.initialize(
                            from: zmq_msg_data(&message)!.assumingMemoryBound(to: UInt8.self), count: size)
                    }
                    count = size
                })
            if zmq_msg_more(&message) == 0 { return frames }
        }
    }
}

/// Wakes a thread that waits in `wait(for:…)`, from any thread.
package final class Wakeup: @unchecked Sendable {
    fileprivate let descriptor: Int32

    package init() {
        descriptor = eventfd(0, Int32(EFD_NONBLOCK) | Int32(EFD_CLOEXEC))
        precondition(descriptor >= 0, "no descriptor left for an event")
    }

    deinit { close(descriptor) }

    package func signal() { eventfd_write(descriptor, 1) }

    fileprivate func clear() {
        var value: eventfd_t = 0
        eventfd_read(descriptor, &value)
    }
}

/// What a thread can wait for.
package struct Ready: Sendable, Hashable {
    /// For each socket, whether a message may have arrived.
    package var sockets: [Bool]
    /// For each descriptor, whether it can be read (or has come to its end).
    package var descriptors: [Bool]
}

/// Waits until a socket or descriptor can be read, the wake-up is signalled, or the time is over (nil: no limit).
package func wait(
    for sockets: [Socket], descriptors: [Int32] = [], wakeup: Wakeup, atMost milliseconds: Int?
) -> Ready {
    var items = sockets.map { zmq_pollitem_t(socket: $0.pointer, fd: 0, events: Int16(ZMQ_POLLIN), revents: 0) }
    for descriptor in [wakeup.descriptor] + descriptors {
        items.append(zmq_pollitem_t(socket: nil, fd: descriptor, events: Int16(ZMQ_POLLIN), revents: 0))
    }
    let result = zmq_poll(&items, Int32(items.count), milliseconds.map { max(0, $0) } ?? -1)
    if result > 0 && items[sockets.count].revents != 0 { wakeup.clear() }
    // An interrupted wait has found nothing.
    let found = items.map { result > 0 && $0.revents != 0 }
    return Ready(
        sockets: Array(found.prefix(sockets.count)), descriptors: Array(found.dropFirst(sockets.count + 1)))
}

/// Turns signals into something to wait for: after this, in this thread and those that it starts, they no longer
/// interrupt, and `taken` returns those that came.
package final class SignalQueue: @unchecked Sendable {
    /// Can be read when a signal has come.
    package let descriptor: Int32

    package init(_ signals: [Int32]) {
        var set = sigset_t()
        sigemptyset(&set)
        for signal in signals { sigaddset(&set, signal) }
        pthread_sigmask(SIG_BLOCK, &set, nil)
        descriptor = signalfd(-1, &set, Int32(SFD_NONBLOCK) | Int32(SFD_CLOEXEC))
        precondition(descriptor >= 0, "no descriptor left for signals")
    }

    deinit { close(descriptor) }

    package func taken() -> [Int32] {
        var signals: [Int32] = []
        var info = signalfd_siginfo()
        while read(descriptor, &info, MemoryLayout<signalfd_siginfo>.size) == MemoryLayout<signalfd_siginfo>.size {
            signals.append(Int32(info.ssi_signo))
        }
        return signals
    }
}
