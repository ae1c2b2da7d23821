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

    static let violation = TransferError(
        .protocolViolation, "the other side has sent a message out of turn: update both sides")
}
