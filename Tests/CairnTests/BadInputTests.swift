import Foundation
import Testing

/// A file that a user got wrong, and what Cairn must say of it.
struct BadInput: CustomTestStringConvertible {
    var name: String
    /// Files by name; `study.yaml` is run, with `cluster.yaml` if there is one.
    var files: [String: [UInt8]]
    /// Each must be in what is printed: places, keys, advice.
    var says: [String]

    var testDescription: String { name }

    init(_ name: String, _ files: [String: String], _ says: String...) {
        self.init(name, bytes: files.mapValues { Array($0.utf8) }, says)
    }

    init(_ name: String, bytes files: [String: [UInt8]], _ says: [String]) {
        self.name = name
        self.files = files
        self.says = says
    }

    /// A study of one extra line.
    static func study(_ name: String, _ line: String, _ says: String...) -> BadInput {
        BadInput(name, bytes: ["study.yaml": Array("study: s\n\(line)\n".utf8)], says)
    }

    static func cluster(_ name: String, _ text: String, _ says: String...) -> BadInput {
        BadInput(name, bytes: ["study.yaml": Array("study: s\n".utf8), "cluster.yaml": Array(text.utf8)], says)
    }

    private static let header = "barrierOverSpot,strikeOverSpot,maturityYears,volatility,rate,label"

    /// A study on a CSV of this content.
    static func csv(_ name: String, _ text: String, _ says: String...) -> BadInput {
        BadInput(
            name, bytes: ["study.yaml": Array("study: s\ndata: {file: d.csv}\n".utf8), "d.csv": Array(text.utf8)], says)
    }

    static func rows(_ name: String, _ rows: String, _ says: String...) -> BadInput {
        BadInput(
            name,
            bytes: [
                "study.yaml": Array("study: s\ndata: {file: d.csv}\n".utf8),
                "d.csv": Array("\(header)\n0.8,1.05,1,0.2,0.03,3.1\n\(rows)\n".utf8),
            ], says)
    }

    static func model(_ name: String, _ bytes: [UInt8], _ says: String...) -> BadInput {
        BadInput(
            name,
            bytes: ["study.yaml": Array("study: s\nsurrogate: {file: m.safetensors}\n".utf8), "m.safetensors": bytes],
            says)
    }

    /// A safetensors file of this header and so many bytes of data.
    static func safetensors(_ header: String, _ data: Int) -> [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: header.utf8.count >> (8 * $0)) } + Array(header.utf8)
            + [UInt8](repeating: 0, count: data)
    }

    static func tensor(_ dtype: String, _ shape: String, _ start: Int, _ end: Int) -> String {
        "{\"dtype\":\"\(dtype)\",\"shape\":[\(shape)],\"data_offsets\":[\(start),\(end)]}"
    }

    /// A header of one layer, whose weight is replaced.
    static func oneLayer(weight: String, bias: String = tensor("F32", "1", 20, 24)) -> String {
        "{\"layers.0.weight\":\(weight),\"layers.0.bias\":\(bias)}"
    }

    static let all: [BadInput] = [
        // Studies: YAML.
        BadInput("empty study", ["study.yaml": ""], "study.yaml", "empty"),
        BadInput("no mapping", ["study.yaml": "- a\n- b\n"], "study.yaml:1:1", "mapping"),
        BadInput("broken YAML", ["study.yaml": "study: s\ndata: {base: 3\nattack: x\n"], "study.yaml:3", "no YAML"),
        BadInput("tab for indentation", ["study.yaml": "study: s\ndata:\n\tbase: 3\n"], "study.yaml:3", "no YAML"),
        BadInput("a key twice", ["study.yaml": "study: s\nrandomSeed: 1\nrandomSeed: 2\n"], "randomSeed", "twice"),
        BadInput("not UTF-8", bytes: ["study.yaml": [0x73, 0xFF, 0xFE, 0x3A]], ["study.yaml", "UTF-8"]),
        BadInput(
            "a bomb of aliases",
            [
                "study.yaml": "study: s\na: &a [x, x, x, x, x, x, x, x, x]\n"
                    + zip("bcdefghij", "abcdefghi").map {
                        "\($0): &\($0) [\(repeatElement("*\($1)", count: 9).joined(separator: ", "))]\n"
                    }.joined()
            ], "study.yaml:2:1", "study.yaml:11:1"),
        BadInput("no name", ["study.yaml": "randomSeed: 1\n"], "study", "missing"),
        .study("name with a slash", "study2: x", "study.yaml:2:1", "study2", "did you mean study?"),
        BadInput("bad name", ["study.yaml": "study: a/b\n"], "study.yaml:1:8", "study", "letters"),
        .study("newer version", "version: 2", "study.yaml:2:10", "version", "reads version 1"),
        .study("unknown key", "sreach: {}", "study.yaml:2:1", "sreach", "did you mean search?"),
        .study("unknown key, no idea", "colour: red", "study.yaml:2:1", "colour", "known here"),
        .study("unknown oracle", "oracle: downAndOutCall", "study.yaml:2:9", "oracle", "downAndOutPut"),
        .study("seed is no number", "randomSeed: -1", "study.yaml:2:13", "randomSeed", "2^64"),
        .study("scale of zero", "labelScale: 0", "study.yaml:2:13", "labelScale", "not be 0"),
        .study("scale is NaN", "labelScale: .nan", "study.yaml:2:13", "labelScale", "finite"),
        // Studies: values.
        .study("domain without interval", "domain: {rate: 0.1}", "study.yaml:2:16", "domain.rate", "list"),
        .study("domain upside down", "domain: {rate: [0.1, 0.0]}", "domain.rate", "ascending"),
        .study("domain with three ends", "domain: {rate: [0, 0.1, 0.2]}", "domain.rate", "two ascending"),
        .study("domain of an unknown input", "domain: {vol: [0.1, 0.2]}", "domain.vol", "known here"),
        .study("nothing admissible", "domain: {barrierOverSpot: [1.1, 1.2]}", "domain", "barrierOverSpot<=1"),
        .study("base of zero", "data: {base: 0}", "study.yaml:2:14", "data.base", "from 1"),
        .study("base too large", "data: {base: 99999999999}", "data.base", "100000000"),
        .study("base is text", "data: {base: many}", "data.base", "no integer"),
        .study("base is a list", "data: {base: [1]}", "data.base", "not a list"),
        .study("file and base", "data: {file: d.csv, base: 10}", "data.base", "keep one"),
        .study("test file alone", "data: {testFile: d.csv}", "data.testFile", "needs file"),
        .study("data file is missing", "data: {file: nowhere.csv}", "nowhere.csv", "no such file"),
        .study("epsilon of zero", "attack: {epsilon: 0}", "attack.epsilon", "not be 0"),
        .study("wrong feature", "attack: {features: [maturity]}", "attack.features", "maturity"),
        .study("no feature", "attack: {features: []}", "attack.features", "at least one"),
        .study(
            "window of a feature", "attack: {features: [rate], window: {rate: [0.1, 0.2]}}", "attack.window.rate",
            "leave it out"),
        .study(
            "centres for three inputs", "attack: {centre: [0.5, 0.5, 0.5]}", "attack.centre", "3 numbers for 5 inputs"),
        .study(
            "surround inside", "attack: {halfWidth: 0.2, surroundHalfWidth: 0.1}", "attack.surroundHalfWidth",
            "above halfWidth"),
        .study(
            "attack outside the domain",
            "attack: {features: [rate], window: {barrierOverSpot: [0.9, 1], strikeOverSpot: [0, 0.1]}}", "attack",
            "admissible"),
        .study("layers of zero", "surrogate: {layers: [0]}", "surrogate.layers[0]", "from 1"),
        .study("layers of half", "surrogate: {layers: [1.5]}", "surrogate.layers", "whole"),
        .study("unknown activation", "surrogate: {activation: tanh}", "surrogate.activation", "relu"),
        .study("unknown optimizer", "training: {optimizer: adm}", "training.optimizer", "did you mean adam?"),
        .study("momentum for Adam", "training: {momentum: 0.9}", "training.momentum", "sgd"),
        .study("negative rate", "training: {learningRate: -1}", "training.learningRate", "above 0"),
        .study("unknown schedule", "training: {schedule: cosin}", "training.schedule", "did you mean cosine?"),
        .study("step of zero", "training: {schedule: {step: {every: 0}}}", "training.schedule.step.every", "from 1"),
        .study("two kinds of seeds", "search: {seeds: {worst: 0.1, random: 5}}", "search.seeds", "one of"),
        .study("no stages", "search: {stages: []}", "search.stages", "at least one"),
        .study("stage is no mapping", "search: {stages: [5]}", "search.stages[0]", "mapping"),
        .study(
            "gradient unknown", "search: {gradient: autograd}", "search.gradient", "one of: auto, oracle, differences"),
        .study("wall clock without unit", "search: {budget: {wallClock: 10}}", "search.budget.wallClock", "unit"),
        .study("budget of zero", "search: {budget: {oracleCalls: 0}}", "search.budget.oracleCalls", "at least 1"),
        .study("unknown rule", "scan: {rule: mixture}", "scan.rule", "one of: density, counts"),
        .study("no radii", "scan: {proximalRadii: []}", "scan.proximalRadii", "at least one"),
        .study("percentile of 101", "scan: {errorPercentile: 101}", "scan.errorPercentile", "from 0.0 to 100.0"),
        .study(
            "unknown action", "mitigation: {action: fix}", "mitigation.action", "one of: verify, purge, relabel, none"),
        .study("weight above one", "mitigation: {weights: [1.5]}", "mitigation.weights[0]", "from 0.0 to 1.0"),
        .study("a section that is a word", "scan: density", "study.yaml:2:7", "scan", "mapping"),
        BadInput(
            "everything at once",
            ["study.yaml": "study: s\nversion: 3\nlabelScale: zero\ndata: {bass: 5}\nmitigation: {action: x}\n"],
            "study.yaml:2:10", "study.yaml:3:13", "study.yaml:4:8", "study.yaml:5:22"),
        BadInput(
            "deeply nested", ["study.yaml": "study: s\nsearch: " + String(repeating: "[", count: 100_000)], "study.yaml"
        ),
        BadInput(
            "a million bytes", ["study.yaml": "study: s\n# " + String(repeating: "x", count: 2_000_000)], "study.yaml",
            "at most"),
        // Clusters.
        .cluster(
            "unknown key", "pools: {here: {launcher: local, worker: 2}}\n", "cluster.yaml:1:33", "pools.here.worker",
            "did you mean workers?"),
        .cluster(
            "public address without keys", "coordinator: {bind: \"tcp://0.0.0.0:5555\"}\n", "coordinator.bind",
            "127.0.0.1"),
        .cluster("port too large", "coordinator: {bind: \"tcp://127.0.0.1:99999\"}\n", "coordinator.bind", "65535"),
        .cluster("impatient", "limits: {heartbeat: 5s, lost: 6s}\n", "limits.lost", "two heartbeats"),
        .cluster("duration without unit", "limits: {heartbeat: 5}\n", "cluster.yaml:1:21", "limits.heartbeat", "unit"),
        .cluster("size without unit", "limits: {maxFrame: 64}\n", "limits.maxFrame", "64MiB"),
        .cluster("launcher to come", "pools: {a: {launcher: slurm}}\n", "pools.a.launcher", "not available"),
        .cluster("no pools", "pools: {}\n", "pools", "at least one"),
        .cluster("too many workers", "pools: {a: {workers: 600}}\n", "pools", "maxWorkers"),
        .cluster("bad name", "name: My Cluster\n", "name", "a-z"),
        .cluster("security to come", "security: {}\n", "security", "not available"),
        // CSV.
        .csv("empty", "", "d.csv", "empty", "header"),
        .csv("header only", header + "\n", "d.csv", "no rows"),
        .csv(
            "missing column", "barrierOverSpot,strikeOverSpot,maturityYears,volatility,label\n1,1,1,1,1\n", "d.csv:1",
            "rate", "missing"),
        .csv("misspelt column", header.replacing("rate", with: "rat") + "\n1,1,1,1,1,1\n", "d.csv:1", "rate", "'rat'"),
        .csv("column twice", header + ",rate\n1,1,1,1,1,1,1\n", "d.csv:1", "rate", "twice"),
        .rows("NaN", "0.8,1.05,1,nan,0.03,3", "d.csv:3:12", "volatility", "finite"),
        .rows("infinity", "0.8,1.05,1,0.2,0.03,inf", "d.csv:3:21", "label", "finite"),
        .rows("too few fields", "0.8,1.05,1,0.2", "d.csv:3", "4 fields", "6"),
        .rows("too many fields", "0.8,1.05,1,0.2,0.03,3,4", "d.csv:3", "7 fields"),
        .rows("empty field", "0.8,,1,0.2,0.03,3", "d.csv:3:5", "strikeOverSpot", "empty"),
        .rows("text", "0.8,1.05,1,0.2,x,3", "d.csv:3", "rate", "'x'"),
        .rows("huge number", "0.8,1.05,1e999,0.2,0.03,3", "d.csv:3", "maturityYears", "finite"),
        .rows("hexadecimal", "0.8,1.05,0x1,0.2,0.03,3", "d.csv:3", "maturityYears"),
        .rows("outside the domain", "0.8,1.05,7,0.2,0.03,3", "d.csv:3", "maturityYears", "widen domain"),
        .rows("not admissible", "0.9,0.6,1,0.2,0.03,3", "d.csv:3", "barrierOverSpot<=strikeOverSpot"),
        .rows("CRLF and a bad field", "0.8,1.05,1,0.2,0.03,3\r\n0.8,1.05,1,?,0.03,3\r", "d.csv:4:12", "volatility"),
        .csv(
            "byte order mark and a bad field", "\u{FEFF}" + header + "\n0.8,1.05,1,?,0.03,3\n", "d.csv:2:12",
            "volatility"),
        .rows("two problems", "0.8,1.05,1,?,0.03,3\n0.8,1.05,1,0.2,!,3", "d.csv:3", "d.csv:4"),
        BadInput(
            "no .npy", ["study.yaml": "study: s\ndata: {file: d.npy}\n", "d.npy": "hello, this is no array"], "d.npy",
            "numpy.save"),
        BadInput(
            "npy of another shape",
            bytes: [
                "study.yaml": Array("study: s\ndata: {file: d.npy}\n".utf8),
                "d.npy": [0x93] + Array("NUMPY".utf8) + [1, 0, 60, 0]
                    + Array("{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), } \n".utf8.prefix(60))
                    + [UInt8](repeating: 0, count: 48),
            ], ["d.npy", "3 columns", "expected 6"]),
        // Surrogates.
        .model("empty", [], "m.safetensors", "at least 8"),
        .model("hostile length", [255, 255, 255, 255, 255, 255, 255, 255, 0, 0], "m.safetensors", "claims"),
        .model("truncated header", Array(safetensors("{\"a\":1}", 0).dropLast(3)), "m.safetensors", "complete?"),
        .model("header is no JSON", safetensors("hello", 0), "m.safetensors", "JSON"),
        .model("header is deep", safetensors(String(repeating: "[", count: 50_000), 0), "m.safetensors", "JSON"),
        .model("no tensors", safetensors("{}", 0), "m.safetensors", "layers.0.weight"),
        .model(
            "truncated data", safetensors(oneLayer(weight: tensor("F32", "1,5", 0, 20)), 12), "layers.0.weight",
            "complete?"),
        .model(
            "wrong dtype", safetensors(oneLayer(weight: tensor("F64", "1,5", 0, 40)), 44), "layers.0.weight", "float32"),
        .model(
            "wrong rank", safetensors(oneLayer(weight: tensor("F32", "5", 0, 20)), 24), "layers.0.weight",
            "[outputs, inputs]"),
        .model(
            "wrong size", safetensors(oneLayer(weight: tensor("F32", "2,5", 0, 20)), 24), "layers.0.weight",
            "expected 40"),
        .model(
            "overflowing shape", safetensors(oneLayer(weight: tensor("F32", "200000000,200000000", 0, 20)), 24),
            "layers.0.weight"),
        .model(
            "bytes after the last tensor", safetensors(oneLayer(weight: tensor("F32", "1,5", 0, 20)), 30),
            "bytes 24 to 29", "the end of the file"),
        .model(
            "a tensor twice",
            safetensors(
                "{\"layers.0.weight\":\(tensor("F32", "1,5", 0, 20)),\"layers.0.weight\":\(tensor("F32", "1,5", 20, 40)),"
                    + "\"layers.0.bias\":\(tensor("F32", "1", 40, 44))}", 44), "named twice"),
        .model(
            "negative offsets", safetensors(oneLayer(weight: tensor("F32", "1,5", -20, 0)), 24), "layers.0.weight",
            "data_offsets"),
        .model(
            "another domain",
            safetensors(
                "{\"__metadata__\":{\"oracle\":\"asian\",\"labelScale\":\"1.0\",\"domain\":\"[]\"},"
                    + oneLayer(weight: tensor("F32", "1,5", 0, 20)).dropFirst(), 24),
            "__metadata__.oracle", "downAndOutPut", "__metadata__.labelScale", "100.0", "__metadata__.domain",
            "maturityYears"),
        .model(
            "other inputs",
            safetensors(oneLayer(weight: tensor("F32", "1,4", 0, 16), bias: tensor("F32", "1", 16, 20)), 20),
            "layers.0.weight", "4 inputs"),
        .model(
            "two outputs",
            safetensors(oneLayer(weight: tensor("F32", "2,5", 0, 40), bias: tensor("F32", "2", 40, 48)), 48),
            "2 outputs"),
        .model(
            "unknown tensor", safetensors("{\"fc1.weight\":\(tensor("F32", "1,5", 0, 20))}", 20), "fc1.weight",
            "layers.K.weight"),
        .model(
            "missing bias", safetensors("{\"layers.0.weight\":\(tensor("F32", "1,5", 0, 20))}", 20), "layers.0.bias",
            "missing"),
        .model(
            "overlapping",
            safetensors(oneLayer(weight: tensor("F32", "1,5", 0, 20), bias: tensor("F32", "1", 16, 20)), 24), "overlap"),
        .model(
            "weights are NaN",
            Array(safetensors(oneLayer(weight: tensor("F32", "1,5", 0, 20)), 0)) + [0, 0, 192, 127]
                + [UInt8](repeating: 0, count: 20),
            "layers.0.weight", "finite"),
        .model(
            "layers that do not fit",
            safetensors(
                "{\"layers.0.weight\":\(tensor("F32", "2,5", 0, 40)),\"layers.0.bias\":\(tensor("F32", "2", 40, 48)),"
                    + "\"layers.1.weight\":\(tensor("F32", "1,3", 48, 60)),\"layers.1.bias\":\(tensor("F32", "1", 60, 64))}",
                64),
            "layers.1.weight", "the layer before gives 2"),
    ]
}

@Suite struct BadInputTests {
    @Test(arguments: BadInput.all) func badInputIsNamedWithItsPlaceAndMend(_ input: BadInput) throws {
        try Cairn.inFolder { folder in
            for (name, bytes) in input.files { try Data(bytes).write(to: folder.appending(path: name)) }
            let hasCluster = input.files.keys.contains("cluster.yaml")
            let arguments = ["run", "study.yaml"] + (hasCluster ? ["--cluster", "cluster.yaml"] : [])
            let result = try Cairn.run(arguments, in: folder)
            #expect(result.code == 2, "\(result.err.prefix(500))")
            #expect(result.out.isEmpty)
            for text in input.says { #expect(result.err.contains(text), "says: \(result.err.prefix(800))") }
            #expect(!result.err.contains("Fatal") && result.err.utf8.count < 100_000)
            // Nothing was begun.
            let left = try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { !$0.hasPrefix(".") }
            #expect(Set(left) == Set(input.files.keys))
        }
    }

    @Test func thereAreEnoughCases() {
        #expect(BadInput.all.count >= 60)
        #expect(Set(BadInput.all.map { "\($0.name)\($0.files.keys.sorted())" }).count > 60)
    }

    @Test(arguments: [
        (["run"], "study"), (["run", "a.yaml", "--worker", "2"], "worker"), (["nonsense"], "nonsense"),
        (["run", "a.yaml", "--workers", "0"], "--workers"), (["run", "nowhere.yaml"], "nowhere.yaml"),
        (["run", "a.yaml", "--cluster", "b", "--connect", "c"], "exclude"),
        (["oracle", "describe", "nothing"], "downAndOutPut"), (["run", "a.yaml", "--log-level", "loud"], "log level"),
        (["oracle", "price", "downAndOutPut", "--input", "nowhere.csv"], "no such file"),
        (["coordinator", "--cluster", "nowhere.yaml"], "no such file"), (["worker"], "--cluster"),
    ])
    func badCommandLinesAreBadInput(_ arguments: [String], _ says: String) throws {
        try Cairn.inFolder { folder in
            let result = try Cairn.run(arguments, in: folder)
            #expect(result.code == 2 && result.err.contains(says), "\(result.code): \(result.err)")
        }
    }

    @Test func unknownKernelsAreBadInput() throws {
        try Cairn.inFolder { folder in
            let result = try Cairn.run(["oracle", "list"], environment: ["CAIRN_KERNELS": "sse9"], in: folder)
            #expect(result.code == 2 && result.err.contains("avx512"))
        }
    }

    @Test func checkFindsWhatRunWould() throws {
        try Cairn.inFolder { folder in
            try Data("study: s\nscann: {}\n".utf8).write(to: folder.appending(path: "s.yaml"))
            try Data("pools: {a: {workers: x}}\n".utf8).write(to: folder.appending(path: "c.yaml"))
            let result = try Cairn.run(["check", "s.yaml", "c.yaml"], in: folder)
            #expect(result.code == 2 && result.err.contains("s.yaml:2:1") && result.err.contains("c.yaml:1:22"))
            for file in ["Studies/quick.yaml", "Studies/barrier-backdoor.yaml", "cluster.yaml"] {
                let good = try Cairn.run(["check", Cairn.root.appending(path: file).path], in: folder)
                #expect(good.code == 0, "\(file): \(good.err)")
            }
        }
    }
}
