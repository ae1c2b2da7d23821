internal import TransportPluginAPI

/// The messages of a connection in the order of their arrival, for one reading task.
struct TransferLink {
    let connection: any TransferConnection
    private var reader = TransferMessageReader()

    init(_ connection: any TransferConnection) { self.connection = connection }

    /// Returns the next message or bytes of a file. The other side's failure is thrown.
    mutating func next() async throws -> TransferMessageReader.Item {
        while true {
            if let item = try reader.next() {
                if case .message(.failure(let code, let text)) = item {
                    throw TransferError(code, text, isFromOtherSide: true)
                }
                return item
            }
            guard let piece = try await connection.read() else {
                throw TransferError(.interrupted, "the other side has ended the transfer")
            }
            reader.feed(piece)
        }
    }

    /// Returns the next message. Bytes of a file are a violation of the protocol here.
    mutating func message() async throws -> TransferMessage {
        guard case .message(let message) = try await next() else { throw Self.violation }
        return message
    }

    /// Runs `body` at a time when the other side has nothing to say. Throws when it says something or ends meanwhile,
    /// and cancels `body` then.
    func whileQuiet<Result: Sendable>(_ body: @escaping @Sendable () async -> Result) async throws -> Result {
        try await withThrowingTaskGroup(of: Result.self) { [self] group in
            defer { group.cancelAll() }
            group.addTask { await body() }
            group.addTask {
                var link = self
                _ = try await link.next()
                throw Self.violation
            }
            guard let result = try await group.next() else { throw CancellationError() }
            return result
        }
    }

    static let violation = TransferError(
        .protocolViolation, "the other side has sent a message out of turn: update both sides")
}
