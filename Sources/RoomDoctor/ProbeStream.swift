internal import COpenSSL
internal import Glibc
internal import TransportPluginAPI

/// A TCP connection, with or without TLS, with one deadline for all steps. Blocks its thread.
final class ProbeStream {
    private let descriptor: Int32
    private let deadline: Timestamp
    private var tls: (context: OpaquePointer, session: OpaquePointer)?

    /// Connects to the numeric `address`.
    init(_ address: String, port: UInt16, connectWithin limit: Duration, deadline: Timestamp) throws(ProbeFailure) {
        self.deadline = deadline
        let target = try SocketTarget(address, port: port, kind: SOCK_STREAM)
        descriptor = socket(
            target.family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
        guard descriptor >= 0 else { throw .failed(systemText(errno)) }
        if target.connect(descriptor) { return }
        guard errno == EINPROGRESS else { throw ProbeFailure(errno) }
        try wait(for: Int16(POLLOUT), until: min(deadline, .now() + limit))
        var error: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &length)
        guard error == 0 else { throw ProbeFailure(error) }
    }

    deinit {
        if let tls {
            SSL_free(tls.session)
            SSL_CTX_free(tls.context)
        }
        close(descriptor)
    }

    /// Performs a TLS handshake with any certificate, and reports on the certificate. Only public data may be sent
    /// afterwards.
    func startTLS(host: String, trust: TLSTrust) throws(ProbeFailure) -> CertificateReport {
        guard let context = COpenSSL_tls_client() else { throw .failed("OpenSSL has no memory") }
        guard COpenSSL_tls_trust(context, trust.authoritiesFile) == 1 else {
            SSL_CTX_free(context)
            let source = trust.authoritiesFile.map { "'\($0)'" } ?? "the system's store"
            throw .failed("no authorities could be read from \(source)")
        }
        SSL_CTX_set_verify(context, SSL_VERIFY_NONE, nil)
        guard let session = SSL_new(context) else {
            SSL_CTX_free(context)
            throw .failed("OpenSSL has no memory")
        }
        tls = (context, session)
        guard COpenSSL_verify_name(session, trust.serverName ?? host) == 1, SSL_set_fd(session, descriptor) == 1
        else { throw .failed("OpenSSL cannot verify a certificate for '\(host)'") }
        _ = try perform { SSL_connect(session) }
        guard let certificate = SSL_get1_peer_certificate(session) else { throw .failed("there is no certificate") }
        defer { X509_free(certificate) }
        return CertificateReport(certificate, verification: SSL_get_verify_result(session))
    }

    func write(_ bytes: [UInt8]) throws(ProbeFailure) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let piece = Array(rest)
            let count: Int
            if let tls {
                count = try perform { SSL_write(tls.session, piece, Int32(piece.count)) }
            } else {
                count = send(descriptor, piece, piece.count, Int32(MSG_NOSIGNAL))
                if count < 0, errno == EAGAIN {
                    try wait(for: Int16(POLLOUT), until: deadline)
                    continue
                }
                guard count > 0 else { throw ProbeFailure(errno) }
            }
            rest = rest.dropFirst(count)
        }
    }

    /// Returns the next bytes; none at the end of the stream.
    func read() throws(ProbeFailure) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 4096)
        while true {
            let count: Int
            if let tls {
                count = try perform { SSL_read(tls.session, &bytes, Int32(bytes.count)) }
            } else {
                count = recv(descriptor, &bytes, bytes.count, 0)
                if count < 0, errno == EAGAIN {
                    try wait(for: Int16(POLLIN), until: deadline)
                    continue
                }
                guard count >= 0 else { throw ProbeFailure(errno) }
            }
            return Array(bytes.prefix(count))
        }
    }

    /// Calls a function of OpenSSL until it is done. Returns 0 when the other side has ended the stream.
    private func perform(_ call: () -> Int32) throws(ProbeFailure) -> Int {
        while true {
            ERR_clear_error()
            errno = 0
            let result = call()
            if result > 0 { return Int(result) }
            let system = errno
            switch SSL_get_error(tls?.session, result) {
            case SSL_ERROR_WANT_READ: try wait(for: Int16(POLLIN), until: deadline)
            case SSL_ERROR_WANT_WRITE: try wait(for: Int16(POLLOUT), until: deadline)
            case SSL_ERROR_ZERO_RETURN: return 0
            case SSL_ERROR_SYSCALL where system != 0: throw .failed(systemText(system))
            default:
                let code = ERR_peek_error()
                ERR_clear_error()
                // OpenSSL 3 reports an end without close_notify by a separate error.
                throw .failed(code == 0 ? "the connection was ended" : String(cString: COpenSSL_error_text(code)))
            }
        }
    }

    private func wait(for events: Int16, until deadline: Timestamp) throws(ProbeFailure) {
        while true {
            let left = deadline - .now()
            guard left > .zero else { throw .timedOut }
            var poller = pollfd(fd: descriptor, events: events, revents: 0)
            // Rounded up, so that the last turn does not spin.
            let milliseconds = left.components.seconds * 1000 + left.components.attoseconds / 1_000_000_000_000_000 + 1
            let count = poll(&poller, 1, Int32(clamping: milliseconds))
            if count > 0 { return }
            if count < 0, errno != EINTR { throw ProbeFailure(errno) }
        }
    }
}

/// A numeric address with a port, in the system's form.
struct SocketTarget {
    let family: Int32
    private let storage: sockaddr_storage
    private let length: socklen_t

    init(_ address: String, port: UInt16, kind: __socket_type) throws(ProbeFailure) {
        var hints = addrinfo()
        hints.ai_flags = AI_NUMERICHOST
        hints.ai_socktype = Int32(kind.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(address, String(port), &hints, &found) == 0, let entry = found else {
            throw .failed("'\(address)' is no address")
        }
        defer { freeaddrinfo(entry) }
        var storage = sockaddr_storage()
        memcpy(&storage, entry.pointee.ai_addr, Int(entry.pointee.ai_addrlen))
        (self.storage, length, family) = (storage, entry.pointee.ai_addrlen, entry.pointee.ai_family)
    }

    /// Returns false on failure; `errno` has the reason.
    func connect(_ descriptor: Int32) -> Bool { withAddress { Glibc.connect(descriptor, $0, $1) == 0 } }

    func bind(_ descriptor: Int32) -> Bool { withAddress { Glibc.bind(descriptor, $0, $1) == 0 } }

    private func withAddress<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
        withUnsafePointer(to: storage) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, length) }
        }
    }
}

extension ProbeFailure {
    init(_ error: Int32) {
        switch error {
        case ECONNREFUSED: self = .refused
        case ETIMEDOUT: self = .timedOut
        default: self = .failed(systemText(error))
        }
    }
}

func systemText(_ error: Int32) -> String { String(cString: strerror(error)) }

extension CertificateReport {
    init(_ certificate: OpaquePointer, verification: Int) {
        let verdict: Verdict =
            switch Int32(truncatingIfNeeded: verification) {
            case X509_V_OK: .trusted
            case X509_V_ERR_CERT_HAS_EXPIRED: .expired
            case X509_V_ERR_CERT_NOT_YET_VALID: .notYetValid
            case X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH: .wrongName
            default: .untrusted(String(cString: X509_verify_cert_error_string(verification)))
            }
        self.init(
            verdict: verdict, names: Self.names(certificate),
            issuer: Self.text { X509_NAME_print_ex($0, X509_get_issuer_name(certificate), 0, 0) > 0 },
            from: Self.seconds(X509_get0_notBefore(certificate)),
            until: Self.seconds(X509_get0_notAfter(certificate)))
    }

    private static func names(_ certificate: OpaquePointer) -> String {
        let index = X509_get_ext_by_NID(certificate, NID_subject_alt_name, -1)
        guard index >= 0, let names = X509_get_ext(certificate, index) else { return "" }
        return text { X509V3_EXT_print($0, names, 0, 0) == 1 }
    }

    /// Returns the text that `print` writes, at most 200 bytes.
    private static func text(_ print: (OpaquePointer) -> Bool) -> String {
        guard let memory = BIO_new(BIO_s_mem()) else { return "" }
        defer { BIO_free(memory) }
        guard print(memory) else { return "" }
        var bytes = [UInt8](repeating: 0, count: 200)
        let count = BIO_read(memory, &bytes, Int32(bytes.count))
        return String(decoding: bytes.prefix(max(0, Int(count))), as: UTF8.self)
    }

    private static func seconds(_ time: UnsafePointer<ASN1_TIME>?) -> Double {
        var parts = tm()
        guard ASN1_TIME_to_tm(time, &parts) == 1 else { return 0 }
        return Double(timegm(&parts))
    }
}
