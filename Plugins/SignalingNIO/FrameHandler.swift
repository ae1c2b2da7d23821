#if NIO
    internal import NIOCore
    internal import TransportPluginAPI
    internal import WebSocketWire

    /// An open connection on its event loop: frames in, frames out, and the close handshake.
    ///
    /// Can transition: open → closing (this side closes; accepted messages are sent first) → awaitingClose (our close
    /// frame was sent) → done; open, closing → lingering (the other side closed, or broke the protocol; our last frame
    /// was sent) → done; any → done (the socket has ended).
    final class FrameHandler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        private enum Phase {
            case open
            case closing(SignalingClose)
            case awaitingClose
            /// Input is ignored; the other side must end the TCP connection, within a time limit.
            case lingering
            case done
        }

        /// The number of bytes that SwiftNIO may hold when the socket is full.
        static let waterMark = ChannelOptions.Types.WriteBufferWaterMark(low: 32 << 10, high: 128 << 10)
        /// The number of bytes that are gathered before they are passed to SwiftNIO.
        private static let batch = 64 << 10

        private let driver: NIODriver
        private var phase = Phase.open
        private var context: ChannelHandlerContext?
        private var parser: FrameParser
        private var keys = MaskingKeys()
        private var output = ByteBuffer()
        /// The latest ping that could not be answered yet; older ones need no answer (RFC 6455 §5.5.3).
        private var unanswered: [UInt8]?
        private var isReading = true
        private var timer: Scheduled<Void>?

        init(_ driver: NIODriver) {
            self.driver = driver
            parser = FrameParser(framesFrom: .server, maximumMessageSize: driver.endpoint.maximumMessageSize)
        }

        // MARK: The channel

        func handlerAdded(context: ChannelHandlerContext) { self.context = context }

        func handlerRemoved(context: ChannelHandlerContext) {
            // If the socket ended before this handler was added, there was no `channelInactive`.
            socketEnded()
            self.context = nil
        }

        func channelInactive(context: ChannelHandlerContext) {
            socketEnded()
            context.fireChannelInactive()
        }

        private func socketEnded() {
            if case .open = phase { driver.connection.connectionLost(Failure.ended) }
            ended()
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            if case .open = phase { driver.connection.connectionLost(Failure.broken(error)) }
            ended()
            driver.abortSocket()
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            unwrapInboundIn(data).withUnsafeReadableBytes { read($0) }
        }

        func channelReadComplete(context: ChannelHandlerContext) {
            flushOutput()
            answerLatest()
            context.fireChannelReadComplete()
        }

        func channelWritabilityChanged(context: ChannelHandlerContext) {
            if context.channel.isWritable {
                answerLatest()
                drain()
            }
            context.fireChannelWritabilityChanged()
        }

        private func ended() {
            phase = .done
            timer?.cancel()
            timer = nil
        }

        // MARK: Reading

        private func read(_ bytes: UnsafeRawBufferPointer) {
            var rest = bytes
            do throws(FrameViolation) {
                while isParsing, let event = try parser.next(&rest) { handle(event) }
            } catch {
                violated(error)
            }
        }

        private var isParsing: Bool {
            switch phase {
            case .open, .closing, .awaitingClose: true
            case .lingering, .done: false
            }
        }

        private func handle(_ event: FrameParser.Event) {
            switch event {
            case .message(let message):
                guard case .open = phase else { break }
                if !driver.inbound.appendNow(SignalingMessage(message, in: &parser)) { pauseReading() }
            case .ping(let payload): answer(payload)
            case .pong, .fragment: break
            case .close(let reason): peerClosed(SignalingClose(reason))
            }
        }

        private func answer(_ ping: [UInt8]) {
            guard let context else { return }
            switch phase {
            case .open, .closing: break
            case .awaitingClose, .lingering, .done: return
            }
            guard context.channel.isWritable, output.readableBytes < Self.batch else {
                unanswered = ping
                return
            }
            output.writeFrame(.pong, ping, key: keys.next())
        }

        private func answerLatest() {
            guard let ping = unanswered else { return }
            unanswered = nil
            answer(ping)
            flushOutput()
        }

        private func peerClosed(_ reason: SignalingClose) {
            if case .awaitingClose = phase {
                // The answer to ours: the close handshake is done. TLS may still send something, until the deadline.
                phase = .lingering
                context?.close(promise: nil)
                return
            }
            if case .open = phase { driver.connection.closedByPeer(reason) }
            linger(SignalingClose(code: reason.code))
        }

        private func violated(_ violation: FrameViolation) {
            if case .open = phase { driver.connection.connectionLost(Failure.violation(violation)) }
            if case .awaitingClose = phase {
                ended()
                return driver.abortSocket()
            }
            linger(SignalingClose(code: violation.closeCode))
        }

        /// Sends the last frame, and lets the other side end the TCP connection: ending it at once could drop the
        /// frame.
        private func linger(_ close: SignalingClose) {
            output.writeFrame(.close, close.payload, key: keys.next())
            phase = .lingering
            flushOutput()
            setTimer(.now() + .seconds(2))
            resumeReading()
        }

        /// Pauses reading, when the buffer is at its limit. `onRoom` posts `resumeReading`, which cannot run before
        /// this returns.
        private func pauseReading() { setReading(false) }

        func resumeReading() { setReading(true) }

        private func setReading(_ isOn: Bool) {
            guard isReading != isOn, let context else { return }
            isReading = isOn
            try? context.channel.syncOptions?.setOption(.autoRead, value: isOn)
        }

        // MARK: Writing

        /// Writes accepted messages as far as the socket accepts them, then the close frame if this side closes.
        func drain() {
            guard let context else { return }
            while context.channel.isWritable {
                switch phase {
                case .open, .closing: break
                case .awaitingClose, .lingering, .done: return flushOutput()
                }
                var isEmpty = false
                while output.readableBytes < Self.batch, !isEmpty {
                    if let message = driver.outbound.popFirst() {
                        output.writeFrame(message, key: keys.next())
                    } else {
                        isEmpty = true
                    }
                }
                if isEmpty, case .closing(let reason) = phase {
                    output.writeFrame(.close, reason.payload, key: keys.next())
                    phase = .awaitingClose
                }
                flushOutput()
                if isEmpty { return }
            }
        }

        private func flushOutput() {
            guard output.readableBytes > 0, let context else { return }
            // Removed first, since the flush may call `channelWritabilityChanged`, which calls `drain`.
            var frames = ByteBuffer()
            swap(&frames, &output)
            context.writeAndFlush(wrapOutboundOut(frames), promise: nil)
            // Usually the socket has accepted it, and the memory is reused.
            if output.readableBytes == 0, frames.capacity <= 2 * Self.batch {
                frames.clear()
                output = frames
            }
        }

        // MARK: Closing

        func startClosing(_ reason: SignalingClose, deadline: Timestamp) {
            switch phase {
            case .open:
                phase = .closing(reason)
                setTimer(deadline)
                // The answer to the close frame must be read, even if messages wait before it.
                resumeReading()
                drain()
            case .closing, .awaitingClose: break
            case .lingering: setTimer(deadline)
            case .done: driver.abortSocket()
            }
        }

        /// Returns true if the last frame was sent, and the connection ends by itself soon.
        func mayLinger() -> Bool {
            guard case .lingering = phase else { return false }
            setTimer(.now() + .seconds(1))
            return true
        }

        private func setTimer(_ deadline: Timestamp) {
            timer?.cancel()
            timer = driver.loop.schedule(at: deadline) { [driver] in driver.abortSocket() }
        }
    }
#endif
