internal import TransportPluginAPI

/// The DTLS session of one connection, the timer of its handshake, and the datagrams that arrived before it.
final class DTLSTransport {
    /// The limits of datagrams that wait for the remote description.
    private static let maximumEarly = (bytes: 32_768, datagrams: 32)

    enum Progress {
        /// There is no session, or its handshake is not finished.
        case unfinished
        case established(DTLSSession)
        case failed(TransportError)
    }

    private let core: TransportCore
    private let output: DatagramOutput
    @exclusivity(unchecked) private(set) var session: DTLSSession?
    private var timer: LoopTimer?
    /// The datagrams that arrived before the remote description: the other side may be faster than signaling.
    private var early: DatagramBatch?

    init(_ core: TransportCore, output: DatagramOutput) {
        self.core = core
        self.output = output
    }

    /// Makes the session. `fingerprints` are those of the certificate that the other side must send. Throws
    /// `.resourceExhausted`.
    func begin(_ role: DTLSSession.Role, fingerprints: [Fingerprint]) throws(TransportError) {
        session = try DTLSSession(
            core.dtls, role: role, fingerprints: fingerprints, sizes: core.options.sizes, output: output)
    }

    func end() {
        timer?.cancel()
        timer = nil
        early = nil
        session?.shutdown()
        session = nil
    }

    /// Keeps datagrams until there is a session.
    func keepEarly(_ batch: DatagramBatch) {
        let early = early ?? DatagramBatch(capacity: Self.maximumEarly.bytes, maximumCount: Self.maximumEarly.datagrams)
        self.early = early
        for index in 0..<batch.count {
            guard early.append(UnsafeRawBufferPointer(batch[index])) else { return }
        }
    }

    /// Returns the datagrams that were kept.
    func takeEarly() -> DatagramBatch? {
        defer { early = nil }
        return early
    }

    /// Begins or continues the handshake, if this side is the client.
    func handshake() {
        if let session, session.role == .client { session.handshake() }
    }

    /// Returns the result of a step of the handshake, and sets its timer: `onTimeout` is called after the next flight
    /// was repeated. Without a path there is no timer: the flight would certainly be lost, and OpenSSL gives up after a
    /// dozen.
    func progress(hasPath: Bool, onTimeout: @escaping () -> Void) -> Progress {
        guard let session else { return .unfinished }
        if let failure = session.failure { return .failed(failure) }
        timer?.cancel()
        timer = nil
        if session.isEstablished { return .established(session) }
        guard hasPath, let timeout = session.timeout else { return .unfinished }
        timer = core.loop.schedule(after: .microseconds(timeout + 1000)) { [unowned self] in
            self.session?.handleTimeout()
            onTimeout()
        }
        return .unfinished
    }
}
