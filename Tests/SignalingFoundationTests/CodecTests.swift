import Testing
import TransportPluginAPI

@testable import SignalingFoundation

@Suite struct CodecTests {
    // MARK: SHA-1, base64, the proof

    /// FIPS 180-4's examples, and lengths around the padding's borders.
    @Test(
        arguments: [
            ("", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
            ("abc", "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (
                "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "84983e441c3bd26ebaae4aa1f95129e5e54670f1"
            ),
            (String(repeating: "a", count: 55), "c1c8bbdc22796e28c0e15163d20899b65621d65a"),
            (String(repeating: "a", count: 56), "c2db330f6083854c99d4b5bfb6e8f29f201be699"),
            (String(repeating: "a", count: 64), "0098ba824b5c16427bd7a1122a5a442a25ec644d"),
            (String(repeating: "a", count: 1_000_000), "34aa973cd4c4daa4f61eeb2bdbad27316534016f"),
        ])
    func digestsAreThoseOfTheStandard(_ message: String, _ digest: String) {
        let bytes = SHA1.digest(of: message.utf8)
        #expect(bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() == digest)
    }

    /// RFC 4648 §10.
    @Test(arguments: [
        ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="),
    ])
    func base64IsThatOfTheStandard(_ text: String, _ encoded: String) { #expect(base64(Array(text.utf8)) == encoded) }

    /// RFC 6455 §1.3.
    @Test func theProofIsThatOfTheStandard() {
        #expect(Handshake.accept("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    }

    // MARK: Frames

    private func unmasked(_ bytes: [UInt8]) -> (opcode: UInt8, payload: [UInt8])? {
        guard bytes.count >= 6, bytes[0] & 0xF0 == 0x80, bytes[1] & 0x80 != 0 else { return nil }
        var length = Int(bytes[1] & 0x7F)
        var index = 2
        for _ in 0..<(length == 126 ? 2 : length == 127 ? 8 : 0) {
            length = index == 2 ? Int(bytes[index]) : length << 8 | Int(bytes[index])
            index += 1
        }
        let key = bytes[index..<(index + 4)]
        let payload = bytes[(index + 4)...]
        guard payload.count == length else { return nil }
        return (
            bytes[0] & 0x0F, payload.enumerated().map { $0.element ^ key[key.startIndex + $0.offset & 3] }
        )
    }

    @Test(arguments: [0, 1, 5, 8, 125, 126, 127, 65_535, 65_536, 70_001], [1, 3, 4, 7, 64, 1 << 20])
    func aFrameMaskedInPartsIsWhatItWas(_ length: Int, _ part: Int) {
        let payload = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let key: UInt32 = 0xA1B2_C3D4
        let frame = [UInt8](unsafeUninitializedCapacity: length + FrameEncoder.maximumHeader) { buffer, count in
            let target = UnsafeMutableRawPointer(buffer.baseAddress!)
            count = FrameEncoder.writeHeader(.binary, length: length, key: key, to: target)
            payload.withUnsafeBytes { bytes in
                for start in stride(from: 0, to: length, by: part) {
                    let end = min(length, start + part)
                    FrameEncoder.mask(
                        UnsafeRawBufferPointer(rebasing: bytes[start..<end]), to: target + count, key: key,
                        offset: start)
                    count += end - start
                }
            }
        }
        let back = unmasked(frame)
        #expect(back?.opcode == 2)
        #expect(back?.payload == payload)
    }

    @Test func aControlFrameHoldsAtMost125Bytes() {
        let back = unmasked(FrameEncoder.control(.ping, [UInt8](repeating: 7, count: 300), key: 99))
        #expect(back?.opcode == 9)
        #expect(back?.payload == [UInt8](repeating: 7, count: 125))
    }

    @Test func aReasonIsCutAtACharactersBorder() {
        let close = SignalingClose(code: 4000, reason: String(repeating: "ä", count: 100))
        #expect(close.payload == Payload([0x0F, 0xA0] + Array(String(repeating: "ä", count: 61).utf8)))
        #expect(SignalingClose(code: 1005, reason: "x").payload.isEmpty)
    }

    @Test func masksAreNotTheSame() {
        var source = MaskSource()
        let keys = (0..<1000).map { _ in source.next() }
        #expect(Set(keys).count > 990)
    }

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
