#if NIO
    internal import Glibc
    internal import NIOCore
    internal import TransportPluginAPI
    internal import WebSocketWire

    /// SwiftNIO's failures as errors of the contract.
    enum Failure {
        /// The error for a connected socket that SwiftNIO did not accept.
        static func adopting(_ endpoint: SignalingEndpoint, _ error: any Error) -> TransportError {
            TransportError(
                .unreachable, "\(endpoint.url) could not be reached: \(error)", isRetryable: true, cause: error)
        }

        static func notWebSocket(_ endpoint: SignalingEndpoint, _ reason: String) -> TransportError {
            TransportError(
                .handshakeFailed, "\(endpoint.url) did not answer as a WebSocket server: \(reason)")
        }

        /// The error for a failure in the pipeline before the connection was open.
        static func handshake(_ endpoint: SignalingEndpoint, _ error: any Error, isThroughTLS: Bool) -> TransportError {
            if let error = TrustStore.failure(endpoint, error, isThroughTLS: isThroughTLS) { return error }
            switch error {
            case is IOError, is ChannelError:
                return closedByServer(endpoint, isThroughTLS: isThroughTLS, error)
            default: return notWebSocket(endpoint, "\(error)")
            }
        }

        static func closedByServer(
            _ endpoint: SignalingEndpoint, isThroughTLS: Bool, _ cause: (any Error)? = nil
        ) -> TransportError {
            isThroughTLS
                ? TransportError(
                    .handshakeFailed, "\(endpoint.url) closed the connection during the handshake", isRetryable: true,
                    cause: cause)
                : TransportError(
                    .tlsFailed, "\(endpoint.url) closed the connection during the TLS handshake: does it speak TLS?",
                    isRetryable: true, cause: cause)
        }

        /// The error for the end of an open connection's TCP connection.
        static let ended = TransportError(
            .closed, "the server ended the connection without a close frame", isRetryable: true)

        /// The error for the failure of an open connection.
        static func broken(_ error: any Error) -> TransportError {
            if let error = TrustStore.failure(error) { return error }
            guard let error = error as? IOError, ![ECONNRESET, EPIPE].contains(error.errnoCode) else { return ended }
            return TransportError(.io, "the connection failed: \(text(error))", isRetryable: true, cause: error)
        }

        static func violation(_ violation: FrameViolation) -> TransportError {
            TransportError(
                violation.closeCode == 1009 ? .messageTooLarge : .protocolViolation,
                "the server sent \(violation); the connection was closed", isRetryable: violation.closeCode != 1009,
                status: Int(violation.closeCode))
        }

        private static func text(_ error: IOError) -> String { String(cString: strerror(error.errnoCode)) }
    }
#endif
