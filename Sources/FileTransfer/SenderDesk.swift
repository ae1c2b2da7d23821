internal import TransportPluginAPI

/// Serves the receivers that come, one at a time, until one has everything.
///
/// A receiver that ends in the middle may come again. A new one takes over from one that is not connected any more,
/// and, when both have proved the code, from any other: it is the same person.
package struct SenderDesk: Sendable {
    private let sender: FileSender
    private let hasCode: Bool
    private let report: @Sendable (TransferEvent) -> Void
    private let current = Locked<(any TransferConnection)?>(nil)

    /// - Parameter hasCode: Whether receivers prove a code.
    package init(_ sender: FileSender, hasCode: Bool, _ report: @escaping @Sendable (TransferEvent) -> Void) {
        self.sender = sender
        self.hasCode = hasCode
        self.report = report
    }

    /// Returns when one receiver has everything.
    ///
    /// Throws when a receiver does not want the files, cannot take them, or does not prove that it has the code;
    /// `.interrupted` when `connections` ends.
    package func serve(_ connections: AsyncStream<any TransferConnection>) async throws -> TransferSummary {
        try await withThrowingTaskGroup(of: DeskOutcome.self) { group in
            defer { group.cancelAll() }
            group.awaitNext(connections)
            while let outcome = try await group.next() {
                switch outcome {
                case .arrived(let connection?):
                    group.addTask { try await serve(connection) }
                    group.awaitNext(connections)
                case .arrived(nil): throw TransferError(.interrupted, "the room has ended")
                case .done(let summary): return summary
                case .lost(_, let error): report(.lost(error))
                case .departed: break
                }
            }
            throw TransferError(.interrupted, "the room has ended")
        }
    }

    private func serve(_ connection: any TransferConnection) async throws -> DeskOutcome {
        var isServed = false
        do {
            let session = try await sender.meet(over: connection)
            try admit(connection)
            isServed = true
            report(.met(name: connection.peerName, isProved: hasCode))
            let summary = try await session.send(report)
            return .done(summary)
        } catch let error as TransferError {
            if error.code == .busy { await error.report(over: connection) }
            current.withLock { if $0 === connection { $0 = nil } }
            switch error.code {
            case .interrupted, .busy: return .lost(connection, error)
            // Who has proved nothing ends nothing, except that a failed proof is told.
            case .identity: throw error
            default:
                if isServed { throw error }
                return .lost(connection, error)
            }
        }
    }

    /// Makes a connection the one that is served, or throws `.busy`.
    private func admit(_ connection: any TransferConnection) throws {
        let previous = try current.withLock { current throws(TransferError) -> (any TransferConnection)? in
            if let current, current.isConnected, !hasCode {
                throw TransferError(.busy, "the sender serves another receiver at the moment: try again later")
            }
            defer { current = connection }
            return current
        }
        previous?.cut(TransferError(.interrupted, "the receiver has been started again"))
    }
}
