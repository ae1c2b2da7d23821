#if NIO
    internal import NIOCore
    internal import NIOTLS
    internal import TransportPluginAPI
    internal import WebSocketWire

    /// The opening handshake (RFC 6455 §4.1): sends the request and checks the answer. A `FrameHandler` replaces it
    /// when the answer is valid.
    final class OpeningHandshake: ChannelInboundHandler, RemovableChannelHandler {
        typealias InboundIn = ByteBuffer
        typealias InboundOut = ByteBuffer
        typealias OutboundOut = ByteBuffer

        private let driver: NIODriver
        private let handshake: ClientHandshake
        private var head = HTTPHeadBuffer<ResponseHead>()
        /// TLS is established, or there is none.
        private var isThroughTLS: Bool
        private var hasFailed = false

        private init(_ driver: NIODriver) {
            self.driver = driver
            handshake = ClientHandshake(driver.endpoint)
            isThroughTLS = driver.tls == nil
        }

        static func addHandlers(to channel: any Channel, _ driver: NIODriver) throws {
            try channel.pipeline.syncOperations.addHandler(OpeningHandshake(driver))
        }

        func channelActive(context: ChannelHandlerContext) {
            context.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: handshake.request)), promise: nil)
            context.fireChannelActive()
        }

        func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
            if case .handshakeCompleted? = event as? TLSUserEvent { isThroughTLS = true }
            context.fireUserInboundEventTriggered(event)
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            var bytes = unwrapInboundIn(data)
            while !hasFailed, bytes.readableBytes > 0 {
                switch takeAnswer(from: &bytes) {
                case .failure(let failure): fail(ClientHandshake.error(failure, from: driver.endpoint))
                case .success(let answer?) where !answer.isInterim:
                    if let error = handshake.error(in: answer, from: driver.endpoint) { return fail(error) }
                    return open(context, bytes)
                case .success: break
                }
            }
        }

        private func takeAnswer(from bytes: inout ByteBuffer) -> Result<ResponseHead?, HTTPHeadFailure> {
            var answer = Result<ResponseHead?, HTTPHeadFailure>.success(nil)
            bytes.readWithUnsafeReadableBytes { bytes in
                var rest = bytes
                answer = Result { () throws(HTTPHeadFailure) in try head.take(&rest) }
                return bytes.count - rest.count
            }
            return answer
        }

        /// - Parameter bytes: The bytes after the answer.
        private func open(_ context: ChannelHandlerContext, _ bytes: ByteBuffer) {
            let handler = FrameHandler(driver)
            do { try context.pipeline.syncOperations.addHandler(handler, position: .after(self)) } catch {
                return errorCaught(context: context, error: error)
            }
            driver.established(handler)
            if bytes.readableBytes > 0 { context.fireChannelRead(wrapInboundOut(bytes)) }
            context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
        }

        private func fail(_ error: TransportError) {
            hasFailed = true
            driver.connection.failed(error)
            driver.abortSocket()
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            fail(Failure.handshake(driver.endpoint, error, isThroughTLS: isThroughTLS))
        }

        func channelInactive(context: ChannelHandlerContext) {
            driver.connection.failed(Failure.closedByServer(driver.endpoint, isThroughTLS: isThroughTLS))
            context.fireChannelInactive()
        }
    }
#endif
