import Foundation
import InProcessTransport
import Testing
import TransportPluginAPI
import TransportTestKit

/// The code of the articles and of the README compiles: each block is part of a file of the tests.
@Suite struct ArticlesTests {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    /// The sources of quoted code: the examples of these tests, and the plugin of the tutorial.
    private static let quoted = ["Tests/DocumentationTests", "Tests/TutorialPlugin"]

    private static func files(under folder: String, withExtension name: String) throws -> [URL] {
        let all = try #require(
            FileManager.default.enumerator(
                at: root.appending(path: folder), includingPropertiesForKeys: nil, options: .skipsHiddenFiles))
        return all.compactMap { $0 as? URL }.filter { $0.pathExtension == name }
    }

    /// The words and signs with one blank between them, so that line breaks do not matter.
    private static func normalized(_ text: some StringProtocol) -> String {
        " " + text.split(whereSeparator: \.isWhitespace).joined(separator: " ") + " "
    }

    private static func articles() throws -> [URL] {
        try files(under: "Sources", withExtension: "md") + [root.appending(path: "README.md")]
    }

    @Test func everySwiftBlockIsCompiledSomewhere() throws {
        let sources = try Self.quoted.flatMap { try Self.files(under: $0, withExtension: "swift") }
            .map { Self.normalized(try String(contentsOf: $0, encoding: .utf8)) }
        var count = 0
        for article in try Self.articles() {
            let parts = try String(contentsOf: article, encoding: .utf8).components(separatedBy: "```")
            for block in stride(from: 1, to: parts.count, by: 2).map({ parts[$0] }) where block.hasPrefix("swift\n") {
                // A program begins with its imports, which stand elsewhere in a test.
                let lines = block.dropFirst(6).split(separator: "\n").drop { $0.hasPrefix("import ") }
                let code = Self.normalized(lines.joined(separator: "\n"))
                #expect(
                    sources.contains { $0.contains(code) },
                    "\(article.lastPathComponent): no file of the tests has this code:\(code)")
                count += 1
            }
        }
        #expect(count >= 20, "the articles' code was not found")
    }

    @Test func theContractListsEveryClauseOfTheKit() throws {
        let article = Self.normalized(
            try String(
                contentsOf: Self.root.appending(
                    path: "Sources/TransportPluginAPI/TransportPluginAPI.docc/TheContract.md"), encoding: .utf8))
        let signaling = SignalingSubject(
            capabilities: [.tls, .deflate, .proxy],
            makeTransport: { InProcessSignalingTransport(network: InProcessSignalingNetwork()) })
        let peer = PeerSubject(
            capabilities: [.pathRestart, .relay, .unordered, .partialReliability, .encrypted, .browserCompatible],
            makeTransports: {
                let network = InProcessPeerNetwork(loop: try TransportLoop(name: "unused"))
                return (InProcessPeerTransport(network: network), InProcessPeerTransport(network: network))
            })
        let clauses = SignalingConformance.allClauses(of: signaling) + PeerConformance.allClauses(of: peer)
        #expect(clauses.count >= 87)
        for clause in clauses {
            #expect(
                article.contains(Self.normalized("| `\(clause.id)` | \(clause.sentence) |")),
                "the article lacks the clause \(clause)")
        }
    }

    /// The names that the manifest gives to parts of this kind.
    private static func names(_ kind: String) throws -> [String] {
        let manifest = try String(contentsOf: root.appending(path: "Package.swift"), encoding: .utf8)
        let pattern = try Regex(#"\.(?:\#(kind))\(\s*name: "(\w+)""#, as: (Substring, Substring).self)
        return manifest.matches(of: pattern).map { String($0.output.1) }
    }

    @Test func architectureHasEveryTargetAndThePromisesEveryProductAndTrait() throws {
        func article(_ name: String) throws -> String {
            try String(
                contentsOf: Self.root.appending(path: "Sources/RoomConnection/RoomConnection.docc/\(name).md"),
                encoding: .utf8)
        }
        let (architecture, promises) = (try article("Architecture"), try article("PublicAPIPromises"))
        // Those of the tests are not its subject.
        let targets = try Self.names("target|executableTarget|systemLibrary").filter {
            !$0.hasSuffix("TestSupport") && !$0.hasPrefix("Autobahn") && !$0.hasPrefix("Example")
        }
        #expect(targets.count > 20)
        for target in targets { #expect(architecture.contains("`\(target)`"), "Architecture lacks \(target)") }
        let promised = try Self.names("library|executable") + Self.names("trait")
        #expect(promised.count > 12)
        for name in promised { #expect(promises.contains("`\(name)`"), "PublicAPIPromises lacks \(name)") }
    }

    /// A program can name every type that it gets: those of a public declaration come from modules that are products.
    @Test func modulesOfPublicDeclarationsAreProducts() throws {
        let manifest = try String(contentsOf: Self.root.appending(path: "Package.swift"), encoding: .utf8)
        let products = try Regex(
            #"\.library\(\s*name: "\w+",(?: type: \.dynamic,)?\s*targets: \[([^\]]*)\]"#,
            as: (Substring, Substring).self)
        let exported = Set(
            manifest.matches(of: products).flatMap { $0.output.1.matches(of: /\w+/).map { String($0.output) } })
        #expect(exported.contains("RoomKit") && exported.count > 12)
        let targets = Set(try Self.names("target"))
        let imports = /public import (?:(?:struct|enum|class|protocol|func) )?(\w+)/
        for target in exported.sorted() {
            let folder = target.hasPrefix("Signaling") || ["PeerWebRTC", "ICELibnice"].contains(target)
            for file in try Self.files(under: "\(folder ? "Plugins" : "Sources")/\(target)", withExtension: "swift") {
                for found in try String(contentsOf: file, encoding: .utf8).matches(of: imports) {
                    let module = String(found.output.1)
                    #expect(
                        !targets.contains(module) || exported.contains(module),
                        "\(file.lastPathComponent) of \(target) shows \(module), which is in no product")
                }
            }
        }
    }

    @Test func theTableOfLimitsNamesTestsThatExist() throws {
        let article = try String(
            contentsOf: Self.root.appending(path: "Sources/RoomServer/RoomServer.docc/Operations.md"), encoding: .utf8)
        let table = try #require(
            article.components(separatedBy: "\n## Limits\n").last?.components(separatedBy: "\n## ").first)
        let rows = table.split(separator: "\n").filter { $0.hasPrefix("| ") && !$0.hasPrefix("| **") }.dropFirst()
        let sources = try Self.files(under: "Tests", withExtension: "swift").map {
            try String(contentsOf: $0, encoding: .utf8)
        }
        #expect(rows.count >= 20)
        for row in rows {
            let cells = row.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
            let tests = (cells.last ?? "").split(separator: ",").map {
                $0.trimmingCharacters(in: CharacterSet(charactersIn: " `"))
            }
            for test in tests {
                #expect(!test.isEmpty && sources.contains { $0.contains("func \(test)(") }, "no such test: \(row)")
            }
        }
    }
}
