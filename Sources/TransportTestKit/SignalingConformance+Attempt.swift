internal import TransportPluginAPI

/// The delays after the start of an attempt at which it is ended: throughout its course.
private let moments: [Duration] = [0, 1, 2, 5, 10, 20, 50, 100].map { .milliseconds($0) }

extension SignalingConformance {
    // MARK: signaling.connect, while it waits

    static func attemptClauses<Transport>(_ subject: SignalingSubject<Transport>) -> [ConformanceClause] {
        let hasServer = subject.startServer != nil
        return waitingClauses(subject).omitted(
            hasServer && subject.silentEndpoint == nil ? "the subject has no silent endpoint" : nil)
            + nameClauses(subject).omitted(
                hasServer && !subject.resolvesNames ? "the subject does not declare that it resolves names" : nil)
            + headerClauses(subject).omitted(
                hasServer
                    ? subject.carriesHeaders ? "the subject carries headers and subprotocols" : nil
                    : "signaling.handshake.08 proves that they are sent")
    }

    private static func waitingClauses<Transport>(_ subject: SignalingSubject<Transport>) -> [ConformanceClause] {
        [
            ConformanceClause(
                "signaling.connect.07",
                "an endpoint that stays silent leads to .timedOut in time, and leaves nothing open"
            ) {
                try await withSilence(subject, timeout: .milliseconds(500)) { endpoint in
                    let transport = try subject.makeTransport()
                    try await expectLess(than: .seconds(8), for: "a connectTimeout of 0.5 s") {
                        let attempts = (0..<60).map { _ in Task { try await transport.connect(to: endpoint) } }
                        for attempt in attempts {
                            let error = try await expectError(
                                .timedOut, from: "connect to what stays silent", within: .seconds(9)
                            ) {
                                try await attempt.value
                            }
                            try expect(error.isRetryable, "a timeout may not happen again: isRetryable")
                        }
                    }
                    return transport
                }
            },
            ConformanceClause(
                "signaling.connect.08",
                "connect() that is cancelled at any moment throws .cancelled soon, and leaves nothing open"
            ) {
                try await withSilence(subject) { endpoint in
                    let transport = try subject.makeTransport()
                    for moment in moments {
                        let attempts = (0..<8).map { _ in Task { try await transport.connect(to: endpoint) } }
                        try await Task.sleep(for: moment)
                        try await expectLess(than: .seconds(5), for: "noticing the cancellation") {
                            for attempt in attempts { attempt.cancel() }
                            for attempt in attempts {
                                try await expectError(
                                    .cancelled, from: "connect (cancelled after \(moment))", within: .seconds(8)
                                ) {
                                    try await attempt.value
                                }
                            }
                        }
                    }
                    return transport
                }
            },
            ConformanceClause(
                "signaling.connect.09",
                "shutdown() at any moment of an attempt ends it with .closed, and leaves nothing open"
            ) {
                try await withSilence(subject) { endpoint in
                    for moment in moments {
                        let transport = try subject.makeTransport()
                        let attempts = (0..<8).map { _ in Task { try await transport.connect(to: endpoint) } }
                        try await Task.sleep(for: moment)
                        try await shutDown(transport)
                        for attempt in attempts {
                            try await expectError(
                                .closed, from: "connect (its transport shut down after \(moment))",
                                within: .seconds(8)
                            ) {
                                try await attempt.value
                            }
                        }
                    }
                    return nil
                }
            },
        ]
    }

    private static func nameClauses<Transport>(_ subject: SignalingSubject<Transport>) -> [ConformanceClause] {
        [
            ConformanceClause("signaling.connect.10", "a host whose name does not exist leads to .nameNotResolved") {
                let transport = try subject.makeTransport()
                // RFC 6761 §6.4: never resolves.
                var endpoint = try SignalingEndpoint(url: "ws://no-such-host.invalid:9/")
                endpoint.connectTimeout = .seconds(20)
                let error = try await expectError(.nameNotResolved, from: "connect to no-such-host.invalid") {
                    [endpoint] in
                    try await transport.connect(to: endpoint)
                }
                try expect(error.isRetryable, "the resolver may be back later: isRetryable")
                try await shutDown(transport)
            }
        ]
    }

    private static func headerClauses<Transport>(_ subject: SignalingSubject<Transport>) -> [ConformanceClause] {
        [
            ConformanceClause(
                "signaling.connect.11",
                "headers and subprotocols that would not reach the other side are refused with .notSupported"
            ) {
                let server = try await subject.start(.echo)
                defer { server.stop() }
                let transport = try subject.makeTransport()
                var withHeaders = server.endpoint
                withHeaders.headers = [("Authorization", "Bearer abc")]
                var withSubprotocols = server.endpoint
                withSubprotocols.subprotocols = ["room.v1"]
                for (endpoint, what) in [(withHeaders, "headers"), (withSubprotocols, "subprotocols")] {
                    try await expectError(.notSupported, from: "connect with \(what)") {
                        try await transport.connect(to: endpoint)
                    }
                }
                try await shutDown(transport)
            }
        ]
    }

    // MARK: signaling.message, from a server that breaks the rules

    static func uncheckedClauses<Transport>(_ subject: SignalingSubject<Transport>) -> [ConformanceClause] {
        [
            ConformanceClause(
                "signaling.message.08",
                "text that is not UTF-8 ends the connection with .protocolViolation, after what came before it"
            ) {
                // A byte that is never part of UTF-8, a truncated character, a surrogate.
                for text in [[0x68, 0xFF, 0x69], [0x68, 0xC3], [0xED, 0xA0, 0x80]] as [[UInt8]] {
                    try await expectEnd(subject, by: .text(Payload(text)), .protocolViolation)
                }
            },
            ConformanceClause(
                "signaling.message.09",
                "a message over the maximum ends the connection with .messageTooLarge, after what came before it"
            ) {
                for count in [65_537, 70_000, 2 << 20] {
                    try await expectEnd(
                        subject, by: .binary(Payload(Array(repeating: 0x61, count: count))), .messageTooLarge)
                }
            },
        ].omitted(
            subject.startServer != nil && subject.startUncheckedServer == nil
                ? "the subject has no server that sends what it should not" : nil)
    }

    /// Checks how the connection ends. The message is larger than a connection with a maximum of 64 KiB may take.
    private static func expectEnd<Transport>(
        _ subject: SignalingSubject<Transport>, by message: SignalingMessage, _ code: TransportError.Code
    ) async throws {
        let server = try await subject.startUnchecked([.text(Payload("before")), message])
        try await subject.withConnection(to: server, { $0.maximumMessageSize = 65_536 }) { connection, _ in
            do {
                let text = try await connection.receiveText()
                try expect(text == "before", "what came before must be delivered first, not '\(text)'")
            } catch let error as TransportError {
                throw ConformanceFailure("what came before must be delivered first, but receive threw \(error)")
            }
            try await expectError(code, from: "receive of \(message.payload.count) bad bytes") {
                try await connection.receive()
            }
            try await eventually("that send() throws on a connection that is over") {
                do { try await connection.send(text: "late") } catch let error as TransportError {
                    return [.closed, code].contains(error.code)
                }
                return false
            }
        }
    }
}

/// Runs `body` with the endpoint of a server that stays silent, and checks that the attempts, all of them given up by
/// now, have left no descriptors. Shuts down the transport that `body` returns.
///
/// Other tests may run in this process, so it looks for growth with the number of attempts, of which there were sixty
/// or more.
private func withSilence<Transport>(
    _ subject: SignalingSubject<Transport>, timeout: Duration = .seconds(30),
    _ body: (SignalingEndpoint) async throws -> Transport?
) async throws {
    let silence = try await subject.makeSilentEndpoint()
    defer { silence.stop() }
    var endpoint = silence.endpoint
    endpoint.connectTimeout = timeout
    let before = ProcessResources.now()
    let transport = try await body(endpoint)
    try await eventually(within: .seconds(5), "giving back the descriptors of 60 attempts that were given up") {
        ProcessResources.now().descriptors < before.descriptors + 40
    }
    if let transport { try await shutDown(transport) }
}
