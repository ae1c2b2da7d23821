public import TransportPluginAPI

/// The contract of signaling transports, clause by clause.
public enum SignalingConformance {
    /// Returns the clauses that apply to the subject.
    public static func clauses<Transport: SignalingTransport>(
        of subject: SignalingSubject<Transport>
    ) -> [ConformanceClause] {
        allClauses(of: subject).filter { $0.omission == nil }
    }

    /// Returns every clause; `omission` says which do not apply to the subject, and why.
    public static func allClauses<Transport: SignalingTransport>(
        of subject: SignalingSubject<Transport>
    ) -> [ConformanceClause] {
        let everywhere =
            connectClauses(subject) + attemptClauses(subject) + messageClauses(subject) + uncheckedClauses(subject)
            + endClauses(subject) + pressureClauses(subject) + lifeClauses(subject)
        let onTheWire = handshakeClauses(subject) + frameClauses(subject) + wireEndClauses(subject)
        return everywhere
            + onTheWire.omitted(
                subject.startServer == nil ? nil : "the subject's own server speaks no WebSocket over TCP")
    }

    // MARK: signaling.connect

    static func connectClauses<Transport>(_ subject: SignalingSubject<Transport>) -> [ConformanceClause] {
        [
            ConformanceClause("signaling.connect.01", "connects, and carries a message each way") {
                try await subject.withConnection(.echo) { connection, _ in
                    // Within a short time: a client of another protocol than the server's would wait for long.
                    try await within(.seconds(10), "the echo of the first message") {
                        try await connection.expectEcho(.text(Payload("hello")))
                    }
                }
            },
            ConformanceClause("signaling.connect.02", "a port where nobody listens is refused") {
                let server = try await subject.start(.echo)
                let endpoint = server.endpoint
                server.stop()
                let transport = try subject.makeTransport()
                // A front that listens itself can only close the connection.
                let error = try await expectError(
                    .refused, .unreachable, .tlsFailed, .handshakeFailed,
                    from: "connect to the server whose stop() has returned"
                ) {
                    try await transport.connect(to: endpoint)
                }
                try expect(
                    error.isRetryable || error.code == .tlsFailed, "a refused connection may work later: isRetryable")
                try await shutDown(transport)
            },
            ConformanceClause("signaling.connect.03", "a cancelled task gets .cancelled, and no connection") {
                let server = try await subject.start(.echo)
                defer { server.stop() }
                let transport = try subject.makeTransport()
                let task = Task {
                    // Cancelled before the call.
                    withUnsafeCurrentTask { $0?.cancel() }
                    return try await transport.connect(to: server.endpoint)
                }
                try await expectError(.cancelled, from: "connect") { try await task.value }
                try await shutDown(transport)
            },
            ConformanceClause("signaling.connect.04", "after shutdown(), connect throws .closed") {
                let server = try await subject.start(.echo)
                defer { server.stop() }
                let transport = try subject.makeTransport()
                try await shutDown(transport)
                try await shutDown(transport)
                try await expectError(.closed, from: "connect") { try await transport.connect(to: server.endpoint) }
            },
            ConformanceClause("signaling.connect.05", "one transport serves many connections at a time") {
                let server = try await subject.start(.echo)
                defer { server.stop() }
                let transport = try subject.makeTransport()
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for number in 0..<50 {
                        group.addTask {
                            let connection = try await transport.connect(to: server.endpoint)
                            for round in 0..<10 {
                                try await connection.expectEcho(.text(Payload("\(number) \(round)")))
                            }
                            await connection.close(.normal, within: .seconds(5))
                        }
                    }
                    try await group.waitForAll()
                }
                try await shutDown(transport)
            },
        ] + demandClauses(subject)
    }

    private static func demandClauses<Transport>(_ subject: SignalingSubject<Transport>) -> [ConformanceClause] {
        [
            ConformanceClause("signaling.connect.06", "a demand that is not declared is refused with .notSupported") {
                let server = try await subject.start(.echo)
                defer { server.stop() }
                let transport = try subject.makeTransport()
                if !subject.capabilities.contains(.proxy) {
                    var endpoint = server.endpoint
                    endpoint.proxy = SignalingEndpoint.Proxy(host: "127.0.0.1", port: 9)
                    try await expectError(.notSupported, from: "connect through a proxy") { [endpoint] in
                        try await transport.connect(to: endpoint)
                    }
                }
                if !subject.capabilities.contains(.tls) {
                    var secure = server.endpoint
                    secure.isSecure = true
                    try await expectError(.notSupported, from: "connect over wss") { [secure] in
                        try await transport.connect(to: secure)
                    }
                }
                try await shutDown(transport)
            }
        ].omitted(subject.capabilities.isSuperset(of: [.tls, .proxy]) ? "every demand is declared" : nil)
    }

    // MARK: signaling.message

    static func messageClauses<Transport>(_ subject: SignalingSubject<Transport>) -> [ConformanceClause] {
        [
            ConformanceClause(
                "signaling.message.01", "text and binary come back as what they were, empty ones too",
                // A lost message never arrives.
                limit: .seconds(15)
            ) {
                try await subject.withConnection(.echo) { connection, _ in
                    try await connection.expectEcho(.text(Payload("Grüße, 世界 🌍")))
                    try await connection.expectEcho(.binary(Payload((0...255).map { UInt8($0) })))
                    try await connection.expectEcho(.text(Payload("")))
                    try await connection.expectEcho(.binary(Payload([])))
                }
            },
            ConformanceClause("signaling.message.02", "messages of every frame length encoding keep their bytes") {
                try await subject.withConnection(.echo) { connection, _ in
                    for size in [1, 125, 126, 127, 4095, 4096, 16_384, 65_535, 65_536, 65_537, 300_000] {
                        try await connection.expectEcho(.binary(Payload((0..<size).map { UInt8(($0 &* 31) & 0xFF) })))
                    }
                    // Nothing arrived twice.
                    try await connection.expectEcho(.text(Payload("last")))
                }
            },
            ConformanceClause("signaling.message.03", "a message of exactly the maximum size passes, both ways") {
                try await subject.withConnection(.echo, { $0.maximumMessageSize = 200_000 }) { connection, _ in
                    try await connection.expectEcho(.binary(Payload(Array(repeating: 0x5A, count: 200_000))))
                }
            },
            ConformanceClause(
                "signaling.message.04",
                "sending over the maximum throws .messageTooLarge, and the connection stays usable"
            ) {
                try await subject.withConnection(.echo, { $0.maximumMessageSize = 1000 }) { connection, _ in
                    try await expectError(.messageTooLarge, from: "send") {
                        try await connection.send(.binary(Payload(Array(repeating: 0, count: 1001))))
                    }
                    try await connection.expectEcho(.text(Payload("still here")))
                }
            },
            ConformanceClause("signaling.message.05", "2,000 messages arrive in the order in which they were sent") {
                try await subject.withConnection(.echo) { connection, _ in
                    try await withThrowingTaskGroup(of: Void.self) { group in
                        group.addTask {
                            for number in 0..<2000 { try await connection.send(text: "\(number)") }
                        }
                        group.addTask {
                            for number in 0..<2000 {
                                let text = try await connection.receiveText()
                                try expect(text == "\(number)", "\(text) came where \(number) was due")
                            }
                        }
                        try await group.waitForAll()
                    }
                }
            },
            ConformanceClause("signaling.message.06", "a cancelled receive() throws .cancelled and loses nothing") {
                try await subject.withConnection(.echo) { connection, _ in
                    for round in 0..<20 {
                        let task = Task { try await connection.receive() }
                        await Task.yield()
                        task.cancel()
                        try await expectError(.cancelled, from: "receive") { try await task.value }
                        try await connection.expectEcho(.text(Payload("\(round)")))
                    }
                }
            },
            ConformanceClause("signaling.message.07", "messages that arrive before receive() are kept in order") {
                try await subject.withConnection(.numbers(500)) { connection, _ in
                    try await connection.send(text: "last")
                    for number in 0..<500 {
                        let text = try await connection.receiveText()
                        try expect(text == "\(number)", "\(text) came where \(number) was due")
                    }
                    let last = try await connection.receiveText()
                    try expect(last == "last", "the echo should have come last, not \(last)")
                }
            },
        ]
    }

    // MARK: signaling.end

    static func endClauses<Transport>(_ subject: SignalingSubject<Transport>) -> [ConformanceClause] {
        [
            ConformanceClause(
                "signaling.end.01",
                "receive() returns nil after the other side's close handshake; closeReason has its code and reason"
            ) {
                try await subject.withConnection(.close(SignalingClose(code: 4001, reason: "später"))) {
                    connection, _ in
                    try await connection.send(text: "go")
                    let text = try await connection.receiveText()
                    try expect(text == "go", "what came before the close must be delivered first")
                    let end = try await connection.receive()
                    try expect(end == nil, "receive() must return nil")
                    try expect(
                        connection.closeReason == SignalingClose(code: 4001, reason: "später"),
                        "closeReason is \(String(describing: connection.closeReason))")
                    let again = try await connection.receive()
                    try expect(again == nil, "receive() must keep returning nil")
                    try await expectError(.closed, from: "send") { try await connection.send(text: "late") }
                }
            },
            ConformanceClause(
                "signaling.end.02", "an end without a close frame throws .closed from receive() and send()"
            ) {
                try await subject.withConnection(.reset) { connection, _ in
                    try await connection.send(text: "go")
                    try await expectError(.closed, from: "receive") { try await connection.receive() }
                    try await expectError(.closed, from: "send") { try await connection.send(text: "late") }
                    try expect(connection.closeReason == nil, "there was no close frame, so there is no closeReason")
                }
            },
            ConformanceClause("signaling.end.03", "close() returns, is idempotent, and ends both directions") {
                try await subject.withConnection(.echo) { connection, _ in
                    await connection.close(.normal, within: .seconds(10))
                    await connection.close(.goingAway, within: .seconds(10))
                    try await expectError(.closed, from: "send") { try await connection.send(text: "late") }
                    try await expectError(.closed, from: "receive") { try await connection.receive() }
                }
            },
            ConformanceClause("signaling.end.04", "abort() wakes a waiting receive(), and is idempotent") {
                try await subject.withConnection(.echo) { connection, _ in
                    let task = Task { try await connection.receive() }
                    await Task.yield()
                    connection.abort()
                    connection.abort()
                    try await expectError(.closed, from: "receive") { try await task.value }
                    try await expectError(.closed, from: "receive") { try await connection.receive() }
                    try await expectError(.closed, from: "send") { try await connection.send(text: "late") }
                    await connection.close(.normal, within: .seconds(10))
                }
            },
        ]
    }
}
