internal import TransportPluginAPI
internal import WebSocketWire

/// The client's part of the opening handshake (RFC 6455 §4.1): what is asked, and whether the answer is one to it. Pure.
struct Handshake {
    private let endpoint: SignalingEndpoint
    private let key: String

    /// - Parameter nonce: 16 random bytes.
    init(_ endpoint: SignalingEndpoint, nonce: [UInt8]) {
        self.endpoint = endpoint
        key = Base64.encode(nonce)
    }

    // MARK: What is asked

    var request: [UInt8] {
        var text =
            "GET \(endpoint.path) HTTP/1.1\r\nHost: \(endpoint.hostHeader)\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        text += "Sec-WebSocket-Key: \(key)\r\nSec-WebSocket-Version: 13\r\n"
        if !endpoint.subprotocols.isEmpty {
            text += "Sec-WebSocket-Protocol: \(endpoint.subprotocols.joined(separator: ", "))\r\n"
        }
        for (name, value) in endpoint.headers { text += "\(name): \(value)\r\n" }
        return Array((text + "\r\n").utf8)
    }

    // MARK: Whether the answer is one to it

    /// Nil: the connection is open. Else `.refused` for another status than 101, `.handshakeFailed`.
    func error(in head: HTTPAnswer) -> TransportError? {
        guard head.status == 101 else {
            return HTTPRefusal(head).error(connectingTo: endpoint)
        }
        func failed(_ what: String) -> TransportError {
            TransportError(.handshakeFailed, "\(endpoint.url) did not answer as a WebSocket server: \(what)")
        }
        guard head.values("upgrade").map({ $0.lowercased() }) == ["websocket"] else {
            return failed("it did not upgrade to websocket")
        }
        guard head.members("connection").contains(where: { $0.lowercased() == "upgrade" }) else {
            return failed("its Connection has no Upgrade")
        }
        guard head.values("sec-websocket-accept") == [HandshakeKey.accept(key)] else {
            return failed("its Sec-WebSocket-Accept is not the answer to the key")
        }
        guard head.members("sec-websocket-extensions").isEmpty else { return failed("it chose an extension") }
        let chosen = head.values("sec-websocket-protocol")
        if endpoint.subprotocols.isEmpty {
            guard chosen.isEmpty else { return failed("it chose a subprotocol, although none was offered") }
        } else {
            guard chosen.count == 1, endpoint.subprotocols.contains(chosen[0]) else {
                return failed(
                    "it chose none of the subprotocols \(endpoint.subprotocols.joined(separator: ", "))")
            }
        }
        return nil
    }
}
