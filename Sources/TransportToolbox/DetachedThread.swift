internal import Glibc
public import TransportValues

/// Threads for work that blocks, which must run neither on a transport loop nor in the pool of Swift's tasks.
public enum DetachedThread {
    /// Runs `body` on a thread of its own, which ends with it. Returns false when the system has no thread left: then
    /// `body` is dropped.
    public static func start(_ body: @escaping @Sendable () -> Void) -> Bool {
        final class Box: Sendable {
            let body: @Sendable () -> Void
            init(_ body: @escaping @Sendable () -> Void) { self.body = body }
        }
        var thread = pthread_t()
        // Ownership: the box is retained here and released by the thread, or here when there is no thread.
        let box = Unmanaged.passRetained(Box(body))
        let status = pthread_create(
            &thread, nil,
            { raw in
                if let raw { Unmanaged<Box>.fromOpaque(raw).takeRetainedValue().body() }
                return nil
            }, box.toOpaque())
        guard status == 0 else {
            box.release()
            return false
        }
        pthread_detach(thread)
        return true
    }

    /// Runs `body` on a thread of its own, and returns its result. The caller waits for it even when its task is
    /// cancelled.
    ///
    /// Throws the errors of `body`, and `.resourceExhausted` when the system has no thread left.
    public nonisolated(nonsending) static func run<Value: Sendable>(
        _ body: @escaping @Sendable () throws(TransportError) -> Value
    ) async throws(TransportError) -> Value {
        let pending = PendingOutcome<Value>()
        let hasStarted = start {
            pending.settle(Result { () throws(TransportError) in try body() })
        }
        guard hasStarted else {
            throw TransportError(.resourceExhausted, "the system has no thread left: see ulimit -u", isRetryable: true)
        }
        return try await pending.value {}
    }
}
