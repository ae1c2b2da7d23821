internal import TransportPluginAPI
internal import WebSocketWire

extension SignalingConformance {
    // MARK: signaling.handshake

    static func handshakeClauses<Transport>(_ subject: SignalingSubject<Transport>) -> [ConformanceClause] {
        [
            ConformanceClause("signaling.handshake.01", "a server that is silent leads to .timedOut in time") {
                try await subject.withServer { connection in
                    _ = try connection.readRequest()
                    try connection.drain()
                    connection.report("gone")
                } client: { transport, endpoint, server in
                    try await expectTimeout(of: transport, at: endpoint)
                    // An abandoned attempt is aborted, not left behind.
                    try await server.events.expect("gone")
                }
            },
            ConformanceClause("signaling.handshake.02", "a wrong Sec-WebSocket-Accept leads to .handshakeFailed") {
                try await subject.withServer { connection in
                    try connection.open(try connection.readRequest(), accept: "d3JvbmcgcHJvb2Ygb2YgdGhlIGtleQ==")
                    try connection.drain()
                } client: { transport, endpoint, _ in
                    try await expectError(.handshakeFailed, from: "connect") {
                        try await transport.connect(to: endpoint)
                    }
                }
            },
            ConformanceClause("signaling.handshake.03", "an HTTP status leads to .refused, which carries it") {
                for status in [401, 403, 404, 500] {
                    try await subject.withServer { connection in
                        _ = try connection.readRequest()
                        try connection.answer(status: "\(status) No")
                    } client: { transport, endpoint, _ in
                        let error = try await expectError(.refused, from: "connect") {
                            try await transport.connect(to: endpoint)
                        }
                        try expect(
                            error.status == status,
                            "the status should be \(status), not \(String(describing: error.status))")
                    }
                }
            },
            ConformanceClause("signaling.handshake.04", "Retry-After of a 503 is reported") {
                try await subject.withServer { connection in
                    _ = try connection.readRequest()
                    try connection.answer(status: "503 Service Unavailable", headers: ["Retry-After: 7"])
                } client: { transport, endpoint, _ in
                    let error = try await expectError(.refused, from: "connect") {
                        try await transport.connect(to: endpoint)
                    }
                    try expect(error.status == 503, "the status should be 503, not \(String(describing: error.status))")
                    try expect(
                        error.retryAfter == .seconds(7),
                        "retryAfter should be 7 s, not \(String(describing: error.retryAfter))")
                    try expect(error.isRetryable, "a busy server may take us later: isRetryable")
                }
            },
            ConformanceClause("signaling.handshake.05", "a redirection is not followed, but reported as .refused") {
                try await subject.withServer { connection in
                    _ = try connection.readRequest()
                    connection.report("asked")
                    try connection.answer(status: "302 Found", headers: ["Location: /elsewhere"])
                } client: { transport, endpoint, server in
                    let error = try await expectError(.refused, from: "connect") {
                        try await transport.connect(to: endpoint)
                    }
                    try expect(error.status == 302, "the status should be 302, not \(String(describing: error.status))")
                    try await server.events.expect("asked")
                }
            },
            ConformanceClause("signaling.handshake.06", "an answer that is not HTTP leads to .handshakeFailed") {
                try await subject.withServer { connection in
                    _ = try connection.readRequest()
                    try connection.write(Array("SSH-2.0-OpenSSH_9.2\r\n\r\n".utf8))
                    connection.finishWriting()
                    try connection.drain()
                } client: { transport, endpoint, _ in
                    try await expectError(.handshakeFailed, .closed, from: "connect") {
                        try await transport.connect(to: endpoint)
                    }
                }
            },
            ConformanceClause("signaling.handshake.07", "a server that hangs up during the handshake fails the attempt")
            {
                try await subject.withServer { connection in
                    _ = try connection.readRequest()
                } client: { transport, endpoint, _ in
                    let error = try await expectError(.handshakeFailed, .closed, .io, from: "connect") {
                        try await transport.connect(to: endpoint)
                    }
                    try expect(error.isRetryable, "a server that hung up may be there later: isRetryable")
                }
            },
            ConformanceClause("signaling.handshake.08", "path, headers and subprotocols of the endpoint are sent") {
                try await subject.withServer { connection in
                    let request = try connection.readRequest()
                    connection.report(request.target)
                    connection.report(request.header("authorization") ?? "none")
                    connection.report(request.header("x-room") ?? "none")
                    connection.report(request.header("sec-websocket-protocol") ?? "none")
                    connection.report(request.header("sec-websocket-extensions") ?? "none")
                    try connection.open(request, headers: ["Sec-WebSocket-Protocol: room.v1"])
                    try connection.echo()
                } client: { transport, endpoint, server in
                    var endpoint = endpoint
                    endpoint.path = "/rooms/a%20b?x=1&y=2"
                    endpoint.headers = [("Authorization", "Bearer abc"), ("X-Room", "a: b")]
                    endpoint.subprotocols = ["room.v2", "room.v1"]
                    try await transport.connect(to: endpoint).expectEcho(.text(Payload("x")))
                    try await server.events.expect("/rooms/a%20b?x=1&y=2")
                    try await server.events.expect("Bearer abc")
                    try await server.events.expect("a: b")
                    let offered = try await server.events.next()
                    try expect(
                        offered.filter { $0 != " " } == "room.v2,room.v1",
                        "the subprotocols were offered as '\(offered)'")
                    if !subject.capabilities.contains(.deflate) { try await server.events.expect("none") }
                }
            },
            ConformanceClause(
                "signaling.handshake.09", "a server that chooses none of the subprotocols is not accepted"
            ) {
                for chosen in [[], ["Sec-WebSocket-Protocol: other"]] {
                    try await subject.withServer { connection in
                        try connection.open(try connection.readRequest(), headers: chosen)
                        try connection.drain()
                    } client: { transport, endpoint, _ in
                        var endpoint = endpoint
                        endpoint.subprotocols = ["room.v1"]
                        try await expectError(.handshakeFailed, from: "connect") { [endpoint] in
                            try await transport.connect(to: endpoint)
                        }
                    }
                }
            },
            ConformanceClause(
                "signaling.handshake.10", "cancelling connect() throws .cancelled soon and aborts the attempt"
            ) {
                try await withPendingAttempt(subject) { _, task in
                    try await expectLess(than: .seconds(2), for: "noticing the cancellation") {
                        task.cancel()
                        try await expectError(.cancelled, from: "connect") { try await task.value }
                    }
                }
            },
            ConformanceClause("signaling.handshake.11", "a name that does not exist leads to .nameNotResolved") {
                let transport = try subject.makeTransport()
                // RFC 6761 §6.4: never resolves.
                var endpoint = try SignalingEndpoint(url: "ws://no-such-host.invalid:9/")
                endpoint.connectTimeout = .seconds(20)
                let error = try await expectError(.nameNotResolved, from: "connect") { [endpoint] in
                    try await transport.connect(to: endpoint)
                }
                try expect(error.isRetryable, "the resolver may be back later: isRetryable")
                try await shutDown(transport)
            },
            ConformanceClause("signaling.handshake.13", "shutdown() ends an attempt that is under way with .closed") {
                try await withPendingAttempt(subject) { transport, task in
                    try await shutDown(transport)
                    try await expectError(.closed, from: "connect") { try await task.value }
                }
            },
            ConformanceClause(
                "signaling.handshake.12", "a frame in the same segment as the handshake's answer is not lost"
            ) {
                try await subject.withServer { connection in
                    let request = try connection.readRequest()
                    let head = [
                        "HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade",
                        "Sec-WebSocket-Accept: \(request.accept ?? "")", "", "",
                    ]
                    let frames = (0..<3).flatMap { WebSocketFrame(opcode: .text, payload: Array("\($0)".utf8)).bytes }
                    try connection.write(Array(head.joined(separator: "\r\n").utf8) + frames)
                    try connection.echo()
                } client: { transport, endpoint, _ in
                    let connection = try await transport.connect(to: endpoint)
                    for number in 0..<3 {
                        let text = try await connection.receiveText()
                        try expect(text == "\(number)", "\(text) came where \(number) was due")
                    }
                }
            },
        ] + lostAnswerClauses(subject) + refusalClauses(subject)
    }

    private static func refusalClauses<Transport>(_ subject: SignalingSubject<Transport>) -> [ConformanceClause] {
        [
            ConformanceClause(
                "signaling.handshake.16",
                "Retry-After may be a time, which counts from the answer's Date (RFC 9110 §10.2.3)"
            ) {
                // The server's clock is years behind. The formats are the three of RFC 9110.
                for time in [
                    "Mon, 07 Nov 1994 00:00:05 GMT", "Monday, 07-Nov-94 00:00:05 GMT", "Mon Nov  7 00:00:05 1994",
                ] {
                    try await subject.withServer { connection in
                        _ = try connection.readRequest()
                        try connection.answer(
                            status: "503 Service Unavailable",
                            headers: ["Date: Sun, 06 Nov 1994 23:59:50 GMT", "Retry-After: \(time)"])
                    } client: { transport, endpoint, _ in
                        let error = try await expectError(.refused, from: "connect") {
                            try await transport.connect(to: endpoint)
                        }
                        try expect(
                            error.retryAfter == .seconds(15),
                            "retryAfter should be 15 s for '\(time)', not \(String(describing: error.retryAfter))")
                    }
                }
            },
            ConformanceClause(
                "signaling.handshake.17",
                "the target of a redirection is reported without its query, as not retryable"
            ) {
                try await subject.withServer { connection in
                    _ = try connection.readRequest()
                    try connection.answer(
                        status: "301 Moved Permanently", headers: ["Location: https://example.org/rooms?key=SECRET"])
                } client: { transport, endpoint, _ in
                    let error = try await expectError(.refused, from: "connect") {
                        try await transport.connect(to: endpoint)
                    }
                    try expect(error.message.contains("wss://example.org/rooms"), "the message is '\(error.message)'")
                    try expect(!error.message.contains("SECRET"), "the message is '\(error.message)'")
                    try expect(!error.isRetryable, "the same request leads to the same redirection: not isRetryable")
                }
            },
            ConformanceClause("signaling.handshake.18", "no error contains the query of the URL, which may be a secret")
            {
                for status in [404, 503] {
                    try await subject.withServer { connection in
                        _ = try connection.readRequest()
                        try connection.answer(status: "\(status) No")
                    } client: { transport, endpoint, _ in
                        var endpoint = endpoint
                        endpoint.path = "/?access_token=SECRET"
                        let error = try await expectError(.refused, from: "connect") { [endpoint] in
                            try await transport.connect(to: endpoint)
                        }
                        let text = "\(error) \(String(describing: error.cause))"
                        try expect(!text.contains("SECRET"), "the message is '\(text)'")
                    }
                }
                let transport = try subject.makeTransport()
                let endpoint = try SignalingEndpoint(url: "ws://127.0.0.1:1/?access_token=SECRET")
                let error = try await expectError(.refused, .unreachable, from: "connect") {
                    try await transport.connect(to: endpoint)
                }
                let text = "\(error) \(String(describing: error.cause))"
                try expect(!text.contains("SECRET"), "the message is '\(text)'")
                try await shutDown(transport)
            },
        ]
    }

    private static func lostAnswerClauses<Transport>(_ subject: SignalingSubject<Transport>) -> [ConformanceClause] {
        [
            ConformanceClause(
                "signaling.handshake.14", "a host that answers nothing, not even TCP's SYN, leads to .timedOut in time"
            ) {
                let blackHole = try BlackHole()
                let front = try await subject.front(blackHole.port)
                defer { front.stop() }
                let transport = try subject.makeTransport()
                try await expectTimeout(of: transport, at: front.endpoint)
                try await shutDown(transport)
            },
            ConformanceClause(
                "signaling.handshake.15",
                "an answer that comes after the timeout makes no connection, and disturbs none"
            ) {
                try await subject.withServer { connection in
                    let request = try connection.readRequest()
                    guard request.path == "/impatient" else {
                        try connection.open(request)
                        return try connection.echo(reporting: false)
                    }
                    connection.gate.wait()
                    // The client may be gone by now, or may not have noticed yet.
                    try? connection.open(request)
                    try? connection.send(text: "late")
                    try connection.drain()
                    connection.report("gone")
                } client: { transport, endpoint, server in
                    var impatient = endpoint
                    impatient.path = "/impatient"
                    // Time enough for the request to arrive, behind TLS and on a loaded machine.
                    impatient.connectTimeout = .milliseconds(1500)
                    try await expectError(.timedOut, from: "connect") { [impatient] in
                        try await transport.connect(to: impatient)
                    }
                    let connection = try await transport.connect(to: endpoint)
                    server.gate.open()
                    try await server.events.expect("gone")
                    try await connection.expectEcho(.text(Payload("ours")))
                }
            },
        ]
    }
}

/// Checks that an attempt with a timeout of 1.5 s ends in time.
private func expectTimeout(of transport: some SignalingTransport, at endpoint: SignalingEndpoint) async throws {
    var endpoint = endpoint
    endpoint.connectTimeout = .milliseconds(1500)
    try await expectLess(than: .seconds(5), for: "the timeout of 1.5 s") {
        let error = try await expectError(.timedOut, from: "connect") { [endpoint] in
            try await transport.connect(to: endpoint)
        }
        try expect(error.isRetryable, "a timeout may not happen again: isRetryable")
    }
}

/// Runs `body` with an attempt whose request the server has read and does not answer, and checks that it is aborted.
private func withPendingAttempt<Transport>(
    _ subject: SignalingSubject<Transport>,
    _ body: @escaping @Sendable (Transport, Task<Transport.Connection, any Error>) async throws -> Void
) async throws {
    try await subject.withServer { connection in
        _ = try connection.readRequest()
        connection.report("asked")
        try connection.drain()
        connection.report("gone")
    } client: { transport, endpoint, server in
        let task = Task { try await transport.connect(to: endpoint) }
        try await server.events.expect("asked")
        try await body(transport, task)
        try await server.events.expect("gone")
    }
}
