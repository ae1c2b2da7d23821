internal import PeerWebRTC
internal import Testing
internal import TransportPluginAPI

@Suite(.timeLimit(.minutes(1)))
struct ConnectionTests {
    @Test func textBinaryEmptyAndLargeMessagesArriveUnchangedInBothDirections() async throws {
        let pair = try TestPair()
        let ids = try await pair.connect()
        let large = (0..<200_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        let bodies: [([UInt8], Bool)] = [
            (Array("häß".utf8), true), ([1, 2, 3], false), ([], true), ([], false), (large, false), ([0], false),
        ]
        try await pair.on { pair in
            for (bytes, isText) in bodies {
                try pair.a.connection.send(bytes, isText: isText, on: ids.a)
                try pair.b.connection.send(bytes, isText: isText, on: ids.b)
            }
        }
        for (peer, id) in [(pair.a, ids.a), (pair.b, ids.b)] {
            #expect(await peer.wait { $0.messages.count == bodies.count })
            let messages = try await pair.on { _ in peer.messages }
            #expect(messages == bodies.map { TestPeer.Message(bytes: $0.0, isText: $0.1, channel: id) })
        }
        await pair.end()
    }
}
