internal import RoomProtocol
internal import WebSocketWire

/// What the server knows when it answers a request.
struct ServerStatus {
    var rooms: Int
    var participants: Int
    var connections: Int
    /// Not nil: no further connection is taken now.
    var retryAfter: RetryWindow?
    var origins = AllowedOrigins.every
}

extension HTTPResponse {
    /// `GET /health`, the opening handshake of WebSocket on any path (RFC 6455 §4.2), or why not.
    init(to request: HTTPRequest, _ server: ServerStatus) {
        let isUpgrade = request.tokens(of: "upgrade").contains("websocket")
        guard request.method == "GET" || (request.method == "HEAD" && !isUpgrade) else {
            self.init(status: "405 Method Not Allowed", headers: [("Allow", "GET, HEAD")])
            return
        }
        guard isUpgrade else {
            self = Self.plain(request, server)
            return
        }
        guard request.isHTTP11, request.tokens(of: "connection").contains("upgrade"),
            request.headers.contains(where: { $0.name == "host" }),
            let key = request.value(of: "sec-websocket-key"), Base64.decode(key)?.count == 16
        else {
            self.init(status: "400 Bad Request", body: "The WebSocket handshake is incomplete.\n")
            return
        }
        guard request.value(of: "sec-websocket-version") == "13" else {
            self.init(status: "426 Upgrade Required", headers: [("Sec-WebSocket-Version", "13")])
            return
        }
        guard server.origins.contains(originOf: request) else {
            self.init(status: "403 Forbidden", body: "Pages of this origin may not connect here.\n")
            return
        }
        if let window = server.retryAfter {
            let seconds = max(1, window.latest.components.seconds)
            self.init(
                status: "503 Service Unavailable", headers: [("Retry-After", "\(seconds)")], body: "Come back later.\n")
            return
        }
        self.init(
            status: "101 Switching Protocols",
            headers: [
                ("Upgrade", "websocket"), ("Connection", "Upgrade"),
                ("Sec-WebSocket-Accept", Self.acceptance(of: key)),
            ])
        if request.tokens(of: "sec-websocket-protocol").contains(webSocketSubprotocol) {
            headers.append(("Sec-WebSocket-Protocol", webSocketSubprotocol))
        }
    }

    private static func plain(_ request: HTTPRequest, _ server: ServerStatus) -> HTTPResponse {
        switch request.path {
        case "/health":
            let body =
                "{\"status\":\"\(server.retryAfter == nil ? "ok" : "busy")\",\"rooms\":\(server.rooms),"
                + "\"participants\":\(server.participants),\"connections\":\(server.connections)}\n"
            return HTTPResponse(
                status: "200 OK", headers: [("Content-Type", "application/json"), ("Cache-Control", "no-store")],
                body: request.method == "HEAD" ? "" : body)
        case "/":
            return HTTPResponse(
                status: "426 Upgrade Required", headers: [("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")],
                body: "This is a room server: connect with WebSocket.\n")
        default: return HTTPResponse(status: "404 Not Found")
        }
    }

    /// RFC 6455 §4.2.2.
    static func acceptance(of key: String) -> String {
        HandshakeKey.accept(key)
    }
}
