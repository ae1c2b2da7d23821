package import TransportPluginAPI
internal import WebSocketWire

extension SignalingConformance {
    // MARK: signaling.advice

    /// Returns clauses that this package's backends keep beyond the contract: what RFC 6455 advises, and Autobahn's
    /// test suite requires.
    package static func adviceClauses<Transport: SignalingTransport>(
        of subject: SignalingSubject<Transport>
    ) -> [ConformanceClause] {
        [
            ConformanceClause(
                "signaling.advice.01", "a ping is answered before the message that came after it (RFC 6455 §5.5.2)"
            ) {
                let rounds = 3
                // In the same segment, so that the client still reads when the first message is answered.
                let more = 4000
                try await subject.withWire { connection in
                    let ping = WebSocketFrame(opcode: .ping, payload: [1])
                    let messages = Array(repeating: WebSocketFrame(opcode: .text, payload: [0x78]), count: 1 + more)
                    for _ in 0..<rounds {
                        try connection.write(([ping] + messages).flatMap(\.bytes))
                        for _ in 0..<2 {
                            guard let frame = try connection.readMessage() else { return connection.report("end") }
                            connection.report("\(frame.opcode)")
                        }
                    }
                    try connection.echo(reporting: false)
                } client: { connection, server in
                    for _ in 0..<rounds {
                        _ = try await connection.receive()
                        try await connection.send(text: "answer")
                        for _ in 0..<more { _ = try await connection.receive() }
                        try await server.events.expect("pong")
                        try await server.events.expect("text")
                    }
                }
            }
        ]
    }
}
