// What all processes of a cluster do alike: signals, and the end of standard input.

internal import Glibc

/// Signals that ask a process to end.
let terminationSignals = [SIGTERM, SIGINT, SIGHUP, SIGUSR1]

/// Whether standard input, which can be read, has come to its end. Anything else on it is read and ignored.
func inputHasEnded() -> Bool {
    var buffer = [UInt8](repeating: 0, count: 4096)
    let count = read(0, &buffer, buffer.count)
    return count == 0 || (count < 0 && errno != EINTR && errno != EAGAIN)
}
