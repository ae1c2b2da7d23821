internal import Testing
internal import TransportPluginAPI

@testable internal import PeerWebRTC

/// Odd behaviour of another stack's channels costs one channel or one message, never the connection.
@Suite(.timeLimit(.minutes(1)))
struct OddPeerTests {
    /// Two ends with the channel `data`; afterwards it must still carry messages, both ways.
    private func afterwardsDataFlows(
        streams: Int = 256, _ body: (TestPair, _ ids: (a: ChannelID, b: ChannelID)) async throws -> Void
    ) async throws {
        try await withConnectedPair { pair, ids in
            try await body(pair, ids)
            try await pair.on { pair in
                try pair.a.connection.send([1, 2, 3], on: ids.a)
                try pair.b.connection.send([4, 5, 6], on: ids.b)
            }
            #expect(await pair.b.wait { $0.messages.contains { $0.channel == ids.b && $0.bytes == [1, 2, 3] } })
            #expect(await pair.a.wait { $0.messages.contains { $0.channel == ids.a && $0.bytes == [4, 5, 6] } })
            try await pair.on { pair in #expect(!pair.a.isClosed && !pair.b.isClosed) }
        }
    }

    @Test func messagesOnAStreamWithoutAChannelAreDropped() async throws {
        try await afterwardsDataFlows { pair, _ in
            try await pair.on { pair in
                for number in 0..<300 {
                    #expect(pair.a.sendRaw([UInt8](repeating: 0, count: 10_000), stream: 100 + UInt16(number % 9)))
                }
            }
        }
    }

    @Test(
        arguments: [
            [], [0], [7, 1, 2, 3], [3], [3, 0, 1, 0, 0, 0, 0, 0, 0, 9, 0, 0], [3, 9, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            [3, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0xFF],
        ] as [[UInt8]])
    func anOpenMessageThatCannotBeReadCostsItsStream(bytes: [UInt8]) async throws {
        try await afterwardsDataFlows { pair, _ in
            try await pair.on { pair in
                // SCTP has no empty messages.
                #expect(pair.a.sendRaw(bytes.isEmpty ? [0xFF] : bytes, stream: 100, DCEP.PayloadProtocol.control))
            }
        }
    }

    @Test func moreChannelsThanThereAreStreamsAreRefusedOneByOne() async throws {
        try await afterwardsDataFlows { pair, _ in
            try await pair.on { pair in
                var refused = 0
                for number in 0..<300 {
                    do { _ = try pair.a.connection.openChannel(ChannelParameters(label: "\(number)")) } catch {
                        refused += 1
                    }
                }
                #expect(refused == 300 - 127)
            }
            #expect(await pair.b.wait { $0.opened.count == 128 })
        }
    }

    @Test func anOpenMessageOnAStreamInUseIsNoChannel() async throws {
        try await afterwardsDataFlows { pair, _ in
            let before = try await pair.on { $0.b.opened.count }
            try await pair.on { pair in
                let stream = try #require(pair.a.connection.sctp.channels.table.slots[0].stream)
                let open = DCEP.encode(.open(ChannelParameters(label: "again")))
                #expect(pair.a.sendRaw(open, stream: stream, DCEP.PayloadProtocol.control))
                _ = try pair.a.connection.openChannel(ChannelParameters(label: "after"))
            }
            #expect(await pair.b.wait { $0.channel("after") != nil })
            #expect(try await pair.on { $0.b.opened.count } == before + 1)
        }
    }

    @Test func anUnknownPayloadProtocolIsPassedOver() async throws {
        try await afterwardsDataFlows { pair, _ in
            try await pair.on { pair in
                for kind in [0, 1, 52, 54, 99, .max] as [UInt32] { #expect(pair.a.sendRaw([1], stream: 0, kind)) }
            }
        }
    }

    /// With a stream of its own: the end of the one before may still be under way.
    @Test func aChannelThatIsOpenedAgainAtOnceIsAnotherOne() async throws {
        let pair = try TestPair()
        var ids = try await pair.connect()
        for round in 1...40 {
            let closing = round % 2 == 0 ? (pair.a, ids.a) : (pair.b, ids.b)
            let old = ids
            try await pair.on { _ in closing.0.connection.closeChannel(closing.1) }
            #expect(await pair.a.wait { $0.ended.contains(old.a) })
            try await pair.on { pair in _ = try pair.a.call { try $0.openChannel(ChannelParameters(label: "data")) } }
            #expect(await pair.b.wait { $0.channel("data") != old.b })
            #expect(await pair.a.wait { $0.channel("data") != old.a })
            ids = try await pair.on { (try #require($0.a.channel("data")), try #require($0.b.channel("data"))) }
            let current = ids
            try await pair.on { try $0.a.connection.send([UInt8(round)], on: current.a) }
            #expect(
                await pair.b.wait {
                    $0.messages.last?.channel == current.b && $0.messages.last?.bytes == [UInt8(round)]
                })
        }
        await pair.end()
    }
}

extension TestPeer {
    /// Sends past the channels, as a stack with other rules does. False: SCTP did not take it.
    fileprivate func sendRaw(
        _ bytes: [UInt8], stream: UInt16, _ kind: UInt32 = DCEP.PayloadProtocol.binary
    ) -> Bool {
        guard let association = connection.sctp.association else { return false }
        connection.core.stack.noteActivity()
        var delivery = SCTPDelivery(stream: stream)
        let result = bytes.withUnsafeBytes { association.send($0, &delivery, protocol: kind) }
        // A full buffer is no failure: there were enough of them.
        return result == .sent || result == .full
    }
}
