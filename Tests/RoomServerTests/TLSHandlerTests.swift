import COpenSSL
import NIOCore
import NIOEmbedded
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
        private var promises: [EventLoopPromise<Void>] = []

        func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
            guard isBlocked else { return context.write(data, promise: promise) }
            heldBytes += unwrapOutboundIn(data).readableBytes
            if let promise { promises.append(promise) }
        }

        func handlerRemoved(context: ChannelHandlerContext) {
            for promise in promises { promise.fail(ChannelError.ioOnClosedChannel) }
        }
    }

    /// Each change of keys makes TLS answer, above all limits of the connection's own output.
    @Test func clientThatChangesItsKeysForEverAndReadsNothingIsDropped() throws {
        let certificate = try SelfSignedCertificate(for: ["localhost"])
        let server = try ServerTLS(.init(certificate), tickets: TicketKeys(secrets: [[1]]))
        let channel = EmbeddedChannel()
        defer { _ = try? channel.finish(acceptAlreadyClosed: true) }
        let socket = Socket()
        try channel.pipeline.syncOperations.addHandler(socket)
        try channel.pipeline.syncOperations.addHandler(server.makeHandler())
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
        let client = try TLSMemoryClient()
        for _ in 0..<5 where SSL_do_handshake(client.ssl) != 1 { try client.exchange(with: channel) }
        try client.exchange(with: channel)
        #expect(SSL_is_init_finished(client.ssl) == 1 && channel.isActive)

        socket.isBlocked = true
        for _ in 0..<10_000 where channel.isActive {
            try #require(SSL_key_update(client.ssl, SSL_KEY_UPDATE_REQUESTED) == 1)
            try #require(SSL_write(client.ssl, "x", 1) == 1)
            try client.exchange(with: channel)
        }
        #expect(!channel.isActive)
        #expect(socket.heldBytes <= 8192)
    }
}
