import Logging
import NIOCore
import NIOEmbedded
import RoomProtocol
import Testing
import TransportValues
import WebSocketWire

@testable import RoomServer

/// Connections whose client reads nothing: no write ever completes.
@Suite("Slow readers")
struct SlowReaderTests {
    @Test func ofPongsThatWaitOnlyTheNewestIsKept() {
        var outgoing = Outgoing()
        outgoing.append(pong: [1])
        let first = outgoing.take()
        for number in 0..<10_000 { outgoing.append(pong: [UInt8(number & 0xFF), 7]) }
        #expect(outgoing.take() == nil)
        #expect(outgoing.memory < 100)
        outgoing.written(first?.readableBytes ?? 0)
        #expect(outgoing.take() == ByteBuffer(bytes: [0x8A, 2, UInt8(9999 & 0xFF), 7]))
        #expect(outgoing.take() == nil)
    }

    @Test func messagesThatWaitForAWriteBecomeOneWriteInTheirOrder() {
        var outgoing = Outgoing()
        outgoing.append(text: [0x61])
        let first = outgoing.take()
        outgoing.append(text: [0x62])
        outgoing.append(pong: [])
        outgoing.append(close: CloseReason(code: 1000))
        #expect(outgoing.take() == nil && outgoing.count == 3 + 3 + 2 + 4)
        outgoing.written(first?.readableBytes ?? 0)
        #expect(outgoing.take() == ByteBuffer(bytes: [0x81, 1, 0x62, 0x8A, 0, 0x88, 2, 3, 232]))
    }

    @Test func smallFramesTakeTheMemoryOfTheirBytes() {
        var outgoing = Outgoing()
        outgoing.append(text: [0x61])
        let first = outgoing.take()
        for _ in 0..<100_000 { outgoing.append(text: []) }
        // A buffer grows by doubling.
        #expect(outgoing.count == 200_003 && outgoing.memory < 2 * 262_144)
        outgoing.written(first?.readableBytes ?? 0)
    }

    /// Its own replies end that: with the end of its input, which nobody sees before, the socket closes in the same
    /// turn.
    @Test func whatIsWrittenToAClientInOneTurnOfTheLoopIsOneWrite() throws {
        let server = EmbeddedServer { _ in }
        defer { server.end() }
        let ann = try server.join("lobby", "ann", .host)
        let bob = try server.join("lobby", "bob", .guest, reads: true)
        func takeMessages(_ count: Int) throws -> [ServerMessage] {
            var bytes = try #require(try bob.takeWrite())
            let messages = try (0..<count).map { _ in
                try RoomProtocolCodec.decodeServerMessage(#require(TestClient.takeFrame(&bytes)).payload).message
            }
            #expect(bytes.isEmpty)
            return messages
        }
        try server.inOneTurn {
            for _ in 0..<2 { try ann.signal(bob) }
            #expect(try bob.takeWrite() == nil)
            try bob.say(.ping(id: 7))
            #expect(try takeMessages(3)[2] == .pong(id: 7))
            try ann.signal(bob)
            try bob.receive(TestClient.frame(9, [0x61]))
            #expect(try bob.takeWrite()?.suffix(3) == [0x8A, 1, 0x61])
            for _ in 0..<2 { try ann.signal(bob) }
            #expect(try bob.takeWrite() == nil)
        }
        _ = try takeMessages(2)
        #expect(try bob.takeWrite() == nil)
    }

    @Test func pingsWhosePongsAreNotReadTakeNoMemory() throws {
        let server = EmbeddedServer { _ in }
        defer { server.end() }
        let clients = try (0..<20).map { try server.join("room\($0)", "ann", .host) }
        let before = server.loop.memory
        let pings = [UInt8]((0..<500).flatMap { _ in TestClient.frame(9, []) })
        for client in clients { try client.receive(pings) }
        #expect(server.loop.memory - before < 20 * 1000)
        #expect(clients.allSatisfy { $0.isActive })
    }

    @Test func clientThatDoesNotReadIsCutAtItsLimit() throws {
        let server = EmbeddedServer { $0.limits.messageBurst = 1_000_000 }
        defer { server.end() }
        let ann = try server.join("lobby", "ann", .host)
        let bob = try server.join("lobby", "bob", .guest)
        let other = try server.join("elsewhere", "carol", .host)
        for _ in 0..<100 where bob.isActive { try ann.signal(bob) }
        #expect(!bob.isActive)
        #expect(ann.isActive && other.isActive)
        #expect(server.loop.memory < 1 << 20)
    }

    @Test func overTheLimitOfAllTogetherTheOneThatTakesMostIsCut() throws {
        let server = EmbeddedServer {
            $0.limits.totalBuffer = 1_400_000
            $0.limits.messageBurst = 1_000_000
        }
        defer { server.end() }
        let ann = try server.join("lobby", "ann", .host)
        let bob = try server.join("lobby", "bob", .guest)
        let carol = try server.join("lobby", "carol", .guest)
        // The last receiver is not the one that takes most.
        for _ in 0..<16 { try ann.signal(bob) }
        for _ in 0..<100 where bob.isActive {
            try ann.signal(carol)
            #expect(server.loop.memory <= 1_400_000)
        }
        #expect(!bob.isActive)
        #expect(carol.isActive && ann.isActive)
    }

    /// A message of which only a part has arrived takes memory, too.
    @Test func partsOfMessagesCountAsWell() throws {
        let server = EmbeddedServer { $0.limits.totalBuffer = 1 << 20 }
        defer { server.end() }
        let clients = try (0..<10).map { try server.join("room\($0)", "ann", .host) }
        let part = Array(TestClient.frame(1, [UInt8](repeating: 0x20, count: 250_000)).dropLast())
        for client in clients where client.isActive { try client.receive(part) }
        #expect(server.loop.memory <= 1 << 20)
        #expect(clients.count { $0.isActive } < 10)
    }
}

extension ServerLoop {
    /// A loop for connections without sockets.
    static func embedded(
        in eventLoop: EmbeddedEventLoop, _ configuration: RoomServerConfiguration = RoomServerConfiguration()
    ) -> ServerLoop {
        ServerLoop(
            eventLoop: eventLoop, configuration: configuration,
            authority: ServerAuthority(
                sessionKeys: SessionKeys([UInt8](repeating: 1, count: 32)), joinTokenKeys: nil, ice: configuration.ice),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }
}

/// The server's loop with connections that have no sockets.
private final class EmbeddedServer {
    let loop: ServerLoop
    private let eventLoop = EmbeddedEventLoop()
    private var channels: [EmbeddedChannel] = []

    init(_ configure: (inout RoomServerConfiguration) -> Void) {
        var configuration = RoomServerConfiguration()
        configure(&configuration)
        loop = .embedded(in: eventLoop, configuration)
    }

    /// A participant that reads nothing from now on, unless it `reads`.
    func join(_ room: String, _ name: String, _ role: Hello.Role, reads: Bool = false) throws -> Client {
        let outlet = Outlet()
        let channel = EmbeddedChannel(handlers: [outlet, ConnectionHandler(loop: loop)], loop: eventLoop)
        channels.append(channel)
        channel.connect(to: try SocketAddress(ipAddress: "127.0.0.1", port: 1), promise: nil)
        let client = Client(channel, self)
        try client.receive(Array(TestClient.handshake.utf8))
        _ = try channel.readOutbound(as: ByteBuffer.self)
        try client.say(.hello(Hello(room: RoomName(room), role: role, name: name)))
        let answer = try #require(try channel.readOutbound(as: ByteBuffer.self))
        var bytes = Array(answer.readableBytesView)
        let frame = try #require(TestClient.takeFrame(&bytes))
        guard case .joined(let joined) = try RoomProtocolCodec.decodeServerMessage(frame.payload).message else {
            throw TestFailure(message: "\(name) did not join: \(frame.text)")
        }
        client.joined = joined
        outlet.isOpen = reads
        return client
    }

    private var isInTurn = false

    /// Runs the loop once, with everything that comes meanwhile.
    func inOneTurn(_ body: () throws -> Void) rethrows {
        let isInner = isInTurn
        isInTurn = true
        try body()
        isInTurn = isInner
        if !isInner { eventLoop.run() }
    }

    /// Closes every connection. A channel that stays open keeps itself and its handlers alive.
    func end() {
        for channel in channels { _ = try? channel.finish(acceptAlreadyClosed: true) }
    }
}

private final class Client {
    private let channel: EmbeddedChannel
    private let server: EmbeddedServer
    var joined: Joined?
    private var sequence: SequenceNumber = 0

    init(_ channel: EmbeddedChannel, _ server: EmbeddedServer) {
        self.channel = channel
        self.server = server
    }

    var isActive: Bool { channel.isActive }

    /// The bytes come, in a turn of the loop of their own unless there is one.
    func receive(_ bytes: [UInt8]) throws {
        try server.inOneTurn { try channel.writeInbound(ByteBuffer(bytes: bytes)) }
    }

    /// Takes what the server has written at once.
    func takeWrite() throws -> [UInt8]? {
        try channel.readOutbound(as: ByteBuffer.self).map { Array($0.readableBytesView) }
    }

    func say(_ message: ClientMessage, sequence: SequenceNumber? = nil) throws {
        try receive(TestClient.frame(1, RoomProtocolCodec.encode(Envelope(sequence: sequence, message))))
    }

    /// 40 KB for another one.
    func signal(_ other: Client) throws {
        let peer = try #require(other.joined)
        sequence += 1
        try say(
            .signal(
                Signal(
                    peer: peer.participant, session: peer.session, connection: PeerConnectionID("c"),
                    negotiation: NegotiationID(sequence),
                    body: .description(.init(kind: .offer, text: String(repeating: "x", count: 40_000))))),
            sequence: sequence)
    }
}

/// Keeps the promises of all writes while it is closed, so that nothing is sent.
private final class Outlet: ChannelOutboundHandler {
    typealias OutboundIn = ByteBuffer
    var isOpen = true
    private var promises: [EventLoopPromise<Void>] = []

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        if isOpen {
            context.write(data, promise: promise)
        } else if let promise {
            promises.append(promise)
        }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        for promise in promises { promise.fail(ChannelError.ioOnClosedChannel) }
        promises = []
    }
}
