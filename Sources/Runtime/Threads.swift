// What crosses threads: messages to a loop, and work that a loop must not wait for.

internal import Glibc
import Synchronization
package import ZeroMQ

/// Messages for a loop, from any thread. Posting wakes the loop.
package final class Mailbox<Message: Sendable>: Sendable {
    private let messages = Mutex<[Message]>([])
    package let wakeup = Wakeup()

    package init() {}

    package func post(_ message: Message) {
        messages.withLock { $0.append(message) }
        wakeup.signal()
    }

    package func take() -> [Message] {
        messages.withLock { messages in
            defer { messages.removeAll() }
            return messages
        }
    }
}

/// A thread that does one piece of work after another, in order.
final class WorkThread: @unchecked Sendable {
    private struct State {
        var work: [@Sendable () -> Void] = []
        var isStopping = false
    }

    private let state = Mutex(State())
    private let available = Semaphore()
    private var thread = pthread_t()

    init() {
        let retained = Unmanaged.passRetained(self)
        let result = pthread_create(
            &thread, nil,
            { argument in
                Unmanaged<WorkThread>.fromOpaque(argument!).takeRetainedValue().run()
                return nil
            }, retained.toOpaque())
        precondition(result == 0, "no thread can be started: \(String(cString: strerror(result)))")
        pthread_detach(thread)
    }

    func perform(_ work: @escaping @Sendable () -> Void) {
        state.withLock { $0.work.append(work) }
        available.signal()
    }

    /// Ends the thread after the work that waits.
    func stop() {
        state.withLock { $0.isStopping = true }
        available.signal()
    }

    private func run() {
        while true {
            available.wait()
            let (work, isStopping) = state.withLock { state in
                (state.work.isEmpty ? nil : state.work.removeFirst(), state.isStopping)
            }
            if let work { work() } else if isStopping { return }
        }
    }
}

/// A counting semaphore (POSIX).
private final class Semaphore: @unchecked Sendable {
    private let semaphore = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)

    init() { sem_init(semaphore, 0, 0) }

    deinit {
        sem_destroy(semaphore)
        semaphore.deallocate()
    }

    func signal() { sem_post(semaphore) }

    func wait() {
        while sem_wait(semaphore) != 0 && errno == EINTR {}
    }
}
