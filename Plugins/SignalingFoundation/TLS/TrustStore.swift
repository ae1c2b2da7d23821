#if OpenSSL
    internal import COpenSSL
    internal import Glibc
    internal import TransportPluginAPI

    /// TLS contexts, one for each set of trusted authorities, read once, and again when its file has changed. Belongs
    /// to the loop's thread.
    final class TrustStore {
        private struct Entry {
            let context: OpaquePointer
            let stamp: Stamp
        }
        /// The properties of a file that show a change.
        private struct Stamp: Equatable {
            var device: UInt = 0
            var node: UInt = 0
            var size: Int = 0
            var seconds: Int = 0
            var nanoseconds: Int = 0
        }
        /// The maximum number of contexts that are kept. A dropped one is made again on demand.
        private static let limit = 64

        private var entries: [String?: Entry] = [:]

        deinit { forgetAll() }

        /// Returns the context for an endpoint, valid until the next call. Throws `.tlsFailed` for an unreadable file,
        /// or `.resourceExhausted`.
        func context(for endpoint: SignalingEndpoint) throws(TransportError) -> OpaquePointer {
            let file = endpoint.tls.authoritiesFile
            let stamp = try stamp(of: file)
            if let entry = entries[file], entry.stamp == stamp { return entry.context }
            guard let context = COpenSSL_tls_client() else {
                throw TransportError(.resourceExhausted, "OpenSSL could not make a TLS context")
            }
            guard COpenSSL_tls_trust(context, file) == 1 else {
                SSL_CTX_free(context)
                throw TransportError(
                    .tlsFailed,
                    "no certificates could be read from \(file.map { "'\($0)'" } ?? "the system's store"): is it PEM?")
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

        private func stamp(of file: String?) throws(TransportError) -> Stamp {
            guard let file else { return Stamp() }
            var status = stat()
            guard stat(file, &status) == 0 else {
                throw TransportError(
                    .tlsFailed, "the file of authorities '\(file)' cannot be read: \(systemText(errno))")
            }
            return Stamp(
                device: UInt(status.st_dev), node: UInt(status.st_ino), size: Int(status.st_size),
                seconds: status.st_mtim.tv_sec, nanoseconds: status.st_mtim.tv_nsec)
        }
    }
#endif
