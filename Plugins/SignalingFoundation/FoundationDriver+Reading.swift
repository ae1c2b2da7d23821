internal import Glibc
internal import TransportPluginAPI
internal import WebSocketWire

/// Reading: from the socket to `inbound`. On the loop.
extension FoundationDriver {
    func isReady(_ ready: TransportLoop.Readiness) {
        if ready.contains(.writable) { socketIsWritable() }
        if ready.contains(.readable) || ready.contains(.failed) {
            if isPaused {
                // The watch reports an end even if it is not asked to. So it is removed, and the end waits for a
                // receiver.
                if ready.contains(.failed) {
                    watch?.cancel()
                    watch = nil
                    connection.sendingFailed()
                }
            } else {
                read()
            }
        }
    }

    /// Makes the watch wait for the events that the driver can process.
    func updateInterest() {
        guard phase != .ended, let watch else { return }
        var interest: TransportLoop.Readiness = []
        if !isPaused { interest.insert(.readable) }
        if claim.withLock({ $0.isBlocked }) { interest.insert(.writable) }
        watch.interest = interest
    }

    /// Continues reading where it was paused.
    func continueReading() {
        guard isPaused, phase != .ended else { return }
        isPaused = false
        let left = unparsed
        unparsed = []
        left.withUnsafeBytes { take($0) }
        #if OpenSSL
            decrypt()
        #endif
        guard !isPaused, phase != .ended else { return }
        if watch == nil { read() } else { updateInterest() }
    }

    private func read() {
        var isFirst = true
        // After a few blocks, others on the loop have their turn; the watch reports the rest.
        for _ in 0..<4 {
            guard phase != .ended, !isPaused else { return }
            let count = recv(descriptor, group.input.baseAddress, group.input.count, 0)
            if count > 0 {
                if isFirst { allowDirectWrite() }
                isFirst = false
                received(UnsafeRawBufferPointer(rebasing: group.input[..<count]))
                // Less than requested: the socket is empty.
                if count < group.input.count, watch != nil { return }
            } else if count == 0 {
                return ended(nil)
            } else if errno == EAGAIN {
                return
            } else if errno != EINTR {
                return ended(errno)
            }
        }
        // Without a watch, nothing would continue it.
        if watch == nil, phase != .ended, !isPaused { loop.execute { self.read() } }
    }

    private func received(_ bytes: UnsafeRawBufferPointer) {
        #if OpenSSL
            if let tls {
                guard tls.receive(bytes) else {
                    return ended(ENOMEM)
                }
                if phase == .tlsHandshake { continueTLSHandshake() }
                if phase != .tlsHandshake { decrypt() }
                return
            }
        #endif
        take(bytes)
    }

    #if OpenSSL
        private func decrypt() {
            guard let tls else { return }
            while phase != .ended, !isPaused {
                let count = tls.read(into: group.plaintext)
                guard count > 0 else { break }
                take(UnsafeRawBufferPointer(rebasing: group.plaintext[..<count]))
            }
            guard phase != .ended else { return }
            // Answers of TLS itself: key updates.
            if tls.hasOutput { writeNow() }
            if !isPaused, let end = tls.end { endOfTLS(end) }
        }

        private func endOfTLS(_ end: TLSSession.End) {
            switch end {
            case .inOrder: ended(nil)
            case .failed(let error):
                switch phase {
                case .connecting, .tlsHandshake, .upgrading: failed(error)
                case .open, .closing, .lingering: connectionLost(error)
                case .ended: break
                }
            }
        }
    #endif

    /// Processes all of the plain bytes: those that must wait are kept in `unparsed`.
    private func take(_ bytes: UnsafeRawBufferPointer) {
        var bytes = bytes
        while !bytes.isEmpty {
            switch phase {
            case .upgrading: guard takeAnswer(&bytes) else { return }
            case .open, .closing:
                guard takeEvent(&bytes) else { return }
            case .connecting, .tlsHandshake, .lingering, .ended: return
            }
        }
    }

    /// Processes the next event. Returns false when nothing more can be processed now.
    private func takeEvent(_ bytes: inout UnsafeRawBufferPointer) -> Bool {
        let event: FrameParser.Event?
        do throws(FrameViolation) { event = try parser.next(&bytes) } catch {
            violated(error)
            return false
        }
        switch event {
        case nil, .pong, .fragment: return true
        case .ping(let payload):
            if phase == .open { answer(ping: payload) }
            return true
        case .message(let message):
            guard phase == .open, !inbound.appendNow(SignalingMessage(message, in: &parser)) else { return true }
            // `resumeReading` runs on this loop, and so not before this returns.
            isPaused = true
            unparsed = Array(bytes)
            updateInterest()
            return false
        case .close(let reason):
            otherSideClosed(SignalingClose(reason))
            return false
        }
    }

    private func violated(_ violation: FrameViolation) {
        let isTooLarge = violation.closeCode == 1009
        let error = TransportError(
            isTooLarge ? .messageTooLarge : .protocolViolation,
            "\(endpoint.url) sent \(violation.description); the connection was closed", isRetryable: !isTooLarge,
            status: Int(violation.closeCode))
        let isOurs = phase == .closing
        connection.connectionLost(error)
        // After our own close frame, no other frame may be sent (RFC 6455 §5.5.1).
        linger(with: isOurs ? nil : SignalingClose(code: violation.closeCode))
        if isOurs { tearDown(withReset: false) }
    }

    private func otherSideClosed(_ reason: SignalingClose) {
        let hasSent = claim.withLock { $0.hasSentClose }
        connection.closedByPeer(reason)
        if hasSent {
            // The answer to ours: the close handshake is done.
            tearDown(withReset: false)
        } else {
            linger(with: SignalingClose(code: reason.code))
        }
    }

    /// The TCP connection has ended, in order or with an error.
    private func ended(_ error: Int32?) {
        let reason = error.map(systemText) ?? "end of the connection"
        switch phase {
        case .connecting, .ended: break
        case .tlsHandshake, .upgrading: closedByServer(reason)
        case .lingering: tearDown(withReset: false)
        case .open, .closing:
            guard let error, error != ECONNRESET, error != EPIPE else {
                return connectionLost(
                    TransportError(
                        .closed, "\(endpoint.url) ended the connection without a close frame", isRetryable: true))
            }
            connectionLost(
                TransportError(.io, "the connection to \(endpoint.url) failed: \(reason)", isRetryable: true))
        }
    }
}

func systemText(_ error: Int32) -> String { String(cString: strerror(error)) }
