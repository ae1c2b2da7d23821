import Testing
import TransportPluginAPI

@testable import SignalingFoundation

@Suite struct CodecTests {
    // MARK: Heads

    private func head(_ text: String, step: Int = .max) -> (HTTPAnswer.Buffer.Progress, rest: [UInt8]) {
        var buffer = HTTPAnswer.Buffer()
        let bytes = Array(text.utf8)
        var progress = HTTPAnswer.Buffer.Progress.incomplete
        var index = 0
        while index < bytes.count {
            let end = step > bytes.count - index ? bytes.count : index + step
            let left = bytes[index..<end].withUnsafeBytes { piece in
                var input = piece
                progress = buffer.take(&input)
                return input.count
            }
            guard case .incomplete = progress else { return (progress, Array(bytes[(end - left)...])) }
            index = end
        }
        return (progress, [])
    }

    @Test(arguments: [1, 5, Int.max]) func whatFollowsTheHeadIsLeft(_ step: Int) {
        let text = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nX: \t a b \t\r\nx:c\r\n\r\n"
        let (progress, rest) = head(text + "\u{1}\r\n\r\n", step: step)
        guard case .complete(let head) = progress else {
            Issue.record("\(progress)")
            return
        }
        #expect(head.status == 101)
        #expect(head.values("upgrade") == ["websocket"])
        #expect(head.values("x") == ["a b", "c"])
        #expect(rest == Array("\u{1}\r\n\r\n".utf8))
    }

    @Test(
        arguments: [
            "SSH-2.0-x\r\n\r\n", "HTTP/2 200\r\n\r\n", "HTTP/1.1 99 x\r\n\r\n", "HTTP/1.1 1o1 x\r\n\r\n",
            "HTTP/1.1 1011\r\n\r\n", "HTTP/1.1\r\n\r\n", "HTTP/1.1 101 x\r\nname\r\n\r\n",
            "HTTP/1.1 101 x\r\n: v\r\n\r\n",
            "HTTP/1.1 101 x\r\na b: v\r\n\r\n", "HTTP/1.1 101 x\r\na : v\r\n\r\n",
            "HTTP/1.1 101 x\r\na: v\r\n folded\r\n\r\n",
            "HTTP/1.1 101 x\r\na: \u{1}\r\n\r\n",
            "HTTP/1.1 101 x\r\n" + String(repeating: "a: b\r\n", count: 101) + "\r\n",
            "HTTP/1.1 101 x\r\na: " + String(repeating: "b", count: 17_000) + "\r\n\r\n", "\r\n\r\n", "H\n\n",
        ])
    func whatIsNoHeadIsRefused(_ text: String) {
        guard case .invalid = head(text).0 else {
            Issue.record("\(head(text).0)")
            return
        }
    }

    @Test func aWrongBeginningIsNoticedAtOnce() {
        guard case .invalid = head("S").0 else {
            Issue.record("'S' may begin no answer")
            return
        }
    }

    // MARK: The handshake

    private func endpoint(_ change: (inout SignalingEndpoint) -> Void = { _ in }) throws -> SignalingEndpoint {
        var endpoint = try SignalingEndpoint(url: "ws://example.org:8080/room?x=1")
        change(&endpoint)
        return endpoint
    }

    private func error(
        _ endpoint: SignalingEndpoint, status: Int = 101, accept: String? = nil, _ fields: [String]
    ) throws -> TransportError? {
        let handshake = Handshake(endpoint, nonce: Array("the sample nonce".utf8))
        let lines =
            ["HTTP/1.1 \(status) x", "Sec-WebSocket-Accept: \(accept ?? "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")"] + fields
        let head = try #require(HTTPAnswer(Array(lines.joined(separator: "\r\n").utf8)))
        return handshake.error(in: head)
    }

    private let good = ["Upgrade: WebSocket", "Connection: keep-alive, Upgrade"]

    @Test func theRequestIsThatOfTheStandard() throws {
        let endpoint = try endpoint {
            $0.headers = [("Authorization", "Bearer x")]
            $0.subprotocols = ["a", "b"]
        }
        let request = String(
            decoding: Handshake(endpoint, nonce: Array("the sample nonce".utf8)).request, as: UTF8.self)
        #expect(
            request
                == "GET /room?x=1 HTTP/1.1\r\nHost: example.org:8080\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
                + "Sec-WebSocket-Protocol: a, b\r\nAuthorization: Bearer x\r\n\r\n")
    }

    @Test func theUsualPortIsNotPartOfTheHost() throws {
        for url in ["ws://h/", "ws://h:80/", "wss://h:443/"] {
            let request = Handshake(try SignalingEndpoint(url: url), nonce: []).request
            #expect(String(decoding: request, as: UTF8.self).contains("\r\nHost: h\r\n"))
        }
        let request = Handshake(try SignalingEndpoint(url: "wss://[::1]:80/"), nonce: []).request
        #expect(String(decoding: request, as: UTF8.self).contains("\r\nHost: [::1]:80\r\n"))
    }

    @Test func aRightAnswerOpens() throws {
        #expect(try error(try endpoint(), good) == nil)
        #expect(
            try error(try endpoint { $0.subprotocols = ["a", "b"] }, good + ["Sec-WebSocket-Protocol: b"]) == nil)
    }

    @Test func aWrongAnswerIsNone() throws {
        let plain = try endpoint()
        #expect(try error(plain, ["Upgrade: websocket"])?.code == .handshakeFailed)
        #expect(try error(plain, ["Connection: upgrade"])?.code == .handshakeFailed)
        #expect(try error(plain, ["Upgrade: websocket, x", "Connection: upgrade"])?.code == .handshakeFailed)
        #expect(try error(plain, accept: "S3pPLMBiTxaQ9kYGzzhZRbK+xOo=", good)?.code == .handshakeFailed)
        #expect(try error(plain, good + ["Sec-WebSocket-Accept: x"])?.code == .handshakeFailed)
        #expect(
            try error(plain, good + ["Sec-WebSocket-Extensions: permessage-deflate"])?.code == .handshakeFailed)
        #expect(try error(plain, good + ["Sec-WebSocket-Protocol: a"])?.code == .handshakeFailed)
        let choosy = try endpoint { $0.subprotocols = ["a", "b"] }
        #expect(try error(choosy, good)?.code == .handshakeFailed)
        #expect(try error(choosy, good + ["Sec-WebSocket-Protocol: A"])?.code == .handshakeFailed)
        #expect(
            try error(choosy, good + ["Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: b"])?.code
                == .handshakeFailed)
    }

    @Test func anotherStatusIsARefusal() throws {
        let busy = try error(try endpoint(), status: 503, ["Retry-After: 7"])
        #expect(busy?.code == .refused && busy?.status == 503 && busy?.retryAfter == .seconds(7))
        #expect(busy?.isRetriable == true)
        let forbidden = try error(try endpoint(), status: 403, ["Retry-After: soon"])
        #expect(forbidden?.status == 403 && forbidden?.retryAfter == nil && forbidden?.isRetriable == false)
    }
}
