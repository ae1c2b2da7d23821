internal import TransportPluginAPI

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
                    var endpoint = endpoint
                    endpoint.connectTimeout = .milliseconds(1500)
                    let start = Timestamp.now()
                    let error = try await expectError(.timedOut, from: "connect") { [endpoint] in
                        try await transport.connect(to: endpoint)
                    }
                    let elapsed = Timestamp.now() - start
                    try expect(elapsed < .seconds(5), "the timeout of 1.5 s took \(elapsed)")
                    try expect(error.isRetriable, "a timeout may not happen again: isRetriable")
                    // An attempt that was given up is aborted, not left behind.
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
            ConformanceClause("signaling.handshake.04", "Retry-After of a 503 is told") {
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
                    try expect(error.isRetriable, "a busy server may take us later: isRetriable")
                }
            },
            ConformanceClause("signaling.handshake.05", "a redirection is not followed, but told as .refused") {
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
                    try expect(error.isRetriable, "a server that hung up may be there later: isRetriable")
                }
            },
            ConformanceClause("signaling.handshake.08", "path, headers and subprotocols of the endpoint are sent") {
                try await subject.withServer { connection in
                    let request = try connection.readRequest()
                    connection.report(request.path)
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
                try await subject.withServer { connection in
                    _ = try connection.readRequest()
                    connection.report("asked")
                    try connection.drain()
                    connection.report("gone")
                } client: { transport, endpoint, server in
                    let task = Task { try await transport.connect(to: endpoint) }
                    try await server.events.expect("asked")
                    let start = Timestamp.now()
                    task.cancel()
                    try await expectError(.cancelled, from: "connect") { try await task.value }
                    try expect(Timestamp.now() - start < .seconds(2), "it took \(Timestamp.now() - start)")
                    try await server.events.expect("gone")
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
                try expect(error.isRetriable, "the resolver may be back later: isRetriable")
                await transport.shutdown()
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
        ]
    }

    // MARK: signaling.frame

    static func frameClauses<Transport>(_ subject: SignalingSubject<Transport>) -> [ConformanceClause] {
        [
            ConformanceClause(
                "signaling.frame.01", "fragments are put together, with control frames in between (RFC 6455 §5.4)"
            ) {
                try await subject.withWire { connection in
                    try connection.send(
                        WebSocketFrame(opcode: .text, payload: Array("Gr\u{FC}".utf8.dropLast()), isFinal: false))
                    try connection.send(WebSocketFrame(opcode: .ping, payload: [1, 2, 3]))
                    try connection.send(WebSocketFrame(opcode: .continuation, payload: [0xBC], isFinal: false))
                    try connection.send(WebSocketFrame(opcode: .continuation, payload: [], isFinal: false))
                    try connection.send(WebSocketFrame(opcode: .continuation, payload: Array("ße".utf8)))
                    try connection.echo()
                } client: { connection, _ in
                    let text = try await connection.receiveText()
                    try expect(text == "Grüße", "'\(text)' came, where 'Grüße' was sent in fragments")
                    try await connection.expectEcho(.text(Payload("next")))
                }
            },
            ConformanceClause("signaling.frame.02", "a ping is answered with its payload (RFC 6455 §5.5.2)") {
                try await subject.withWire { connection in
                    for payload in [[], [1, 2, 3], [UInt8](repeating: 7, count: 125)] {
                        try connection.send(WebSocketFrame(opcode: .ping, payload: payload))
                        let frame = try connection.readFrame()
                        let isRight = frame == WebSocketFrame(opcode: .pong, payload: payload)
                        connection.report(isRight ? "pong" : "not a pong but \(String(describing: frame))")
                    }
                    try connection.echo()
                } client: { connection, server in
                    for _ in 0..<3 { try await server.events.expect("pong") }
                    try await connection.expectEcho(.text(Payload("x")))
                }
            },
            ConformanceClause("signaling.frame.03", "an unasked pong is ignored (RFC 6455 §5.5.3)") {
                try await subject.withWire { connection in
                    try connection.send(WebSocketFrame(opcode: .pong, payload: [9]))
                    try connection.echo()
                } client: { connection, _ in
                    try await connection.expectEcho(.text(Payload("x")))
                }
            },
            ConformanceClause(
                "signaling.frame.04", "text that is not UTF-8 ends the connection with .protocolViolation and code 1007"
            ) {
                let bad: [[WebSocketFrame]] = [
                    [WebSocketFrame(opcode: .text, payload: [0x68, 0xFF, 0x69])],
                    // A character that is cut off at the end of the message.
                    [WebSocketFrame(opcode: .text, payload: [0x68, 0xC3])],
                    // A surrogate, over two fragments.
                    [
                        WebSocketFrame(opcode: .text, payload: [0xED], isFinal: false),
                        WebSocketFrame(opcode: .continuation, payload: [0xA0, 0x80]),
                    ],
                ]
                for frames in bad {
                    try await subject.withWire { connection in
                        for frame in frames { try connection.send(frame) }
                        try connection.echo()
                    } client: { connection, server in
                        try await expectError(.protocolViolation, from: "receive") { try await connection.receive() }
                        let close = try await server.events.next()
                        try expect(close.hasPrefix("close 1007"), "the server should have seen 1007, not '\(close)'")
                    }
                }
            },
            ConformanceClause(
                "signaling.frame.05",
                "a frame with a reserved bit or opcode ends the connection with .protocolViolation"
            ) {
                let bad = [
                    WebSocketFrame(opcode: .text, payload: [0x68], reservedBits: 4),
                    WebSocketFrame(opcode: .reserved, payload: [0x68]),
                    WebSocketFrame(opcode: .continuation, payload: [0x68]),
                    WebSocketFrame(opcode: .ping, payload: [0x68], isFinal: false),
                    WebSocketFrame(opcode: .ping, payload: [UInt8](repeating: 0, count: 126)),
                ]
                for frame in bad {
                    try await subject.withWire { connection in
                        try connection.send(frame)
                        try connection.echo()
                    } client: { connection, server in
                        try await expectError(.protocolViolation, from: "receive") { try await connection.receive() }
                        try await expectError(.closed, .protocolViolation, from: "send") {
                            try await connection.send(text: "late")
                        }
                        // With or without a close frame: what matters is that it is over.
                        while try await server.events.next() != "end" {}
                    }
                }
            },
            ConformanceClause(
                "signaling.frame.06",
                "a message over the maximum ends the connection with .messageTooLarge and code 1009"
            ) {
                let large = [UInt8](repeating: 0x61, count: 70_000)
                let bad: [[WebSocketFrame]] = [
                    [WebSocketFrame(opcode: .text, payload: large)],
                    [
                        WebSocketFrame(opcode: .binary, payload: Array(large[..<40_000]), isFinal: false),
                        WebSocketFrame(opcode: .continuation, payload: Array(large[..<40_000])),
                    ],
                ]
                for frames in bad {
                    try await subject.withWire(maximumMessageSize: 65_536) { connection in
                        try connection.send(text: "before")
                        for frame in frames { try connection.send(frame) }
                        try connection.echo()
                    } client: { connection, server in
                        let text = try await connection.receiveText()
                        try expect(text == "before", "what came before is delivered first")
                        try await expectError(.messageTooLarge, from: "receive") { try await connection.receive() }
                        let close = try await server.events.next()
                        try expect(close.hasPrefix("close 1009"), "the server should have seen 1009, not '\(close)'")
                    }
                }
            },
            ConformanceClause("signaling.frame.07", "a header that announces a huge frame does not take memory or time")
            {
                try await subject.withWire(maximumMessageSize: 65_536) { connection in
                    try connection.write([0x82, 127, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF])
                    try connection.write([UInt8](repeating: 0, count: 70_000))
                    try connection.echo()
                } client: { connection, _ in
                    try await expectError(.messageTooLarge, .protocolViolation, from: "receive") {
                        try await connection.receive()
                    }
                }
            },
        ]
    }

    // MARK: signaling.end, on the wire

    static func wireEndClauses<Transport>(_ subject: SignalingSubject<Transport>) -> [ConformanceClause] {
        [
            ConformanceClause(
                "signaling.end.11",
                "close() sends what was accepted, then our code and reason, and waits for the answer"
            ) {
                try await subject.withWire { connection in
                    var count = 0
                    while let message = try connection.readMessage() {
                        if message.opcode == .close {
                            connection.report("\(count) then \(message.closeCode ?? 0) \(message.closeReason)")
                            try connection.send(message)
                            connection.finishWriting()
                        } else {
                            count += 1
                        }
                    }
                    connection.report("end")
                } client: { connection, server in
                    for number in 0..<200 { try await connection.send(text: "\(number)") }
                    await connection.close(SignalingClose(code: 4002, reason: "genug"), within: .seconds(10))
                    try await server.events.expect("200 then 4002 genug")
                    try await server.events.expect("end")
                }
            },
            ConformanceClause("signaling.end.12", "a close frame without a code shows as 1005") {
                try await subject.withWire { connection in
                    try connection.send(WebSocketFrame(opcode: .close, payload: []))
                    while try connection.readFrame() != nil {}
                } client: { connection, _ in
                    let end = try await connection.receive()
                    try expect(end == nil, "receive() must return nil")
                    try expect(
                        connection.closeReason?.code == 1005,
                        "closeReason is \(String(describing: connection.closeReason))")
                }
            },
            ConformanceClause("signaling.end.13", "the end of the TCP connection alone is no close: .closed") {
                try await subject.withWire { connection in
                    try connection.send(text: "before")
                    connection.finishWriting()
                    try connection.drain()
                } client: { connection, _ in
                    let text = try await connection.receiveText()
                    try expect(text == "before", "what came before is delivered first")
                    try await expectError(.closed, from: "receive") { try await connection.receive() }
                }
            },
            ConformanceClause("signaling.end.14", "abort() ends the TCP connection without a close frame") {
                try await subject.withWire { connection in
                    try connection.echo()
                } client: { connection, server in
                    try await connection.expectEcho(.text(Payload("x")))
                    connection.abort()
                    try await server.events.expect("end")
                }
            },
            ConformanceClause(
                "signaling.end.15", "the other side's close is answered with a close frame (RFC 6455 §5.5.1)"
            ) {
                try await subject.withWire { connection in
                    try connection.send(.close(1001, "bye"))
                    while let frame = try connection.readFrame() {
                        if frame.opcode == .close { connection.report("answered \(frame.closeCode ?? 0)") }
                    }
                } client: { connection, server in
                    let end = try await connection.receive()
                    try expect(end == nil, "receive() must return nil")
                    try await server.events.expect("answered 1001")
                }
            },
            ConformanceClause(
                "signaling.end.16", "close() against a server that does not answer returns at its deadline"
            ) {
                try await subject.withWire { connection in
                    try connection.drain()
                    connection.report("gone")
                } client: { connection, server in
                    let start = Timestamp.now()
                    await connection.close(.normal, within: .milliseconds(300))
                    try expect(Timestamp.now() - start < .seconds(3), "close() took \(Timestamp.now() - start)")
                    try await server.events.expect("gone")
                }
            },
        ]
    }
}
