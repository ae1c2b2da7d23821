#if NIO
    internal import NIOCore
    internal import NIOPosix
    internal import TransportPluginAPI

    /// Drives the socket of one connection, from the attempt to the end.
    // SAFETY: `isDrainPosted` and the members of `connection` have their own locks. Everything under "On the event
    // loop" is touched only there.
    final class NIODriver: SignalingDriver, @unchecked Sendable {
        let loop: Loop
        let connection: DrivenConnection
        /// The TLS settings; nil for `ws`.
        let tls: TLSClient?
        /// Whether a drain of `outbound` was posted to the event loop.
        private let isDrainPosted = Locked(false)

        var endpoint: SignalingEndpoint { connection.endpoint }
        var inbound: MessageBuffer { connection.inbound }
        var outbound: MessageBuffer { connection.outbound }

        /// - Parameter descriptor: A connected socket; the driver takes ownership.
        init(loop: Loop, _ connection: DrivenConnection, _ tls: TLSClient?, descriptor: Int32) {
            self.loop = loop
            self.connection = connection
            self.tls = tls
            self.descriptor = descriptor
        }

        deinit { if descriptor >= 0 { Glibc.close(descriptor) } }

        // MARK: From any thread

        func start() { if !loop.post({ self.begin() }) { connection.failed(Loop.shutDown) } }

        func flush() {
            let isFirst = isDrainPosted.withLock { isPosted in
                defer { isPosted = true }
                return !isPosted
            }
            if isFirst { loop.post { self.drain() } }
        }

        func resumeReading() { loop.post { self.handler?.resumeReading() } }

        func close(_ reason: SignalingClose, deadline: Timestamp) {
            loop.post { self.startClosing(reason, deadline: deadline) }
        }

        func abort() { loop.post { self.abortNow() } }

        // MARK: On the event loop

        /// The connected socket until SwiftNIO owns it; then -1.
        private var descriptor: Int32
        private var channel: (any Channel)?
        private var socketEnd: SocketEnd?
        private var handler: FrameHandler?
        private var attemptTimer: Scheduled<Void>?
        private var hasEnded = false

        private func begin() {
            guard !connection.isAbandoned else { return }
            guard loop.register(self) else { return connection.failed(Loop.shutDown) }
            attemptTimer = loop.schedule(at: connection.openingDeadline) { self.attemptTimedOut() }
            let socket = descriptor
            descriptor = -1
            ClientBootstrap(group: loop.eventLoop)
                .channelOption(.writeBufferWaterMark, value: FrameHandler.waterMark)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture { try self.setUp(channel) }
                }
                .withConnectedSocket(socket)
                .whenFailure { error in
                    self.connection.failed(Failure.adopting(self.endpoint, error))
                    // Otherwise the channel's end is awaited.
                    if self.channel == nil { self.socketClosed() }
                }
        }

        private func setUp(_ channel: any Channel) throws {
            self.channel = channel
            channel.closeFuture.whenComplete { _ in self.socketClosed() }
            // Abandoned while the channel was made: the bootstrap closes it.
            guard !connection.isAbandoned else { throw ChannelError.alreadyClosed }
            let end = SocketEnd()
            try channel.pipeline.syncOperations.addHandler(end)
            socketEnd = end
            try tls?.addHandler(to: channel, endpoint)
            try OpeningHandshake.addHandlers(to: channel, self)
        }

        private func attemptTimedOut() {
            connection.failed(
                TransportError(
                    .timedOut, "\(endpoint.url) did not answer in time: is the server running, and reachable?",
                    isRetryable: true))
            abortNow()
        }

        /// The handshake is done: the handler takes over.
        func established(_ handler: FrameHandler) {
            attemptTimer?.cancel()
            self.handler = handler
            // The attempt may have been abandoned meanwhile.
            if !connection.opened(from: channel?.localAddress?.ipAddress) { abortNow() }
        }

        private func drain() {
            // Before the buffer is read: a later message posts again.
            isDrainPosted.withLock { $0 = false }
            handler?.drain()
        }

        private func startClosing(_ reason: SignalingClose, deadline: Timestamp) {
            if let handler { handler.startClosing(reason, deadline: deadline) } else { abortNow() }
        }

        /// Ends the connection without a close handshake. A lingering one gets some time to send its last frame.
        private func abortNow() {
            guard !hasEnded else { return }
            if let handler, handler.mayLinger() { return }
            abortSocket()
        }

        /// Ends the connection, because the transport ends.
        func end() {
            connection.abandon()
            abortSocket()
        }

        func abortSocket() {
            if let socketEnd { socketEnd.abort() } else { channel?.close(promise: nil) }
        }

        /// The socket is closed.
        private func socketClosed() {
            guard !hasEnded else { return }
            hasEnded = true
            attemptTimer?.cancel()
            channel = nil
            socketEnd = nil
            handler = nil
            connection.ended()
            loop.unregister(self)
        }
    }

    /// The handler nearest to the socket, which can end it without waiting for TLS.
    private final class SocketEnd: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private var context: ChannelHandlerContext?

        func handlerAdded(context: ChannelHandlerContext) { self.context = context }
        func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

        /// Closes the socket with a reset, which drops the data in the system's buffers.
        func abort() {
            guard let context else { return }
            if let socket = context.channel as? any SocketOptionProvider {
                _ = socket.setSoLinger(linger(l_onoff: 1, l_linger: 0))
            }
            context.close(promise: nil)
        }
    }
#endif
