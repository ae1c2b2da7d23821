internal import TransportPluginAPI

extension SignalingConformance {
    // MARK: signaling.life

    static func lifeClauses<Transport>(_ subject: SignalingSubject<Transport>) -> [ConformanceClause] {
        [
            ConformanceClause("signaling.life.01", "shutdown() aborts what is open and wakes everybody that waits") {
                let server = try await subject.start(.echo)
                defer { server.stop() }
                let transport = try subject.makeTransport()
                let connection = try await transport.connect(to: server.endpoint)
                let task = Task { try await connection.receive() }
                await Task.yield()
                try await shutDown(transport)
                try await expectError(.closed, from: "receive") { try await task.value }
                try await expectError(.closed, from: "send") { try await connection.send(text: "late") }
            },
            ConformanceClause(
                "signaling.life.02", "connections that come and go leave no descriptor and no thread behind"
            ) {
                let server = try await subject.start(.echo)
                defer { server.stop() }
                let transport = try subject.makeTransport()
                try await transport.connect(to: server.endpoint).expectEcho(.text(Payload("warm")))
                let before = ProcessResources.now()
                for round in 0..<60 { try await comeAndGo(transport, server.endpoint, round) }
                try await before.expectGivenBack("the connections'", except: 30)
                try await shutDown(transport)
            },
            ConformanceClause(
                "signaling.life.03", "a transport that is shut down leaves no descriptor and no thread behind"
            ) {
                let before = ProcessResources.now()
                for _ in 0..<30 {
                    let transport = try subject.makeTransport()
                    try await shutDown(transport)
                }
                try await before.expectGivenBack("the transports'", except: 25)
            },
            ConformanceClause(
                "signaling.life.04", "1,000 connections leave no descriptor, no thread and no byte behind",
                limit: .seconds(240)
            ) {
                let server = try await subject.start(.echo)
                defer { server.stop() }
                let transport = try subject.makeTransport()
                try await expectNoLeak(bytesPerCycle: subject.bytesPerConnection) { number in
                    try await comeAndGo(transport, server.endpoint, number)
                }
                try await shutDown(transport)
            },
            ConformanceClause(
                "signaling.life.05", "shutdown() while connections are being made: each ends, none is left open"
            ) {
                let server = try await subject.start(.echo)
                defer { server.stop() }
                for round in 1...10 {
                    let transport = try subject.makeTransport()
                    let attempts = (0..<8).map { _ in
                        Task {
                            let connection = try await transport.connect(to: server.endpoint)
                            // It was made in time, so shutdown() must end it.
                            while try await connection.receive() != nil {}
                            throw ConformanceFailure("receive() returned nil, as if the other side had closed")
                        }
                    }
                    await Task.yield()
                    try await shutDown(transport)
                    for (number, attempt) in attempts.enumerated() {
                        try await expectError(
                            .closed, from: "attempt \(number + 1) of 8 (connect, or receive after it) in round \(round)"
                        ) {
                            try await attempt.value
                        }
                    }
                }
            },
            ConformanceClause(
                "signaling.life.06", "many transports come and go at once, each with shutdown() beside connect()"
            ) {
                // Nothing listens there.
                let endpoint = try SignalingEndpoint(url: "ws://127.0.0.1:1/")
                try await withThrowingTaskGroup { group in
                    for _ in 0..<4 {
                        group.addTask {
                            for _ in 0..<10 {
                                let transport = try subject.makeTransport()
                                async let attempt: Void = { _ = try? await transport.connect(to: endpoint) }()
                                try await shutDown(transport)
                                await attempt
                            }
                        }
                    }
                    try await group.waitForAll()
                }
            },
        ]
    }

    /// Makes a connection, exchanges a message, and ends it: every other one without a close handshake.
    private static func comeAndGo(
        _ transport: some SignalingTransport, _ endpoint: SignalingEndpoint, _ number: Int
    ) async throws {
        let connection = try await transport.connect(to: endpoint)
        try await connection.expectEcho(.text(Payload("\(number)")))
        if number % 2 == 0 {
            connection.abort()
        } else {
            await connection.close(.normal, within: .seconds(5))
        }
    }
}
