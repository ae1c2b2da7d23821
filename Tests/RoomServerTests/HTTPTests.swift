import Glibc
import RoomProtocol
import RoomServer
import Testing
import WebSocketWire

@testable import RoomServer

@Suite("HTTP", .timeLimit(.minutes(1)))
struct HTTPTests {
    @Test func healthTellsCounts() async throws {
        try await withServer { server in
            let ann = try await TestClient.join(server, "ann", .host)
            let client = try await TestClient.dial(server)
            try await client.send(raw: "GET /health?x HTTP/1.1\r\nHost: x\r\n\r\n")
            let head = try #require(await client.head())
            #expect(head.hasPrefix("HTTP/1.1 200 OK\r\n"))
            #expect(await client.rest() == #"{"status":"ok","rooms":1,"participants":1,"connections":1}"# + "\n")
            try await ann.abort()
        }
    }

    /// RFC 9110 §6.6.1: every answer of a server that has a clock carries `Date`, except perhaps 101.
    @Test(arguments: ["/health", "/", "/elsewhere"])
    func answersTellTheServersTime(_ path: String) async throws {
        try await withServer { server in
            let before = Int(time(nil))
            let client = try await TestClient.dial(server)
            try await client.send(raw: "GET \(path) HTTP/1.1\r\nHost: x\r\n\r\n")
            let head = try #require(await client.head())
            let dates = head.split(separator: "\r\n").filter { $0.hasPrefix("Date: ") }.map { $0.dropFirst(6) }
            #expect((before...Int(time(nil))).map(HTTPDate.text).contains { [$0[...]] == dates }, "\(head)")
        }
    }

    @Test(arguments: [
        ("GET /health HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        ("HEAD /health HTTP/1.0\r\n\r\n", 200),
        ("GET /elsewhere HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 426),
        ("POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", 405),
        ("NONSENSE\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", 400),
        ("GET / HTTP/2.0\r\nHost: x\r\n\r\n", 400),
        (TestClient.handshake.replacing("Version: 13", with: "Version: 8"), 426),
        (TestClient.handshake.replacing("dGhlIHNhbXBsZSBub25jZQ==", with: "c2hvcnQ="), 400),
        (TestClient.handshake.replacing("keep-alive, Upgrade", with: "close"), 400),
        (TestClient.handshake.replacing("HTTP/1.1", with: "HTTP/1.0"), 400),
        (TestClient.handshake.replacing("GET", with: "POST"), 405),
        (TestClient.handshake, 101),
        ("GET /" + String(repeating: "a", count: 20_000), 431),
    ])
    func requestIsAnsweredWithItsStatus(_ request: String, _ status: Int) async throws {
        try await withServer { server in
            let client = try await TestClient.dial(server)
            try await client.send(raw: request)
            let head = try #require(await client.head())
            #expect(head.hasPrefix("HTTP/1.1 \(status) "))
        }
    }

    @Test func requestMayComeByteByByteWithAMessageBehindIt() async throws {
        try await withServer { server in
            let client = try await TestClient.dial(server)
            let hello = Hello(room: RoomName("lobby"), role: .host, name: "ann")
            let bytes =
                Array(TestClient.handshake.utf8)
                + TestClient.frame(1, RoomProtocolCodec.encode(Envelope(.hello(hello))))
            for byte in bytes.prefix(200) { try await client.send([byte]) }
            try await client.send(Array(bytes.dropFirst(200)))
            #expect(try #require(await client.head()).hasPrefix("HTTP/1.1 101"))
            guard case .joined = try await client.next() else {
                Issue.record("not joined")
                return
            }
        }
    }

    @Test func subprotocolIsChosenWhereItIsOffered() {
        let status = ServerStatus(rooms: 0, participants: 0, connections: 0, retryAfter: nil)
        func answer(_ offer: String) -> [String] {
            let text = TestClient.handshake.dropLast(2) + "\r\nSec-WebSocket-Protocol: \(offer)"
            guard let request = RequestHead(text.utf8) else { return ["malformed"] }
            return HTTPResponse(to: request, status).headers.filter { $0.name == "Sec-WebSocket-Protocol" }.map(\.value)
        }
        #expect(answer("other, room.v1") == ["room.v1"])
        #expect(answer("other") == [])
    }

    @Test(
        arguments: [
            ([], true), (["https://example.org"], true), (["HTTPS://EXAMPLE.org:443"], true),
            (["http://[::1]:8080"], true),
            (["null"], false), (["https://evil.example"], false), (["http://example.org"], false),
            (["https://example.org:8443"], false), (["https://example.org.evil.example"], false), ([""], false),
            (["https://example.org", "https://example.org"], false),
            (["https://example.org, https://evil.example"], false),
        ] as [([String], Bool)])
    func onlyPagesOfAllowedOriginsMayConnect(_ origins: [String], _ isAllowed: Bool) async throws {
        try await withServer {
            $0.allowedOrigins = ["https://example.org/", "http://[::1]:8080"]
        } _: { server in
            let client = try await TestClient.dial(server)
            let lines = origins.map { "Origin: \($0)\r\n" }.joined()
            try await client.send(raw: TestClient.handshake.dropLast(1) + lines + "\r\n")
            #expect(try #require(await client.head()).hasPrefix(isAllowed ? "HTTP/1.1 101 " : "HTTP/1.1 403 "))
        }
    }

    @Test(arguments: ["example.org", "*", "https://", "https://*.example.org", "https://example.org/path", ""])
    func invalidOriginsAreRefusedAtTheStart(_ origin: String) {
        #expect(throws: RoomServerError.self) { try AllowedOrigins([origin]) }
    }

    @Test func fullServerSaysWhenToComeBack() async throws {
        try await withServer {
            $0.limits.connections = 1
        } _: { server in
            let first = try await TestClient.open(server)
            let second = try await TestClient.dial(server)
            try await second.send(raw: TestClient.handshake)
            let head = try #require(await second.head())
            #expect(head.hasPrefix("HTTP/1.1 503 ") && head.contains("\r\nRetry-After: 3\r\n"))
            try await first.abort()
        }
    }

    @Test func silentSocketIsClosedInTime() async throws {
        try await withServer {
            $0.limits.handshakeTimeout = .milliseconds(50)
        } _: { server in
            let client = try await TestClient.dial(server)
            #expect(await client.isClosedByServer())
        }
    }
}
