// An oracle behind a ZeroMQ socket that its user has bound: one message with an empty frame and a reply to each request.

internal import Glibc
internal import ZeroMQ

/// A connection to one address. It is made anew after every failure, so that a late answer finds nobody.
final class Service: Transport {
    private let address: String
    private var socket: Socket?
    private let context: Context
    private var spin = AdaptiveSpin()

    private static let longestFrame = 64 << 20

    init(_ address: String, context: Context) {
        self.address = address
        self.context = context
    }

    var who: String { address }

    var isOpen: Bool { socket != nil }

    func open() throws(Incident) {
        do {
            let socket = try Socket(context, .dealer, longestFrame: Self.longestFrame, linger: 0)
            try socket.connect(address)
            self.socket = socket
        } catch {
            throw Incident(kind: .unavailable, words: "cannot be connected to: \(error)")
        }
    }

    func exchange(
        _ request: [UInt8], longest: Int, within limit: Duration, isWanted: () -> Bool
    ) throws(Incident) -> [UInt8] {
        guard let socket else { throw Incident(kind: .died, words: "is not connected") }
        let began = milliseconds()
        let deadline = began + max(1, limit.wholeMilliseconds)
        do {
            guard try socket.send([[], request]) == .sent else {
                throw Incident(kind: .unavailable, words: "takes no message")
            }
            var early: [[UInt8]]?
            try spin.look {
                early = try socket.receive()
                return early != nil
            }
            while true {
                let now = milliseconds()
                let left = deadline - now
                guard left > 0 else { throw Incident(kind: .late, words: "gave no answer within \(limit)") }
                guard now - began < attention || isWanted() else { throw Incident.unwanted }
                guard let frames = try early ?? socket.receive(waiting: min(left, attention)) else { continue }
                guard frames.count == 2, frames[0].isEmpty else {
                    throw Incident(
                        kind: .nonsense, words: "answered \(frames.count) frames, not an empty one and a reply")
                }
                guard frames[1].count <= longest else {
                    throw Incident(
                        kind: .nonsense,
                        words: "answered \(frames[1].count) bytes, where at most \(longest) can be")
                }
                return frames[1]
            }
        } catch let incident as Incident {
            throw incident
        } catch {
            throw Incident(kind: .unavailable, words: "\(error)")
        }
    }

    /// What it writes is where its user started it.
    func lastWords() -> String { "" }

    func close() -> String {
        socket = nil
        return ""
    }
}
