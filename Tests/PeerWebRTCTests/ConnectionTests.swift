internal import Logging
internal import PeerWebRTC
internal import Testing
internal import TransportPluginAPI

/// Messages, channels and ends of a connection over a path that works.
@Suite(.timeLimit(.minutes(1)))
struct ConnectionTests {
    @Test func textBinaryEmptyAndLargeMessagesArriveUnchangedInBothDirections() async throws {
        try await withConnectedPair { pair, ids in
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
            try await pair.on { pair in
                let statistics = pair.a.connection.statistics
                #expect(statistics.messagesSent == 6 && statistics.messagesReceived == 6)
                #expect(statistics.bytesSent == UInt64(bodies.reduce(0) { $0 + $1.0.count }))
                #expect(statistics.lastEvidence != nil && statistics.roundTrip != nil)
            }
        }
    }

    /// The offerer's first message leaves with the third packet of SCTP's handshake, a round trip before the fourth
    /// arrives.
    @Test func theFirstMessageDoesNotWaitForTheEndOfTheHandshake() async throws {
        let pair = try TestPair()
        try await pair.start { pair in
            let id = try pair.a.call { try $0.openChannel(ChannelParameters(label: "x")) }
            pair.a.onEvent = { [unowned pair] event in
                guard case .channelOpened = event else { return }
                #expect(!pair.a.isConnected)
                // The other side's INIT and INIT ACK still come through, and nothing after them.
                let agent = pair.network.agents.first { $0.isControlling }
                agent?.receiveLimit = (agent?.receivedCount ?? 0) + 2
                #expect(throws: Never.self) { try pair.a.connection.send([1, 2, 3], on: id) }
            }
        }
        #expect(await pair.b.wait { $0.messages.map(\.bytes) == [[1, 2, 3]] })
        #expect(await pair.a.wait { $0.isConnected })
        try await pair.on { pair in
            pair.a.onEvent = nil
            for agent in pair.network.agents { agent.receiveLimit = .max }
            if let id = pair.b.channel("x") { try pair.b.connection.send([4], on: id) }
        }
        #expect(await pair.a.wait { $0.messages.map(\.bytes) == [[4]] })
        await pair.end()
    }

    @Test func channelsOfBothSidesKeepTheirParameters() async throws {
        let pair = try TestPair()
        let early = [
            ChannelParameters(label: "plain"),
            ChannelParameters(label: "läbel", protocol: "v1", isOrdered: false),
            ChannelParameters(label: "rtx", isOrdered: false, reliability: .retransmissions(0)),
            ChannelParameters(label: "ttl", reliability: .lifetime(milliseconds: 250)),
        ]
        try await pair.start { pair in
            for parameters in early { _ = try pair.a.call { try $0.openChannel(parameters) } }
            _ = try pair.b.call { try $0.openChannel(ChannelParameters(label: "from b")) }
        }
        #expect(await pair.a.wait { $0.opened.count == 5 })
        #expect(await pair.b.wait { $0.opened.count == 5 })
        try await pair.on { pair in
            _ = try pair.b.call { try $0.openChannel(ChannelParameters(label: "late")) }
        }
        #expect(await pair.a.wait { $0.channel("late") != nil })
        try await pair.on { pair in
            #expect(pair.b.opened.filter(\.2).map(\.1) == early)
            #expect(pair.a.opened.filter(\.2).map(\.1.label) == ["from b", "late"])
            #expect(Set(pair.a.opened.map(\.0)).count == 6)
        }
        await pair.end()
    }

    @Test func bothSidesKnowBothCertificatesAndTheSameVerificationCode() async throws {
        let pair = try TestPair()
        try await pair.start { pair in
            #expect(pair.a.connection.security == nil, "nothing is known before the handshake")
            _ = try pair.a.call { try $0.openChannel(ChannelParameters(label: "x")) }
        }
        #expect(await pair.a.wait { $0.channel("x") != nil })
        #expect(await pair.b.wait { $0.channel("x") != nil })
        try await pair.on { pair in
            let a = try #require(pair.a.connection.security)
            let b = try #require(pair.b.connection.security)
            #expect(a.verificationCode == b.verificationCode)
            #expect(a.localFingerprint == b.remoteFingerprint && a.remoteFingerprint == b.localFingerprint)
        }
        await pair.end()
    }

    @Test func channelAgreedOnBeforehandNeedsNoOpenMessage() async throws {
        let pair = try TestPair()
        let parameters = ChannelParameters(label: "fixed", negotiatedID: 40)
        try await pair.start { pair in _ = try pair.a.call { try $0.openChannel(parameters) } }
        #expect(await pair.a.wait { $0.channel("fixed") != nil })
        #expect(await pair.b.wait { $0.isConnected })
        // What comes before this side opened the channel waits for it.
        try await pair.on { pair in
            try pair.a.connection.send([1], on: try #require(pair.a.channel("fixed")))
        }
        #expect(await pair.b.wait { ($0.connection.statistics.lastEvidence ?? .zero) > .zero })
        try await pair.on { pair in _ = try pair.b.call { try $0.openChannel(parameters) } }
        #expect(await pair.b.wait { $0.messages.count == 1 })
        try await pair.on { pair in
            #expect(pair.b.opened.count == 1 && !pair.b.opened[0].2)
            #expect(throws: TransportError.self) { try pair.a.connection.openChannel(parameters) }
        }
        await pair.end()
    }

    @Test func reliableChannelsLoseNothingOverALossyPath() async throws {
        try await withConnectedPair { pair, ids in
            try await pair.on { pair in
                pair.network.loss = 7
                for index in 0..<500 {
                    try pair.a.connection.send(Array("\(index)".utf8), isText: true, on: ids.a)
                }
            }
            #expect(await pair.b.wait { $0.messages.count == 500 })
            try await pair.on { pair in
                #expect(pair.b.messages.map { String(decoding: $0.bytes, as: UTF8.self) } == (0..<500).map { "\($0)" })
            }
        }
    }

    @Test func channelWithoutRetransmissionsLosesRatherThanDelays() async throws {
        let pair = try TestPair()
        let parameters = ChannelParameters(label: "lossy", isOrdered: false, reliability: .retransmissions(0))
        let ids = try await pair.connect(channel: parameters)
        try await pair.on { pair in
            // A signal, so that the acknowledgement of the channel's opening has come.
            try pair.b.connection.send([9], on: ids.b)
        }
        #expect(await pair.a.wait { $0.messages.count == 1 })
        try await pair.on { pair in
            pair.network.isDown = true
            for index in 0..<10 { try pair.a.connection.send([UInt8(index)], on: ids.a) }
        }
        // Turns later, what went out is lost for good.
        try await pair.on { pair in
            pair.network.isDown = false
            try pair.a.connection.send([100], on: ids.a)
        }
        #expect(await pair.b.wait { $0.messages.contains { $0.bytes == [100] } })
        try await pair.on { pair in
            #expect(pair.b.messages.count < 11)
        }
        await pair.end()
    }

    @Test func closedChannelEndsAtBothSidesAfterItsDataAndItsIDIsUsedAgain() async throws {
        try await withConnectedPair { pair, ids in
            for round in 0..<3 {
                let label = "round \(round)"
                try await pair.on { pair in
                    _ = try pair.a.call { try $0.openChannel(ChannelParameters(label: label)) }
                }
                #expect(await pair.b.wait { $0.channel(label) != nil })
                let id = try await pair.on { pair in
                    let id = try #require(pair.a.channel(label))
                    try pair.a.connection.send([UInt8](repeating: 7, count: 100_000), on: id)
                    try pair.a.call { $0.closeChannel(id) }
                    #expect(throws: TransportError.self) { try pair.a.connection.send([1], on: id) }
                    return id
                }
                #expect(await pair.a.wait { $0.ended.contains(id) })
                #expect(await pair.b.wait { $0.ended.count == round + 1 })
                try await pair.on { pair in
                    #expect(pair.b.messages.count == round + 1)
                    #expect(pair.a.opened.filter { $0.0 == id }.count == 1)
                }
            }
            // The first channel is as it was.
            try await pair.on { pair in try pair.b.connection.send([5], on: ids.b) }
            #expect(await pair.a.wait { $0.messages.count == 1 })
        }
    }

    @Test(arguments: [true, false]) func closeIsNoticedByTheOtherSide(offererCloses: Bool) async throws {
        try await withConnectedPair { pair, ids in
            // An answer says that the handshakes are over on both sides: what is sent from here on leaves at once.
            try await pair.on { pair in try pair.b.connection.send([0], on: ids.b) }
            #expect(await pair.a.wait { $0.messages.count == 1 })
            try await pair.on { pair in
                pair.a.messages = []
                let (closer, id) = offererCloses ? (pair.a, ids.a) : (pair.b, ids.b)
                try closer.connection.send([1, 2], on: id)
                try closer.call { $0.close() }
                try closer.call { $0.close() }
                #expect(throws: TransportError.self) { try closer.connection.send([1], on: id) }
            }
            for peer in [pair.a, pair.b] { #expect(await peer.wait { $0.isClosed }) }
            try await pair.on { pair in
                for peer in [pair.a, pair.b] {
                    guard case .some(.none) = peer.closing else {
                        Issue.record("closed with \(String(describing: peer.closing))")
                        continue
                    }
                }
                #expect((offererCloses ? pair.b : pair.a).messages.map(\.bytes) == [[1, 2]])
                #expect(pair.network.agents.isEmpty)
            }
        }
    }

    @Test func messagesBeyondTheOtherSidesLimitAreRefusedHere() async throws {
        let pair = try TestPair()
        var small = PeerConnectionConfiguration()
        small.maximumMessageSize = 1000
        let ids = try await pair.connect(PeerConnectionConfiguration(), other: small)
        try await pair.on { pair in
            #expect(pair.a.connection.maximumMessageSize == 1000)
            #expect(pair.b.connection.maximumMessageSize == 1000)
            do {
                try pair.a.connection.send([UInt8](repeating: 0, count: 1001), on: ids.a)
                Issue.record("it was taken")
            } catch let error as TransportError {
                #expect(error.code == .messageTooLarge)
            }
            try pair.a.connection.send([UInt8](repeating: 0, count: 1000), on: ids.a)
        }
        #expect(await pair.b.wait { $0.messages.count == 1 })
        await pair.end()
    }

    @Test(arguments: [1001, 300_000, 3_000_000])
    func messageBeyondThisSidesLimitCostsItsChannel(size: Int) async throws {
        let pair = try TestPair()
        var small = PeerConnectionConfiguration()
        small.maximumMessageSize = 1000
        var large = PeerConnectionConfiguration()
        large.maximumMessageSize = 4 << 20
        try await pair.on { pair in
            pair.b.alterDescription = { description in
                var description = description
                description.text = description.text.replacingOccurrence(
                    of: "max-message-size:1000", with: "max-message-size:0")
                return description
            }
        }
        let ids = try await pair.connect(large, other: small)
        try await pair.on { pair in
            _ = try pair.a.call { try $0.openChannel(ChannelParameters(label: "other")) }
            try pair.a.connection.send([UInt8](repeating: 0, count: size), on: ids.a)
        }
        #expect(await pair.b.wait { $0.ended == [ids.b] })
        #expect(await pair.a.wait { $0.ended == [ids.a] })
        #expect(await pair.b.wait { $0.channel("other") != nil })
        try await pair.on { pair in
            let other = try #require(pair.a.channel("other"))
            try pair.a.connection.send([1], on: other)
        }
        #expect(await pair.b.wait { $0.messages.map(\.bytes) == [[1]] })
        await pair.end()
    }

    @Test func messageOfSixteenMegabytesArrivesWhereBothSidesAllowIt() async throws {
        let pair = try TestPair()
        var configuration = PeerConnectionConfiguration()
        configuration.maximumMessageSize = 16 << 20
        let ids = try await pair.connect(configuration)
        try await pair.on { pair in
            try pair.a.connection.send([UInt8](repeating: 3, count: 16 << 20), on: ids.a)
        }
        #expect(await pair.b.wait(.seconds(50)) { $0.messages.count == 1 })
        try await pair.on { pair in #expect(pair.b.messages.map(\.bytes.count) == [16 << 20]) }
        await pair.end()
    }

    @Test func transportThatWasShutDownMakesNoConnections() async throws {
        let (pair, _) = try await TestPair.connected()
        await pair.end()
        await pair.end()
        try await pair.on { pair in
            #expect(pair.a.isClosed && pair.b.isClosed)
            #expect(throws: TransportError.self) {
                try pair.transport.makeConnection(PeerConnectionConfiguration(), handler: pair.a)
            }
        }
    }

    @Test func secondLoopForUsrsctpIsRefused() async throws {
        let pair = try TestPair()
        let other = try TransportLoop(name: "other")
        do {
            _ = try WebRTCTransport(
                provider: LoopbackProvider(network: TestNetwork()), loop: other, logger: Logger(label: "test"))
            Issue.record("it was accepted")
        } catch {
            #expect(error.code == .invalidState)
        }
        let shared = try WebRTCTransport(
            provider: LoopbackProvider(network: TestNetwork()), logger: Logger(label: "test"))
        #expect(shared.loop === pair.loop)
        await shared.shutdown()
        await other.shutdown()
        await pair.end()
    }

    @Test func manyConnectionsOpenAndCloseWithoutLeavingAnything() async throws {
        for _ in 0..<20 {
            let (pair, _) = try await TestPair.connected()
            try await pair.on { pair in pair.a.connection.close() }
            #expect(await pair.b.wait { $0.isClosed })
            let connections = try await pair.on { [pair] _ in
                WeakPair(a: pair.a.connection, b: pair.b.connection)
            }
            try await pair.on { pair in
                pair.a.connection = nil
                pair.b.connection = nil
            }
            try await pair.on { _ in
                #expect(connections.a == nil && connections.b == nil)
            }
            await pair.end()
        }
    }
}

private final class WeakPair: @unchecked Sendable {
    // SAFETY: touched on the loop of the test only.
    weak var a: WebRTCConnection?
    weak var b: WebRTCConnection?
    init(a: WebRTCConnection?, b: WebRTCConnection?) {
        self.a = a
        self.b = b
    }
}

extension String {
    func replacingOccurrence(of old: String, with new: String) -> String {
        guard let range = firstRange(of: old) else { return self }
        return replacingCharacters(in: range, with: new)
    }

    private func replacingCharacters(in range: Range<Index>, with new: String) -> String {
        var text = self
        text.replaceSubrange(range, with: new)
        return text
    }
}
