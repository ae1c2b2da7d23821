internal import COpenSSL
internal import TransportPluginAPI

/// One DTLS association (RFC 6347), without sockets and threads: it reads datagrams from a batch and writes records to
/// an output. It lives as long as its connection, across ICE restarts.
final class DTLSSession {
    enum Role { case client, server }

    /// The size of the IPv6 and UDP headers, as the BIO reports it.
    static let overhead = 48
    /// The number of timeouts after which a flight is split into smaller datagrams.
    private static let timeoutsOfFullSize = 2
    /// The maximum size of a record. SCTP packets are far smaller, and a smaller size makes OpenSSL's buffers smaller.
    private static let maximumFragment = 2048

    let role: Role
    let output: DatagramOutput
    @exclusivity(unchecked) private(set) var isEstablished = false
    /// The reason why the session has ended, set once. `.closed` if the other side closed in order.
    private(set) var failure: TransportError? { didSet { isOver = true } }
    @exclusivity(unchecked) private var isOver = false
    private let ssl: OpaquePointer
    private let fingerprints: [Fingerprint]
    private var isMismatch = false
    @exclusivity(unchecked) private var incoming: DatagramBatch?
    @exclusivity(unchecked) private var cursor = 0
    /// The largest datagrams of the handshake: at first, and after timeouts.
    let sizes: PacketSizes
    private var timeouts = 0

    /// Throws `.resourceExhausted`.
    init(
        _ context: DTLSContext, role: Role, fingerprints: [Fingerprint], sizes: PacketSizes, output: DatagramOutput
    ) throws(TransportError) {
        self.role = role
        self.sizes = sizes
        self.output = output
        // RFC 8122 §5: of several hash functions, the strongest known one counts.
        let strongest = Fingerprint.Algorithm.allCases.last { algorithm in
            fingerprints.contains { $0.algorithm == algorithm }
        }
        self.fingerprints = fingerprints.filter { $0.algorithm == strongest }
        guard let ssl = SSL_new(context.context) else {
            throw TransportError(.resourceExhausted, "OpenSSL could not make a DTLS session")
        }
        guard let bio = BIO_new(context.method) else {
            SSL_free(ssl)
            throw TransportError(.resourceExhausted, "OpenSSL could not make a BIO")
        }
        self.ssl = ssl
        // Ownership: unretained, both freed in `deinit` below.
        let data = Unmanaged.passUnretained(self).toOpaque()
        BIO_set_data(bio, data)
        SSL_set_ex_data(ssl, 0, data)
        SSL_set_bio(ssl, bio, bio)
        COpenSSL_set_sizes(ssl, sizes.datagram(.full) + Self.overhead, Self.maximumFragment)
        DTLS_set_timer_cb(ssl, dtlsTimer)
        switch role {
        case .client: SSL_set_connect_state(ssl)
        case .server: SSL_set_accept_state(ssl)
        }
    }

    deinit { SSL_free(ssl) }

    // MARK: Handshake

    /// Begins or continues the handshake.
    func handshake() {
        guard failure == nil, !isEstablished else { return }
        ERR_clear_error()
        note(SSL_do_handshake(ssl))
    }

    /// The time until `handleTimeout` must be called, in microseconds; nil when no flight waits for an answer.
    var timeout: Int64? {
        guard failure == nil, !isEstablished else { return nil }
        let left = COpenSSL_timeout(ssl)
        return left < 0 ? nil : left
    }

    /// Sends the last flight again if that is due.
    func handleTimeout() {
        guard failure == nil, !isEstablished else { return }
        ERR_clear_error()
        timeouts += 1
        // RFC 6347 §4.1.1.1: a lost packet and one that is too large for the path look the same.
        if timeouts == Self.timeoutsOfFullSize {
            COpenSSL_set_sizes(ssl, sizes.datagram(.half) + Self.overhead, Self.maximumFragment)
        }
        if COpenSSL_handle_timeout(ssl) < 0 { note(-1) }
    }

    /// The fingerprint of the certificate that the other side has sent in the handshake; nil before its end.
    var remoteFingerprint: Fingerprint? {
        guard isEstablished, let certificate = SSL_get0_peer_certificate(ssl),
            let bytes = DTLSContext.digest(of: certificate, .sha256)
        else { return nil }
        return Fingerprint(algorithm: .sha256, bytes: bytes)
    }

    // MARK: Data

    /// Reads from `batch` until `endInput`.
    @inline(__always)
    func beginInput(_ batch: DatagramBatch) {
        incoming = batch
        cursor = 0
    }

    @inline(__always)
    func endInput() { incoming = nil }

    /// Reads the payload of the next record in the batch. Returns 0 when none is left or the session has ended.
    func read(into buffer: UnsafeMutableRawBufferPointer) -> Int {
        guard !isOver, let incoming else { return 0 }
        while true {
            // Mostly there is one record in a datagram, and asking OpenSSL for a second one costs as much as the first.
            if cursor == incoming.count, SSL_has_pending(ssl) == 0 { return 0 }
            let before = cursor
            // Clearing costs much more than looking, and there is an error only after one.
            if ERR_peek_error() != 0 { ERR_clear_error() }
            let count = SSL_read(ssl, buffer.baseAddress, Int32(truncatingIfNeeded: buffer.count))
            if !isEstablished { note(count) }
            if count > 0 { return Int(count) }
            if isEstablished { note(count) }
            // A dropped record sometimes ends a read early: continue while datagrams are left.
            guard !isOver, cursor != before else { return 0 }
        }
    }

    /// Encrypts one packet into the outgoing batch. A packet that cannot be encrypted is lost, as if the network had
    /// lost it.
    @inline(__always)
    func write(_ bytes: UnsafeRawPointer, count: Int) {
        guard isEstablished, !isOver else { return }
        if SSL_write(ssl, bytes, Int32(truncatingIfNeeded: count)) <= 0 { ERR_clear_error() }
    }

    /// Announces to the other side that no more data follows (close_notify).
    func shutdown() {
        guard isEstablished, failure == nil else { return }
        ERR_clear_error()
        _ = SSL_shutdown(ssl)
        ERR_clear_error()
    }

    // MARK: For the callbacks

    func accepts(_ certificate: OpaquePointer) -> Bool {
        for fingerprint in fingerprints {
            if DTLSContext.digest(of: certificate, fingerprint.algorithm) == fingerprint.bytes { return true }
        }
        isMismatch = true
        return false
    }

    /// Copies the next datagram of the batch and returns its size, 0 when there is none. Anything but DTLS is skipped
    /// (RFC 7983 §7).
    @inline(__always)
    func takeDatagram(into buffer: UnsafeMutableRawBufferPointer) -> Int {
        guard let incoming else { return 0 }
        while cursor < incoming.count {
            let datagram = incoming[cursor]
            cursor += 1
            guard datagram.count > 0, datagram.count <= buffer.count, (20...63).contains(datagram[0]) else { continue }
            buffer.copyMemory(from: UnsafeRawBufferPointer(datagram))
            return datagram.count
        }
        return 0
    }

    private func note(_ result: Int32) {
        if result > 0 || SSL_is_init_finished(ssl) == 1 { isEstablished = true }
        guard result <= 0 else { return }
        switch SSL_get_error(ssl, result) {
        case SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE: break
        case SSL_ERROR_ZERO_RETURN:
            failure = TransportError(.closed, "the other side closed the connection")
        default:
            let reason = String(cString: COpenSSL_error_text(ERR_peek_error()))
            ERR_clear_error()
            failure =
                if isMismatch {
                    TransportError(
                        .fingerprintMismatch,
                        "the other side's certificate is not the one that its description announced: do not trust it")
                } else if isEstablished {
                    TransportError(.protocolViolation, "DTLS failed: \(reason)", isRetryable: true)
                } else {
                    TransportError(.handshakeFailed, "the DTLS handshake failed: \(reason)", isRetryable: true)
                }
        }
    }
}

/// Returns the time until the next retransmission of a flight, in microseconds: at first 100 ms, then doubled up to 3
/// s. With RFC 6347's 1 s, a single lost packet would cost a second.
private func dtlsTimer(_ ssl: OpaquePointer?, _ previous: UInt32) -> UInt32 {
    previous == 0 ? 100_000 : min(previous &* 2, 3_000_000)
}
