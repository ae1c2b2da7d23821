#if OpenSSL
    internal import COpenSSL
    internal import TransportPluginAPI

    /// One TLS connection as a client (RFC 8446), without sockets: ciphertext in and out, through memory BIOs. Belongs
    /// to the loop's thread.
    final class TLSSession {
        enum End {
            /// The other side sent close_notify.
            case inOrder
            case failed(TransportError)
        }

        private(set) var end: End?
        private let ssl: OpaquePointer
        /// Owned by `ssl`.
        private let incoming: OpaquePointer
        private let outgoing: OpaquePointer
        private let url: String

        /// Creates a session. Throws `.resourceExhausted`, or `.invalidArgument` for a name that OpenSSL does not
        /// accept.
        init(_ context: OpaquePointer, _ endpoint: SignalingEndpoint) throws(TransportError) {
            let failed = TransportError(.resourceExhausted, "OpenSSL could not make a TLS session")
            guard let ssl = SSL_new(context) else { throw failed }
            guard let incoming = BIO_new(BIO_s_mem()) else {
                SSL_free(ssl)
                throw failed
            }
            guard let outgoing = BIO_new(BIO_s_mem()) else {
                BIO_free(incoming)
                SSL_free(ssl)
                throw failed
            }
            SSL_set_bio(ssl, incoming, outgoing)
            self.ssl = ssl
            self.incoming = incoming
            self.outgoing = outgoing
            url = endpoint.url
            let name = endpoint.certificateName
            // A numeric address is compared with the certificate's addresses, and is not sent as SNI (RFC 6066 §3).
            guard COpenSSL_verify_name(ssl, name) == 1 else {
                throw TransportError(.invalidArgument, "OpenSSL cannot verify a certificate for the name '\(name)'")
            }
            SSL_set_connect_state(ssl)
        }

        deinit { SSL_free(ssl) }

        /// Receives ciphertext. Returns false when out of memory.
        func receive(_ bytes: UnsafeRawBufferPointer) -> Bool {
            BIO_write(incoming, bytes.baseAddress, Int32(truncatingIfNeeded: bytes.count)) == bytes.count
        }

        /// Starts or continues the handshake. Returns true when it is done and the certificate is valid.
        func handshake() -> Result<Bool, TransportError> {
            ERR_clear_error()
            let result = SSL_do_handshake(ssl)
            if result == 1 { return .success(true) }
            switch SSL_get_error(ssl, result) {
            case SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE: return .success(false)
            default:
                let verification = SSL_get_verify_result(ssl)
                let reason = Self.takeReason()
                guard verification == X509_V_OK else {
                    let reason = String(cString: X509_verify_cert_error_string(verification))
                    return .failure(
                        TransportError(.tlsFailed, "the certificate of \(url) was not accepted: \(reason)"))
                }
                return .failure(
                    TransportError(.tlsFailed, "TLS with \(url) failed: \(reason)", isRetryable: true))
            }
        }

        /// Reads the next decrypted bytes. Returns 0 when there are none now, or no more, for the reason in `end`.
        func read(into buffer: UnsafeMutableRawBufferPointer) -> Int {
            guard end == nil else { return 0 }
            ERR_clear_error()
            let count = SSL_read(ssl, buffer.baseAddress, Int32(truncatingIfNeeded: buffer.count))
            if count > 0 { return Int(count) }
            switch SSL_get_error(ssl, count) {
            case SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE: break
            case SSL_ERROR_ZERO_RETURN: end = .inOrder
            default:
                let reason = Self.takeReason()
                end = .failed(TransportError(.tlsFailed, "TLS with \(url) broke: \(reason)", isRetryable: true))
            }
            return 0
        }

        var hasOutput: Bool { BIO_ctrl_pending(outgoing) > 0 }

        /// Encrypts all of `plain`, and moves the available ciphertext to `wire`.
        func encrypt(_ plain: inout OutputBuffer, to wire: inout OutputBuffer) {
            if !plain.isEmpty {
                ERR_clear_error()
                // A memory BIO accepts everything: accepting less is an error, which `read` will find too.
                _ = plain.bytes.withMemoryRebound(to: UInt8.self) { SSL_write(ssl, $0.baseAddress, Int32($0.count)) }
                plain.removeAll()
                plain.trim()
            }
            let pending = Int(BIO_ctrl_pending(outgoing))
            guard pending > 0 else { return }
            wire.append(atMost: pending) { target in
                max(0, Int(BIO_read(outgoing, target, Int32(truncatingIfNeeded: pending))))
            }
        }

        /// Makes a close_notify.
        func shutdown() {
            ERR_clear_error()
            _ = SSL_shutdown(ssl)
            ERR_clear_error()
        }

        private static func takeReason() -> String {
            let code = ERR_peek_error()
            defer { ERR_clear_error() }
            return code == 0 ? "the connection ended" : String(cString: COpenSSL_error_text(code))
        }
    }
#endif
