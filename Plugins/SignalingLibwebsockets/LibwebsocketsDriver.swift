#if Libwebsockets
    internal import CLibwebsockets
    internal import Glibc
    internal import TransportPluginAPI

    /// Drives the socket of one connection through libwebsockets, from the attempt to the end.
    // SAFETY: `isWriteRequested` and the members of `connection` have their own locks. Everything under "On the
    // service's thread" is touched only there.
    final class LibwebsocketsDriver: SignalingDriver, @unchecked Sendable {
        let service: Service
        let owner: Owner
        let connection: DrivenConnection
        private let maximumMessageSize: Int
        /// Whether a `.write` of this driver is in the service's queue.
        private let isWriteRequested = Locked(false)

        var endpoint: SignalingEndpoint { connection.endpoint }

        /// - Parameter descriptor: A connected socket; the driver takes ownership.
        init(service: Service, owner: Owner, _ connection: DrivenConnection, descriptor: Int32) {
            self.service = service
            self.owner = owner
            self.connection = connection
            self.descriptor = descriptor
            maximumMessageSize = connection.endpoint.maximumMessageSize
        }

        deinit { closeDescriptor() }

        // MARK: From any thread

        func start() {
            let isTaken = service.post(.start(self))
            if !isTaken { connection.failed(TransportError(.closed, "the transport was shut down")) }
        }

        func flush() {
            let isFirst = isWriteRequested.withLock { isRequested in
                defer { isRequested = true }
                return !isRequested
            }
            if isFirst { service.post(.write(self)) }
        }

        func resumeReading() { service.post(.resume(self)) }

        func close(_ reason: SignalingClose, deadline: Timestamp) { service.post(.close(self, reason, deadline)) }

        func abort() { service.post(.abort(self)) }

        // MARK: On the service's thread

        enum Phase {
            case connecting
            case open
            /// This side closes: the close frame follows the accepted messages, then libwebsockets waits for the
            /// answer.
            case closing(SignalingClose)
            /// The other side has closed, or the connection has failed. libwebsockets is about to end it.
            case ended
        }
        var phase = Phase.connecting
        var id: UInt = 0
        var wsi: OpaquePointer?
        /// The connected socket until libwebsockets owns it; then -1.
        private(set) var descriptor: Int32
        var deadline: Timestamp? { didSet { if let deadline { service.note(deadline: deadline) } } }
        /// Whether the last frame is being sent: the answer to a close, or our own. No task waits for it.
        var isLingering = false
        /// Whether libwebsockets' connect function runs, which may destroy the connection before it returns.
        var isStarting = false
        /// Whether TLS is established, and the request is being written.
        var hasSentRequest = false
        var verifyError: String?
        var handshakeError: TransportError?
        private var sending: (message: SignalingMessage, offset: Int)?
        private var assembly = Assembly()

        /// Closes the socket, once libwebsockets has a copy of it or it is no longer needed.
        func closeDescriptor() {
            if descriptor >= 0 { Glibc.close(descriptor) }
            descriptor = -1
        }

        func established(from localAddress: String?) {
            phase = .open
            deadline = nil
            connection.opened(from: localAddress)
        }

        func failed(_ error: TransportError) {
            phase = .ended
            closeDescriptor()
            connection.failed(error)
        }

        /// The open connection has failed.
        func connectionLost(_ error: TransportError) {
            phase = .ended
            connection.connectionLost(error)
        }

        /// libwebsockets has destroyed the connection.
        func destroyed() {
            wsi = nil
            phase = .ended
            closeDescriptor()
            connection.ended()
        }

        func peerClosed(_ reason: SignalingClose) {
            phase = .ended
            isLingering = true
            connection.closedByPeer(reason)
        }

        func received(_ bytes: UnsafeRawBufferPointer, on wsi: OpaquePointer) {
            guard case .open = phase else { return }
            let (announced, overflow) = lws_remaining_packet_payload(wsi).addingReportingOverflow(
                assembly.count + bytes.count)
            guard !overflow, announced <= maximumMessageSize else {
                return violate(
                    1009,
                    TransportError(
                        .messageTooLarge,
                        "the server sent a message of more than \(maximumMessageSize) bytes; the connection was closed",
                        status: 1009))
            }
            let isWhole = lws_is_final_fragment(wsi) != 0
            guard let payload = assembly.add(bytes, isWhole: isWhole) else { return }
            let isText = lws_frame_is_binary(wsi) == 0
            guard !isText || payload.isValidUTF8 else {
                return violate(
                    1007,
                    TransportError(
                        .protocolViolation, "the server sent text that is not UTF-8; the connection was closed",
                        status: 1007))
            }
            if !connection.inbound.appendNow(isText ? .text(payload) : .binary(payload)) {
                // Stops reading from the socket; `resumeReading` posts `.resume`, which cannot run before this returns.
                lws_rx_flow_control(wsi, 0)
            }
        }

        /// Closes because the other side broke a rule. Receivers get the earlier messages, then `error`.
        private func violate(_ code: UInt16, _ error: TransportError) {
            guard let wsi else { return }
            connection.connectionLost(error)
            sending = nil
            phase = .closing(SignalingClose(code: code, reason: ""))
            isLingering = true
            deadline = .now() + .seconds(2)
            lws_callback_on_writable(wsi)
        }

        /// The number of frames and bytes that one connection writes before others have their turn.
        private static let turn = (frames: 256, bytes: 256 << 10)

        /// Writes everything that waits, at once: libwebsockets acts as if it had found that the socket can take more.
        /// It calls `writeable`, unless it owes a pong. Then it sends that, and calls `writeable` in its next turn.
        func writeNow() {
            // Before the buffer is read: a later message requests another write.
            isWriteRequested.withLock { $0 = false }
            guard let wsi else { return }
            switch phase {
            case .open, .closing: break
            case .connecting, .ended: return
            }
            // libwebsockets keeps what the socket did not accept, and calls `writeable` when it is written.
            if lws_partial_buffered(wsi) == 0 { CLibwebsockets_service_writable(wsi) }
        }

        /// Writes what waits. Returns the callback's result: -1 makes libwebsockets end the connection.
        func writeable(_ wsi: OpaquePointer) -> Int32 {
            guard writeFrames(wsi) else { return -1 }
            guard case .closing(let reason) = phase, sending == nil, connection.outbound.isEmpty else { return 0 }
            phase = .ended
            var bytes = Array(reason.payload.dropFirst(2))
            lws_close_reason(wsi, lws_close_status(UInt32(reason.code)), &bytes, bytes.count)
            return -1
        }

        /// Writes frames. Returns false when libwebsockets cannot write any longer.
        private func writeFrames(_ wsi: OpaquePointer) -> Bool {
            switch phase {
            case .open, .closing: break
            case .connecting, .ended: return true
            }
            var (frames, bytes) = Self.turn
            while lws_partial_buffered(wsi) == 0 {
                if sending == nil, let message = connection.outbound.popFirst() { sending = (message, 0) }
                guard let (message, offset) = sending else { return true }
                guard frames > 0, bytes > 0 else {
                    lws_callback_on_writable(wsi)
                    return true
                }
                let (written, end) = service.write(message, from: offset, to: wsi)
                guard written else { return false }
                sending = end < message.payload.count ? (message, end) : nil
                frames -= 1
                bytes -= end - offset
            }
            // libwebsockets calls back when the rest is written.
            return true
        }

        func startClosing(_ reason: SignalingClose, deadline: Timestamp) -> Bool {
            guard case .open = phase, let wsi else { return false }
            phase = .closing(reason)
            self.deadline = deadline
            // The answer to the close frame must be read, even if messages wait before it.
            lws_rx_flow_control(wsi, 1)
            lws_callback_on_writable(wsi)
            return true
        }
    }

    /// The reassembly of one message from its pieces.
    private struct Assembly: ~Copyable {
        private var buffer: UnsafeMutableRawPointer?
        private var capacity = 0
        private(set) var count = 0

        init() {}

        deinit { free(buffer) }

        /// Adds a piece. Returns the whole message with its last piece. The caller limits the sum.
        mutating func add(_ bytes: UnsafeRawBufferPointer, isWhole: Bool) -> Payload? {
            if isWhole, count == 0 { return Payload(copying: bytes) }
            if count + bytes.count > capacity {
                capacity = max(count + bytes.count, capacity * 2, 16_384)
                buffer = realloc(buffer, capacity)
            }
            if let start = bytes.baseAddress, let buffer { memcpy(buffer + count, start, bytes.count) }
            count += bytes.count
            guard isWhole else { return nil }
            defer {
                buffer = nil
                capacity = 0
                count = 0
            }
            return Payload(adopting: UnsafeRawBufferPointer(start: buffer, count: count)) {
                free(UnsafeMutableRawPointer(mutating: $0.baseAddress))
            }
        }
    }

    extension Payload {
        fileprivate var isValidUTF8: Bool {
            withUnsafeBytes { bytes in
                (try? UTF8Span(validating: bytes.bindMemory(to: UInt8.self).span)) != nil
            }
        }
    }

    /// A transport, as a user of the service.
    final class Owner: Sendable {
        let isReleased = Locked(false)
    }
#endif
