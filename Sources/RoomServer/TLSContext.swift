internal import COpenSSL
internal import NIOCore

/// A certificate and the settings of TLS connections of a server.
final class TLSContext: @unchecked Sendable {
    // SAFETY: written in `init` only; OpenSSL locks what connections share.
    private let context: OpaquePointer
    private let tickets: TicketKeys

    /// Reads the certificate and its key. Throws a `RoomServerError` that names the file.
    init(_ tls: RoomServerConfiguration.TLS, _ tickets: TicketKeys) throws(RoomServerError) {
        ERR_clear_error()
        guard let context = COpenSSL_tls_server() else { throw RoomServerError(message: "OpenSSL has no TLS context.") }
        let isUsable: Bool
        if let certificate = tls.certificate {
            isUsable =
                SSL_CTX_use_certificate(context, certificate.certificate) == 1
                && SSL_CTX_use_PrivateKey(context, certificate.key) == 1
        } else {
            isUsable =
                SSL_CTX_use_certificate_chain_file(context, tls.certificateChainFile) == 1
                && SSL_CTX_use_PrivateKey_file(context, tls.privateKeyFile, SSL_FILETYPE_PEM) == 1
        }
        guard isUsable, SSL_CTX_check_private_key(context) == 1, tickets.serve(context) else {
            let reason = String(cString: COpenSSL_error_text(ERR_get_error()))
            ERR_clear_error()
            SSL_CTX_free(context)
            throw RoomServerError(
                message: "Cannot use the certificate \(tls.certificateChainFile) with its key: \(reason)")
        }
        self.context = context
        self.tickets = tickets
    }

    deinit { SSL_CTX_free(context) }

    /// Returns a handler for an accepted connection.
    func makeHandler() throws(RoomServerError) -> TLSHandler {
        guard let session = TLSSession(context, keeping: tickets) else {
            throw RoomServerError(message: "OpenSSL is out of memory.")
        }
        return TLSHandler(session)
    }
}

/// The trusted authorities of TLS connections that this process opens.
final class TLSClientContext: @unchecked Sendable {
    // SAFETY: written in `init` only; OpenSSL locks what connections share.
    private let context: OpaquePointer

    /// - Parameter authoritiesFile: The trusted authorities, PEM. Nil: the system's.
    init(authoritiesFile: String? = nil) throws(RoomServerError) {
        guard let context = COpenSSL_tls_client() else { throw RoomServerError(message: "OpenSSL has no TLS context.") }
        guard COpenSSL_tls_trust(context, authoritiesFile) == 1 else {
            SSL_CTX_free(context)
            throw RoomServerError(
                message:
                    "No certificates of authorities could be read from \(authoritiesFile ?? "the system's store"): "
                    + "name a PEM file that has some.")
        }
        self.context = context
    }

    /// Takes every certificate, with TLS 1.3: the other side is authenticated by the connection's binding.
    static func withoutAuthorities() throws(RoomServerError) -> TLSClientContext { try TLSClientContext(()) }

    private init(_: Void) throws(RoomServerError) {
        guard let context = COpenSSL_tls_client() else { throw RoomServerError(message: "OpenSSL has no TLS context.") }
        SSL_CTX_set_verify(context, SSL_VERIFY_NONE, nil)
        COpenSSL_require_tls13(context)
        self.context = context
    }

    deinit { SSL_CTX_free(context) }

    /// Returns a handler for a connection that is being opened by a context without authorities.
    func makeHandler() throws(RoomServerError) -> TLSHandler {
        guard let session = TLSSession(context, isClient: true) else {
            throw RoomServerError(message: "OpenSSL is out of memory.")
        }
        return TLSHandler(session, isClient: true)
    }

    /// Returns a handler for a connection that is being opened. The certificate must be for `serverName`: a name or a
    /// numeric address.
    func makeHandler(serverName: String) throws(RoomServerError) -> TLSHandler {
        guard let session = TLSSession(context, serverName: serverName) else {
            throw RoomServerError(message: "OpenSSL cannot verify a certificate for \(serverName).")
        }
        return TLSHandler(session, isClient: true)
    }
}
