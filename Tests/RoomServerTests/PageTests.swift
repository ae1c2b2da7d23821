import CRoomPage
import CZlib
import Foundation
import RoomProtocol
import Testing
import WebSocketWire

@testable import RoomServer

@Suite("Page", .timeLimit(.minutes(1)))
struct PageTests {
    private struct Answer {
        var status: String
        var fields: [String: String] = [:]
        var body: [UInt8]

        init?(_ bytes: [UInt8]) {
            guard let end = bytes.indices.first(where: { bytes[$0...].starts(with: [13, 10, 13, 10]) }) else {
                return nil
            }
            var lines = String(decoding: bytes[..<end], as: UTF8.self).split(separator: "\r\n")
            status = String(lines.removeFirst().split(separator: " ")[1])
            for line in lines {
                let parts = line.split(separator: ":", maxSplits: 1)
                fields[parts[0].lowercased()] = parts[1].trimmingCharacters(in: .whitespaces)
            }
            body = Array(bytes[(end + 4)...])
        }
    }

    /// Returns the answer of a server with the page to one request on a connection of its own.
    private func answer(
        _ path: String, _ method: String = "GET", fields: [String: String] = [:], servesPage: Bool = true
    ) throws -> Answer {
        let lines = ["Host": "rooms.example:8080"].merging(fields) { $1 }.map { "\r\n\($0.key): \($0.value)" }.joined()
        let request = try #require(RequestHead("\(method) \(path) HTTP/1.1\(lines)".utf8))
        var status = ServerStatus(rooms: 0, participants: 0, connections: 0, retryAfter: nil)
        status.servesPage = servesPage
        return try #require(Answer(HTTPResponse(to: request, status).bytes))
    }

    private static let folder = URL(filePath: #filePath).appending(path: "../../../Sources/RoomPage").standardized

    private static func filesOnDisk() throws -> [String: Data] {
        var files: [String: Data] = [:]
        for part in ["Client", "Page"] {
            let root = folder.appending(path: part)
            guard FileManager.default.fileExists(atPath: root.path) else { continue }
            for file in try FileManager.default.contentsOfDirectory(at: root, includingPropertiesForKeys: nil) {
                files["\(part.lowercased())/\(file.lastPathComponent)"] = try Data(contentsOf: file)
            }
        }
        return files
    }

    /// A new file is listed in CRoomPage.c, too.
    @Test func builtInFilesAreThoseOfTheFolders() throws {
        let files = try Self.filesOnDisk()
        #expect(PageFile.all.keys.sorted() == files.keys.sorted())
        for entry in UnsafeBufferPointer(start: CRoomPage_files(), count: CRoomPage_count) {
            let path = String(cString: entry.path)
            let content = Data(bytes: entry.bytes, count: entry.count)
            #expect(content == files[path], "\(path) has changed since the build")
        }
    }

    @Test func entriesAreServedWithWhatTheyImport() throws {
        for path in PageFile.entries {
            let module = String(decoding: try #require(PageFile.all[path]).plain.bytes, as: UTF8.self)
            #expect(module.contains("\nconst $2 = (() => {\n"), "\(path) is no bundle")
            #expect(!module.contains(/\n(import|export) [^\n]*"\.\//), "\(path) imports from its folder")
        }
        let client = String(decoding: try #require(PageFile.all["client/room.js"]).plain.bytes, as: UTF8.self)
        #expect(client.hasPrefix("//# allFunctionsCalledOnLoad\n"))
        #expect(client.contains(/\nexport const \{[^}]* TransportRuntime[ ,]/))
    }

    @Test func bundleRunsModulesBehindThoseThatTheyImport() {
        let sources = [
            "a/main.js": """
            import { x } from "../other/x.js";
            import { one, two as zwei } from "./b.js";
            import {
            three,
            } from "./c.js";
            export class Main { sum() { return x + one + zwei + three; } }
            export { one };
            """,
            "a/b.js":
                "import { three } from \"./c.js\";\nexport const one = 1;\nexport function two() { return three; }\n",
            "a/c.js": "//# forTheBrowser\nexport const three = 3;",
        ]
        #expect(
            ModuleBundle.make("a/main.js", sources) == """
                //# forTheBrowser
                import { x } from "../other/x.js";
                const $1 = (() => {
                const three = 3;
                return { three };
                })();
                const $2 = (() => {
                const { three } = $1;
                const one = 1;
                function two() { return three; }

                return { one, two };
                })();
                const $3 = (() => {
                const { one, two: zwei } = $2;
                const { three } = $1;
                class Main { sum() { return x + one + zwei + three; } }
                return { Main, one };
                })();
                export const { Main, one } = $3;

                """)
    }

    @Test(arguments: [
        "export default 1;", "export * from \"./b.js\";", "export let a = 1;", "export { a as b };",
        "import a from \"./b.js\";", "import { a } from \"./missing.js\";", "import { a } from \"./main.js\";",
        "export { a } from \"./b.js\";", "export const { a } = b;",
    ])
    func moduleOfAnotherFormIsNotBundled(_ source: String) {
        #expect(ModuleBundle.make("a/main.js", ["a/main.js": source, "a/b.js": "export const a = 1;"]) == nil)
    }

    @Test func modulesAreSentWithoutComments() {
        let module = """
            //# forTheBrowser
            /** A module. */
            import { a } from "./a.js";

            /**
             * Says `hello`.
             * @param {number} x
             */
            export function f(x) {
                // A line.
                const y = x /* inside */ * 2; // behind
                /** @type {number} */ (y);
                return `one
                // two ${y}
                   three`;
            }
            """
        let sent = """
            //# forTheBrowser
            import { a } from "./a.js";
            export function f(x) {
            const y = x /* inside */ * 2; // behind
            /** @type {number} */ (y);
            return `one
                // two ${y}
                   three`;
            }

            """
        #expect(String(decoding: PageFile.withoutComments(Array(module.utf8)), as: UTF8.self) == sent)
    }

    @Test func compressedFormExpandsToTheFile() throws {
        for file in PageFile.all.values {
            guard let compressed = file.compressed else { continue }
            #expect(compressed.bytes.count < file.plain.bytes.count)
            #expect(compressed.tag != file.plain.tag)
            let capacity = file.plain.bytes.count
            let expanded = [UInt8](unsafeUninitializedCapacity: capacity) { buffer, count in
                count = CZlib_gunzip(compressed.bytes, compressed.bytes.count, buffer.baseAddress, capacity)
            }
            #expect(expanded == file.plain.bytes)
        }
    }

    /// The files that a browser loads at first, without those that it may ask for later.
    @Test func firstLoadIsSmall() {
        let first = ["page/index.html", "page/page.css", "page/icon.svg", "page/page.js", "client/room.js"]
        let files = first.compactMap { PageFile.all[$0] }
        #expect(files.count == first.count)
        let bytes = files.map { ($0.compressed ?? $0.plain).bytes.count }.reduce(0, +)
        #expect(bytes <= 100_000, "\(bytes)")
    }

    @Test(arguments: [
        ("/", "text/html; charset=utf-8"), ("/lobby", "text/html; charset=utf-8"),
        ("/caf%C3%A9?x=1", "text/html; charset=utf-8"), ("/page/page.css", "text/css; charset=utf-8"),
        ("/page/page.js?v=2", "text/javascript; charset=utf-8"),
    ])
    func filesAreServedWithTheirType(_ path: String, _ type: String) throws {
        let answer = try answer(path)
        #expect(answer.status == "200")
        #expect(answer.fields["content-type"] == type)
        #expect(answer.fields["content-length"] == "\(answer.body.count)")
        #expect(answer.fields["cache-control"] == "no-cache")
        #expect(answer.fields["x-content-type-options"] == "nosniff")
        #expect(answer.fields["referrer-policy"] == "no-referrer")
        #expect(answer.fields["vary"] == "Accept-Encoding")
        #expect(answer.fields["content-encoding"] == nil)
    }

    @Test(arguments: [
        "/favicon.ico", "/robots.txt", "/page/", "/page/nothing.js", "/page/../page/page.js", "/lobby/", "//", "/a/b",
        "/client", "/client/", "/%2e%2e/etc/passwd",
    ])
    func otherPathsAreNotFound(_ path: String) throws {
        // `/client` is a room of that name.
        #expect(try answer(path).status == (path == "/client" ? "200" : "404"))
    }

    @Test func withoutThePagePathsAreAsBefore() throws {
        #expect(try answer("/", servesPage: false).status == "426")
        #expect(try answer("/lobby", servesPage: false).status == "404")
        #expect(try answer("/page/page.js", servesPage: false).status == "404")
    }

    @Test func healthIsNoRoom() throws {
        #expect(try answer("/health").fields["content-type"] == "application/json")
    }

    @Test func headHasTheFieldsOfGetAndNoBody() throws {
        let get = try answer("/page/page.js", fields: ["Accept-Encoding": "gzip"])
        let head = try answer("/page/page.js", "HEAD", fields: ["Accept-Encoding": "gzip"])
        #expect(head.status == "200" && head.body.isEmpty && head.fields == get.fields)
        let health = try answer("/health", "HEAD")
        #expect(health.body.isEmpty && health.fields["content-length"] != "0")
    }

    @Test(arguments: [
        ("gzip", true), ("deflate, gzip;q=0.5, br", true), ("GZIP", true), ("", false), ("br", false),
        ("gzip;q=0", false), ("gzip; q=0.000", false), ("xgzip", false),
    ])
    func bodyIsCompressedForThoseThatAcceptIt(_ encodings: String, _ isCompressed: Bool) throws {
        let answer = try answer("/page/page.js", fields: ["Accept-Encoding": encodings])
        #expect(answer.fields["content-encoding"] == (isCompressed ? "gzip" : nil))
        #expect(answer.body.starts(with: [0x1F, 0x8B]) == isCompressed)
    }

    @Test func unchangedFileIsNotSentAgain() throws {
        let tag = try #require(try answer("/").fields["etag"])
        for value in [tag, "\"x\", \(tag)", "W/\(tag)", "*"] {
            let again = try answer("/", fields: ["If-None-Match": value])
            #expect(again.status == "304" && again.body.isEmpty && again.fields["etag"] == tag)
            #expect(again.fields["content-length"] == nil && again.fields["content-security-policy"] != nil)
        }
        #expect(try answer("/", fields: ["If-None-Match": "\"x\""]).status == "200")
        // The tag of one encoding is none of the other.
        #expect(try answer("/", fields: ["If-None-Match": tag, "Accept-Encoding": "gzip"]).status == "200")
    }

    @Test(arguments: [
        ("rooms.example:8080", "connect-src 'self' ws://rooms.example:8080 wss://rooms.example:8080;"),
        ("[::1]:80", "connect-src 'self' ws://[::1]:80 wss://[::1]:80;"),
        ("x; script-src *", "connect-src 'self';"), ("x y", "connect-src 'self';"), ("*", "connect-src 'self';"),
    ])
    func policyAllowsThisServerOnly(_ host: String, _ connections: String) throws {
        let policy = try #require(try answer("/", fields: ["Host": host]).fields["content-security-policy"])
        #expect(policy.hasPrefix("default-src 'none'; script-src 'self'; style-src 'self'; "))
        #expect(policy.contains(connections))
    }

    @Test func connectionServesSeveralFilesAndThenAWebSocket() async throws {
        try await withServer {
            $0.servesPage = true
        } _: { server in
            let client = try await TestClient.dial(server)
            let get = "GET /page/page.css HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\n\r\n"
            // Two at once, one behind them, then the upgrade on a path that has a file.
            try await client.send(raw: get + get)
            for _ in 0..<2 { #expect(try #require(await client.head()).hasPrefix("HTTP/1.1 304 ")) }
            try await client.send(raw: get)
            let head = try #require(await client.head())
            #expect(head.hasPrefix("HTTP/1.1 304 ") && !head.contains("Connection: close"))
            try await client.send(raw: TestClient.handshake.replacing("/any/path?x=1", with: "/page/page.css"))
            #expect(try #require(await client.head()).hasPrefix("HTTP/1.1 101 "))
            try await client.say(.hello(Hello(room: RoomName("lobby"), role: .host, name: "ann")))
            guard case .joined = try await client.next() else {
                Issue.record("not joined")
                return
            }
        }
    }

    @Test(arguments: [
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
        "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ])
    func connectionClosesWhereItMust(_ request: String) async throws {
        try await withServer {
            $0.servesPage = true
        } _: { server in
            let client = try await TestClient.dial(server)
            try await client.send(raw: request)
            let head = try #require(await client.head())
            #expect(head.hasPrefix("HTTP/1.1 200 ") && head.contains("\r\nConnection: close"))
            #expect(await client.rest().hasSuffix("</html>\n"))
        }
    }

    @Test func idleConnectionIsClosedInTime() async throws {
        try await withServer {
            $0.servesPage = true
            $0.limits.handshakeTimeout = .milliseconds(500)
        } _: { server in
            let client = try await TestClient.dial(server)
            try await client.send(raw: "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(try #require(await client.head()).hasPrefix("HTTP/1.1 200 "))
            #expect(await client.isClosedByServer())
        }
    }

    @Test func clientThatAsksWithoutReadingIsCutOff() async throws {
        try await withServer {
            $0.servesPage = true
        } _: { server in
            let client = try await TestClient.dial(server, receiveBuffer: 4096)
            try await client.stopReading()
            let get = Array("GET /page/page.js HTTP/1.1\r\nHost: x\r\n\r\n".utf8)
            // Far more than the buffers of both kernels and of the server.
            await #expect(throws: (any Error).self) {
                for _ in 0..<100_000 { try await client.send(get) }
            }
        }
    }
}
