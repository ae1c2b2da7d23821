internal import Testing
internal import TransportPluginAPI

@testable internal import PeerWebRTC

/// Nothing is buffered without bound, in either direction.
@Suite(.timeLimit(.minutes(1)))
struct BackPressureTests {
    /// Sends until the connection says that it would block; returns how many messages were taken.
    private static func fill(_ peer: TestPeer, _ id: ChannelID, with message: [UInt8]) throws -> Int {
        var count = 0
        while true {
            do {
                try peer.connection.send(message, on: id)
                count += 1
            } catch let error as TransportError where error.code == .wouldBlock { return count }
        }
    }

    @Test(arguments: [1, 64, 20_000, 262_144]) func senderIsStoppedAtTheHighWaterMarkAndCalledAgain(size: Int)
        async throws
    {
        try await withConnectedPair { pair, ids in
            let message = [UInt8](repeating: 1, count: size)
            let taken = try await pair.on { pair in
                pair.network.isDown = true
                let taken = try Self.fill(pair.a, ids.a, with: message)
                let buffered = pair.a.connection.bufferedAmount(of: ids.a)
                #expect(buffered == taken * size)
                let mark = PeerConnectionConfiguration().sendHighWaterMark
                #expect(buffered < mark + size && (buffered >= mark || (16_384...16_640).contains(taken)))
                #expect(pair.a.writable.isEmpty)
                pair.network.isDown = false
                return taken
            }
            #expect(await pair.a.wait { $0.writable == [ids.a] })
            #expect(await pair.b.wait { $0.messages.count == taken })
            #expect(await pair.a.wait { $0.connection.bufferedAmount(of: ids.a) == 0 })
        }
    }

    @Test func fullChannelDoesNotStopAnother() async throws {
        try await withConnectedPair { pair, ids in
            try await pair.on { pair in _ = try pair.a.call { try $0.openChannel(ChannelParameters(label: "other")) } }
            #expect(await pair.b.wait { $0.channel("other") != nil })
            try await pair.on { pair in
                _ = try Self.fill(pair.a, ids.a, with: [UInt8](repeating: 1, count: 10_000))
                let other = try #require(pair.a.channel("other"))
                try pair.a.connection.send([1], on: other)
                #expect(pair.a.connection.bufferedAmount(of: other) == 1)
            }
            let other = try await pair.on { try #require($0.b.channel("other")) }
            #expect(await pair.b.wait { $0.messages.contains { $0.channel == other } })
        }
    }

    @Test func slowReaderStopsTheSenderAndLosesNothing() async throws {
        try await withConnectedPair { pair, ids in
            try await pair.on { pair in pair.b.connection.setReceiving(false, on: ids.b) }
            let message = [UInt8](repeating: 5, count: 10_000)
            let state = Counter()
            try await pair.on { pair in
                pair.a.onEvent = { event in
                    guard case .channelWritable = event, let count = try? Self.fill(pair.a, ids.a, with: message) else {
                        return
                    }
                    state.taken += count
                }
                state.taken = try Self.fill(pair.a, ids.a, with: message)
            }
            // Far more than a buffer would have to be offered; it stands still when the windows are full.
            #expect(await pair.a.wait { _ in state.hasSettled() })
            let bound = try await pair.on { pair in
                pair.a.onEvent = nil
                #expect(pair.b.messages.isEmpty)
                return state.taken
            }
            // High-water mark, receive buffer, stash: some 3 MB.
            #expect(bound < 400, "\(bound) messages of 10 kB were taken")
            try await pair.on { pair in pair.b.connection.setReceiving(true, on: ids.b) }
            #expect(await pair.b.wait { $0.messages.count == bound })
            try await pair.on { pair in #expect(pair.b.messages.allSatisfy { $0.bytes == message }) }
        }
    }

    @Test func channelThatIsNotReadDoesNotStopAnotherUntilTheBoundIsReached() async throws {
        try await withConnectedPair { pair, ids in
            try await pair.on { pair in
                _ = try pair.a.call { try $0.openChannel(ChannelParameters(label: "other")) }
                pair.b.connection.setReceiving(false, on: ids.b)
            }
            #expect(await pair.b.wait { $0.channel("other") != nil })
            try await pair.on { pair in
                for index in 0..<10 { try pair.a.connection.send([UInt8(index)], on: ids.a) }
                try pair.a.connection.send([99], on: try #require(pair.a.channel("other")))
            }
            #expect(await pair.b.wait { $0.messages.count == 1 })
            try await pair.on { pair in
                #expect(pair.b.messages[0].bytes == [99])
                // Read two, stop again from inside the handler.
                pair.b.onMessage = { bytes, _, channel in
                    pair.b.messages.append(TestPeer.Message(bytes: Array(bytes), isText: false, channel: channel))
                    if pair.b.messages.count == 3 { pair.b.connection.setReceiving(false, on: ids.b) }
                }
                pair.b.connection.setReceiving(true, on: ids.b)
            }
            #expect(await pair.b.wait { $0.messages.count == 3 })
            try await pair.on { pair in pair.b.connection.setReceiving(true, on: ids.b) }
            #expect(await pair.b.wait { $0.messages.count == 11 })
            try await pair.on { pair in
                #expect(pair.b.messages.dropFirst().map(\.bytes) == (0..<10).map { [UInt8($0)] })
            }
        }
    }

    /// Those that came last are kept: the channel may be about to be opened.
    @Test func messagesOnUnopenedStreamsAreBounded() async throws {
        let pair = try TestPair()
        try await pair.start { pair in
            _ = try pair.a.call { try $0.openChannel(ChannelParameters(label: "fixed", negotiatedID: 8)) }
        }
        #expect(await pair.a.wait { $0.channel("fixed") != nil })
        try await pair.on { pair in
            for number in 0..<100 {
                try pair.a.connection.send([UInt8(number)], on: try #require(pair.a.channel("fixed")))
            }
        }
        #expect(await pair.b.wait { $0.connection.sctp.channels.strayCount > 0 })
        #expect(await pair.a.wait { $0.channel("fixed").map($0.connection.bufferedAmount(of:)) == 0 })
        try await pair.on { pair in
            #expect(!pair.b.isClosed)
            _ = try pair.b.call { try $0.openChannel(ChannelParameters(label: "fixed", negotiatedID: 8)) }
        }
        #expect(await pair.b.wait { $0.messages.count == StrayMessages.maximumCount })
        try await pair.on { pair in #expect(pair.b.messages.map(\.bytes) == (36..<100).map { [UInt8($0)] }) }
        await pair.end()
    }
}

private final class Counter: @unchecked Sendable {
    // SAFETY: touched on the loop of the test only.
    var taken = 0
    private var seen = 0
    private var since = Timestamp.zero

    /// No change for 300 ms.
    func hasSettled() -> Bool {
        let now = Timestamp.now()
        if taken != seen { (seen, since) = (taken, now) }
        return now - since > .milliseconds(300)
    }
}
