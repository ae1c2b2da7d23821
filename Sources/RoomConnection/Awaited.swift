internal import TransportPluginAPI

/// A state behind a lock that tasks wait for. Who changes it resumes the waiters, outside of the lock.
protocol Awaited: SendableMetatype {
    var waiters: Waiters { get set }
}

extension Locked where Value: Awaited {
    /// Returns when `isDone`, or when the task is cancelled.
    nonisolated(nonsending) func wait(until isDone: @escaping @Sendable (borrowing Value) -> Bool) async {
        while !Task.isCancelled {
            let id = withLock { state -> UInt64? in isDone(state) ? nil : state.waiters.makeID() }
            guard let id else { return }
            await withTaskCancellationHandler {
                await withCheckedContinuation { continuation in
                    let resumeNow = withLock { state -> Bool in
                        if isDone(state) || Task.isCancelled { return true }
                        state.waiters.add(id, continuation)
                        return false
                    }
                    if resumeNow { continuation.resume() }
                }
            } onCancel: {
                withLock { $0.waiters.remove(id) }?.resume()
            }
        }
    }
}
