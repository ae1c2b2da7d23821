import RoomProtocol
import RoomServer
import Testing

@Suite("WebSocket over real sockets", .timeLimit(.minutes(1)))
struct WebSocketTests {
    /// Checks that the server closes the connection with this code, and that others still get in.
    private func expectClosed(_ client: TestClient, by server: RoomServer, _ code: UInt16) async throws {
        let received = await client.closeCode()
        #expect(received == code)
        #expect(await client.isClosedByServer())
        let other = try await TestClient.join(server, "ann", .host)
        try await other.abort()
    }

    @Test(arguments: [
        ("reserved bit", TestClient.frame(1, Array("{}".utf8), reserved: 4), 1002),
        ("reserved opcode", TestClient.frame(3, []), 1002),
        ("reserved control opcode", TestClient.frame(11, []), 1002),
        ("no mask", TestClient.frame(1, Array("{}".utf8), isMasked: false), 1002),
        ("fragmented ping", TestClient.frame(9, [], isFinal: false), 1002),
        ("long ping", TestClient.frame(9, [UInt8](repeating: 0, count: 126)), 1002),
        ("continuation of nothing", TestClient.frame(0, []), 1002),
        ("not UTF-8", TestClient.frame(1, [0xC0, 0x80]), 1007),
        ("binary", TestClient.frame(2, [1]), 1003),
        ("garbage", [UInt8](repeating: 0xFF, count: 300), 1002),
        ("oversized", [0x81, 0xFF, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0, 0], 1009),
        ("absurdly oversized", [0x81, 0xFF, 0x7F, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 1009),
    ])
    func frameThatBreaksTheRulesEndsTheConnectionWithItsCode(
        _ what: String, _ bytes: [UInt8], _ code: UInt16
    ) async throws {
        try await withServer { server in
            let client = try await TestClient.open(server)
            try await client.send(bytes)
            try await expectClosed(client, by: server, code)
        }
    }

    @Test func fragmentedTextWithACharacterSplitAcrossFramesIsOneMessage() async throws {
        try await withServer { server in
            let client = try await TestClient.open(server)
            let hello = Hello(room: RoomName("räum 😀"), role: .host, name: "ann")
            let bytes = RoomProtocolCodec.encode(Envelope(.hello(hello)))
            let cut = try #require(bytes.firstIndex(of: 0xF0)) + 2
            try await client.send(TestClient.frame(1, Array(bytes[..<cut]), isFinal: false))
            try await client.send(TestClient.frame(9, Array("between".utf8)))
            try await client.send(TestClient.frame(0, [], isFinal: false))
            try await client.send(TestClient.frame(0, Array(bytes[cut...])))
            #expect(await client.nextFrame() == TestClient.Frame(opcode: 10, payload: Array("between".utf8)))
            guard case .joined = try await client.next() else {
                Issue.record("not joined")
                return
            }
        }
    }

    /// Pings, pongs and fragments all count, and bytes after the end are not read for long.
    @Test(
        arguments: [
            ("pings", TestClient.frame(9, []), nil), ("pongs", TestClient.frame(10, []), nil),
            ("fragments", TestClient.frame(0, [0x20], isFinal: false), nil),
            ("empty fragments", TestClient.frame(0, [], isFinal: false), 1008),
        ] as [(String, [UInt8], UInt16?)])
    func endlessFramesEndTheConnection(_ what: String, _ frame: [UInt8], _ code: UInt16?) async throws {
        try await withServer {
            $0.limits.closeTimeout = .seconds(3600)
        } _: { server in
            let client = try await TestClient.join(server, "ann", .host)
            if what.hasSuffix("fragments") { try await client.send(TestClient.frame(1, [0x20], isFinal: false)) }
            try await client.send(Array(repeatElement(frame, count: 2000).joined()))
            try await expectClosed(client, by: server, code ?? CloseCode.refused.rawValue)
        }
    }

    @Test func closeHandshakeIsAnsweredWithTheSameCode() async throws {
        try await withServer { server in
            let client = try await TestClient.open(server)
            try await client.send(TestClient.frame(8, [0x0F, 0xA0]))
            #expect(await client.closeCode() == 4000)
            #expect(await client.isClosedByServer())
        }
    }

    @Test func messageThatIsNoneGetsATypedErrorAndIsDropped() async throws {
        try await withServer { server in
            let client = try await TestClient.join(server, "ann", .host)
            try await client.send(text: "{nonsense")
            guard case .error(let error) = try await client.next() else {
                Issue.record("no error")
                return
            }
            #expect(error.code == .malformed && error.isFatal)
            #expect(await client.closeCode() == CloseCode.refused.rawValue)
        }
    }

    @Test func unknownTypeIsAnsweredAndTheConnectionGoesOn() async throws {
        try await withServer { server in
            let client = try await TestClient.join(server, "ann", .host)
            try await client.send(text: #"{"type":"fromTheFuture","seq":1}"#)
            guard case .error(let error) = try await client.next() else {
                Issue.record("no error")
                return
            }
            #expect(error.code == .unknownType && !error.isFatal && error.sequence == 1)
            client.nextSequence = 2
            try await client.sayNumbered(.update(metadata: [:]))
            try await client.say(.leave)
            #expect(await client.closeCode() == 1000)
        }
    }
}
