#if NIO
    internal import Glibc
    internal import NIOCore
    internal import TransportPluginAPI

    #if NIOSSL
        internal import NIOSSL

        /// The TLS settings of one `wss` connection.
        struct TLSClient: Sendable {
            let context: NIOSSLContext

            func addHandler(to channel: any Channel, _ endpoint: SignalingEndpoint) throws {
                let name = endpoint.certificateName
                // A numeric address is not a name for SNI (RFC 6066 §3). SwiftNIO then compares the certificate with
                // the socket's address.
                let handler = try NIOSSLClientHandler(
                    context: context, serverHostname: name.isNumericAddress ? nil : name)
                try channel.pipeline.syncOperations.addHandler(handler)
            }
        }

        /// The trusted authorities: a context for each file, read again when the file has changed.
        final class TrustStore: Sendable {
            private struct Entry: Sendable {
                let stamp: TLSTrust.FileStamp
                let context: NIOSSLContext
            }
            /// The maximum number of contexts that are kept.
            private static let limit = 64

            static let summary = "WebSocket by SwiftNIO, TLS by BoringSSL"
            static let capabilities: Capabilities = [.tls, .proxy]

            private let entries = Locked<[String?: Entry]>([:])

            /// Returns the settings for an endpoint, or nil for `ws`. Reads files on a separate thread. Throws
            /// `.tlsFailed` for an unusable file.
            nonisolated(nonsending) func client(
                for endpoint: SignalingEndpoint
            ) async throws(TransportError) -> TLSClient? {
                guard endpoint.isSecure else { return nil }
                if let name = endpoint.tls.serverName, name.isNumericAddress, name != endpoint.host {
                    throw TransportError(
                        .notSupported,
                        "wss with a numeric tls.serverName other than the host: the nio backend compares "
                            + "certificates with names, or with the address that it connects to"
                    )
                }
                if endpoint.proxy != nil, endpoint.certificateName.isNumericAddress {
                    throw TransportError(
                        .notSupported,
                        "wss to a numeric address through a proxy: give the certificate's name in "
                            + "tls.serverName, or choose another backend: nio compares the certificate with the "
                            + "address that it connects to"
                    )
                }
                let trust = endpoint.tls
                return try await DetachedThread.run { () throws(TransportError) in try self.client(trusting: trust) }
            }

            private func client(trusting trust: TLSTrust) throws(TransportError) -> TLSClient {
                let file = trust.authoritiesFile
                let stamp = try trust.fileStamp()
                if let entry = entries.withLock({ $0[file] }), entry.stamp == stamp {
                    return TLSClient(context: entry.context)
                }
                var configuration = TLSConfiguration.makeClientConfiguration()
                configuration.minimumTLSVersion = .tlsv12
                configuration.applicationProtocols = ["http/1.1"]
                if let file { configuration.trustRoots = .file(file) }
                let context: NIOSSLContext
                do { context = try NIOSSLContext(configuration: configuration) } catch {
                    throw trust.unusableAuthorities(cause: error)
                }
                entries.withLock { entries in
                    if entries[file] == nil, entries.count >= Self.limit { entries.removeAll() }
                    entries[file] = Entry(stamp: stamp, context: context)
                }
                return TLSClient(context: context)
            }

            // MARK: Failures

            /// Returns the TLS failure before the connection was open, or nil for any other error.
            static func failure(_ endpoint: SignalingEndpoint, _ error: any Error, isThroughTLS: Bool)
                -> TransportError?
            {
                let url = endpoint.url
                switch error {
                case let extra as NIOSSLExtraError where extra == .failedToValidateHostname:
                    return TransportError(
                        .tlsFailed,
                        "the certificate of \(url) was not accepted: hostname mismatch, it is not for "
                            + "'\(endpoint.certificateName)'",
                        cause: error)
                case NIOSSLError.unableToValidateCertificate, NIOSSLError.noCertificateToValidate:
                    return TransportError(
                        .tlsFailed, "the certificate of \(url) was not accepted: \(error)", cause: error)
                case NIOSSLError.uncleanShutdown:
                    return Failure.closedByServer(endpoint, isThroughTLS: isThroughTLS, error)
                case NIOSSLError.handshakeFailed:
                    let text = "\(error)"
                    if text.contains("CERTIFICATE_VERIFY_FAILED") {
                        return TransportError(
                            .tlsFailed,
                            "the certificate of \(url) was not accepted: it is expired, or no trusted authority "
                                + "stands behind it",
                            cause: error)
                    }
                    return TransportError(
                        .tlsFailed, "TLS with \(url) failed: \(text)", isRetryable: true, cause: error)
                case is NIOSSLError, is BoringSSLError:
                    return TransportError(
                        .tlsFailed, "TLS with \(url) failed: \(error)", isRetryable: true, cause: error)
                default: return nil
                }
            }

            /// Returns the TLS failure of an open connection, or nil for any other error.
            static func failure(_ error: any Error) -> TransportError? {
                switch error {
                case NIOSSLError.uncleanShutdown: Failure.ended
                case is NIOSSLError, is BoringSSLError:
                    TransportError(.tlsFailed, "TLS failed: \(error)", isRetryable: true, cause: error)
                default: nil
                }
            }
        }

        extension String {
            fileprivate var isNumericAddress: Bool {
                var address = in6_addr()
                return inet_pton(AF_INET, self, &address) == 1 || inet_pton(AF_INET6, self, &address) == 1
            }
        }
    #else
        /// A placeholder in builds without TLS, which has no values.
        struct TLSClient: Sendable {
            private init() {}

            func addHandler(to channel: any Channel, _ endpoint: SignalingEndpoint) throws {}
        }

        /// A trust store that reports the lack of TLS in this build.
        final class TrustStore: Sendable {
            static let summary = "WebSocket by SwiftNIO (for wss build with the trait NIOSSL)"
            static let capabilities: Capabilities = [.proxy]

            nonisolated(nonsending) func client(
                for endpoint: SignalingEndpoint
            ) async throws(TransportError) -> TLSClient? {
                guard endpoint.isSecure else { return nil }
                throw TransportError(
                    .notSupported,
                    "\(endpoint.url) needs TLS, which the nio backend of this build lacks: choose the backend "
                        + "libwebsockets, or "
                        + "foundation where it was built with OpenSSL, or build with the trait NIOSSL")
            }

            static func failure(_ endpoint: SignalingEndpoint, _ error: any Error, isThroughTLS: Bool)
                -> TransportError?
            {
                nil
            }
            static func failure(_ error: any Error) -> TransportError? { nil }
        }
    #endif
#endif
