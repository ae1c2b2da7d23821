#if OpenSSL
    internal import COpenSSL
    internal import TransportPluginAPI

    /// TLS contexts, one for each set of trusted authorities, read once, and again when its file has changed. Belongs
    /// to the loop's thread.
    final class TrustStore {
        private struct Entry {
            let context: OpaquePointer
            let stamp: TLSTrust.FileStamp
        }
        /// The maximum number of contexts that are kept. A dropped one is made again on demand.
        private static let limit = 64

        private var entries: [String?: Entry] = [:]

        deinit { forgetAll() }

        /// Returns the context for an endpoint, valid until the next call. Throws `.tlsFailed` for an unreadable file,
        /// or `.resourceExhausted`.
        func context(for endpoint: SignalingEndpoint) throws(TransportError) -> OpaquePointer {
            let file = endpoint.tls.authoritiesFile
            let stamp = try endpoint.tls.fileStamp()
            if let entry = entries[file], entry.stamp == stamp { return entry.context }
            guard let context = COpenSSL_tls_client() else {
                throw TransportError(.resourceExhausted, "OpenSSL could not make a TLS context")
            }
            guard COpenSSL_tls_trust(context, file) == 1 else {
                SSL_CTX_free(context)
                throw endpoint.tls.unusableAuthorities()
            }
            if let old = entries.removeValue(forKey: file) { SSL_CTX_free(old.context) }
            if entries.count >= Self.limit { forgetAll() }
            entries[file] = Entry(context: context, stamp: stamp)
            return context
        }

        /// Drops all contexts. Sessions keep references to what they use.
        private func forgetAll() {
            for entry in entries.values { SSL_CTX_free(entry.context) }
            entries = [:]
        }
    }
#endif
