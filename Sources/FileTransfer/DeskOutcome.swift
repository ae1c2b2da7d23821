/// An outcome of what a desk waits for.
enum DeskOutcome: Sendable {
    /// Somebody has come; nil: nobody will any more.
    case arrived((any TransferConnection)?)
    case done(TransferSummary)
    /// The other side is gone, or was none.
    case lost(any TransferConnection, TransferError)
    /// Whether the other side of a connection that was lost may come back by itself.
    case departed(any TransferConnection, mayReturn: Bool)
}

extension ThrowingTaskGroup<DeskOutcome, any Error> {
    /// Waits for the next connection beside the other tasks.
    mutating func awaitNext(_ connections: AsyncStream<any TransferConnection>) {
        addTask {
            for await connection in connections { return .arrived(connection) }
            return .arrived(nil)
        }
    }
}
