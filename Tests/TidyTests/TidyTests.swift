import Foundation
import Testing

/// The repository itself under test: who imports whom, and what must not stand where.
@Suite struct TidyTests {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    private struct SourceFile {
        var path: String
        var target: String
        var name: String
        var lines: [Substring]
        var text: String
    }

    /// All Swift and C files of a folder, generated ones left out.
    private static func files(_ folder: String) throws -> [SourceFile] {
        let base = root.appending(path: folder)
        let paths = FileManager.default.enumerator(atPath: base.path)!.compactMap { $0 as? String }
        return try paths.sorted().filter { path in
            ["swift", "c", "h", "inc"].contains((path as NSString).pathExtension) && !path.hasSuffix(".pb.swift")
                && !path.contains(".build")
        }.map { path in
            let text = try String(contentsOf: base.appending(path: path), encoding: .utf8)
            return SourceFile(
                path: "\(folder)/\(path)", target: String(path.split(separator: "/")[0]),
                name: (path as NSString).lastPathComponent,
                lines: text.split(separator: "\n", omittingEmptySubsequences: false), text: text)
        }
    }

    private static let sources = try! files("Sources")

    /// `A: [B]`: A imports B of our targets, and no other. Docs/Architecture.md draws it.
    private static let imports: [String: Set<String>] = [
        "CKernels": [], "CPlugIn": [], "CCrypto": [], "CZeroMQ": [],
        "Regression": ["CKernels"],
        "Pricing": ["CKernels", "Regression"],
        "Cluster": ["CCrypto", "Regression"],
        "Wire": ["Cluster", "Regression"],
        "ZeroMQ": ["CZeroMQ"],
        "PlugIns": ["CPlugIn", "Regression", "ZeroMQ"],
        "Runtime": ["Cluster", "PlugIns", "Pricing", "Regression", "Wire", "ZeroMQ"],
        "Simulation": ["Cluster", "Regression", "Wire"],
        "CairnCommand": ["Cluster", "PlugIns", "Regression", "Runtime", "Simulation"],
        "cairn": ["CairnCommand"],
    ]

    /// Libraries of others, and the targets that may use them.
    private static let libraries: [String: Set<String>] = [
        "SwiftProtobuf": ["PlugIns", "Wire"], "GRDB": ["Runtime"], "Yams": ["Runtime"],
        "Logging": ["Runtime", "CairnCommand"],
        "ArgumentParser": ["CairnCommand"],
        "FoundationEssentials": ["Regression", "Wire", "Runtime", "CairnCommand"], "Foundation": ["Wire"],
        "Glibc": ["PlugIns", "Runtime", "ZeroMQ", "CairnCommand"],
        "Synchronization": ["PlugIns", "Regression", "Runtime", "CairnCommand"],
    ]

    private func imported(_ file: SourceFile) -> [String] {
        file.lines.compactMap { line in
            let words = line.split(separator: " ")
            guard let k = words.firstIndex(of: "import"),
                words[..<k].allSatisfy({
                    ["public", "package", "internal", "private", "@testable", "@preconcurrency"].contains($0)
                })
            else { return nil }
            return words.last.map(String.init)
        }
    }

    @Test func targetsImportWhatTheArchitectureSays() {
        for file in Self.sources where file.name.hasSuffix(".swift") {
            guard let allowed = Self.imports[file.target] else {
                Issue.record("\(file.path): target \(file.target) is not in the architecture")
                continue
            }
            for module in imported(file) {
                if Self.imports[module] != nil {
                    #expect(allowed.contains(module), "\(file.path) imports \(module)")
                } else {
                    #expect(Self.libraries[module]?.contains(file.target) == true, "\(file.path) imports \(module)")
                }
            }
        }
    }

    @Test func thePackageDependsOnWhatIsImported() throws {
        // A target without an import it depends on, or the other way round, is a drawing that is no longer true.
        let used = Dictionary(grouping: Self.sources, by: \.target).mapValues { Set($0.flatMap(imported)) }
        for (target, allowed) in Self.imports where !["CKernels", "CPlugIn", "CCrypto", "CZeroMQ"].contains(target) {
            #expect(allowed.isSubset(of: used[target] ?? []), "\(target) does not import all of \(allowed)")
        }
    }

    /// What would make the answer depend on time, chance or order.
    @Test func theStateMachinesArePure() {
        let banned = [
            "Date(", "ContinuousClock", "SuspendingClock", "UUID(", "Double.random(", "Int.random(", "Task {", "Task.",
            "async ", "await ",
            "DispatchQueue", "getenv", "fopen", "print(",
        ]
        for file in Self.sources
        where ["Cluster", "Regression", "Pricing", "Simulation"].contains(file.target) && file.name.hasSuffix(".swift")
        {
            for (number, line) in file.lines.enumerated() where !line.drop(while: { $0 == " " }).hasPrefix("//") {
                for word in banned where line.contains(word) {
                    #expect(Bool(false), "\(file.path):\(number + 1): \(word)")
                }
            }
        }
    }

    /// The C library picks other code for these on other CPUs.
    @Test func numbersDoNotComeFromTheCLibrary() {
        let functions = ["exp", "log", "pow", "sin", "cos", "tan", "erf", "erfc", "expm1", "log1p", "lgamma", "tgamma"]
        for file in Self.sources where ["CKernels", "Regression", "Pricing", "Cluster"].contains(file.target) {
            #expect(!imported(file).contains { ["Glibc", "Foundation", "Numerics"].contains($0) }, "\(file.path)")
            guard file.target == "CKernels" else { continue }
            for (number, line) in file.lines.enumerated() where !line.drop(while: { $0 == " " }).hasPrefix("//") {
                #expect(!line.contains("<math.h>"), "\(file.path):\(number + 1)")
                for function in functions {
                    let calls = line.contains(" \(function)(") || line.contains("__builtin_\(function)(")
                    #expect(!calls, "\(file.path):\(number + 1) calls \(function)")
                }
            }
        }
    }

    @Test func filesSayWhatTheyAre() {
        for file in Self.sources {
            let words = ["Utils", "Helper", "Manager", "Common", "Misc"]
            #expect(!words.contains { file.name.contains($0) }, "\(file.path): a name that says nothing")
            // A comment before the first declaration, or a documented declaration as the first.
            let opening = file.lines.prefix { !$0.hasPrefix("struct") && !$0.hasPrefix("enum") }
            #expect(
                opening.contains { $0.hasPrefix("//") } || file.text.contains("/// ") || file.target == "CairnCommand",
                "\(file.path) does not say what it is")
        }
    }

    @Test func publicDeclarationsAreDocumented() {
        // What users build on: every public type and function has a documentation comment.
        for file in Self.sources
        where ["CairnCommand", "PlugIns", "Regression", "Pricing"].contains(file.target)
            && file.name.hasSuffix(".swift")
        {
            for (k, line) in file.lines.enumerated() {
                let code = line.drop { $0 == " " }
                guard
                    code.hasPrefix("public func") || code.hasPrefix("public struct") || code.hasPrefix("public enum")
                        || code.hasPrefix("public final class") || code.hasPrefix("public protocol")
                        || code.hasPrefix("public static func")
                else { continue }
                let before = file.lines[..<k].last.map { $0.drop { $0 == " " } } ?? ""
                // What a protocol demands is documented there.
                #expect(
                    before.hasPrefix("///") || before.hasPrefix("@") || code.contains("func evaluate(_ points"),
                    "\(file.path):\(k + 1): \(code.prefix(60))")
            }
        }
    }

    @Test func theArchitectureDrawsTheseTargets() throws {
        let text = try String(contentsOf: Self.root.appending(path: "Docs/Architecture.md"), encoding: .utf8)
        for target in Self.imports.keys {
            #expect(text.contains("`\(target)`"), "Docs/Architecture.md does not name \(target)")
        }
    }

    @Test func everyMessageIsInTheProtocol() throws {
        let text = try String(contentsOf: Self.root.appending(path: "Docs/Protocol.md"), encoding: .utf8)
        let envelope = try String(contentsOf: Self.root.appending(path: "Protos/envelope.proto"), encoding: .utf8)
        let fields = envelope.matches(of: /^    \w+ (\w+) = \d+;/.anchorsMatchLineEndings()).map { String($0.1) }
        #expect(fields.count >= 23)
        for field in fields { #expect(text.contains("`\(field)`"), "Docs/Protocol.md does not name \(field)") }
    }

    @Test func everyStudyKeyIsDocumented() throws {
        let text = try String(contentsOf: Self.root.appending(path: "Docs/Studies.md"), encoding: .utf8)
        let reader = try String(
            contentsOf: Self.root.appending(path: "Sources/Runtime/Files/StudyFile.swift"), encoding: .utf8)
        let readers =
            /\.(?:text|integer|unsigned|number|positive|numbers|interval|texts|choice|duration|section|sections)\(\s*"(\w+)"/
        let keys = Set(reader.matches(of: readers).map { String($0.1) })
        #expect(keys.count > 40)
        for key in keys.sorted() { #expect(text.contains("`\(key)`"), "Docs/Studies.md does not explain \(key)") }
    }
}
