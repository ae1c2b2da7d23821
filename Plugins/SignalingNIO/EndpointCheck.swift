#if NIO
    internal import TransportPluginAPI

    /// What one connection attempt needs.
    struct ConnectRequest: Sendable {
        let endpoint: SignalingEndpoint
        /// Nil for `ws`.
        let tls: TLSClient?
        let deadline: Timestamp
    }

    /// Refuses what would become something else in the request, before anything is sent.
    enum EndpointCheck {
        static func check(_ endpoint: SignalingEndpoint) throws(TransportError) {
            func refuse(_ what: String) -> TransportError {
                TransportError(.invalidArgument, "\(what); nothing was sent")
            }
            for name in [endpoint.host, endpoint.certificateName] {
                let isPlain = name.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "/") }
                guard !name.isEmpty, name.utf8.count <= 255, isPlain else {
                    throw refuse("a host name must have 1 to 255 visible ASCII characters")
                }
            }
            guard endpoint.path.hasPrefix("/"), endpoint.path.utf8.count <= 8192,
                endpoint.path.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F })
            else { throw refuse("a path must begin with '/' and have 8,192 visible ASCII characters at most") }
            guard endpoint.subprotocols.allSatisfy(isToken), endpoint.subprotocols.joined().utf8.count <= 1024 else {
                throw refuse("subprotocols must be HTTP tokens, 1,024 bytes together at most")
            }
            var size = 0
            for (name, value) in endpoint.headers {
                guard isToken(name), value.utf8.allSatisfy({ $0 == 0x09 || ($0 >= 0x20 && $0 != 0x7F) }) else {
                    throw refuse("a header's name must be an HTTP token and its value must have no control characters")
                }
                size += name.utf8.count + value.utf8.count + 4
            }
            guard size <= 16_384 else { throw refuse("the headers have more than 16,384 bytes together") }
        }

        /// RFC 9110 §5.6.2.
        private static func isToken(_ text: String) -> Bool {
            let marks = Set("!#$%&'*+-.^_`|~".utf8)
            return !text.isEmpty
                && text.utf8.allSatisfy { byte in
                    marks.contains(byte) || (byte >= 0x30 && byte <= 0x39)
                        || (byte | 0x20 >= 0x61 && byte | 0x20 <= 0x7A)
                }
        }
    }
#endif
