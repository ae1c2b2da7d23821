#if NIO
    internal import Glibc
    internal import NIOCore
    internal import TransportPluginAPI
    internal import WebSocketWire

    /// Failures of SwiftNIO, as errors of the contract.
    enum Failure {
        /// The connected socket could not be taken.
        static func adopting(_ endpoint: SignalingEndpoint, _ error: any Error) -> TransportError {
            TransportError(
                .unreachable, "\(endpoint.url) could not be reached: \(error)", isRetryable: true, cause: error)
        }

        static func notWebSocket(_ endpoint: SignalingEndpoint, _ reason: String) -> TransportError {
            TransportError(
                .handshakeFailed, "\(endpoint.url) did not answer as a WebSocket server: \(reason)")
        }

        /// An error on the way through the pipeline, before the connection was open.
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

        /// The TCP connection of an open connection ended.
        static let ended = TransportError(
            .closed, "the server ended the connection without a close frame", isRetryable: true)

        /// An open connection broke.
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
