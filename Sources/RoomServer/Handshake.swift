internal import RoomProtocol
internal import WebSocketWire

/// The state of the server when it answers a request.
struct ServerStatus {
    var rooms: Int
    var participants: Int
    var connections: Int
    /// The time to return, if no further connection is accepted now.
    var retryAfter: RetryWindow?
    /// The time to return, if the client's address has too many connections, or too many new ones.
    var tooMany: Duration?
    var origins = AllowedOrigins.every
    /// Whether the page and the browser client are served.
    var servesPage = false
    /// The health of the server. Nil: it answers no probes.
    var report: ServerReport?
}

extension HTTPResponse {
    /// Creates the answer to a request: to the opening handshake of WebSocket on any path (RFC 6455 §4.2), to
    /// `GET /health` and the probes, to a `GET` of the page, or a refusal.
    init(to request: RequestHead, _ server: ServerStatus) {
        if let delay = server.tooMany {
            self.init(
                status: "429 Too Many Requests", headers: [("Retry-After", "\(delay.components.seconds + 1)")],
                body: "Too many connections come from this address.\n")
            return
        }
        let isUpgrade = ServerHandshake.isWanted(by: request)
        guard request.method == "GET" || (request.method == "HEAD" && !isUpgrade) else {
            self.init(status: "405 Method Not Allowed", headers: [("Allow", "GET, HEAD")])
            return
        }
        guard isUpgrade else {
            self = Self.plain(request, server)
            omitsBody = request.method == "HEAD"
            return
        }
        let handshake: ServerHandshake
        do throws(ServerHandshake.Objection) { handshake = try ServerHandshake(request) } catch {
            switch error {
            case .incomplete:
                self.init(status: "400 Bad Request", body: "The WebSocket handshake is incomplete.\n")
            case .wrongVersion:
                self.init(
                    status: "426 Upgrade Required", headers: [("Sec-WebSocket-Version", ServerHandshake.version)])
            }
            return
        }
        guard server.origins.contains(originOf: request) else {
            self.init(status: "403 Forbidden", body: "Pages of this origin may not connect to this server.\n")
            return
        }
        if let window = server.retryAfter {
            let seconds = max(1, window.upperBound.components.seconds)
            self.init(
                status: "503 Service Unavailable", headers: [("Retry-After", "\(seconds)")], body: "Come back later.\n")
            return
        }
        let isOffered = handshake.subprotocols.contains(webSocketSubprotocol)
        self.init(
            status: "101 Switching Protocols",
            headers: handshake.fields(subprotocol: isOffered ? webSocketSubprotocol : nil))
    }

    private static func plain(_ request: RequestHead, _ server: ServerStatus) -> HTTPResponse {
        let path = request.path
        // Rooms of these names have no page of their own: `/#room=NAME` is theirs.
        switch (path, server.report) {
        case ("/livez", let report?): return report.liveness()
        case ("/readyz", let report?): return report.readiness()
        case ("/metrics", .some): return HTTPResponse(status: "404 Not Found")
        default: break
        }
        if server.servesPage, path != "/health", let file = PageFile.at(path) { return HTTPResponse(file, to: request) }
        switch path {
        case "/health":
            let body =
                "{\"status\":\"\(server.retryAfter == nil ? "ok" : "busy")\",\"rooms\":\(server.rooms),"
                + "\"participants\":\(server.participants),\"connections\":\(server.connections)}\n"
            return HTTPResponse(
                status: "200 OK", headers: [("Content-Type", "application/json"), ("Cache-Control", "no-store")],
                body: body)
        case "/":
            return HTTPResponse(
                status: "426 Upgrade Required",
                headers: [("Upgrade", "websocket"), ("Sec-WebSocket-Version", ServerHandshake.version)],
                body: "This is a room server: connect with WebSocket.\n")
        default: return HTTPResponse(status: "404 Not Found")
        }
    }
}
