internal import Glibc
internal import TransportPluginAPI
internal import WebSocketWire

/// The opening: from the connected socket to the answered handshake. On the loop.
extension FoundationDriver {
    func begin() {
        guard phase == .connecting else { return }
        setDeadline(connection.openingDeadline)
        #if OpenSSL
            if endpoint.isSecure {
                // Before anything is sent: an unreadable file is the caller's mistake.
                do throws(TransportError) { tls = try TLSSession(group.trust.context(for: endpoint), endpoint) } catch {
                    return failed(error)
                }
            }
        #endif
        do throws(TransportError) {
            watch = try loop.watch(descriptor, for: .readable) { [weak self] ready in self?.isReady(ready) }
        } catch { return failed(error) }
        handshake = ClientHandshake(endpoint)
        claim.withLock { $0.isOpen = true }
        #if OpenSSL
            if tls != nil {
                phase = .tlsHandshake
                return continueTLSHandshake()
            }
        #endif
        upgrade()
    }

    #if OpenSSL
        /// Continues the TLS handshake.
        func continueTLSHandshake() {
            guard let tls else { return }
            let progress = tls.handshake()
            // Alerts too: they tell the server the reason.
            writeNow()
            switch progress {
            case .success(true): upgrade()
            case .success(false): break
            case .failure(let error): failed(error)
            }
        }
    #endif

    private func upgrade() {
        guard let handshake else { return }
        phase = .upgrading
        sendUrgently(handshake.request)
    }

    /// Takes the server's answer from the front of `bytes`. Returns false when it is not complete.
    func takeAnswer(_ bytes: inout UnsafeRawBufferPointer) -> Bool {
        guard let handshake else { return false }
        let answer: ResponseHead?
        do throws(HTTPHeadFailure) { answer = try head.take(&bytes) } catch {
            failed(ClientHandshake.error(error, from: endpoint))
            return true
        }
        guard let answer else { return false }
        guard !answer.isInterim else { return true }
        if let error = handshake.error(in: answer, from: endpoint) {
            failed(error)
            return true
        }
        self.handshake = nil
        phase = .open
        setDeadline(.distantFuture)
        allowDirectWrite()
        connection.opened(from: TCPConnector.localAddress(of: descriptor))
        return true
    }

    /// The connection has ended while it was being opened.
    func closedByServer(_ reason: String) {
        switch phase {
        case .tlsHandshake:
            failed(
                TransportError(
                    .tlsFailed, "\(endpoint.url) ended the connection during TLS: \(reason)", isRetryable: true)
            )
        default:
            failed(
                TransportError(
                    .handshakeFailed, "\(endpoint.url) closed the connection during the handshake: \(reason)",
                    isRetryable: true))
        }
    }
}
