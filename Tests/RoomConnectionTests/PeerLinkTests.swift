import RoomCore
import RoomProtocol
import Testing
import TransportPluginAPI

@testable import RoomConnection

/// One link over a scripted connection.
@Suite struct PeerLinkTests {
    /// A connection that records its calls. SAFETY of `@unchecked Sendable`: touched only on the loop.
    private final class Connection: PeerConnection, @unchecked Sendable {
        var sent: [(text: String, channel: ChannelID)] = []
        /// The sizes of the binary messages.
        var frames: [Int] = []
        var maximumMessageSize = 65_536
        let statistics = PeerConnectionStatistics()

        func send(_ bytes: UnsafeRawBufferPointer, isText: Bool, on channel: ChannelID) throws(TransportError) {
            if isText {
                sent.append((String(decoding: bytes, as: UTF8.self), channel))
            } else {
                frames.append(bytes.count)
            }
        }
        func openChannel(_ parameters: ChannelParameters) throws(TransportError) -> ChannelID {
            throw TransportError(.notSupported, "the other side opens channels")
        }
        func offer() {}
        func setRemoteDescription(_ description: SessionDescription) {}
        func addRemoteCandidate(_ candidate: PeerCandidate) {}
        func restart(iceServers: [ICEServer]) {}
        func updateICEServers(_ servers: [ICEServer]) {}
        func probe() {}
        var buffered = 0
        /// Called with each channel whose acknowledgement is waited for.
        var onNotifyWhenAcknowledged: (ChannelID) -> Void = { _ in }
        func bufferedAmount(of channel: ChannelID) -> Int { buffered }
        func notifyWhenAcknowledged(_ channel: ChannelID) { onNotifyWhenAcknowledged(channel) }
        func setReceiving(_ isReceiving: Bool, on channel: ChannelID) {}
        func closeChannel(_ channel: ChannelID) {}
        func close() {}
    }

    private final class Receiver: PeerLinkReceiver {
        func deliver(_ message: borrowing BorrowedMessage, link: PeerLink) {}
    }

    private func withLink(
        limit: Int = 1024, _ body: @escaping @Sendable (PeerLink, Connection, _ lossy: Locked<Int>) throws -> Void
    ) async throws {
        let loop = try TransportLoop(name: "link-tests")
        let result = await loop.run { () -> Result<Void, any Error> in
            let receiver = Receiver()
            let lossy = Locked(0)
            let link = PeerLink(
                participant: ParticipantID("a"),
                streams: NumberedStreams(session: SessionID("s-m"), peerSession: SessionID("s-a")),
                level: .delivery, loop: loop, limits: PeerLink.Limits(send: limit, message: 1 << 20, outgoing: 1 << 20),
                receiver: receiver, onLossyDropped: { count in lossy.withLock { $0 += count } })
            defer { _ = link.close() }
            return Result { try body(link, Connection(), lossy) }
        }
        await loop.shutdown()
        try result.get()
    }

    private static func send(_ text: String, _ link: PeerLink) -> Bool {
        var copy = text
        return copy.withUTF8 { bytes in
            if case .accepted = link.send(UnsafeRawBufferPointer(bytes), isText: true, channel: .lossy) {
                true
            } else {
                false
            }
        }
    }

    /// The answerer is connected before the offerer's channels are there.
    @Test func aLossyMessageThatIsSentOnceConnectedWaitsForItsChannel() async throws {
        try await withLink { link, connection, lossy in
            #expect(!Self.send("before there is anybody", link))
            try link.attach(connection, opensChannels: false)
            #expect(!Self.send("before it is connected", link))
            link.connected()
            #expect(Self.send("now", link))
            link.channelOpened(ChannelID(rawValue: 5), DeliveryChannel.lossy.parameters(.delivery))
            #expect(connection.sent.map(\.text) == ["now"])
            #expect(lossy.withLock { $0 } == 2)
            #expect(link.statusChanged(.connected(nil)) == 0, "lossy messages are not among those that were given up")
        }
    }

    /// Sent to everybody: a participant whose path is being replaced delays nobody else.
    @Test func aBroadcastDoesNotWaitForAPathThatIsBroken() async throws {
        try await withLink { link, connection, lossy in
            func send(_ count: Int, mayDrop: Bool) -> DeliveryOutbox.Outcome {
                [UInt8](repeating: 7, count: count).withUnsafeBytes {
                    link.send($0, isText: false, channel: .reliable, mayDrop: mayDrop)
                }
            }
            try link.attach(connection, opensChannels: false)
            link.connected()
            #expect(send(1000, mayDrop: true) == .accepted)
            #expect(send(1000, mayDrop: true) == .full)
            let lostBefore = link.statusChanged(.recovering(.restart, attempt: 1, since: .zero))
            #expect(lostBefore == 0)
            #expect(send(1000, mayDrop: true) == .dropped)
            #expect(send(1000, mayDrop: false) == .full)
            #expect(link.statusChanged(.connected(nil)) == 1)
            #expect(send(1000, mayDrop: true) == .full)
        }
    }

    /// Some parts of a message may be acknowledged. It counts as long as its last part is not.
    @Test func aLongMessageThatIsGivenUpCountsOnce() async throws {
        try await withLink(limit: 1 << 20) { link, connection, lossy in
            connection.maximumMessageSize = 100
            try link.attach(connection, opensChannels: false)
            link.connected()
            link.channelOpened(ChannelID(rawValue: 0), DeliveryChannel.reliable.parameters(.delivery))
            func send(_ count: Int, _ channel: RoomChannel) {
                let outcome = [UInt8](repeating: 7, count: count).withUnsafeBytes {
                    link.send($0, isText: false, channel: channel)
                }
                #expect(outcome == .accepted)
            }
            func answer(_ frame: [UInt8]) {
                #expect(frame.withUnsafeBytes { link.received($0, isText: false, on: ChannelID(rawValue: 0)) })
            }
            answer(
                DeliveryProtocol.ResumeFrame(
                    session: SessionID("s-a"), peerSession: SessionID("s-m"), received: 0, next: 1
                ).encoded)
            send(1000, .reliable)
            send(10, .reliable)
            send(1000, .reliable)
            send(10, .unordered)
            send(10, .lossy)
            #expect(connection.frames.count > 20)
            // All of the first message, the second, and one part of the third.
            answer([DeliveryProtocol.Kind.ack.rawValue, 0, 0, 0, 13])
            #expect(link.close() == 2, "the third, and the one that no channel had taken")
            #expect(lossy.withLock { $0 } == 1)
            #expect(link.close() == 0)
        }
    }

    @Test func noFrameIsLongerThanWhatTheOtherSideTakes() async throws {
        try await withLink { link, connection, lossy in
            connection.maximumMessageSize = 100
            try link.attach(connection, opensChannels: false)
            link.connected()
            link.channelOpened(ChannelID(rawValue: 0), DeliveryChannel.reliable.parameters(.delivery))
            let outcome = [UInt8](repeating: 7, count: 1000).withUnsafeBytes {
                link.send($0, isText: false, channel: .reliable)
            }
            #expect(outcome == .accepted)
            #expect(connection.frames.count > 10 && connection.frames.allSatisfy { $0 <= 100 })
        }
    }

    @Test func aLossyMessageIsNotKeptForTheNextConnection() async throws {
        try await withLink { link, connection, lossy in
            try link.attach(connection, opensChannels: false)
            link.connected()
            #expect(Self.send("late", link))
            let next = Connection()
            try link.attach(next, opensChannels: false)
            #expect(lossy.withLock { $0 } == 1)
            #expect(link.statusChanged(.connected(nil)) == 0)
            link.channelOpened(ChannelID(rawValue: 5), DeliveryChannel.lossy.parameters(.delivery))
            #expect(Self.send("fresh", link))
            #expect(next.sent.map(\.text) == ["fresh"])
            #expect(connection.sent.isEmpty)
        }
    }

    /// On a plain channel, only the transport knows what has arrived.
    @Test(.timeLimit(.minutes(1)))
    func aFlushOfAPlainChannelReturnsWhenTheTransportSaysSo() async throws {
        let loop = try TransportLoop(name: "flush-test")
        let (awaited, continuation) = AsyncStream<ChannelID>.makeStream()
        let receiver = Receiver()
        let connection = Connection()
        let link = PeerLink(
            participant: ParticipantID("a"),
            streams: NumberedStreams(session: SessionID("s-m"), peerSession: SessionID("s-a")), level: .plain,
            loop: loop, limits: PeerLink.Limits(send: 1024, message: 1024, outgoing: 1024), receiver: receiver,
            onLossyDropped: { _ in })
        let id = ChannelID(rawValue: 1)
        try await loop.run { () -> Result<Void, any Error> in
            connection.buffered = 3
            connection.onNotifyWhenAcknowledged = { continuation.yield($0) }
            return Result {
                try link.attach(connection, opensChannels: false)
                link.connected()
                link.channelOpened(id, DeliveryChannel.reliable.parameters(.plain))
                let outcome = [1, 2, 3].withUnsafeBytes { link.send($0, isText: false, channel: .reliable) }
                #expect(outcome == .accepted)
            }
        }.get()
        async let hasArrived = link.flush()
        var channels = awaited.makeAsyncIterator()
        #expect(await channels.next() == id)
        await loop.run {
            connection.buffered = 0
            link.channelWritable(id)
        }
        #expect(await hasArrived)
        await loop.run { _ = link.close() }
        await loop.shutdown()
        withExtendedLifetime(receiver) {}
    }
}
