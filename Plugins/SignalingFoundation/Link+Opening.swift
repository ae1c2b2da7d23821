internal import Glibc
internal import TransportPluginAPI

/// From the addresses to the answered handshake. On the loop.
extension Link {
    func connect(to addresses: [String], port: UInt16) {
        guard phase == .connecting else { return }
        setDeadline(openingDeadline)
        #if OpenSSL
            if endpoint.isSecure {
                // Before anything is sent: a file that cannot be read is the caller's mistake.
                do throws(TransportError) { tls = try TLSSession(group.trust.context(for: endpoint), endpoint) } catch {
                    return failed(error)
                }
            }
        #endif
        let connector = TCPConnector(loop: loop, addresses: addresses, port: port, url: target) { [weak self] outcome in
            self?.connected(outcome)
        }
        self.connector = connector
        connector.start()
    }

    /// What is connected to, for errors.
    private var target: String {
        endpoint.proxy.map { "the proxy \($0.host):\($0.port) for \(endpoint.url)" } ?? endpoint.url
    }

    private func connected(_ outcome: Result<Int32, TransportError>) {
        connector = nil
        switch outcome {
        case .failure(let error): return failed(error)
        case .success(let socket): descriptor = socket
        }
        do throws(TransportError) {
            watch = try loop.watch(descriptor, for: .readable) { [weak self] ready in self?.isReady(ready) }
        } catch { return failed(error) }
        note(localAddress: TCPConnector.localAddress(of: descriptor))
        var generator = SystemRandomNumberGenerator()
        let nonce = (0..<16).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
        let handshake = Handshake(endpoint, nonce: nonce)
        self.handshake = handshake
        claim.withLock { $0.isOpen = true }
        if endpoint.proxy != nil {
            phase = .asksProxy
            sendUrgently(handshake.proxyRequest)
        } else {
            startTLS()
        }
    }

    private func startTLS() {
        #if OpenSSL
            if tls != nil {
                phase = .startsTLS
                return shakeHands()
            }
        #endif
        upgrade()
    }

    #if OpenSSL
        /// Goes on with the TLS handshake.
        func shakeHands() {
            guard let tls else { return }
            let progress = tls.shakeHands()
            // Alerts too: they tell the server why.
            flush()
            switch progress {
            case .success(true): upgrade()
            case .success(false): break
            case .failure(let error): failed(error)
            }
        }
    #endif

    private func upgrade() {
        guard let handshake else { return }
        phase = .upgrades
        head = HeadBuffer()
        sendUrgently(handshake.request)
    }

    /// Takes the answer of the proxy or of the server from the front of `bytes`. False: it has not come whole.
    func takeAnswer(_ bytes: inout UnsafeRawBufferPointer) -> Bool {
        guard let handshake else { return false }
        switch head.take(&bytes) {
        case .incomplete: return false
        case .invalid(let why):
            failed(TransportError(.handshakeFailed, "\(target) did not answer as a WebSocket server: \(why)"))
        // An interim answer: the final one follows (RFC 9110 §15.2).
        case .complete(let answer) where (100..<200).contains(answer.status) && answer.status != 101:
            head = HeadBuffer()
        case .complete(let answer):
            if phase == .asksProxy {
                if let error = handshake.proxyError(in: answer) { failed(error) } else { startTLS() }
            } else if let error = handshake.error(in: answer) {
                failed(error)
            } else {
                self.handshake = nil
                head = HeadBuffer()
                phase = .open
                setDeadline(.distantFuture)
                allowDirectWrite()
                settle(.success(()))
            }
        }
        return true
    }

    /// The connection ended while it was being opened.
    func hungUp(_ why: String) {
        switch phase {
        case .startsTLS:
            failed(
                TransportError(.tlsFailed, "\(endpoint.url) ended the connection during TLS: \(why)", isRetriable: true)
            )
        default:
            failed(
                TransportError(.handshakeFailed, "\(target) hung up during the handshake: \(why)", isRetriable: true))
        }
    }
}
