// What crosses threads: messages to a loop, and work that a loop must not wait for.

internal import Glibc
import Synchronization
package import ZeroMQ

/// Messages for a loop, from any thread. Posting wakes the loop.
package final class Mailbox<Message: Sendable>: Sendable {
    private struct State {
        var messages: [Message] = []
        /// The loop has been woken and has not looked yet.
        var isAwake = false
    }

    private let state = Mutex(State())
    package let wakeup = Wakeup()

    package init() {}

    /// - Parameter wakes: whether the loop shall look at once; otherwise it does when it next wakes.
    package func post(_ message: Message, wakes: Bool = true) {
        let isAsleep = state.withLock { state in
            state.messages.append(message)
            defer { if wakes { state.isAwake = true } }
            return wakes && !state.isAwake
        }
        if isAsleep { wakeup.signal() }
    }

    package func take() -> [Message] {
        state.withLock { state in
            state.isAwake = false
            let messages = state.messages
            state.messages = []
            return messages
        }
    }
}

/// A thread that does one piece of work after another, in order. Signals that ask the process to end are not its business,
/// whenever it was made: they wait for the loop that reads them.
final class WorkThread: @unchecked Sendable {
    private struct State {
        var work: [@Sendable () -> Void] = []
        var isStopping = false
    }

    private let state = Mutex(State())
    private let available = Semaphore()
    /// Pieces that have not begun.
    private let waiting = Atomic(0)
    private var thread = pthread_t()

    init() {
        let retained = Unmanaged.passRetained(self)
        var (asking, before) = (sigset_t(), sigset_t())
        sigemptyset(&asking)
        for signal in terminationSignals { sigaddset(&asking, signal) }
        pthread_sigmask(SIG_BLOCK, &asking, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        let result = pthread_create(
            &thread, nil,
            { argument in
                Unmanaged<WorkThread>.fromOpaque(argument!).takeRetainedValue().run()
                return nil
            }, retained.toOpaque())
        precondition(result == 0, "no thread can be started: \(String(cString: strerror(result)))")
        pthread_detach(thread)
    }

    /// Whether a piece of work waits.
    var hasMore: Bool { waiting.load(ordering: .relaxed) > 0 }

    func perform(_ work: @escaping @Sendable () -> Void) {
        waiting.add(1, ordering: .relaxed)
        let isFirst = state.withLock { state in
            state.work.append(work)
            return state.work.count == 1
        }
        if isFirst { available.signal() }
    }

    /// Ends the thread after the work that waits.
    func stop() {
        state.withLock { $0.isStopping = true }
        available.signal()
    }

    private func run() {
        while true {
            available.wait()
            // All that waits: short pieces are many, and a wake-up costs more than they do.
            let (work, isStopping) = state.withLock { state in
                let work = state.work
                state.work = []
                return (work, state.isStopping)
            }
            for piece in work {
                waiting.subtract(1, ordering: .relaxed)
                piece()
            }
            if isStopping, !hasMore { return }
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
