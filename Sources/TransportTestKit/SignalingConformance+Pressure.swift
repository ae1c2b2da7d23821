internal import Glibc
internal import TransportPluginAPI

/// What systems hold between two ends at the most: socket buffers of both, those of a TLS terminator between them.
private let systemBuffers = 24 << 20

extension SignalingConformance {
    static func pressureClauses<Transport>(_ subject: SignalingSubject<Transport>) -> [ConformanceClause] {
        [
            ConformanceClause(
                "signaling.pressure.01",
                "send() suspends while the other side does not read; nothing is lost or reordered"
            ) {
                let size = 64 << 10
                let total = (systemBuffers + (4 << 20)) / size
                try await subject.withConnection(.stalls, { $0.bufferLimit = 256 << 10 }) { connection, server in
                    let taken = Counter()
                    let sender = Task {
                        for number in 0..<total {
                            try await connection.send(.binary(numbered(number, size: size)))
                            taken.add()
                        }
                    }
                    let before = try await settled { taken.value }
                    try expect(before < total, "send() took \(before) messages of 64 KiB that nobody read")
                    server.resume()
                    for number in 0..<total {
                        let message = try await connection.receive()
                        try expect(isNumbered(message, number, size: size), "message \(number) is not what was sent")
                    }
                    try await sender.value
                }
            },
            ConformanceClause(
                "signaling.pressure.02",
                "what nobody receives stops the other side; nothing is lost when receive() goes on"
            ) {
                let size = 64 << 10
                let total = (systemBuffers + (4 << 20)) / size
                try await subject.withConnection(.echo, { $0.bufferLimit = 256 << 10 }) { connection, _ in
                    let taken = Counter()
                    let sender = Task {
                        for number in 0..<total {
                            try await connection.send(.binary(numbered(number, size: size)))
                            taken.add()
                        }
                    }
                    // The echo stops reading when its own writes block.
                    let before = try await settled { taken.value }
                    try expect(before < total, "\(before) messages of 64 KiB were taken although nobody received any")
                    for number in 0..<total {
                        let message = try await connection.receive()
                        try expect(isNumbered(message, number, size: size), "message \(number) is not what was sent")
                    }
                    try await sender.value
                }
            },
            ConformanceClause(
                "signaling.pressure.03",
                "a send() that waits ends with .cancelled or .closed when it is cancelled or aborted"
            ) {
                let payload = Payload(Array(repeating: 1, count: 64 << 10))
                try await subject.withConnection(.stalls, { $0.bufferLimit = 64 << 10 }) { connection, _ in
                    let taken = Counter()
                    @Sendable func fill() async throws {
                        for _ in 0..<(systemBuffers / payload.count) {
                            try await connection.send(.binary(payload))
                            taken.add()
                        }
                    }
                    let first = Task { try await fill() }
                    _ = try await settled { taken.value }
                    first.cancel()
                    try await expectError(.cancelled, from: "the cancelled send") { try await first.value }
                    let second = Task { try await fill() }
                    _ = try await settled { taken.value }
                    connection.abort()
                    try await expectError(.closed, from: "the aborted send") { try await second.value }
                }
            },
            ConformanceClause(
                "signaling.pressure.04", "close() returns at its deadline when the other side does not answer"
            ) {
                try await subject.withConnection(.stalls, { $0.bufferLimit = 64 << 10 }) { connection, _ in
                    let taken = Counter()
                    let sender = Task {
                        while true {
                            try await connection.send(.binary(Payload(Array(repeating: 1, count: 64 << 10))))
                            taken.add()
                        }
                    }
                    _ = try await settled { taken.value }
                    let start = Timestamp.now()
                    await connection.close(.normal, within: .milliseconds(300))
                    try expect(Timestamp.now() - start < .seconds(5), "close() took \(Timestamp.now() - start)")
                    try await expectError(.closed, from: "the send that waited") { try await sender.value }
                }
            },
            ConformanceClause(
                "signaling.pressure.05", "a send() that is cancelled while it waits leaves the messages around it whole"
            ) {
                let size = 64 << 10
                try await subject.withConnection(.stalls, { $0.bufferLimit = 64 << 10 }) { connection, server in
                    let taken = Counter()
                    let sender = Task {
                        for number in 0..<(systemBuffers / size) {
                            try await connection.send(.binary(numbered(number, size: size)))
                            taken.add()
                        }
                    }
                    let count = try await settled { taken.value }
                    sender.cancel()
                    try await expectError(.cancelled, from: "the cancelled send") { try await sender.value }
                    server.resume()
                    let next = Task { try await connection.send(text: "next") }
                    for number in 0..<count {
                        let message = try await connection.receive()
                        try expect(isNumbered(message, number, size: size), "message \(number) is not what was sent")
                    }
                    try await next.value
                    let text = try await connection.receiveText()
                    try expect(text == "next", "'\(text)' came after the messages that were taken, not 'next'")
                }
            },
        ]
    }
}

/// A message that tells its number and is the same nowhere else; cheap to make and to compare.
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
