internal import NIOCore
internal import TransportPluginAPI
internal import WebSocketWire

extension ServerReport {
    /// Whether the server is draining.
    var isDraining: Bool { loops.contains { $0.draining.value != 0 } }

    /// The answer to `GET /livez`: whether the event loops of this process do what is due. Nothing else counts: a
    /// restart would not mend it.
    func liveness(at now: Timestamp = .now()) -> HTTPResponse {
        let stuck = loops.indices.filter { !loops[$0].pulse.isAlive(at: now) }
        guard !stuck.isEmpty else { return Self.answer(true, ["alive"]) }
        let names = stuck.map { "\($0)" }.joined(separator: ", ")
        return Self.answer(false, ["stuck for \(LoopPulse.limit.components.seconds) s: event loop \(names)"])
    }

    /// The answer to `GET /readyz`: whether clients should be sent here.
    ///
    /// A burst of handshakes, or the limit of rooms, does not make a server unready: its load would move to the others,
    /// and those who have a room here need this one. The state of the other parts is text only.
    func readiness() -> HTTPResponse {
        let load = shared.value
        var reasons: [String] = []
        if isDraining { reasons.append("draining") }
        if load.connections >= limits.connections {
            reasons.append("full: \(load.connections) of \(limits.connections) connections")
        }
        guard reasons.isEmpty else { return Self.answer(false, reasons + states) }
        var notes: [String] = []
        if load.handshakes >= limits.handshakes {
            notes.append("busy: \(load.handshakes) of \(limits.handshakes) handshakes")
        }
        if load.rooms >= limits.rooms { notes.append("no more rooms: \(load.rooms) of \(limits.rooms)") }
        return Self.answer(true, ["ready"] + notes + states)
    }

    /// The metrics and the probes on the address of the admin API. They name nobody, so they need no token.
    var routes: [AdminRoute] {
        [
            AdminRoute(path: "/metrics", needsToken: false) { metrics(for: $0) },
            AdminRoute(path: "/livez", needsToken: false) { _ in liveness() },
            AdminRoute(path: "/readyz", needsToken: false) { _ in readiness() },
        ]
    }

    private static func answer(_ isGood: Bool, _ lines: [String]) -> HTTPResponse {
        HTTPResponse(
            status: isGood ? "200 OK" : "503 Service Unavailable",
            headers: [("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store")],
            body: lines.map { $0 + "\n" }.joined())
    }

    /// Returns the answer to `GET /metrics`. Not for an event loop: see `text`.
    func metrics(for request: RequestHead) -> HTTPResponse {
        let format = MetricsText.Format(accepting: request.fields.members("accept"))
        return HTTPResponse(
            status: "200 OK", headers: [("Content-Type", format.contentType), ("Cache-Control", "no-store")],
            body: text(format))
    }
}

extension ServerLoop {
    /// Returns the answer to a request for metrics, which is made on another thread. Nil: it is another request, or
    /// there are none for the public.
    func metrics(for request: RequestHead) -> EventLoopFuture<HTTPResponse>? {
        guard servesMetrics, request.path == "/metrics", ["GET", "HEAD"].contains(request.method) else { return nil }
        let promise = eventLoop.makePromise(of: HTTPResponse.self)
        Task.detached { [report] in
            var response = report.metrics(for: request)
            response.omitsBody = request.method == "HEAD"
            promise.succeed(response)
        }
        return promise.futureResult
    }
}
