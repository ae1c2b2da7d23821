import NIOCore
import NIOPosix
import RoomProtocol
import RoomServer
import Testing

struct TestFailure: Error { var message: String }

/// A client over a bare TCP socket, which can break every rule of WebSocket.
final class TestClient {
    struct Frame: Equatable {
        var opcode: UInt8
        var payload: [UInt8]
        var text: String { String(decoding: payload, as: UTF8.self) }
        /// The code of a close frame.
        var closeCode: UInt16? {
            opcode == 8 && payload.count >= 2 ? UInt16(payload[0]) << 8 | UInt16(payload[1]) : nil
        }
    }

    let channel: any Channel
    private var bytes: AsyncStream<[UInt8]>.AsyncIterator
    private var buffer: [UInt8] = []
    var joined: Joined?
    var received: SequenceNumber = 0
    var nextSequence: SequenceNumber = 1

    private init(_ channel: any Channel, _ bytes: AsyncStream<[UInt8]>) {
        self.channel = channel
        self.bytes = bytes.makeAsyncIterator()
    }

    /// Opens a TCP connection. `receiveBuffer` is the number of bytes that the kernel may hold for it, which bounds how
    /// much the server's kernel can send. `source` is the address that it comes from.
    static func dial(
        _ server: RoomServer, receiveBuffer: Int? = nil, from source: String? = nil,
        tls: @escaping @Sendable (any Channel) throws -> Void = { _ in }
    ) async throws -> TestClient {
        let address = try await server.address
        return try await dial(host: address.host, address.port, receiveBuffer: receiveBuffer, from: source, tls: tls)
    }

    static func dial(
        host: String = "127.0.0.1", _ port: Int, receiveBuffer: Int? = nil, from source: String? = nil,
        tls: @escaping @Sendable (any Channel) throws -> Void = { _ in }
    ) async throws -> TestClient {
        let (stream, continuation) = AsyncStream<[UInt8]>.makeStream()
        let bootstrap = ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try tls(channel)
                    try channel.pipeline.syncOperations.addHandler(Collector(continuation))
                }
            }
        if let receiveBuffer {
            _ = bootstrap.channelOption(.socketOption(.so_rcvbuf), value: SocketOptionValue(receiveBuffer))
        }
        if let source { _ = bootstrap.bind(to: try SocketAddress(ipAddress: source, port: 0)) }
        let channel = try await bootstrap.connect(host: host, port: port).get()
        return TestClient(channel, stream)
    }

    /// A WebSocket connection.
    static func open(
        _ server: RoomServer, receiveBuffer: Int? = nil, from source: String? = nil
    ) async throws -> TestClient {
        let client = try await dial(server, receiveBuffer: receiveBuffer, from: source)
        try await client.upgrade()
        return client
    }

    func upgrade() async throws {
        try await send(raw: Self.handshake)
        let head = try #require(await head())
        #expect(head.hasPrefix("HTTP/1.1 101 "))
        // RFC 6455 §1.3
        #expect(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="))
    }

    static let handshake = """
        GET /any/path?x=1 HTTP/1.1\r
        Host: localhost\r
        Upgrade: websocket\r
        Connection: keep-alive, Upgrade\r
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r
        Sec-WebSocket-Version: 13\r
        \r

        """

    // MARK: Sending

    func send(raw text: String) async throws { try await send(Array(text.utf8)) }

    func send(_ bytes: [UInt8]) async throws {
        try await channel.writeAndFlush(ByteBuffer(bytes: bytes))
    }

    static func frame(
        _ opcode: UInt8, _ payload: [UInt8], isFinal: Bool = true, reserved: UInt8 = 0, isMasked: Bool = true
    ) -> [UInt8] {
        var frame = [(isFinal ? 0x80 : 0) | reserved << 4 | opcode]
        let mask: UInt8 = isMasked ? 0x80 : 0
        switch payload.count {
        case ...125: frame.append(mask | UInt8(payload.count))
        case ...65_535: frame += [mask | 126, UInt8(payload.count >> 8), UInt8(payload.count & 0xFF)]
        default: frame += [mask | 127] + (0..<8).reversed().map { UInt8(truncatingIfNeeded: payload.count >> ($0 * 8)) }
        }
        guard isMasked else { return frame + payload }
        let key: [UInt8] = [0x12, 0x34, 0x56, 0x78]
        var masked = payload
        masked.withUnsafeMutableBufferPointer { masked in
            var index = 0
            while index < masked.count {
                masked[index] ^= key[index & 3]
                index += 1
            }
        }
        return frame + key + masked
    }

    func send(text: String) async throws { try await send(Self.frame(1, Array(text.utf8))) }

    func say(_ message: ClientMessage, sequence: SequenceNumber? = nil, ack: SequenceNumber? = nil) async throws {
        try await send(Self.frame(1, RoomProtocolCodec.encode(Envelope(sequence: sequence, ack: ack, message))))
    }

    func sayNumbered(_ message: ClientMessage) async throws {
        let sequence = nextSequence
        nextSequence += 1
        try await say(message, sequence: sequence)
    }

    // MARK: Receiving

    private func more() async -> Bool {
        guard let next = await bytes.next(isolation: #isolation) else { return false }
        buffer += next
        return true
    }

    /// Returns the head of an HTTP response, or nil when the connection ended before.
    func head() async -> String? {
        while true {
            if let end = buffer.indices.first(where: { buffer[$0...].starts(with: [13, 10, 13, 10]) }) {
                defer { buffer.removeFirst(end + 4) }
                return String(decoding: buffer[..<end], as: UTF8.self)
            }
            guard await more() else { return nil }
        }
    }

    /// Returns everything until the server closes.
    func rest() async -> String {
        while await more() {}
        return String(decoding: buffer, as: UTF8.self)
    }

    /// Returns the next frame, or nil when the server has closed the socket.
    func nextFrame() async -> Frame? {
        while true {
            if let frame = Self.takeFrame(&buffer) { return frame }
            guard await more() else { return nil }
        }
    }

    /// Takes a frame without a mask from the buffer.
    static func takeFrame(_ buffer: inout [UInt8]) -> Frame? {
        guard buffer.count >= 2 else { return nil }
        var length = Int(buffer[1])
        var start = 2
        if length == 126 || length == 127 {
            start += length == 126 ? 2 : 8
            guard buffer.count >= start else { return nil }
            length = buffer[2..<start].reduce(0) { $0 << 8 | Int($1) }
        }
        guard buffer.count >= start + length else { return nil }
        defer { buffer.removeFirst(start + length) }
        return Frame(opcode: buffer[0] & 0x0F, payload: Array(buffer[start..<(start + length)]))
    }

    /// Returns the next message that is not about liveness or acknowledgement, or nil when the server closes.
    func next() async throws -> ServerMessage? {
        while let frame = await nextFrame() {
            guard frame.opcode == 1 else { return nil }
            let envelope = try RoomProtocolCodec.decodeServerMessage(frame.payload)
            if let sequence = envelope.sequence { received = sequence }
            switch envelope.message {
            case .ping(let id): try await say(.pong(id: id))
            case .pong, .ack: continue
            case .joined(let joined):
                self.joined = joined
                return envelope.message
            default: return envelope.message
            }
        }
        return nil
    }

    /// Returns the next signal, skipping other messages.
    func nextSignal() async throws -> Signal {
        while let message = try await next() { if case .signal(let signal) = message { return signal } }
        throw TestFailure(message: "closed before a signal came")
    }

    /// Returns the code of the close frame, skipping data before it. Nil: closed without one.
    func closeCode() async -> UInt16? {
        while let frame = await nextFrame() { if frame.opcode == 8 { return frame.closeCode } }
        return nil
    }

    /// Waits until the server has closed the socket, and returns whether it did.
    func isClosedByServer() async -> Bool {
        while await nextFrame() != nil {}
        return true
    }

    /// Stops reading.
    func stopReading() async throws { try await channel.setOption(.autoRead, value: false).get() }

    /// Ends the socket without any close handshake.
    func abort() async throws { try await channel.close() }
}

private final class Collector: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    private let continuation: AsyncStream<[UInt8]>.Continuation

    init(_ continuation: AsyncStream<[UInt8]>.Continuation) { self.continuation = continuation }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        continuation.yield(Array(unwrapInboundIn(data).readableBytesView))
    }

    func channelInactive(context: ChannelHandlerContext) { continuation.finish() }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}

// MARK: Joining

extension TestClient {
    static func join(
        _ server: RoomServer, _ name: String, _ role: Hello.Role = .guest, token: String? = nil, room: String = "lobby",
        receiveBuffer: Int? = nil, from source: String? = nil
    ) async throws -> TestClient {
        let client = try await open(server, receiveBuffer: receiveBuffer, from: source)
        try await client.say(.hello(Hello(room: RoomName(room), role: role, name: name, token: token)))
        guard case .joined = try #require(await client.next()) else {
            throw TestFailure(message: "\(name) did not join")
        }
        return client
    }

    /// A host and a guest in each of the rooms.
    static func pairs(_ server: RoomServer, in rooms: [String]) async throws -> [(ann: TestClient, bob: TestClient)] {
        var pairs: [(ann: TestClient, bob: TestClient)] = []
        for room in rooms {
            let ann = try await join(server, "ann", .host, room: room)
            pairs.append((ann, try await join(server, "bob", room: room)))
        }
        return pairs
    }

    static func comeBack(_ server: RoomServer, _ name: String, from old: TestClient) async throws -> TestClient {
        let client = try await open(server)
        var hello = Hello(room: RoomName("lobby"), role: .guest, name: name)
        hello.resume = Resume(sessionToken: old.joined?.sessionToken ?? "none", received: old.received)
        try await client.say(.hello(hello))
        guard case .joined(let joined) = try #require(await client.next()) else {
            throw TestFailure(message: "\(name) did not come back")
        }
        client.received = joined.isResumed ? old.received : 0
        client.nextSequence = joined.isResumed ? old.nextSequence : 1
        return client
    }

    func signal(_ reason: String) -> ClientMessage {
        .signal(
            Signal(
                peer: joined?.participant ?? ParticipantID("x"), session: joined?.session ?? SessionID("x"),
                connection: PeerConnectionID("c"), negotiation: 1, body: .restartRequest(reason: reason)))
    }
}

extension Signal {
    var reason: String? { if case .restartRequest(let reason) = body { reason } else { nil } }
}
