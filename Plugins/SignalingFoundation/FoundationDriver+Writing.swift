internal import Glibc
internal import TransportPluginAPI
internal import WebSocketWire

/// The right to write to the socket, and the bytes to write besides the messages in `outbound`.
///
/// Mostly the loop writes, once a turn, everything that has gathered. The first sender after something was received
/// writes by itself: this saves the hop to the loop for requests and answers, and costs nothing for a stream of
/// messages.
struct WriteClaim {
    /// Whether there is a socket to write to.
    var isOpen = false
    var isHeld = false
    /// Whether something was added while the claim was held: its holder checks again.
    var isWanted = false
    /// Whether the loop will check.
    var isPosted = false
    var mayWriteDirectly = false
    /// Whether the socket is full, and the loop waits until it is writable.
    var isBlocked = false
    var isBroken = false
    /// Whether the connection has ended: then the holder of the claim closes the descriptor.
    var isDead = false
    /// The bytes that precede the next message: the opening handshake, answers to pings.
    var urgent: [UInt8] = []
    /// The last ping whose answer did not fit into `urgent`; earlier ones need no answer (RFC 6455 §5.5.3).
    var lastPing: [UInt8]?
    /// The close frame, which is sent after the messages.
    var closeFrame: SignalingClose?
    /// Whether the close frame was sent: nothing follows it, and only the end is awaited.
    var isLast = false
    var hasSentClose = false
}

/// A message that is being copied into the output.
struct OutgoingFrame {
    let payload: Payload
    let key: UInt32
    var offset = 0
}

extension FoundationDriver {
    private enum Progress {
        case drained
        /// The socket is full.
        case blocked
        /// Others on the loop must have their turn first.
        case mustYield
        case failed
    }

    private static let urgentLimit = 8192
    /// The number of bytes that one connection writes before others have their turn.
    private static let share = 1 << 20

    // MARK: From any thread

    /// Sends what waits: at once if this is a writer's turn, otherwise on the loop.
    func flush() {
        enum Step: Sendable { case none, write, post }
        let isOnLoop = loop.isCurrent
        let step = claim.withLock { claim -> Step in
            guard claim.isOpen, !claim.isBlocked, !claim.isBroken else { return .none }
            if claim.isHeld {
                claim.isWanted = true
                return .none
            }
            if claim.mayWriteDirectly, !isOnLoop {
                claim.mayWriteDirectly = false
                claim.isHeld = true
                return .write
            }
            guard !claim.isPosted else { return .none }
            claim.isPosted = true
            return .post
        }
        switch step {
        case .none: break
        case .write: write()
        // On the loop, everything that the turn gathers is sent at its end.
        case .post: if isOnLoop { loop.atEndOfTurn { self.writeNow() } } else { loop.execute { self.writeNow() } }
        }
    }

    // MARK: On the loop

    /// Sends bytes before the messages.
    func sendUrgently(_ bytes: [UInt8]) {
        claim.withLock { $0.urgent += bytes }
        flush()
    }

    func answer(ping payload: [UInt8]) {
        let frame = FrameWriter.control(.pong, payload, key: group.keys.next())
        claim.withLock { claim in
            if claim.urgent.count < Self.urgentLimit { claim.urgent += frame } else { claim.lastPing = payload }
        }
        flush()
    }

    /// Allows the next sender to write by itself.
    func allowDirectWrite() {
        #if OpenSSL
            if tls != nil { return }
        #endif
        claim.withLock { $0.mayWriteDirectly = true }
    }

    /// Writes, unless another thread does; then that one checks again.
    func writeNow() {
        let mayWrite = claim.withLock { claim in
            claim.isPosted = false
            guard claim.isOpen, !claim.isBlocked, !claim.isBroken else { return false }
            if claim.isHeld { claim.isWanted = true }
            defer { claim.isHeld = true }
            return !claim.isHeld
        }
        if mayWrite { write() }
    }

    func socketIsWritable() {
        claim.withLock { $0.isBlocked = false }
        updateInterest()
        writeNow()
    }

    // MARK: By the writer

    /// Writes until nothing is left or the socket is full, and releases the claim.
    private func write() {
        while true {
            let progress = transmit()
            enum Step: Sendable { case again, left, tellLoop, post, closeDescriptor }
            let step = claim.withLock { claim -> Step in
                if progress == .drained, claim.isWanted, !claim.isDead {
                    claim.isWanted = false
                    return .again
                }
                claim.isHeld = false
                claim.isWanted = false
                if claim.isDead { return .closeDescriptor }
                switch progress {
                case .drained: return claim.hasSentClose ? .tellLoop : .left
                case .blocked: claim.isBlocked = true
                case .failed: claim.isBroken = true
                case .mustYield:
                    claim.isPosted = true
                    return .post
                }
                return .tellLoop
            }
            switch step {
            case .again: continue
            case .left: break
            case .tellLoop: if loop.isCurrent { writerStopped() } else { loop.execute { self.writerStopped() } }
            case .post: loop.execute { self.writeNow() }
            case .closeDescriptor: closeDescriptor()
            }
            return
        }
    }

    private var isEncrypted: Bool {
        #if OpenSSL
            tls != nil
        #else
            false
        #endif
    }

    private func transmit() -> Progress {
        var left = Self.share
        while true {
            if wire.isEmpty { gather() }
            #if OpenSSL
                if wire.isEmpty, let tls { tls.encrypt(&output, to: &wire) }
            #endif
            let bytes = isEncrypted ? wire.bytes : output.bytes
            guard !bytes.isEmpty else {
                output.trim()
                wire.trim()
                return .drained
            }
            guard left > 0 else { return .mustYield }
            let count = send(descriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
            if count < 0 {
                if errno == EINTR { continue }
                if errno == EAGAIN { return .blocked }
                output.removeAll()
                wire.removeAll()
                return .failed
            }
            let isWhole = count == bytes.count
            if isEncrypted { wire.removeFirst(count) } else { output.removeFirst(count) }
            guard isWhole else { return .blocked }
            left -= count
        }
    }

    /// Fills the output with the rest of a message, urgent bytes, messages, and the close frame.
    private func gather() {
        if let frame = sending, !append(frame) { return }
        takeUrgent()
        while output.room >= FrameWriter.maximumHeader + 128 {
            guard let message = outbound.popFirst() else { return takeCloseFrame() }
            begin(message)
            if let frame = sending, !append(frame) { return }
        }
    }

    private func takeUrgent() {
        let (urgent, ping) = claim.withLock { claim -> ([UInt8], [UInt8]?) in
            guard !claim.urgent.isEmpty || claim.lastPing != nil else { return ([], nil) }
            defer {
                claim.urgent = []
                claim.lastPing = nil
            }
            return (claim.urgent, claim.lastPing)
        }
        guard !urgent.isEmpty else { return }
        urgent.withUnsafeBytes { output.append($0) }
        if let ping { appendControl(.pong, ping) }
    }

    private func appendControl(_ opcode: Opcode, _ payload: [UInt8]) {
        let frame = FrameWriter.control(opcode, payload, key: keys.next())
        frame.withUnsafeBytes { output.append($0) }
    }

    private func begin(_ message: SignalingMessage) {
        let key = keys.next()
        let payload = message.payload
        let opcode = message.opcode
        let count = payload.count
        if FrameWriter.maximumHeader + count <= output.room {
            output.append(atMost: FrameWriter.maximumHeader + count) { target in
                payload.withUnsafeBytes { FrameWriter.write(opcode, $0, key: key, to: target) }
            }
        } else {
            output.append(atMost: FrameWriter.maximumHeader) { target in
                FrameWriter.writeHeader(opcode, length: count, key: key, to: target)
            }
            sending = OutgoingFrame(payload: payload, key: key)
        }
    }

    /// Appends a frame. Returns false when not all of it fits.
    private func append(_ frame: OutgoingFrame) -> Bool {
        let count = min(output.room, frame.payload.count - frame.offset)
        guard count > 0 else { return false }
        output.append(atMost: count) { target in
            frame.payload.withUnsafeBytes { bytes in
                let part = UnsafeRawBufferPointer(rebasing: bytes[frame.offset..<(frame.offset + count)])
                FrameWriter.copy(part, to: target, key: frame.key, offset: frame.offset)
            }
            return count
        }
        let end = frame.offset + count
        sending = end < frame.payload.count ? OutgoingFrame(payload: frame.payload, key: frame.key, offset: end) : nil
        return sending == nil
    }

    private func takeCloseFrame() {
        let reason = claim.withLock { claim -> SignalingClose? in
            guard let reason = claim.closeFrame else { return nil }
            claim.closeFrame = nil
            claim.hasSentClose = true
            return reason
        }
        if let reason { appendControl(.close, reason.payload) }
    }

    /// Closes the descriptor, when the connection has ended and nobody holds the claim.
    func closeDescriptor() {
        guard descriptor >= 0 else { return }
        Glibc.close(descriptor)
        descriptor = -1
    }

    // MARK: On the loop, after the writer

    private func writerStopped() {
        guard phase != .ended else { return }
        let (isBroken, isLast) = claim.withLock { claim in
            (claim.isBroken, claim.hasSentClose && claim.isLast && !claim.isBlocked)
        }
        if isBroken {
            // The bytes that arrived before the failure must still be read; the reason is found after them.
            connection.sendingFailed()
        }
        if isLast { finishWriting() }
        updateInterest()
    }

    /// Ends the sending direction.
    private func finishWriting() {
        #if OpenSSL
            if let tls {
                tls.shutdown()
                tls.encrypt(&output, to: &wire)
                let bytes = wire.bytes
                // Best effort: the WebSocket's own close frame was sent.
                _ = send(descriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
                wire.removeAll()
            }
        #endif
        _ = shutdown(descriptor, Int32(SHUT_WR))
    }
}

func resetOnClose(_ descriptor: Int32) {
    var linger = linger(l_onoff: 1, l_linger: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<Glibc.linger>.size))
}
