internal import TransportPluginAPI

/// Serves the receivers that come, one at a time, until one has everything.
///
/// A receiver that ends in the middle may come again. A new one takes over from one that is not connected any more,
/// and, when both have proved the code, from any other: it is the same person.
package struct SenderDesk: Sendable {
    private let sender: FileSender
    private let report: @Sendable (TransferEvent) -> Void
    private let mayContinue: @Sendable (any TransferConnection) -> Bool
    private let current = Locked<(any TransferConnection)?>(nil)

    /// - Parameter mayContinue: Whether another connection is waited for after this one was lost.
    package init(
        _ sender: FileSender,
        mayContinue: @escaping @Sendable (any TransferConnection) -> Bool = { _ in true },
        _ report: @escaping @Sendable (TransferEvent) -> Void
    ) {
        self.sender = sender
        self.mayContinue = mayContinue
        self.report = report
    }

    /// Returns when one receiver has everything.
    ///
    /// Throws when a receiver does not want the files, cannot take them, or does not prove that it has the code;
    /// `end` when `connections` ends.
    package func serve(
        _ connections: AsyncStream<any TransferConnection>,
        atEnd end: TransferError = TransferError(.interrupted, "the room has ended")
    ) async throws -> TransferSummary {
        try await withThrowingTaskGroup(of: DeskOutcome.self) { group in
            defer { group.cancelAll() }
            group.awaitNext(connections)
            var servedCount = 0
            var hasEnded = false
            while let outcome = try await group.next() {
                switch outcome {
                case .arrived(let connection?):
                    servedCount += 1
                    group.addTask { try await serve(connection) }
                    group.awaitNext(connections)
                // A receiver that has everything may be gone already.
                case .arrived(nil): hasEnded = true
                case .done(let summary): return summary
                case .lost(let connection, let error):
                    servedCount -= 1
                    guard mayContinue(connection) else { throw error }
                    if !hasEnded { report(.lost(error)) }
                case .departed: break
                }
                if hasEnded, servedCount == 0 { throw end }
            }
            throw end
        }
    }

    private func serve(_ connection: any TransferConnection) async throws -> DeskOutcome {
        var isServed = false
        do {
            let session = try await sender.meet(over: connection)
            try admit(connection)
            isServed = true
            report(.met(name: connection.peerName, isProved: sender.hasCode))
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
            if let current, current.isConnected, !sender.hasCode {
                throw TransferError(.busy, "the sender serves another receiver at the moment: try again later")
            }
            defer { current = connection }
            return current
        }
        previous?.cut(TransferError(.interrupted, "the receiver has been started again"))
    }
}
