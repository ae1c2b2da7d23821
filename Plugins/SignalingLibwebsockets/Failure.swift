#if Libwebsockets
    internal import CLibwebsockets
    internal import Glibc
    internal import TransportPluginAPI

    /// libwebsockets' failures as errors of the contract.
    enum Failure {
        /// The error for an attempt that libwebsockets refused at once.
        static func connecting(_ driver: LibwebsocketsDriver, errno: Int32) -> TransportError {
            let url = driver.endpoint.url
            return TransportError(
                .resourceExhausted, "no socket for \(url)\(errno == 0 ? "" : ": \(text(errno))")", isRetryable: true)
        }

        /// The error for an attempt that failed later; `reason` is libwebsockets' text.
        static func handshake(_ driver: LibwebsocketsDriver, _ wsi: OpaquePointer, _ reason: String) -> TransportError {
            let url = driver.endpoint.url
            if let error = driver.handshakeError { return error }
            if let reason = driver.verifyError {
                return TransportError(.tlsFailed, "the certificate of \(url) was not accepted: \(reason)")
            }
            let status = Int(lws_http_client_http_response(wsi))
            if status != 0, status != 101 {
                let refusal = HTTPRefusal(
                    status: status, location: header(WSI_TOKEN_HTTP_LOCATION, of: wsi),
                    retryAfter: header(WSI_TOKEN_HTTP_RETRY_AFTER, of: wsi), date: header(WSI_TOKEN_HTTP_DATE, of: wsi))
                return refusal.error(connectingTo: driver.endpoint)
            }
            if driver.endpoint.isSecure, !driver.hasSentRequest {
                return TransportError(.tlsFailed, "TLS with \(url) failed: \(reason)", isRetryable: true)
            }
            let isAnswer = reason.hasPrefix("HS:") || reason.contains("parsing")
            return TransportError(
                .handshakeFailed,
                isAnswer
                    ? "\(url) did not answer as a WebSocket server: \(reason)"
                    : "\(url) closed the connection during the handshake (\(reason))",
                isRetryable: !isAnswer)
        }

        /// The error for an open connection that ended without a close frame.
        static func broken(_ wsi: OpaquePointer) -> TransportError {
            // libwebsockets reports no reason. If the other side has not ended the connection, libwebsockets did,
            // because of a frame that breaks the protocol.
            CLibwebsockets_peer_has_ended(wsi) != 0
                ? TransportError(.closed, "the server ended the connection without a close frame", isRetryable: true)
                : TransportError(.protocolViolation, "the server sent an invalid WebSocket frame", isRetryable: true)
        }

        private static func header(_ token: lws_token_indexes, of wsi: OpaquePointer) -> String? {
            var buffer = [CChar](repeating: 0, count: 2049)
            let length = lws_hdr_copy(wsi, &buffer, Int32(buffer.count), token)
            guard length > 0 else { return nil }
            return String(decoding: buffer.prefix(Int(length)).map(UInt8.init(bitPattern:)), as: UTF8.self)
        }

        private static func text(_ errno: Int32) -> String { String(cString: strerror(errno)) }
    }
#endif
