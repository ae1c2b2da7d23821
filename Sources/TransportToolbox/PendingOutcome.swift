public import TransportValues

/// A result that is settled once, from anywhere, and that one task waits for: the first outcome counts.
///
/// Work that ends in a callback, at a deadline, or with its task's cancellation becomes an `async` call with it:
///
/// ```swift
/// let pending = PendingOutcome<Int32>()
/// start { pending.settle($0) }
/// return try await pending.value { pending.settle(.failure(cancelled)) }
/// ```
public final class PendingOutcome<Success: Sendable>: Sendable {
    private struct State {
        var outcome: Result<Success, TransportError>?
        var continuation: CheckedContinuation<Result<Success, TransportError>, Never>?
    }

    private let state = Locked(State())

    /// Creates a pending outcome.
    public init() {}

    /// The outcome; nil while it is pending.
    public var outcome: Result<Success, TransportError>? { state.withLock { $0.outcome } }

    /// Settles the outcome and wakes the waiting task. Returns false if it was settled before: then nothing changes,
    /// and the caller still owns what `outcome` holds.
    @discardableResult
    public func settle(_ outcome: Result<Success, TransportError>) -> Bool {
        let (isFirst, continuation) = state.withLock { state in
            let isFirst = state.outcome == nil
            if isFirst { state.outcome = outcome }
            defer { state.continuation = nil }
            return (isFirst, state.continuation)
        }
        continuation?.resume(returning: outcome)
        return isFirst
    }

    /// Waits for the outcome. At most one task waits, once.
    /// - Parameter onCancel: Called when the task is cancelled, or was before. Unless it settles the outcome, the task
    ///   continues to wait.
    public nonisolated(nonsending) func value(
        onCancel: @escaping @Sendable () -> Void
    ) async throws(TransportError) -> Success {
        let outcome = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let outcome = state.withLock { state in
                    if state.outcome == nil { state.continuation = continuation }
                    return state.outcome
                }
                if let outcome { continuation.resume(returning: outcome) }
            }
        } onCancel: {
            onCancel()
        }
        return try outcome.get()
    }
}
