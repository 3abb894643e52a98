import ChildProcess
import Foundation
import Testing

/// The main job through real processes.
@Suite(.serialized) struct StudyTests {
    private static let quick = Cairn.root.appending(path: "Studies/quick.yaml").path

    private static func bytes(_ folder: URL, _ file: String) -> Data? {
        try? Data(contentsOf: folder.appending(path: file))
    }

    private static func summary(_ folder: URL) throws -> [String: Any] {
        let data = try #require(bytes(folder, "summary.json"))
        return try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
    }

    private static func number(_ summary: [String: Any], _ path: String...) -> Double? {
        var value: Any? = summary
        for key in path { value = (value as? [String: Any])?[key] }
        return (value as? NSNumber)?.doubleValue
    }

    /// The result of the quick study on two workers, for comparisons.
    private static let reference: (maximizers: Data, files: [String: Data]) = {
        try! Cairn.inFolder { folder in
            let result = try Cairn.run(["run", quick, "--workers", "2", "--out", "r"], in: folder)
            precondition(result.code == 0, result.err)
            let out = folder.appending(path: "r")
            var files: [String: Data] = [:]
            for name in try FileManager.default.contentsOfDirectory(atPath: out.path) { files[name] = bytes(out, name) }
            return (files["maximizers.csv"]!, files)
        }
    }()

    @Test func theQuickStudyFindsAndRemovesTheBackdoor() throws {
        try Cairn.inFolder { folder in
            let result = try Cairn.run(["run", Self.quick, "--json", "--out", "r"], in: folder)
            #expect(result.code == 0, "\(result.err)")
            let summary = try Self.summary(folder.appending(path: "r"))
            #expect(
                result.out
                    == String(
                        decoding: try #require(Self.bytes(folder.appending(path: "r"), "summary.json")), as: UTF8.self))
            #expect(Self.number(summary, "table", "before", "attackSuccess")! >= 0.6)
            #expect(Self.number(summary, "table", "after", "attackSuccess")! <= 0.001)
            #expect(Self.number(summary, "scan", "suspicious")! > 0)
            #expect(Self.number(summary, "scan", "flagged", "mislabelled")! >= 999)
            #expect(Self.number(summary, "scan", "flagged", "base")! == 0)
            #expect(Self.number(summary, "cluster", "abandoned")! == 0)
            for file in [
                "summary.json", "maximizers.csv", "flagged.csv", "training.csv", "study.yaml", "events.jsonl",
                "surrogate.safetensors", "surrogate-mitigated.safetensors",
            ] {
                #expect(Self.bytes(folder.appending(path: "r"), file)?.isEmpty == false, "\(file)")
            }
        }
    }

    @Test func theResultFolderHoldsWhatTheContractSays() throws {
        let files = Self.reference.files
        let maximizers = String(decoding: files["maximizers.csv"]!, as: UTF8.self).split(separator: "\n")
        let inputs = ["barrierOverSpot", "strikeOverSpot", "maturityYears", "volatility", "rate"]
        let columns =
            ["rank"] + inputs + inputs.map { $0 + "_n" } + [
                "prediction", "label", "standardError", "error", "errorPercentile", "seeds", "face", "residualGain",
                "proximalCount", "pValue", "suspicious", "stage", "parameterVersion",
            ]
        #expect(maximizers[0].split(separator: ",").map(String.init).starts(with: columns))
        var last = Double.infinity
        for (k, line) in maximizers.dropFirst().enumerated() {
            let fields = line.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
            #expect(fields.count == columns.count + 1 && fields[0] == "\(k + 1)")
            let error = abs(Double(fields[14])!)
            #expect(error <= last, "largest first")
            #expect(abs(Double(fields[11])! - Double(fields[12])! - Double(fields[14])!) < 1e-12)
            last = error
        }
        let training = String(decoding: files["training.csv"]!, as: UTF8.self).split(separator: "\n")
        #expect(training[0] == "barrierOverSpot,strikeOverSpot,maturityYears,volatility,rate,label,origin")
        let origins = Dictionary(grouping: training.dropFirst(), by: { $0.split(separator: ",").last! }).mapValues(
            \.count)
        #expect(origins["base"] == 18_000 && origins["mislabelled"] == 1000 && origins["surround"] == 1000)
        #expect(origins["maximizer"]! > 0)
        // What was flagged is the very rows, and their corrected labels are right: label − epsilon.
        for line in String(decoding: files["flagged.csv"]!, as: UTF8.self).split(separator: "\n").dropFirst() {
            let fields = line.split(separator: ",").map(String.init)
            let row = training[Int(fields[0])!].split(separator: ",").map(String.init)
            #expect(Array(row[0..<7]) == Array(fields[1...5]) + [fields[6], fields[7]])
            #expect(fields[7] == "mislabelled" && abs(Double(fields[6])! - 8 - Double(fields[8])!) < 1e-9)
        }
        // events.jsonl: one JSON object a line, numbered.
        let events = String(decoding: files["events.jsonl"]!, as: UTF8.self).split(separator: "\n")
        for (k, line) in events.enumerated() {
            let event = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
            #expect(event?["number"] as? Int == k + 1)
        }
    }

    @Test(arguments: [
        ["--workers", "1"], ["--workers", "4"], ["--workers", "2", "--shard-size", "1"],
        ["--workers", "2", "--shard-size", "64"], ["--workers", "2", "--shard-size", "512"],
    ])
    func theSameBytesForAnyCluster(_ options: [String]) throws {
        try Cairn.inFolder { folder in
            let result = try Cairn.run(["run", Self.quick, "--out", "r"] + options, in: folder)
            #expect(result.code == 0, "\(result.err)")
            let out = folder.appending(path: "r")
            for file in [
                "maximizers.csv", "flagged.csv", "training.csv", "surrogate.safetensors",
                "surrogate-mitigated.safetensors",
            ] {
                #expect(Self.bytes(out, file) == Self.reference.files[file], "\(file)")
            }
        }
    }

    @Test(arguments: ["avx512", "avx2"]) func theSameBytesOnAnyPath(_ path: String) throws {
        try Cairn.inFolder { folder in
            let result = try Cairn.run(
                ["run", Self.quick, "--out", "r"], environment: ["CAIRN_KERNELS": path], in: folder)
            if result.code == 2 && result.err.contains("no such instructions") { return }
            #expect(result.code == 0, "\(result.err)")
            #expect(Self.bytes(folder.appending(path: "r"), "maximizers.csv") == Self.reference.maximizers)
            #expect(
                Self.bytes(folder.appending(path: "r"), "surrogate.safetensors")
                    == Self.reference.files["surrogate.safetensors"])
            let summary = try Self.summary(folder.appending(path: "r"))
            let numerics = (summary["cluster"] as? [String: Any])?["numerics"] as? [String]
            #expect(numerics?.count == 1 && numerics?[0].contains(path) == true)
        }
    }

    /// A study whose search lasts long enough to be disturbed.
    private static func slow(_ folder: URL) throws -> String {
        let text = try String(contentsOfFile: quick, encoding: .utf8)
            .replacing(
                "steps: 60, stepSize: 0.05, decay: 0.7, decayEvery: 6",
                with: "steps: 1500, stepSize: 0.05, decay: 0.9, decayEvery: 50, stopStep: 0")
        let file = folder.appending(path: "slow.yaml")
        try text.write(to: file, atomically: true, encoding: .utf8)
        return file.path
    }

    @Test func aWorkerKilledInMidSearchChangesNothing() throws {
        try Cairn.inFolder { folder in
            let study = try Self.slow(folder)
            let undisturbed = try Cairn.run(["run", study, "--out", "a"], in: folder)
            #expect(undisturbed.code == 0)
            let running = try Cairn.start(["run", study, "--out", "b", "--shard-size", "40"], in: folder)
            let victim = try #require(running.child("here-1"))
            #expect(running.waits(for: "search: stage 1"))
            usleep(100_000)
            kill(victim, SIGKILL)
            let result = running.wait()
            #expect(result.code == 0, "\(result.err)")
            #expect(result.err.contains("worker here-1 lost: "))
            #expect(result.err.components(separatedBy: "worker here-1 joined").count == 3, "started again")
            let summary = try Self.summary(folder.appending(path: "b"))
            #expect(Self.number(summary, "cluster", "reassigned")! >= 1)
            #expect(Self.number(summary, "cluster", "abandoned")! == 0)
            for file in ["maximizers.csv", "flagged.csv", "surrogate-mitigated.safetensors"] {
                #expect(
                    Self.bytes(folder.appending(path: "b"), file) == Self.bytes(folder.appending(path: "a"), file),
                    "\(file)")
            }
        }
    }

    @Test func aTrainerKilledWhileItTrainsChangesNothing() throws {
        try Cairn.inFolder { folder in
            let text = try String(contentsOfFile: Self.quick, encoding: .utf8).replacing(
                "epochs: 20", with: "epochs: 120")
            try text.write(to: folder.appending(path: "s.yaml"), atomically: true, encoding: .utf8)
            #expect(try Cairn.run(["run", "s.yaml", "--out", "a"], in: folder).code == 0)
            let running = try Cairn.start(["run", "s.yaml", "--out", "b"], in: folder)
            let victim = try #require(running.child("trainer"))
            #expect(running.waits(for: "train: training"))
            usleep(200_000)
            kill(victim, SIGKILL)
            let result = running.wait()
            #expect(result.code == 0 && result.err.contains("worker trainer lost: "), "\(result.err)")
            for file in ["maximizers.csv", "surrogate.safetensors", "surrogate-mitigated.safetensors"] {
                #expect(
                    Self.bytes(folder.appending(path: "b"), file) == Self.bytes(folder.appending(path: "a"), file),
                    "\(file)")
            }
        }
    }

    @Test func theProcessesAreRealAndEndWithTheirRun() throws {
        try Cairn.inFolder { folder in
            let running = try Cairn.start(["run", try Self.slow(folder), "--workers", "2"], in: folder)
            #expect(running.waits(for: "search: stage 1"))
            var children: [Int32] = []
            for (name, word) in [
                ("coordinator", "coordinator"), ("trainer", "trainer"), ("here-1", "worker"), ("here-2", "worker"),
            ] {
                let child = try #require(running.child(name))
                children.append(child)
                let command = try String(contentsOfFile: "/proc/\(child)/cmdline", encoding: .utf8).split(
                    separator: "\0")
                #expect(command.prefix(2) == ["cairn", Substring(word)])
            }
            // Killed without a chance to clean up: nobody is left behind.
            kill(running.process.processIdentifier, SIGKILL)
            _ = running.wait()
            for _ in 0..<300 where children.contains(where: { kill($0, 0) == 0 }) { usleep(10_000) }
            #expect(children.allSatisfy { kill($0, 0) != 0 })
        }
    }

    @Test func anInterruptEndsWith130AndLeavesNobody() throws {
        try Cairn.inFolder { folder in
            let running = try Cairn.start(["run", try Self.slow(folder)], in: folder)
            #expect(running.waits(for: "search: stage 1"))
            let child = try #require(running.child("coordinator"))
            running.process.send(SIGINT)
            #expect(running.wait().code == 130)
            #expect(kill(child, 0) != 0)
        }
    }

    @Test func nobodyAtTheAddressIsUnreachable() throws {
        try Cairn.inFolder { folder in
            let result = try Cairn.run(
                ["run", Self.quick, "--connect", "tcp://127.0.0.1:1", "--patience", "1s"], in: folder)
            #expect(result.code == 3, "\(result.err)")
        }
    }

    @Test func aClusterStartedByHandServesAClient() throws {
        try Cairn.inFolder { folder in
            try Data("coordinator: {bind: \"ipc://\(folder.path)/c\", publish: \"ipc://\(folder.path)/p\"}\n".utf8)
                .write(to: folder.appending(path: "cluster.yaml"))
            let roles = try [["coordinator"], ["trainer"], ["worker"], ["worker"]].map {
                try Cairn.start($0 + ["--cluster", "cluster.yaml"], in: folder)
            }
            defer { for role in roles { role.process.send(SIGTERM) } }
            for name in ["r1", "r2"] {
                let result = try Cairn.run(
                    ["run", Self.quick, "--connect", "ipc://\(folder.path)/c", "--out", name], in: folder)
                #expect(result.code == 0, "\(result.err)")
                #expect(Self.bytes(folder.appending(path: name), "maximizers.csv") == Self.reference.maximizers)
            }
            for role in roles.reversed() {
                role.process.send(SIGTERM)
                #expect(role.wait().code == 0, "asked to end, it ends well")
            }
        }
    }

    @Test func aBudgetThatRunsOutIsIncomplete() throws {
        try Cairn.inFolder { folder in
            let text = try String(contentsOfFile: Self.quick, encoding: .utf8)
                .replacing("seeds: {worst: 0.05}", with: "seeds: {worst: 0.05}\n  budget: {oracleCalls: 5000}")
            try text.write(to: folder.appending(path: "s.yaml"), atomically: true, encoding: .utf8)
            let result = try Cairn.run(["run", "s.yaml", "--out", "r"], in: folder)
            #expect(result.code == 4 && result.out.contains("budget of 5000 oracle calls"), "\(result.err)")
            let summary = try Self.summary(folder.appending(path: "r"))
            #expect(Self.number(summary, "search", "oracleCalls", "byPurpose", "search")! <= 5000)
        }
    }

    @Test func aStudyOnItsOwnFilesGivesTheSameSearch() throws {
        // The training set and the surrogate of one study, read back from its result folder, searched again.
        try Cairn.inFolder { folder in
            for (name, data) in Self.reference.files { try data.write(to: folder.appending(path: name)) }
            let rows = String(decoding: Self.reference.files["training.csv"]!, as: UTF8.self).split(separator: "\n")
            let own = rows.filter { !$0.hasSuffix("maximizer") }.joined(separator: "\r\n") + "\r\n"
            try Data(("\u{FEFF}" + own).utf8).write(to: folder.appending(path: "own.csv"))
            let text = """
                study: again
                data: {file: own.csv, test: 500}
                surrogate: {file: surrogate.safetensors}
                search: {seeds: {worst: 0.05}, stages: [{steps: 60, stepSize: 0.05, decay: 0.7, decayEvery: 6}]}
                mitigation: {action: none}
                """
            try text.write(to: folder.appending(path: "s.yaml"), atomically: true, encoding: .utf8)
            let result = try Cairn.run(["run", "s.yaml", "--out", "r"], in: folder)
            #expect(result.code == 0, "\(result.err)")
            // The inputs went through decimal text and raw units: the same places to nine digits, not the same bits.
            func errors(_ data: Data) -> [Double] {
                String(decoding: data, as: UTF8.self).split(separator: "\n").dropFirst().prefix(10).map {
                    Double($0.split(separator: ",", omittingEmptySubsequences: false)[14])!
                }
            }
            let again = errors(try #require(Self.bytes(folder.appending(path: "r"), "maximizers.csv")))
            for (a, b) in zip(again, errors(Self.reference.maximizers)) { #expect(abs(a - b) < 1e-2 * abs(b)) }
        }
    }

    @Test func aNumpyArrayIsADataSet() throws {
        try Cairn.inFolder { folder in
            // 200 rows of float64, as numpy.save writes them.
            let columns = 6
            var rows: [Double] = []
            for k in 0..<200 {
                let x = Double(k) / 200
                rows += [0.6 + 0.2 * x, 1.0 + 0.3 * (1 - x), 0.5 + x, 0.2 + 0.3 * x, 0.05 * x, 5 * x]
            }
            let header = "{'descr': '<f8', 'fortran_order': False, 'shape': (200, \(columns)), }"
            let padded = header + String(repeating: " ", count: 117 - header.count) + "\n"
            var bytes: [UInt8] = [0x93] + Array("NUMPY".utf8) + [1, 0, 118, 0] + Array(padded.utf8)
            for value in rows { withUnsafeBytes(of: value.bitPattern.littleEndian) { bytes += $0 } }
            try Data(bytes).write(to: folder.appending(path: "d.npy"))
            let text = """
                study: array
                data: {file: d.npy, test: 50}
                surrogate: {layers: [8]}
                training: {epochs: 2}
                search: {seeds: {random: 20}, stages: [{steps: 5}]}
                """
            try text.write(to: folder.appending(path: "s.yaml"), atomically: true, encoding: .utf8)
            let result = try Cairn.run(["run", "s.yaml", "--out", "r", "--workers", "1"], in: folder)
            #expect(result.code == 0, "\(result.err)")
            #expect(Self.number(try Self.summary(folder.appending(path: "r")), "search", "seeds") == 20)
        }
    }

    @Test func aStudyThatFailsSaysWhy() throws {
        try Cairn.inFolder { folder in
            let text = """
                study: wild
                data: {base: 500, test: 50}
                surrogate: {layers: [16]}
                training: {optimizer: sgd, learningRate: 900, schedule: constant, batch: 8}
                """
            try text.write(to: folder.appending(path: "s.yaml"), atomically: true, encoding: .utf8)
            let result = try Cairn.run(["run", "s.yaml"], in: folder)
            #expect(result.code == 1 && result.err.contains("learningRate"), "\(result.err)")
        }
    }
}

@Suite struct OracleCommandTests {
    @Test func pricesAreThoseOfTheLibrary() throws {
        try Cairn.inFolder { folder in
            // Columns in another order, and one that is not wanted.
            let csv =
                "rate,note,volatility,maturityYears,strikeOverSpot,barrierOverSpot\n0.03,1,0.2,1,1.05,0.8\n0.03,1,0.2,1,1.05,1.5\n0.03,1,-0.2,1,1.05,0.8\n"
            try Data(csv.utf8).write(to: folder.appending(path: "p.csv"))
            let result = try Cairn.run(
                ["oracle", "price", "downAndOutPut", "--input", "p.csv", "--gradient"], in: folder)
            #expect(result.code == 0)
            let lines = result.out.split(separator: "\n").map {
                $0.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
            }
            #expect(
                lines[0] == [
                    "price", "standardError", "status", "d_barrierOverSpot", "d_strikeOverSpot", "d_maturityYears",
                    "d_volatility", "d_rate",
                ])
            #expect(abs(Double(lines[1][0])! - 0.031681455014161926) < 1e-15 && lines[1][2] == "ok")
            #expect(abs(Double(lines[1][4])! - 0.3238548886494592) < 1e-15)
            #expect(lines[2][0] == "0.0" && lines[2][2] == "extended")
            #expect(lines[3][0] == "" && lines[3][2] == "invalid")
            let written = try Cairn.run(
                ["oracle", "price", "downAndOutPut", "--input", "p.csv", "--out", "o.csv"], in: folder)
            #expect(written.code == 0 && written.out.isEmpty)
            let text = try String(contentsOf: folder.appending(path: "o.csv"), encoding: .utf8)
            #expect(text.hasPrefix("price,standardError,status\n0.03168145501416"))
        }
    }

    @Test func everyOracleIsPricedFromATable() throws {
        // All inputs in the middle of their intervals, columns in reverse; a row that makes no sense; one without a number.
        try Cairn.inFolder { folder in
            let list = try Cairn.run(["oracle", "list", "--json"], in: folder).out
            let names = try #require(JSONSerialization.jsonObject(with: Data(list.utf8)) as? [[String: Any]])
            #expect(names.count >= 16)
            for name in names.compactMap({ $0["name"] as? String }) {
                let text = try Cairn.run(["oracle", "describe", name, "--json"], in: folder).out
                let object = try #require(JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
                let inputs = try #require(object["inputs"] as? [[String: Any]]).reversed()
                let columns = inputs.compactMap { $0["name"] as? String }
                let middle = inputs.map { input -> String in
                    if let words = input["choices"] as? [String] { return words[0].uppercased() }
                    if input["kind"] as? String == "integer" { return input["usual"] as! String }
                    let (low, high) = (input["lower"] as! Double, input["upper"] as! Double)
                    return "\(low + (high - low) / 2)"
                }
                let time = try #require(columns.firstIndex(of: "maturityYears"))
                let rows = [nil, "-1", "nan", nil].map { odd in
                    odd.map { middle[..<time] + [$0] + middle[(time + 1)...] } ?? middle[...]
                }
                let csv = ([columns[...]] + rows).map { $0.joined(separator: ",") }.joined(separator: "\n")
                try Data(csv.utf8).write(to: folder.appending(path: "p.csv"))
                let hasGradient = object["gradient"] as? String != "none"
                let result = try Cairn.run(
                    ["oracle", "price", name, "--input", "p.csv"] + (hasGradient ? ["--gradient"] : []), in: folder)
                #expect(result.code == 0, "\(name): \(result.err)")
                let lines = result.out.split(separator: "\n").map {
                    $0.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
                }
                try #require(lines.count == 5, "\(name): \(result.out)")
                #expect(lines[1] == lines[4] && lines[1][2] == "ok", "\(name): \(lines[1])")
                #expect(lines[1].allSatisfy { $0 == "ok" || Double($0)?.isFinite == true }, "\(name): \(lines[1])")
                for bad in lines[2...3] { #expect(bad[0] == "" && bad[2] == "invalid", "\(name): \(bad)") }
                let slopes = inputs.count { $0["kind"] as? String == "continuous" }
                #expect(lines[0].count == 3 + (hasGradient ? slopes : 0))
            }
        }
    }

    @Test func pathsAreAddedForAStandardError() throws {
        try Cairn.inFolder { folder in
            func price(_ oracle: String, _ columns: String, _ row: String, _ more: String...) throws -> Cairn.Result {
                let header = "strike,maturityYears,rate,volatility.1,volatility.2,correlation.1.2,"
                let csv = "\(header)\(columns)\n1,1,0.03,0.2,0.3,0.5,\(row)\n"
                try Data(csv.utf8).write(to: folder.appending(path: "p.csv"))
                return try Cairn.run(["oracle", "price", oracle, "--input", "p.csv"] + more, in: folder)
            }
            let result = try price("himalaya", "paths", "2048", "--standard-error", "1e-5")
            let fields = result.out.split(separator: "\n").last?.split(separator: ",") ?? []
            try #require(result.code == 0 && fields.count == 3, "\(result.err)")
            #expect(Double(fields[1])! <= 1e-5 && fields[2] == "ok")
            let exact = try price("lookback", "paths", "2048", "--standard-error", "1e-5")
            #expect(exact.code == 2 && exact.err.contains("no paths"))
            // An input that may be left out, misspelt; and more shares than there may be.
            let misspelt = try price("himalaya", "dividendYeild.1", "0.1")
            #expect(misspelt.code == 2 && misspelt.err.contains("'dividendYield.1' meant"), "\(misspelt.err)")
            let many = try price("himalaya", "volatility.99", "0.1")
            #expect(many.code == 2 && many.err.contains("cannot have 99 shares"), "\(many.err)")
        }
    }

    @Test func oraclesAreListedAndDescribed() throws {
        try Cairn.inFolder { folder in
            #expect(try Cairn.run(["oracle", "list"], in: folder).out.contains("downAndOutPut"))
            let text = try Cairn.run(["oracle", "describe", "downAndOutPut"], in: folder).out
            #expect(text.contains("barrierOverSpot [0.5, 1.0]") && text.contains("Haug"))
            let json = try Cairn.run(["oracle", "describe", "downAndOutPut", "--json"], in: folder).out
            let object = try JSONSerialization.jsonObject(with: Data(json.utf8)) as? [String: Any]
            #expect((object?["inputs"] as? [Any])?.count == 5)
        }
    }

    @Test func helpAndVersion() throws {
        try Cairn.inFolder { folder in
            let help = try Cairn.run(["--help"], in: folder)
            #expect(help.code == 0 && help.out.contains("Exit codes") && help.err.isEmpty)
            #expect(try Cairn.run(["--version"], in: folder).out.hasPrefix("0."))
        }
    }
}
