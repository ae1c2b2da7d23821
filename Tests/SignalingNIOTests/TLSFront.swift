#if NIO && NIOSSL
    import NIOCore
    import NIOPosix
    import NIOSSL
    import NIOTLS
    import TransportPluginAPI

    /// Terminates TLS in front of a plain server on 127.0.0.1. Each direction stops reading while the other end does
    /// not read.
    final class TLSFront: Sendable {
        let port: UInt16
        private let channel: any Channel
        private let log = Locked<[String]>([])

        /// The server names that clients asked for by SNI.
        var serverNames: [String] { log.withLock { $0 } }

        /// - Parameter backend: the plain server's port.
        init(certificate: String, key: String, backend: UInt16) async throws {
            let chain = try NIOSSLCertificate.fromPEMFile(certificate).map { NIOSSLCertificateSource.certificate($0) }
            let key = try NIOSSLPrivateKey(file: key, format: .pem)
            let tls = try NIOSSLContext(
                configuration: .makeServerConfiguration(certificateChain: chain, privateKey: .privateKey(key)))
            let log = log
            channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
                .childChannelInitializer { client in
                    client.eventLoop.makeCompletedFuture {
                        let names = SNIHandler { result in
                            client.eventLoop.makeCompletedFuture {
                                if case .hostname(let name) = result { log.withLock { $0.append(name) } }
                                let pipeline = client.pipeline.syncOperations
                                try pipeline.addHandler(NIOSSLServerHandler(context: tls))
                                try pipeline.addHandler(Opening(backend: backend))
                            }
                        }
                        try client.pipeline.syncOperations.addHandler(ByteToMessageHandler(names))
                    }
                }
                .bind(host: "127.0.0.1", port: 0).get()
            port = UInt16(channel.localAddress?.port ?? 0)
        }

        func stop() { channel.close(promise: nil) }
    }

    /// Connects to the backend when TLS is done, and keeps what comes until then.
    private final class Opening: ChannelInboundHandler, RemovableChannelHandler {
        typealias InboundIn = ByteBuffer
        private let backend: UInt16
        private var early = ByteBuffer()

        init(backend: UInt16) { self.backend = backend }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            var bytes = unwrapInboundIn(data)
            early.writeBuffer(&bytes)
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

        func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
            guard case .handshakeCompleted? = event as? TLSUserEvent else { return }
            let client = context.channel
            try? client.syncOptions?.setOption(.autoRead, value: false)
            ClientBootstrap(group: client.eventLoop)
                .channelOption(.autoRead, value: false)
                .channelOption(.tcpOption(.tcp_nodelay), value: 1)
                .connect(host: "127.0.0.1", port: Int(backend))
                .assumeIsolated().whenComplete { result in
                    guard case .success(let server) = result, client.isActive else {
                        client.close(promise: nil)
                        return
                    }
                    server.writeAndFlush(self.early, promise: nil)
                    try? client.pipeline.syncOperations.addHandler(Pump(to: server))
                    try? server.pipeline.syncOperations.addHandler(Pump(to: client))
                    client.pipeline.syncOperations.removeHandler(self, promise: nil)
                    client.read()
                    server.read()
                }
        }
    }

    /// Writes what its channel reads to the other one, and reads again when that was taken.
    private final class Pump: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private let other: any Channel

        init(to other: any Channel) { self.other = other }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let channel = context.channel
            other.writeAndFlush(unwrapInboundIn(data)).assumeIsolated().whenComplete { result in
                switch result {
                case .success: channel.read()
                case .failure: channel.close(promise: nil)
                }
            }
        }

        func channelInactive(context: ChannelHandlerContext) { other.close(promise: nil) }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
    }
#endif
