import Testing
import WebSocketWire

@Suite struct HandshakeTests {
    // MARK: The client's part

    private func handshake(_ subprotocols: [String] = []) -> ClientHandshake {
        ClientHandshake(
            host: "example.org:8080", target: "/room?x=1", subprotocols: subprotocols,
            headers: [("Authorization", "Bearer x")], nonce: Array("the sample nonce".utf8))
    }

    private func objection(
        to fields: [String], offering subprotocols: [String] = [], accept: String? = nil
    ) throws -> ClientHandshake.Objection? {
        let lines =
            ["HTTP/1.1 101 x", "Sec-WebSocket-Accept: \(accept ?? "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")"] + fields
        let head = try #require(ResponseHead(lines.joined(separator: "\r\n").utf8))
        return handshake(subprotocols).objection(to: head)
    }

    private let good = ["Upgrade: WebSocket", "Connection: keep-alive, Upgrade"]

    @Test func theRequestIsThatOfTheStandard() {
        #expect(
            String(decoding: handshake(["a", "b"]).request, as: UTF8.self)
                == "GET /room?x=1 HTTP/1.1\r\nHost: example.org:8080\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
                + "Sec-WebSocket-Protocol: a, b\r\nAuthorization: Bearer x\r\n\r\n")
    }

    @Test func aRightAnswerOpens() throws {
        #expect(try objection(to: good) == nil)
        #expect(try objection(to: good + ["Sec-WebSocket-Protocol: b"], offering: ["a", "b"]) == nil)
    }

    @Test func aWrongAnswerIsNone() throws {
        #expect(try objection(to: ["Upgrade: websocket"]) == .noConnectionUpgrade)
        #expect(try objection(to: ["Connection: upgrade"]) == .noUpgrade)
        #expect(try objection(to: ["Upgrade: websocket, x", "Connection: upgrade"]) == .noUpgrade)
        #expect(try objection(to: good, accept: "S3pPLMBiTxaQ9kYGzzhZRbK+xOo=") == .wrongAccept)
        #expect(try objection(to: good + ["Sec-WebSocket-Accept: x"]) == .wrongAccept)
        #expect(try objection(to: good + ["Sec-WebSocket-Extensions: permessage-deflate"]) == .unwantedExtension)
        #expect(try objection(to: good + ["Sec-WebSocket-Protocol: a"]) == .unwantedSubprotocol)
        let missing = ClientHandshake.Objection.noSubprotocol(offered: ["a", "b"])
        #expect(try objection(to: good, offering: ["a", "b"]) == missing)
        #expect(try objection(to: good + ["Sec-WebSocket-Protocol: A"], offering: ["a", "b"]) == missing)
        #expect(
            try objection(
                to: good + ["Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: b"], offering: ["a", "b"]) == missing)
    }

    // MARK: The server's part

    private func request(_ change: (String) -> String = { $0 }) throws -> RequestHead {
        let text = String(decoding: handshake(["Other", "room.v1"]).request, as: UTF8.self)
        return try #require(RequestHead(change(text).utf8.dropLast(4)))
    }

    private func refusal(_ change: (String) -> String) throws -> ServerHandshake.Objection? {
        let request = try request(change)
        do throws(ServerHandshake.Objection) {
            _ = try ServerHandshake(request)
            return nil
        } catch { return error }
    }

    @Test func aRightRequestIsAnswered() throws {
        let request = try request()
        #expect(ServerHandshake.isWanted(by: request))
        let handshake = try ServerHandshake(request)
        #expect(handshake.subprotocols == ["other", "room.v1"])
        let fields = handshake.fields(subprotocol: "room.v1").map { "\($0.name): \($0.value)" }
        #expect(
            fields == [
                "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
                "Sec-WebSocket-Protocol: room.v1",
            ])
        #expect(handshake.fields().count == 3)
        // The client takes it.
        let answer = "HTTP/1.1 101 Switching Protocols\r\n" + fields.joined(separator: "\r\n")
        let head = try #require(ResponseHead(answer.utf8))
        #expect(self.handshake(["Other", "room.v1"]).objection(to: head) == nil)
    }

    @Test(arguments: [
        ("HTTP/1.1", "HTTP/1.0"), ("GET", "POST"), ("Upgrade: websocket", "Upgrade: h2c"),
        ("Connection: Upgrade", "A: b"),
        ("Host:", "Ghost:"), ("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="), ("dGhlIHNhbXBsZSBub25jZQ==", "x"),
        ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
    ])
    func anIncompleteRequestIsRefused(_ part: String, _ other: String) throws {
        #expect(try refusal { $0.replacing(part, with: other) } == .incomplete)
    }

    @Test func anotherVersionIsRefused() throws {
        #expect(try refusal { $0.replacing("Version: 13", with: "Version: 8") } == .wrongVersion)
        #expect(try refusal { $0.replacing("Version: 13", with: "Version: 13\r\nX: y") } == nil)
    }
}
