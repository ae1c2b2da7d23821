internal import Glibc
internal import TransportPluginAPI

/// More bytes than systems hold between two ends in both directions: the buffers of both and of a TLS terminator
/// between them, and what a test server reads ahead. This much is accepted only by a transport that does not wait.
private let systemBuffers: Int = {
    // The last of the three numbers is the maximum for one socket.
    func maximum(_ name: String) -> Int {
        guard let file = fopen("/proc/sys/net/ipv4/\(name)", "r") else { return 8 << 20 }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 128)
        guard fgets(&line, Int32(line.count), file) != nil else { return 8 << 20 }
        let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return text.split(whereSeparator: \.isWhitespace).last.flatMap { Int($0) } ?? 8 << 20
    }
    return min(max(4 * (maximum("tcp_rmem") + maximum("tcp_wmem")) + (16 << 20), 24 << 20), 512 << 20)
}()

/// Sends numbered messages of 64 KiB that nobody receives until `send` waits, and then as many more as `expectAll`
/// says.
private struct Flood: Sendable {
    static let size = 64 << 10
    private static let limit = systemBuffers / size
    private let taken = Counter()
    private let goal = Locked(Self.limit)
    let task: Task<Void, any Error>

    init(_ connection: some SignalingConnection) {
        let (taken, goal) = (taken, goal)
        task = Task {
            while taken.value < goal.withLock({ $0 }) {
                try await connection.send(.binary(numbered(taken.value, size: Self.size)))
                taken.add()
            }
        }
    }

    /// Returns how many messages were accepted before `send` had to wait.
    func sendUntilBlocked() async throws -> Int {
        let count = try await stableValue { taken.value }
        try expect(
            count < Self.limit,
            "send() took \(systemBuffers >> 20) MiB that nobody read and never waited: is its buffer bounded "
                + "(bufferLimit)? Does the test server bound its sockets' receive buffers (SO_RCVBUF, before "
                + "listen) and what it reads ahead?"
        )
        return count
    }

    /// Ends the flood after this many messages, lets the other side go on with `resume`, and checks that all of them
    /// come back.
    func expectAll(
        _ count: Int, from connection: some SignalingConnection, resume: () -> Void = {}
    ) async throws {
        goal.withLock { $0 = count }
        resume()
        try await expectNumbered(connection, upTo: count)
        try await task.value
    }
}

private func expectNumbered(_ connection: some SignalingConnection, upTo count: Int) async throws {
    for number in 0..<count {
        let message = try await connection.receive()
        try expect(isNumbered(message, number, size: Flood.size), "message \(number) is not what was sent")
    }
}

extension SignalingConformance {
    static func pressureClauses<Transport>(_ subject: SignalingSubject<Transport>) -> [ConformanceClause] {
        [
            ConformanceClause(
                "signaling.pressure.01",
                "send() suspends while the other side does not read; nothing is lost or reordered"
            ) {
                try await withFlood(subject, .stall, bufferLimit: 256 << 10) { flood, count, connection, server in
                    try await flood.expectAll(count + 64, from: connection) { server.resume() }
                }
            },
            ConformanceClause(
                "signaling.pressure.02",
                "unread messages stop the other side; nothing is lost when receive() continues"
            ) {
                // The echo stops reading when its own writes block.
                try await withFlood(subject, .echo, bufferLimit: 256 << 10) { flood, count, connection, _ in
                    try await flood.expectAll(count + 64, from: connection)
                }
            },
            ConformanceClause(
                "signaling.pressure.03",
                "a send() that waits ends with .cancelled or .closed when it is cancelled or aborted"
            ) {
                try await withFlood(subject, .stall, bufferLimit: 64 << 10) { first, _, connection, _ in
                    first.task.cancel()
                    try await expectError(.cancelled, from: "the cancelled send") { try await first.task.value }
                    let second = Flood(connection)
                    _ = try await second.sendUntilBlocked()
                    connection.abort()
                    try await expectError(.closed, from: "the aborted send") { try await second.task.value }
                }
            },
            ConformanceClause(
                "signaling.pressure.04", "close() returns at its deadline when the other side does not answer"
            ) {
                try await withFlood(subject, .stall, bufferLimit: 64 << 10) { flood, _, connection, _ in
                    try await expectLess(than: .seconds(5), for: "close()") {
                        try await within(.seconds(20), "close(within: .milliseconds(300))") {
                            await connection.close(.normal, within: .milliseconds(300))
                        }
                    }
                    try await expectError(.closed, from: "the send that waited") { try await flood.task.value }
                }
            },
            ConformanceClause(
                "signaling.pressure.05", "a send() that is cancelled while it waits leaves the messages around it whole"
            ) {
                try await withFlood(subject, .stall, bufferLimit: 64 << 10) { flood, count, connection, server in
                    flood.task.cancel()
                    try await expectError(.cancelled, from: "the cancelled send") { try await flood.task.value }
                    server.resume()
                    let next = Task { try await connection.send(text: "next") }
                    try await expectNumbered(connection, upTo: count)
                    try await next.value
                    let text = try await connection.receiveText()
                    try expect(text == "next", "'\(text)' came after the messages that were accepted, not 'next'")
                }
            },
        ]
    }
}

/// Runs `body` with a connection whose `send` waits, and the number of messages that it has accepted.
private func withFlood<Transport>(
    _ subject: SignalingSubject<Transport>, _ behaviour: SignalingServerBehaviour, bufferLimit: Int,
    _ body: @Sendable (Flood, Int, Transport.Connection, any SignalingTestServer) async throws -> Void
) async throws {
    try await subject.withConnection(behaviour, { $0.bufferLimit = bufferLimit }) { connection, server in
        let flood = Flood(connection)
        try await body(flood, try await flood.sendUntilBlocked(), connection, server)
    }
}

/// A message that contains its number and differs everywhere from all others; cheap to make and to compare.
private func numbered(_ number: Int, size: Int) -> Payload {
    Payload(count: size) { bytes in
        memset(bytes.baseAddress!, Int32(truncatingIfNeeded: number & 0xFF), size)
        bytes.storeBytes(of: number, toByteOffset: 0, as: Int.self)
        bytes.storeBytes(of: ~number, toByteOffset: size - 8, as: Int.self)
    }
}

private func isNumbered(_ message: SignalingMessage?, _ number: Int, size: Int) -> Bool {
    guard case .binary(let payload) = message, payload.count == size else { return false }
    let expected = numbered(number, size: size)
    return payload.withUnsafeBytes { left in
        expected.withUnsafeBytes { memcmp(left.baseAddress!, $0.baseAddress!, size) == 0 }
    }
}
