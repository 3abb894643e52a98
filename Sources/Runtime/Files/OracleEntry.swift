// An entry of `oracles:` in cluster.yaml: a plug-in, where it runs and what it may take.

internal import Cluster
internal import FoundationEssentials
internal import PlugIns

extension PlugInSettings {
    /// Reads an entry; nil, with its problems reported, if something is missing.
    init?(name: String, _ entry: Section) {
        defer { entry.close() }
        if name.wholeMatch(of: /[A-Za-z][A-Za-z0-9_]{0,63}/) == nil {
            entry.file.report(entry.mark, entry.path, "an oracle's name has 1 to 64 letters, digits and _")
        }
        let folder = URL(filePath: entry.file.name).deletingLastPathComponent()
        func absolute(_ path: String) -> String { URL(filePath: path, relativeTo: folder).standardizedFileURL.path }

        let word = entry.choice("kind", among: [("process", 0), ("library", 1), ("service", 2)])
        if word == nil, !entry.has("kind") {
            entry.report("kind", "is missing; one of: process, library, service")
        }
        let fingerprint = entry.text("fingerprint")
        if let fingerprint, fingerprint.wholeMatch(of: /[A-Za-z0-9][A-Za-z0-9._+:-]{0,127}/) == nil {
            entry.report(
                "fingerprint",
                "'\(fingerprint.prefix(40))' is none; copy what follows the + in `cairn oracle describe \(name)`")
        }
        let batch = entry.integer("batch", in: 1...65_536)
        let timeout = entry.duration("timeout")
        let instances = entry.integer("instances", in: 1...1024)
        // Keys of another kind are read, so that they are told to be out of place instead of unknown.
        func onlyFor(_ kind: String, _ keys: [String]) {
            for key in keys where entry.has(key) { entry.report(key, "is for kind: \(kind); leave it out") }
        }
        let ofProcess = ["command", "workingFolder", "environment", "limits", "standardError"]
        var kind: Kind?
        switch word {
        case 0:
            onlyFor("library", ["path"])
            onlyFor("service", ["addresses"])
            kind = Self.command(entry, absolute).map(Kind.process)
        case 1:
            onlyFor("process", ofProcess)
            onlyFor("service", ["addresses"])
            for key in ["batch", "timeout", "instances"] where entry.has(key) {
                entry.report(key, "has no meaning for a library, which is called like a function; leave it out")
            }
            if let path = entry.text("path"), !path.isEmpty {
                kind = .library(path: absolute(path))
            } else {
                entry.report("path", "is missing: the shared library, such as ./pricer.so")
            }
        case 2:
            onlyFor("process", ofProcess)
            onlyFor("library", ["path"])
            if entry.has("instances") {
                entry.report("instances", "is the number of addresses for a service; leave it out")
            }
            if let addresses = entry.texts("addresses"), !addresses.isEmpty {
                for address in addresses {
                    let tcp = address.wholeMatch(of: /tcp:\/\/[^\s:]{1,255}:([0-9]{1,5})/)
                    let isPort = tcp.map { (1...65_535).contains(Int($0.1) ?? 0) } ?? false
                    if isPort || address.wholeMatch(of: /ipc:\/\/\/.{1,90}/) != nil { continue }
                    entry.report("addresses", "'\(address)' must be tcp://HOST:PORT or ipc:///PATH")
                }
                if Set(addresses).count < addresses.count { entry.report("addresses", "an address stands here twice") }
                kind = .service(addresses: addresses)
            } else {
                entry.report("addresses", "is missing: where the service listens, such as [tcp://127.0.0.1:7001]")
            }
        default: _ = (ofProcess + ["path", "addresses"]).map(entry.has)
        }
        guard let kind else { return nil }
        self.init(name: name, kind: kind)
        self.fingerprint = fingerprint
        self.batch = batch ?? self.batch
        self.timeout = timeout ?? self.timeout
        self.instances = instances ?? self.instances
    }

    private static func command(_ entry: Section, _ absolute: (String) -> String) -> Command? {
        var arguments = entry.texts("command") ?? []
        if entry.has("command"), !entry.isList("command") {
            // Said already: it must be a list.
        } else if arguments.first?.isEmpty != false {
            entry.report("command", "is missing: the program and its arguments, such as [python3, pricer.py]")
        }
        // Like every path in the file, but for a program that is looked up in PATH.
        if let program = arguments.first, program.contains("/") { arguments[0] = absolute(program) }
        var command = Command(arguments: arguments)
        command.folder = absolute(entry.text("workingFolder") ?? ".")
        if let section = entry.section("environment") {
            for key in section.keys {
                if key.isEmpty || key.contains("=") { section.report(key, "is no name of an environment variable") }
                command.environment[key] = section.text(key) ?? ""
            }
            section.close()
        }
        if let section = entry.section("limits") {
            command.memory = section.size("memory")
            command.cpuTime = section.duration("cpuTime")
            command.openFiles = section.integer("openFiles", in: 8...1_000_000)
            section.close()
        }
        let choices = [("tail", false), ("log", true)]
        command.reportsStandardError = entry.choice("standardError", among: choices) ?? false
        return arguments.isEmpty ? nil : command
    }

    /// The entry with every default filled in, as lines of the cluster file.
    var effective: [String] {
        func milliseconds(_ duration: Duration) -> String { "\(duration.nanoseconds / 1_000_000)ms" }
        func list(_ texts: [String]) -> String { "[\(texts.map { yaml($0) }.joined(separator: ", "))]" }
        var lines = ["  \(name):"]
        if let fingerprint { lines.append("    fingerprint: \(yaml(fingerprint))") }
        switch kind {
        case .library(let path): return lines + ["    kind: library", "    path: \(yaml(path))"]
        case .service(let addresses):
            lines += ["    kind: service", "    addresses: \(list(addresses))"]
        case .process(let command):
            lines += [
                "    kind: process", "    command: \(list(command.arguments))",
                "    workingFolder: \(yaml(command.folder))", "    instances: \(instances)",
                "    standardError: \(command.reportsStandardError ? "log" : "tail")",
            ]
            if !command.environment.isEmpty { lines.append("    environment:") }
            for (name, value) in command.environment.sorted(by: { $0.key < $1.key }) {
                lines.append("      \(yaml(name)): \(yaml(value))")
            }
            let limits = [
                command.memory.map { "memory: \($0)B" }, command.cpuTime.map { "cpuTime: \(milliseconds($0))" },
                command.openFiles.map { "openFiles: \($0)" },
            ].compactMap { $0 }
            if !limits.isEmpty { lines.append("    limits: {\(limits.joined(separator: ", "))}") }
        }
        return lines + ["    batch: \(batch)", "    timeout: \(milliseconds(timeout))"]
    }
}
