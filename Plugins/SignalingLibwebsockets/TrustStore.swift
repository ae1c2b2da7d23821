#if Libwebsockets
    internal import CLibwebsockets
    internal import TransportPluginAPI

    /// libwebsockets' virtual hosts: one for `ws`, and one with its own TLS context for each set of trusted
    /// authorities.
    ///
    /// The TLS contexts are made here because libwebsockets' own would also trust authorities in `../share` of the
    /// working directory, and would not report an unreadable file. Belongs to the service's thread.
    final class TrustStore {
        private struct SecureHost {
            let host: OpaquePointer
            let tls: OpaquePointer
        }
        private struct Entry {
            let host: SecureHost
            var stamp: TLSTrust.FileStamp
        }
        /// The maximum number of different files while a transport exists.
        private static let limit = 64

        var context: OpaquePointer?
        var protocols: UnsafeMutablePointer<lws_protocols>?
        private var plain: OpaquePointer?
        private var entries: [String?: Entry] = [:]
        /// Hosts that trust nobody yet.
        private var spare: [SecureHost] = []

        func makePlainHost() -> Bool {
            if plain == nil { plain = makeHost(tls: nil) }
            return plain != nil
        }

        /// Throws `.tlsFailed` for a file that cannot be read, `.resourceExhausted`.
        func host(for endpoint: SignalingEndpoint) throws(TransportError) -> OpaquePointer? {
            guard endpoint.isSecure else { return plain }
            let file = endpoint.tls.authoritiesFile
            let stamp = try endpoint.tls.fileStamp()
            if var entry = entries[file] {
                if entry.stamp != stamp {
                    try trust(endpoint.tls, entry.host.tls)
                    entry.stamp = stamp
                    entries[file] = entry
                }
                return entry.host.host
            }
            guard entries.count < Self.limit else {
                throw TransportError(
                    .resourceExhausted, "more than \(Self.limit) different files of authorities were named")
            }
            let host: SecureHost
            if let existing = spare.popLast() { host = existing } else { host = try makeSecureHost() }
            do throws(TransportError) { try trust(endpoint.tls, host.tls) } catch {
                spare.append(host)
                throw error
            }
            entries[file] = Entry(host: host, stamp: stamp)
            return host.host
        }

        /// Frees the authorities. Their hosts are kept for other files; no session was stored in them.
        func forget() {
            for entry in entries.values {
                CLibwebsockets_tls_forget(entry.host.tls)
                spare.append(entry.host)
            }
            entries = [:]
        }

        private func makeSecureHost() throws(TransportError) -> SecureHost {
            let failed = TransportError(.resourceExhausted, "OpenSSL or libwebsockets could not make a TLS context")
            guard let tls = CLibwebsockets_tls_new() else { throw failed }
            guard let host = makeHost(tls: tls) else {
                SSL_CTX_free(tls)
                throw failed
            }
            return SecureHost(host: host, tls: tls)
        }

        private func makeHost(tls: OpaquePointer?) -> OpaquePointer? {
            guard let context, let protocols else { return nil }
            var info = Service.makeInfo(protocols)
            CLibwebsockets_no_proxies(&info)
            if let tls {
                info.options = CLibwebsockets_option_tls
                info.provided_client_ssl_ctx = tls
            }
            return "signaling-\(entries.count + spare.count)".withCString { name in
                info.vhost_name = name
                return lws_create_vhost(context, &info)
            }
        }

        private func trust(_ trust: TLSTrust, _ tls: OpaquePointer) throws(TransportError) {
            guard CLibwebsockets_tls_trust(tls, trust.authoritiesFile) == 1 else { throw trust.unusableAuthorities() }
        }
    }
#endif
