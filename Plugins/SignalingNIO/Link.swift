#if NIO
    internal import Glibc
    internal import NIOCore
    internal import NIOPosix
    internal import TransportPluginAPI

    /// One connection, from the attempt to the end: what both the caller's tasks and the event loop know of it.
    // SAFETY: `shared` is behind its lock, the buffers lock for themselves; everything under "On the event loop" is touched only there.
    final class Link: @unchecked Sendable {
        private struct Shared {
            var opening: CheckedContinuation<Result<Void, TransportError>, Never>?
            /// The outcome of the attempt, or why it was abandoned.
            var outcome: Result<Void, TransportError>?
            var closeReason: SignalingClose?
            var localAddress: String?
            var closers: [@Sendable () -> Void] = []
            var isClosing = false
            var isOver = false
            /// A drain of `outbound` is on its way to the event loop.
            var isDrainPosted = false
        }

        let loop: Loop
        let request: ConnectRequest
        private let shared = Locked(Shared())
        private(set) var inbound: MessageBuffer! = nil
        private(set) var outbound: MessageBuffer! = nil

        static let closed = TransportError(.closed, "the connection is closed")

        /// - Parameter descriptor: a connected socket, which is the link's from then on.
        init(loop: Loop, request: ConnectRequest, descriptor: Int32) {
            self.loop = loop
            self.request = request
            self.descriptor = descriptor
            let limit = request.endpoint.bufferLimit
            inbound = MessageBuffer(limit: limit, onRoom: { [weak self] in self?.resumeReading() })
            outbound = MessageBuffer(limit: limit, onMessage: { [weak self] in self?.requestDrain() })
        }

        deinit { if descriptor >= 0 { Glibc.close(descriptor) } }

        // MARK: From any thread

        var closeReason: SignalingClose? { shared.withLock { $0.closeReason } }

        var localAddress: String? { shared.withLock { $0.localAddress } }

        func open(_ continuation: CheckedContinuation<Result<Void, TransportError>, Never>) {
            let outcome = shared.withLock { shared -> Result<Void, TransportError>? in
                if shared.outcome == nil { shared.opening = continuation }
                return shared.outcome
            }
            if let outcome { return continuation.resume(returning: outcome) }
            if !loop.post({ self.start() }) { settle(.failure(Loop.shutDown)) }
        }

        /// Ends attempt or connection at once; whoever waits gets `error`.
        func abandon(_ error: TransportError) {
            settle(.failure(error))
            finish(inbound: error, discarding: true)
            for closer in takeClosers() { closer() }
            loop.post { self.kill() }
        }

        /// Calls `done` when the connection is gone.
        func close(_ reason: SignalingClose, deadline: Timestamp, _ done: @escaping @Sendable () -> Void) {
            enum Step: Sendable { case over, waits, first }
            let step = shared.withLock { shared -> Step in
                if shared.isOver { return .over }
                shared.closers.append(done)
                defer { shared.isClosing = true }
                return shared.isClosing ? .waits : .first
            }
            switch step {
            case .over: done()
            case .waits: break
            case .first:
                // What was accepted still goes out; whoever waits to send or receive is woken.
                outbound.finish()
                inbound.finish(Self.closed, discarding: true)
                let isPosted = loop.post { self.startClosing(reason, deadline: deadline) }
                if !isPosted { for closer in takeClosers() { closer() } }
            }
        }

        private func requestDrain() {
            let isFirst = shared.withLock { shared in
                defer { shared.isDrainPosted = true }
                return !shared.isDrainPosted
            }
            if isFirst { loop.post { self.drain() } }
        }

        private func resumeReading() { loop.post { self.handler?.resumeReading() } }

        private func settle(_ outcome: Result<Void, TransportError>) {
            let continuation = shared.withLock { shared -> CheckedContinuation<Result<Void, TransportError>, Never>? in
                if shared.outcome == nil { shared.outcome = outcome }
                defer { shared.opening = nil }
                return shared.opening
            }
            continuation?.resume(returning: outcome)
        }

        /// Receivers are woken last: by then senders know too.
        private func finish(inbound error: TransportError?, discarding: Bool) {
            outbound.finish(error.map(Self.asClosed), discarding: true)
            inbound.finish(error, discarding: discarding)
        }

        /// Senders learn that the connection is closed, whatever the receiver learned.
        private static func asClosed(_ error: TransportError) -> TransportError {
            error.code == .closed || error.code == .cancelled
                ? closed : TransportError(.closed, "the connection is closed: \(error.message)", cause: error)
        }

        private func takeClosers() -> [@Sendable () -> Void] {
            shared.withLock { shared in
                defer { shared.closers = [] }
                return shared.closers
            }
        }

        // MARK: On the event loop

        /// The connected socket, until SwiftNIO has it; then -1.
        private var descriptor: Int32
        private var channel: (any Channel)?
        private var socketEnd: SocketEnd?
        private var handler: FrameHandler?
        private var attemptTimer: Scheduled<Void>?
        private var isOver = false

        private var isAbandoned: Bool {
            shared.withLock { shared in
                if case .failure = shared.outcome { true } else { false }
            }
        }

        private func start() {
            guard !isAbandoned else { return }
            guard loop.register(self) else { return failed(Loop.shutDown) }
            attemptTimer = loop.schedule(at: request.deadline) { self.attemptTimedOut() }
            let socket = descriptor
            descriptor = -1
            ClientBootstrap(group: loop.eventLoop)
                .channelOption(.writeBufferWaterMark, value: FrameHandler.waterMark)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture { try self.setUp(channel) }
                }
                .withConnectedSocket(socket)
                .whenFailure { error in
                    self.failed(Failure.adopting(self.request, error))
                    // Otherwise the channel's own end is awaited.
                    if self.channel == nil { self.over() }
                }
        }

        private func setUp(_ channel: any Channel) throws {
            self.channel = channel
            channel.closeFuture.whenComplete { _ in self.over() }
            // Given up while the socket was made: the bootstrap closes it.
            guard !isAbandoned else { throw ChannelError.alreadyClosed }
            let end = SocketEnd()
            try channel.pipeline.syncOperations.addHandler(end)
            socketEnd = end
            try request.tls?.addHandler(to: channel, request.endpoint)
            try OpeningHandshake.addHandlers(to: channel, self)
        }

        private func attemptTimedOut() {
            failed(
                TransportError(
                    .timedOut, "\(request.endpoint.url) did not answer in time: is the server running, and reachable?",
                    isRetriable: true))
            kill()
        }

        /// The handshake is done; what follows is for the handler.
        func established(_ handler: FrameHandler) {
            attemptTimer?.cancel()
            self.handler = handler
            let address = channel?.localAddress?.ipAddress
            shared.withLock { $0.localAddress = address }
            settle(.success(()))
            // The caller may have given up in the meantime.
            if isAbandoned { kill() }
        }

        func failed(_ error: TransportError) {
            settle(.failure(error))
            finish(inbound: error, discarding: true)
        }

        /// The connection broke after it was open.
        func broke(_ error: TransportError) { finish(inbound: error, discarding: false) }

        func peerClosed(_ reason: SignalingClose) {
            shared.withLock { $0.closeReason = reason }
            finish(inbound: nil, discarding: false)
        }

        private func drain() {
            // Before the buffer is looked at: what is appended later posts again.
            shared.withLock { $0.isDrainPosted = false }
            handler?.drain()
        }

        private func startClosing(_ reason: SignalingClose, deadline: Timestamp) {
            if let handler { handler.startClosing(reason, deadline: deadline) } else { kill() }
        }

        /// Ends the connection without a handshake; one that is parting gets another moment for its last frame.
        private func kill() {
            guard !isOver else { return }
            if let handler, handler.mayPart() { return }
            abortSocket()
        }

        /// The transport ends.
        func end() {
            abandon(Self.closed)
            abortSocket()
        }

        func abortSocket() {
            if let socketEnd { socketEnd.abort() } else { channel?.close(promise: nil) }
        }

        /// The socket is gone.
        private func over() {
            guard !isOver else { return }
            isOver = true
            attemptTimer?.cancel()
            settle(.failure(Self.closed))
            finish(inbound: Self.closed, discarding: false)
            channel = nil
            socketEnd = nil
            handler = nil
            shared.withLock { $0.isOver = true }
            for closer in takeClosers() { closer() }
            loop.unregister(self)
        }
    }

    /// Stands nearest to the socket, so that it can be ended past whatever TLS wants to say first.
    private final class SocketEnd: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private var context: ChannelHandlerContext?

        func handlerAdded(context: ChannelHandlerContext) { self.context = context }
        func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

        /// With a reset: what waits in the system's buffers is dropped.
        func abort() {
            guard let context else { return }
            if let socket = context.channel as? any SocketOptionProvider {
                _ = socket.setSoLinger(linger(l_onoff: 1, l_linger: 0))
            }
            context.close(promise: nil)
        }
    }
#endif
