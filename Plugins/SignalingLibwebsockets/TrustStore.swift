#if Libwebsockets
    internal import CLibwebsockets
    internal import TransportPluginAPI

    /// libwebsockets' virtual hosts: one for `ws`, and one with its own TLS context for each set of trusted
    /// authorities.
    ///
    /// The TLS contexts are made here because libwebsockets' own would also trust authorities in `../share` of the
    /// working directory, and would not report an unreadable file. Belongs to the service's thread.
    final class TrustStore {
        private struct Entry {
            let host: OpaquePointer
            let tls: OpaquePointer
            var stamp: TLSTrust.FileStamp
        }
        /// The maximum number of different files in the life of the process.
        private static let limit = 64

        var context: OpaquePointer?
        var protocols: UnsafeMutablePointer<lws_protocols>?
        private var plain: OpaquePointer?
        private var entries: [String?: Entry] = [:]

        func makePlainHost() -> Bool {
            plain = makeHost(tls: nil)
            return plain != nil
        }

        /// Throws `.tlsFailed` for a file that cannot be read, `.resourceExhausted`.
        func host(for endpoint: SignalingEndpoint) throws(TransportError) -> OpaquePointer? {
            guard endpoint.isSecure else { return plain }
            let file = endpoint.tls.authoritiesFile
            let stamp = try endpoint.tls.fileStamp()
            if var entry = entries[file] {
                if entry.stamp != stamp {
                    try trust(endpoint.tls, entry.tls)
                    entry.stamp = stamp
                    entries[file] = entry
                }
                return entry.host
            }
            guard entries.count < Self.limit else {
                throw TransportError(
                    .resourceExhausted, "more than \(Self.limit) different files of authorities were named")
            }
            let failed = TransportError(.resourceExhausted, "OpenSSL or libwebsockets could not make a TLS context")
            guard let tls = CLibwebsockets_tls_new() else { throw failed }
            do throws(TransportError) { try trust(endpoint.tls, tls) } catch {
                SSL_CTX_free(tls)
                throw error
            }
            guard let host = makeHost(tls: tls) else {
                SSL_CTX_free(tls)
                throw failed
            }
            entries[file] = Entry(host: host, tls: tls, stamp: stamp)
            return host
        }

        /// Frees the TLS contexts. Called after the context was destroyed, which destroys the hosts.
        func destroy() {
            for entry in entries.values { SSL_CTX_free(entry.tls) }
            entries = [:]
            plain = nil
        }

        private func makeHost(tls: OpaquePointer?) -> OpaquePointer? {
            guard let context, let protocols else { return nil }
            var info = Service.makeInfo(protocols)
            CLibwebsockets_no_proxies(&info)
            if let tls {
                info.options = CLibwebsockets_option_tls
                info.provided_client_ssl_ctx = tls
            }
            return "signaling-\(entries.count)".withCString { name in
                info.vhost_name = name
                return lws_create_vhost(context, &info)
            }
        }

        private func trust(_ trust: TLSTrust, _ tls: OpaquePointer) throws(TransportError) {
            guard CLibwebsockets_tls_trust(tls, trust.authoritiesFile) == 1 else { throw trust.unusableAuthorities() }
        }
    }
#endif
