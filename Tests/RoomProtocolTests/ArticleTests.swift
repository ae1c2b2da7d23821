import Foundation
import RoomProtocol
import Testing

@Suite("The article about the wire protocol")
struct ArticleTests {
    private var article: String {
        get throws {
            let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
                .deletingLastPathComponent()
            return try String(
                contentsOf: root.appending(path: "Sources/RoomProtocol/RoomProtocol.docc/WireProtocol.md"),
                encoding: .utf8)
        }
    }

    /// The JSON objects of the article, in order, by the half in which they stand.
    private func examples() throws -> (client: [String], server: [String]) {
        var objects: (client: [String], server: [String]) = ([], [])
        var isServer = false
        var isCode = false
        var current = ""
        for line in try article.split(separator: "\n", omittingEmptySubsequences: false) {
            if line == "## Server messages" { isServer = true }
            if line.hasPrefix("```") {
                isCode = line == "```json"
                continue
            }
            guard isCode else { continue }
            current += line
            // An object ends where its braces are balanced; no example has one in a string.
            guard current.filter({ $0 == "{" }).count == current.filter({ $0 == "}" }).count else { continue }
            if isServer { objects.server.append(current) } else { objects.client.append(current) }
            current = ""
        }
        return objects
    }

    @Test func everyExampleIsAMessage() throws {
        let examples = try examples()
        #expect(examples.client.count == 14 && examples.server.count == 11)
        for text in examples.client { _ = try RoomProtocolCodec.decodeClientMessage(Array(text.utf8)) }
        for text in examples.server { _ = try RoomProtocolCodec.decodeServerMessage(Array(text.utf8)) }
    }

    @Test func everyErrorCodeIsExplained() throws {
        let article = try article
        let codes: [ProtocolError.Code] = [
            .malformed, .unknownType, .limitExceeded, .invalidName, .versionMismatch, .unauthorized, .tokenExpired,
            .roomNotFound,
            .roomExists, .roomFull, .nameTaken, .staleEpoch, .replaced, .kicked, .roomClosed, .notHost, .peerNotFound,
            .tooManyRequests, .shuttingDown, .internalError,
        ]
        for code in codes { #expect(article.contains("| `\(code.rawValue)` |")) }
        for reason in LeaveReason.allCases { #expect(article.contains("`\(reason.rawValue)`")) }
    }
}
