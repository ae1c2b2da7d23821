#if Libwebsockets
    internal import CLibwebsockets
    internal import TransportPluginAPI

    extension Service {
        /// Handles a callback of libwebsockets, on the thread. Only those about one connection matter.
        static func handle(
            _ wsi: OpaquePointer, _ reason: lws_callback_reasons, _ user: UnsafeMutableRawPointer?,
            _ input: UnsafeMutableRawPointer?, _ length: Int
        ) -> Int32 {
            switch reason {
            case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER, LWS_CALLBACK_CLIENT_FILTER_PRE_ESTABLISH,
                LWS_CALLBACK_CLIENT_ESTABLISHED, LWS_CALLBACK_CLIENT_CONNECTION_ERROR, LWS_CALLBACK_CLIENT_RECEIVE,
                LWS_CALLBACK_CLIENT_WRITEABLE, LWS_CALLBACK_WS_PEER_INITIATED_CLOSE, LWS_CALLBACK_CLIENT_CLOSED,
                LWS_CALLBACK_WSI_DESTROY, LWS_CALLBACK_OPENSSL_PERFORM_SERVER_CERT_VERIFICATION:
                break
            default: return 0
            }
            guard let context = lws_context_user(lws_get_context(wsi)) else { return 0 }
            let service = Unmanaged<Service>.fromOpaque(context).takeUnretainedValue()
            guard let driver = service.drivers[UInt(bitPattern: lws_get_opaque_user_data(wsi))] else { return 0 }
            if reason == LWS_CALLBACK_OPENSSL_PERFORM_SERVER_CERT_VERIFICATION {
                // The result 0 keeps OpenSSL's verdict.
                if let user, let reason = CLibwebsockets_verify_error(user) {
                    driver.verifyError = String(cString: reason)
                }
                return 0
            }
            return service.handle(driver, wsi, reason, input, length)
        }

        private func handle(
            _ driver: LibwebsocketsDriver, _ wsi: OpaquePointer, _ reason: lws_callback_reasons,
            _ input: UnsafeMutableRawPointer?,
            _ length: Int
        ) -> Int32 {
            switch reason {
            case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER:
                driver.hasSentRequest = true
                return append(driver.endpoint.headers, at: input, capacity: length)
            case LWS_CALLBACK_CLIENT_FILTER_PRE_ESTABLISH:
                guard !driver.endpoint.subprotocols.isEmpty, lws_hdr_total_length(wsi, WSI_TOKEN_PROTOCOL) == 0
                else {
                    return 0
                }
                driver.handshakeError = TransportError(
                    .handshakeFailed,
                    "\(driver.endpoint.url) chose none of the subprotocols: is this the right server?")
                return -1
            case LWS_CALLBACK_CLIENT_ESTABLISHED:
                guard case .connecting = driver.phase else { return -1 }
                driver.established(from: TCPConnector.localAddress(of: lws_get_socket_fd(wsi)))
            case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
                guard case .connecting = driver.phase else { return 0 }
                let text = input.map {
                    String(decoding: UnsafeRawBufferPointer(start: $0, count: length), as: UTF8.self)
                }
                driver.failed(Failure.handshake(driver, wsi, text ?? ""))
            case LWS_CALLBACK_CLIENT_RECEIVE:
                driver.received(UnsafeRawBufferPointer(start: input, count: length), on: wsi)
            case LWS_CALLBACK_CLIENT_WRITEABLE: return driver.writeable(wsi)
            case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
                let bytes = UnsafeRawBufferPointer(start: input, count: length)
                let code = bytes.count >= 2 ? UInt16(bytes[0]) << 8 | UInt16(bytes[1]) : 1005
                driver.peerClosed(
                    SignalingClose(code: code, reason: String(decoding: bytes.dropFirst(2), as: UTF8.self)))
            case LWS_CALLBACK_CLIENT_CLOSED:
                if case .open = driver.phase { driver.connectionLost(Failure.broken(wsi)) }
            case LWS_CALLBACK_WSI_DESTROY: if !driver.isStarting { forget(driver) }
            default: break
            }
            return 0
        }

        /// `input` points to libwebsockets' write position.
        private func append(
            _ headers: [(name: String, value: String)], at input: UnsafeMutableRawPointer?, capacity: Int
        ) -> Int32 {
            let text = headers.map { "\($0.name): \($0.value)\r\n" }.joined()
            guard let position = input?.assumingMemoryBound(to: UnsafeMutablePointer<UInt8>.self),
                text.utf8.count <= capacity
            else { return -1 }
            for byte in text.utf8 {
                position.pointee.pointee = byte
                position.pointee += 1
            }
            return 0
        }
    }
#endif
