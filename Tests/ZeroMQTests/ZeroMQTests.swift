import Foundation
import Testing
import ZeroMQ

@Suite struct ZeroMQTests {
    /// Waits until a message is there.
    private func next(_ socket: Socket, within seconds: Double = 5) throws -> [[UInt8]]? {
        let limit = SuspendingClock.now + .seconds(seconds)
        while SuspendingClock.now < limit {
            if let frames = try socket.receive() { return frames }
            _ = wait(for: [socket], wakeup: Wakeup(), atMost: 20)
        }
        return nil
    }

    @Test func messagesTravelBothWays() throws {
        let context = Context()
        let router = try Socket(context, .router, longestFrame: 1 << 20)
        try router.bind("tcp://127.0.0.1:*")
        #expect(router.address.hasPrefix("tcp://127.0.0.1:") && !router.address.hasSuffix("*"))
        let dealer = try Socket(context, .dealer, longestFrame: 1 << 20)
        try dealer.connect(router.address)
        for size in [0, 1, 100_000] {
            let body = (0..<size).map { UInt8(truncatingIfNeeded: $0) }
            #expect(try dealer.send([body]) == .sent)
            let arrived = try #require(try next(router))
            #expect(arrived.count == 2 && arrived[1] == body)
            #expect(try router.send([arrived[0], [7], body]) == .sent)
            #expect(try next(dealer) == [[7], body])
        }
        #expect(try dealer.receive() == nil)
    }

    @Test func whatStandsAtAPathIsNotReplaced() throws {
        let path = FileManager.default.temporaryDirectory.appending(path: "cairn-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: path) }
        func bound() throws -> Socket {
            let socket = try Socket(Context(), .router, longestFrame: 1 << 20)
            try socket.bind("ipc://\(path)")
            return socket
        }
        try Data("precious".utf8).write(to: URL(filePath: path))
        #expect(throws: ZeroMQError.self) { try bound() }
        #expect(FileManager.default.contents(atPath: path) == Data("precious".utf8))
        try FileManager.default.removeItem(atPath: path)
        let first = try bound()
        #expect(throws: ZeroMQError.self, "somebody listens there") { try bound() }
        let dealer = try Socket(Context(), .dealer, longestFrame: 1 << 20)
        try dealer.connect("ipc://\(path)")
        _ = try dealer.send([[1]])
        #expect(try next(first)?.last == [1])
    }

    @Test func aPeerThatIsGoneIsUnreachable() throws {
        let context = Context()
        let router = try Socket(context, .router, longestFrame: 1 << 20)
        try router.bind("tcp://127.0.0.1:*")
        #expect(try router.send([[0, 1, 2, 3, 4], [1]]) == .unreachable)
        var dealer: Socket? = try Socket(context, .dealer, longestFrame: 1 << 20)
        try dealer!.connect(router.address)
        _ = try dealer!.send([[1]])
        let identity = try #require(try next(router))[0]
        dealer = nil
        var sent = Socket.Sent.sent
        for _ in 0..<200 where sent == .sent {
            sent = try router.send([identity, [1]])
            usleep(10_000)
        }
        #expect(sent == .unreachable)
    }

    @Test func whatIsPublishedReachesSubscribers() throws {
        let context = Context()
        let publisher = try Socket(context, .publish, longestFrame: 1 << 20)
        try publisher.bind("tcp://127.0.0.1:*")
        let subscriber = try Socket(context, .subscribe, longestFrame: 1 << 20)
        try subscriber.connect(publisher.address)
        // A subscription takes a moment; publishing does not wait for it.
        var got: [[UInt8]]?
        for _ in 0..<100 where got == nil {
            _ = try publisher.send([[42]])
            got = try next(subscriber, within: 0.05)
        }
        #expect(got == [[42]])
    }

    @Test func framesAboveTheLimitDropTheirSender() throws {
        let context = Context()
        let router = try Socket(context, .router, longestFrame: 1000)
        try router.bind("tcp://127.0.0.1:*")
        let dealer = try Socket(context, .dealer, longestFrame: 1 << 20)
        try dealer.connect(router.address)
        _ = try dealer.send([[UInt8](repeating: 1, count: 5000)])
        #expect(try next(router, within: 0.3) == nil)
    }

    @Test func aBadAddressIsAnError() throws {
        let socket = try Socket(Context(), .dealer, longestFrame: 1000)
        #expect { try socket.connect("nowhere") } throws: { "\($0)".contains("nowhere") }
        let taken = try Socket(Context(), .router, longestFrame: 1000)
        try taken.bind("tcp://127.0.0.1:*")
        let second = try Socket(Context(), .router, longestFrame: 1000)
        let address = taken.address
        #expect { try second.bind(address) } throws: { "\($0)".contains("in use") }
    }

    @Test func waitingEndsWhenSomebodyWakes() {
        let wakeup = Wakeup()
        Thread.detachNewThread {
            usleep(30_000)
            wakeup.signal()
        }
        let start = SuspendingClock.now
        _ = wait(for: [], wakeup: wakeup, atMost: 10_000)
        #expect(SuspendingClock.now - start < .seconds(5))
        // The signal is taken: the next wait takes its time.
        let again = SuspendingClock.now
        _ = wait(for: [], wakeup: wakeup, atMost: 40)
        #expect(SuspendingClock.now - again > .milliseconds(30))
    }

    @Test func descriptorsAreWatched() {
        var ends: [Int32] = [0, 0]
        pipe(&ends)
        #expect(wait(for: [], descriptors: [ends[0]], wakeup: Wakeup(), atMost: 10).descriptors == [false])
        close(ends[1])
        #expect(wait(for: [], descriptors: [ends[0]], wakeup: Wakeup(), atMost: 1000).descriptors == [true])
        close(ends[0])
    }
}
