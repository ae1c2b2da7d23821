internal import TransportPluginAPI
internal import WebSocketWire

extension SignalingConformance {
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
                        let frame = try connection.readMessage()
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
                    // A character that is truncated at the end of the message.
                    [WebSocketFrame(opcode: .text, payload: [0x68, 0xC3])],
                    // A surrogate, across two fragments.
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
                    WebSocketFrame(opcode: .text, payload: [0x68], firstByte: 0xC1),
                    WebSocketFrame(opcode: .text, payload: [0x68], firstByte: 0x83),
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
                        // With or without a close frame: the connection must end.
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
                        try expect(text == "before", "what came before must be delivered first")
                        try await expectError(.messageTooLarge, from: "receive") { try await connection.receive() }
                        let close = try await server.events.next()
                        try expect(close.hasPrefix("close 1009"), "the server should have seen 1009, not '\(close)'")
                    }
                }
            },
            ConformanceClause("signaling.frame.08", "frames that arrive byte by byte are the same") {
                try await subject.withWire { connection in
                    let frames = [
                        WebSocketFrame(opcode: .text, payload: Array("Grüße".utf8), isFinal: false),
                        WebSocketFrame(opcode: .ping, payload: [1]),
                        WebSocketFrame(opcode: .continuation, payload: Array(" 🌍".utf8)),
                        WebSocketFrame(opcode: .binary, payload: [UInt8](repeating: 5, count: 300)),
                    ]
                    for byte in frames.flatMap(\.bytes) { try connection.write([byte]) }
                    try connection.echo()
                } client: { connection, _ in
                    let text = try await connection.receiveText()
                    try expect(text == "Grüße 🌍", "'\(text)' came")
                    let binary = try await connection.receive()
                    try expect(
                        binary == .binary(Payload([UInt8](repeating: 5, count: 300))), "the binary message differs")
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
                    while try connection.readMessage() != nil {}
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
                    try expect(text == "before", "what came before must be delivered first")
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
                    while let frame = try connection.readMessage() {
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
            ConformanceClause(
                "signaling.end.17", "a reset of the TCP connection wakes a send() that waits, and receive()"
            ) {
                try await subject.withWire { connection in
                    connection.gate.wait()
                    connection.reset()
                } client: { connection, server in
                    let payload = Payload(count: 64 << 10) { _ in }
                    let taken = Counter()
                    let sender = Task {
                        while true {
                            try await connection.send(.binary(payload))
                            taken.add()
                        }
                    }
                    _ = try await stableValue { taken.value }
                    let receiver = Task { try await connection.receive() }
                    server.gate.open()
                    try await expectError(.closed, from: "the send that waited") { try await sender.value }
                    try await expectError(.closed, .io, .tlsFailed, from: "receive") { try await receiver.value }
                }
            },
        ]
    }
}
