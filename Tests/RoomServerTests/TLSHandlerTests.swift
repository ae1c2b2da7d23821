import COpenSSL
import NIOCore
import NIOEmbedded
import RoomProtocol
import Testing

@testable import RoomServer

/// The server's side of TLS, with a client of OpenSSL over memory, and a socket that stops to take output.
@Suite struct TLSHandlerTests {
    /// The socket.
    private final class Socket: ChannelOutboundHandler {
        typealias OutboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        var isBlocked = false
        private(set) var heldBytes = 0
        private var held: [(data: NIOAny, promise: EventLoopPromise<Void>?)] = []
        private var context: ChannelHandlerContext?

        func handlerAdded(context: ChannelHandlerContext) { self.context = context }

        func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
            guard isBlocked else { return context.write(data, promise: promise) }
            heldBytes += unwrapOutboundIn(data).readableBytes
            held.append((data, promise))
        }

        /// Takes output again.
        func unblock() {
            isBlocked = false
            let writes = held
            held = []
            for (data, promise) in writes { context?.writeAndFlush(data, promise: promise) }
        }

        func handlerRemoved(context: ChannelHandlerContext) {
            for (_, promise) in held { promise?.fail(ChannelError.ioOnClosedChannel) }
            self.context = nil
        }
    }

    private let socket = Socket()

    /// A server's channel, and a client whose handshake is over.
    private func connected() throws -> (EmbeddedChannel, TLSMemoryClient) {
        let certificate = try SelfSignedCertificate(for: ["localhost"])
        let server = try ServerTLS(.init(certificate), tickets: TicketKeys(secrets: [[1]]))
        let channel = EmbeddedChannel()
        try channel.pipeline.syncOperations.addHandler(socket)
        try channel.pipeline.syncOperations.addHandler(server.makeHandler())
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
        let client = try TLSMemoryClient()
        for _ in 0..<5 where SSL_do_handshake(client.ssl) != 1 { try client.exchange(with: channel) }
        try client.exchange(with: channel)
        #expect(SSL_is_init_finished(client.ssl) == 1 && channel.isActive)
        return (channel, client)
    }

    /// Each change of keys makes TLS answer, above all limits of the connection's own output.
    @Test func clientThatChangesItsKeysForEverAndReadsNothingIsDropped() throws {
        let (channel, client) = try connected()
        defer { _ = try? channel.finish(acceptAlreadyClosed: true) }
        socket.isBlocked = true
        for _ in 0..<10_000 where channel.isActive {
            try #require(SSL_key_update(client.ssl, SSL_KEY_UPDATE_REQUESTED) == 1)
            try #require(SSL_write(client.ssl, "x", 1) == 1)
            try client.exchange(with: channel)
        }
        #expect(!channel.isActive)
        #expect(socket.heldBytes <= 8192)
    }

    /// A client may end its own output behind its request, and read on.
    @Test func answerGoesOutToAClientThatSendsNothingMore() throws {
        let (channel, client) = try connected()
        defer { _ = try? channel.finish(acceptAlreadyClosed: true) }
        socket.isBlocked = true
        channel.writeAndFlush(ByteBuffer(string: "answer"), promise: nil)
        SSL_shutdown(client.ssl)
        try client.exchange(with: channel)
        #expect(channel.isActive)
        socket.unblock()
        #expect(!channel.isActive)
        try client.exchange(with: channel)
        var bytes = [UInt8](repeating: 0, count: 100)
        let count = SSL_read(client.ssl, &bytes, 100)
        #expect(String(decoding: bytes.prefix(max(0, Int(count))), as: UTF8.self) == "answer")
    }

    /// The reply waits for the end of the loop's turn, but the end of the client's output does not.
    @Test(arguments: [false, true])
    func replyGoesOutToAClientThatEndsBehindItsMessage(_ isBlocked: Bool) throws {
        let (channel, client) = try connected()
        defer { _ = try? channel.finish(acceptAlreadyClosed: true) }
        let loop = ServerLoop.embedded(in: channel.embeddedEventLoop)
        try channel.pipeline.syncOperations.addHandler(ConnectionHandler(loop: loop))
        func send(_ bytes: [UInt8]) throws { try #require(SSL_write(client.ssl, bytes, Int32(bytes.count)) > 0) }
        func say(_ message: ClientMessage) throws {
            try send(TestClient.frame(1, RoomProtocolCodec.encode(Envelope(message))))
        }
        try send(Array(TestClient.handshake.utf8))
        try client.exchange(with: channel)
        socket.isBlocked = isBlocked
        if isBlocked {
            // A write that is under way holds up the next one.
            try say(.ping(id: 1))
            try client.exchange(with: channel)
            channel.embeddedEventLoop.run()
        }
        try say(.ping(id: 2))
        SSL_shutdown(client.ssl)
        try client.exchange(with: channel)
        if isBlocked {
            #expect(channel.isActive)
            socket.unblock()
        }
        #expect(!channel.isActive)
        try client.exchange(with: channel)
        var bytes = [UInt8](repeating: 0, count: 1000)
        var text = ""
        while case let count = SSL_read(client.ssl, &bytes, 1000), count > 0 {
            text += String(decoding: bytes.prefix(Int(count)), as: UTF8.self)
        }
        #expect(text.contains("HTTP/1.1 101 ") && text.contains(#"{"type":"pong","id":2}"#))
    }
}
