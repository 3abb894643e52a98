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
            try Data("coordinator: {bind: \"ipc://\(folder.path)/c\"}\n".utf8)
                .write(to: folder.appending(path: "cluster.yaml"))
            let coordinator = try Cairn.start(["coordinator", "--cluster", "cluster.yaml"], in: folder)
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
            #expect(try studies(["pause", study.study], address, in: folder).map(\.state) == ["paused"])
            #expect(running.waits(for: "paused"))
            #expect(try studies(["resume", study.study], address, in: folder).map(\.state) == ["running"])
            #expect(try studies(["cancel", study.study], address, in: folder).map(\.state) == ["cancelled"])
            let result = running.wait()
            #expect(result.code == 1 && result.err.contains("cancelled"), "\(result.err)")
            let unknown = try Cairn.run(["studies", "cancel", "x", "--connect", address], in: folder)
            #expect(unknown.code == 2 && unknown.err.contains("sixteen hexadecimal digits"), "\(unknown.err)")
        }
    }

    @Test func nobodyThereIsSaid() throws {
        try Cairn.inFolder { folder in
            let result = try Cairn.run(["studies", "--connect", "ipc://\(folder.path)/nobody"], in: folder)
            #expect(result.code == 3 && result.err.contains("does not answer"), "\(result.err)")
        }
    }
}
