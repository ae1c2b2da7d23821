internal import COpenSSL
internal import TransportPluginAPI

/// The certificate and the settings that all DTLS sessions of a transport share. Made once, before any connection,
/// since making a key takes longer than a handshake.
final class DTLSContext: @unchecked Sendable {
    // SAFETY: written in `init` only; OpenSSL locks its reference counts.
    let context: OpaquePointer
    let method: OpaquePointer
    let fingerprint: Fingerprint

    /// AEAD suites with forward secrecy only (RFC 8827 §6.5). RSA ones are for the other side's certificate.
    private static let ciphers =
        "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
        + "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"

    /// Offered although there is no media: aiortc, for one, ends a handshake without the extension (RFC 5764 §4.1.1).
    private static let mediaProfiles = "SRTP_AEAD_AES_128_GCM:SRTP_AES128_CM_SHA1_80"

    /// Throws `.resourceExhausted` when OpenSSL cannot make a key or a context.
    init() throws(TransportError) {
        guard let context = SSL_CTX_new(DTLS_method()) else { throw Self.failure("a context") }
        var isDone = false
        defer { if !isDone { SSL_CTX_free(context) } }
        guard COpenSSL_restrict_to_dtls12(context) == 1, SSL_CTX_set_cipher_list(context, Self.ciphers) == 1,
            COpenSSL_set_groups(context, "X25519:P-256:P-384") == 1,
            // 0: no error.
            SSL_CTX_set_tlsext_use_srtp(context, Self.mediaProfiles) == 0
        else { throw Self.failure("the protocol settings") }

        guard let key = COpenSSL_generate_p256() else { throw Self.failure("a key") }
        defer { EVP_PKEY_free(key) }
        let certificate = try Self.certificate(for: key)
        defer { X509_free(certificate) }
        guard SSL_CTX_use_certificate(context, certificate) == 1, SSL_CTX_use_PrivateKey(context, key) == 1 else {
            throw Self.failure("the certificate")
        }
        guard let bytes = Self.digest(of: certificate, .sha256) else { throw Self.failure("a digest") }
        fingerprint = Fingerprint(algorithm: .sha256, bytes: bytes)

        // Both sides send a certificate. Only its fingerprint decides whether it is the right one (RFC 8827 §6.5).
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nil)
        SSL_CTX_set_cert_verify_callback(context, dtlsVerifyCertificate, nil)
        guard let method = makeDatagramBIOMethod() else { throw Self.failure("a BIO method") }
        self.method = method
        self.context = context
        isDone = true
    }

    deinit {
        SSL_CTX_free(context)
        BIO_meth_free(method)
    }

    static func digest(of certificate: OpaquePointer, _ algorithm: Fingerprint.Algorithm) -> [UInt8]? {
        let function =
            switch algorithm {
            case .sha256: EVP_sha256()
            case .sha384: EVP_sha384()
            case .sha512: EVP_sha512()
            }
        var bytes = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        var count: UInt32 = 0
        guard X509_digest(certificate, function, &bytes, &count) == 1 else { return nil }
        return Array(bytes.prefix(Int(count)))
    }

    /// Makes a self-signed certificate, ECDSA P-256, that identifies no one (RFC 8826 §5.5).
    private static func certificate(for key: OpaquePointer) throws(TransportError) -> OpaquePointer {
        guard let certificate = X509_new() else { throw failure("a certificate") }
        var serial: UInt64 = 0
        let year = 365 * 86_400
        guard X509_set_version(certificate, 2) == 1,
            withUnsafeMutableBytes(of: &serial, { RAND_bytes($0.baseAddress, Int32($0.count)) }) == 1,
            ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial >> 1) == 1,
            X509_gmtime_adj(X509_getm_notBefore(certificate), -86_400) != nil,
            X509_gmtime_adj(X509_getm_notAfter(certificate), year) != nil,
            let name = X509_get_subject_name(certificate),
            X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_FLAG | 1, "WebRTC", -1, -1, 0) == 1,
            X509_set_issuer_name(certificate, name) == 1, X509_set_pubkey(certificate, key) == 1,
            X509_sign(certificate, key, EVP_sha256()) > 0
        else {
            X509_free(certificate)
            throw failure("a certificate")
        }
        return certificate
    }

    private static func failure(_ object: String) -> TransportError {
        let reason = String(cString: COpenSSL_error_text(ERR_get_error()))
        ERR_clear_error()
        return TransportError(.resourceExhausted, "OpenSSL could not make \(object): \(reason)")
    }
}

/// Verifies, inside the handshake, that the other side's certificate is the one that its description announced. With
/// another one there is no key, and so no data in either direction.
private func dtlsVerifyCertificate(_ store: OpaquePointer?, _ argument: UnsafeMutableRawPointer?) -> Int32 {
    // Ownership: unretained; the session frees the SSL object in its `deinit`.
    guard let store, let ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()),
        let certificate = X509_STORE_CTX_get0_cert(store), let data = SSL_get_ex_data(OpaquePointer(ssl), 0)
    else { return 0 }
    let session = Unmanaged<DTLSSession>.fromOpaque(data).takeUnretainedValue()
    if session.accepts(certificate) { return 1 }
    X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED)
    return 0
}
