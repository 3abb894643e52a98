// What does it cost that an oracle is not in the process?

import Foundation
import PlugIns
import Regression

/// Calls of the smallest oracle (Examples/c/forward.c) through every way there is, against the same sum in Swift.
func plugIns(_ peers: Peers) -> Answer {
    let root = URL(filePath: Peers.package).deletingLastPathComponent()
    let examples = root.appending(path: "Examples/c")
    let build = FileManager.default.temporaryDirectory.appending(path: "cairn-bench-plugins-\(getpid())")
    defer { try? FileManager.default.removeItem(at: build) }
    let make = Process()
    make.executableURL = URL(filePath: "/usr/bin/env")
    make.arguments = ["make", "-s", "-C", examples.path, "OUT=\(build.path)", "all", "\(build.path)/service"]
    do { try make.run() } catch {}
    make.waitUntilExit()
    let question = "What does it cost that an oracle is not in the process?"
    guard make.terminationStatus == 0 else {
        return Answer(
            question: question, method: "Not measured: `make -C Examples/c` needs libprotobuf-c-dev and libzmq3-dev.",
            lines: [])
    }
    let address = "ipc://\(build.path)/service.ipc"
    let service = Process()
    service.executableURL = build.appending(path: "service")
    service.arguments = [address]
    try! service.run()
    defer { service.terminate() }

    var lines: [Line] = []
    let inside = perCall(InProcess())
    lines.append(
        Line(
            what: "in Swift, batch 1 / 512", figure: "\(time(inside.alone)) a call",
            ratio: "\(time(inside.each)) an input"))
    var python = PlugInSettings.Command(
        arguments: [peers.python ?? "python3", root.appending(path: "Examples/python/examples/forward.py").path])
    python.environment = ["PYTHONPATH": root.appending(path: "Examples/python/src").path]
    let ways: [(String, PlugInSettings.Kind)] = [
        ("shared library", .library(path: build.appending(path: "libforward.so").path)),
        ("child process", .process(.init(arguments: [build.appending(path: "forward").path]))),
        ("ZeroMQ service, ipc", .service(addresses: [address])),
        ("child process in Python", .process(python)),
    ]
    for (name, kind) in ways {
        var settings = PlugInSettings(name: "forward", kind: kind)
        settings.batch = 512
        do {
            let plugIn = try PlugIn(settings) { print("  \($0)") }
            defer { plugIn.close() }
            let cost = perCall(plugIn, beyond: InProcess())
            lines.append(
                Line(
                    what: "\(name), batch 1 / 512", figure: "\(time(cost.alone)) more a call",
                    ratio: "\(time(cost.each)) more an input"))
        } catch {
            lines.append(Line(what: name, figure: "not measured: \(error)"))
        }
    }
    if let bare = peers.run("zeromq.py"), let trip = bare.numbers["at_once"] {
        lines.append(
            Line(what: "bare libzmq \(bare.names["version"] ?? ""), a message there and one back", figure: time(trip)))
    }
    return Answer(
        question: question,
        method: """
            The forward price of two inputs, which costs nothing, so that all time is overhead: one caller, calls of one \
            input and of 512 inputs through the public oracle, by the wall clock. Figures of plug-ins are above those of the \
            same sum in Swift: the median of 101 differences, the two taking turns of about 3 ms.
            """, lines: lines)
}

private struct InProcess: Oracle {
    let descriptor = OracleDescriptor(
        name: "inside", version: "1", summary: "", citation: "",
        inputs: [
            .init(name: "rate", unit: "1/yr", meaning: "", lower: 0, upper: 0.1),
            .init(name: "maturityYears", unit: "yr", meaning: "", lower: 0.1, upper: 5),
        ])

    func evaluate(_ points: [Double], gradient: Bool) -> Valuations {
        var prices: [Double] = []
        for row in stride(from: 0, to: points.count, by: 2) { prices.append(1 + points[row] * points[row + 1]) }
        return Valuations(prices: prices)
    }
}

/// Seconds per call of one input, and per input of calls of 512, beyond those of another oracle: the median over rounds of
/// some milliseconds, in which the two take turns, because the speed of a shared machine changes within a second.
private func perCall(_ oracle: any Oracle, beyond other: (any Oracle)? = nil) -> (alone: Double, each: Double) {
    func median(_ points: [Double]) -> Double {
        func evaluate() { _ = oracle.evaluate(points, gradient: false) }
        evaluate()
        let calls = max(10, min(10_000, Int(0.003 / max(seconds(1, evaluate), 1e-8))))
        let rounds = (0..<101).map { _ in
            seconds(calls, evaluate)
                - (other.map { other in seconds(calls) { _ = other.evaluate(points, gradient: false) } } ?? 0)
        }
        return rounds.sorted()[rounds.count / 2]
    }
    let many = (0..<512).flatMap { (k: Int) -> [Double] in [0.0001 * Double(k), 2] }
    return (median([0.05, 2]), median(many) / 512)
}

private func seconds(_ calls: Int, _ body: () -> Void) -> Double {
    let start = Clock.wall
    for _ in 0..<calls { body() }
    return (Clock.wall - start) / Double(calls)
}

private func time(_ seconds: Double) -> String {
    abs(seconds) < 1e-6 ? "\(short(seconds * 1e9)) ns" : "\(short(seconds * 1e6)) µs"
}
