import ChildProcess
import Foundation
import Testing

/// What can be said to the studies of a running cluster.
@Suite struct StudiesCommandTests {
    private struct Line: Decodable {
        var study: String
        var name: String
        var state: String
        var share: Double
        var priority: Int
    }

    private func studies(_ arguments: [String], _ address: String, in folder: URL) throws -> [Line] {
        let result = try Cairn.run(["studies"] + arguments + ["--connect", address, "--json"], in: folder)
        #expect(result.code == 0, "\(result.err)")
        return try JSONDecoder().decode([Line].self, from: Data(result.out.utf8))
    }

    @Test func aStudyIsListedPausedResumedAndCancelled() throws {
        try Cairn.inFolder { folder in
            try Data("coordinator: {bind: \"ipc://\(folder.path)/c\"}\nstorage: {dir: state}\n".utf8)
                .write(to: folder.appending(path: "cluster.yaml"))
            var coordinator = try Cairn.start(["coordinator", "--cluster", "cluster.yaml"], in: folder)
            defer { coordinator.process.send(SIGTERM) }
            for _ in 0..<1000 where coordinator.text(coordinator.out).isEmpty { usleep(10_000) }
            let address = "ipc://\(folder.path)/c"
            // Without workers a study begins and waits.
            let running = try Cairn.start(
                [
                    "run", Cairn.root.appending(path: "Studies/quick.yaml").path, "--connect", address, "--out", "r",
                    "--share", "2.5", "--priority", "3",
                ], in: folder)
            #expect(running.waits(for: "label: labelling"))
            let listed = try studies(["list"], address, in: folder)
            let study = try #require(listed.first)
            #expect(listed.count == 1 && study.name == "quick" && study.state == "running")
            #expect(study.share == 2.5 && study.priority == 3)
            #expect(try studies(["pause", "quick"], address, in: folder).map(\.state) == ["paused"])
            #expect(running.waits(for: "paused"))
            #expect(try studies(["resume", study.study], address, in: folder).map(\.state) == ["running"])
            #expect(try studies(["cancel", study.study], address, in: folder).map(\.state) == ["cancelled"])
            let result = running.wait()
            #expect(result.code == 1 && result.err.contains("cancelled"), "\(result.err)")
            let inside = try Cairn.run(
                ["run", Cairn.root.appending(path: "Studies/quick.yaml").path, "--connect", address, "--out", "."],
                in: folder)
            #expect(inside.code == 2 && inside.err.contains("storage folder of a coordinator"), "\(inside.err)")
            let unknown = try Cairn.run(["studies", "cancel", "x", "--connect", address], in: folder)
            #expect(unknown.code == 2 && unknown.err.contains("no study"), "\(unknown.err)")
            // Another life of the coordinator knows it by its name too.
            coordinator.process.send(SIGKILL)
            _ = coordinator.wait()
            coordinator = try Cairn.start(["coordinator", "--cluster", "cluster.yaml"], in: folder)
            for _ in 0..<1000 where coordinator.text(coordinator.out).isEmpty { usleep(10_000) }
            let again = try studies(["list"], address, in: folder)
            #expect(again.map(\.name) == ["quick"] && again.map(\.state) == ["cancelled"])
            let late = try Cairn.run(["studies", "pause", "quick", "--connect", address], in: folder)
            #expect(late.code == 2 && late.err.contains("has ended"), "\(late.err)")
        }
    }

    /// An oracle in the worker's own process that never comes back: the worker ends, and says why, since nobody may be there to
    /// start another one.
    @Test func aJobThatDoesNotStopEndsItsWorkerWithAWord() throws {
        try Cairn.inFolder { folder in
            let source = try String(
                contentsOf: Cairn.root.appending(path: "Examples/c/forward.c"), encoding: .utf8)
            // Its test vector alone is priced.
            try source.replacing(
                "    (void)context;", with: "    (void)context;\n    if (batch->inputs[0] != 0.05) pause();"
            )
            .replacing("#include \"cairn_oracle.h\"", with: "#include <unistd.h>\n#include \"cairn_oracle.h\"")
            .write(to: folder.appending(path: "endless.c"), atomically: true, encoding: .utf8)
            try ChildProcess.run(
                [
                    "clang", "-std=gnu11", "-O1", "-shared", "-fPIC", "-DCAIRN_LIBRARY",
                    "-I\(Cairn.root.appending(path: "Sources/CPlugIn/include").path)", "-o", "libendless.so",
                    "endless.c",
                ], in: folder.path)
            let address = "ipc://\(folder.path)/c"
            let cluster = """
                coordinator: {bind: "\(address)", publish: "\(address)p"}
                oracles: {endless: {kind: library, path: libendless.so}}
                """
            try Data(cluster.utf8).write(to: folder.appending(path: "cluster.yaml"))
            let study = "study: endless\noracle: endless\ndata: {base: 100, test: 10}\nmitigation: {action: none}\n"
            try Data(study.utf8).write(to: folder.appending(path: "s.yaml"))
            let roles = try ["coordinator", "trainer", "worker"].map {
                try Cairn.start([$0, "--cluster", "cluster.yaml"], in: folder)
            }
            defer { for role in roles { role.process.send(SIGKILL) } }
            let running = try Cairn.start(
                ["run", "s.yaml", "--connect", address, "--oracles", "cluster.yaml", "--out", "r"], in: folder)
            #expect(running.waits(for: "label: labelling"))
            usleep(500_000)
            let listed = try #require(try studies(["list"], address, in: folder).first)
            _ = try studies(["cancel", listed.study], address, in: folder)
            #expect(running.wait().code == 1)
            let worker = roles[2].wait()
            #expect(worker.code == 75 && worker.err.contains("start it again"), "\(worker.code) \(worker.err)")
        }
    }

    @Test func nobodyThereIsSaid() throws {
        try Cairn.inFolder { folder in
            let result = try Cairn.run(["studies", "--connect", "ipc://\(folder.path)/nobody"], in: folder)
            #expect(result.code == 3 && result.err.contains("does not answer"), "\(result.err)")
        }
    }
}
