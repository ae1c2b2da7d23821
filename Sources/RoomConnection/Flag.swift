internal import TransportPluginAPI

/// A flag that is raised once, and that tasks can wait for.
final class Flag: Sendable {
    private struct State {
        var isRaised = false
        var waiters = Waiters()
    }

    private let state = Locked(State())

    func raise() {
        let waiting = state.withLock { state in
            state.isRaised = true
            return state.waiters.removeAll()
        }
        for continuation in waiting { continuation.resume() }
    }

    /// Returns when the flag is raised, or when the task is cancelled.
    func wait() async {
        let id = state.withLock { $0.waiters.makeID() }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isDone = state.withLock { state -> Bool in
                    if state.isRaised || Task.isCancelled { return true }
                    state.waiters.add(id, continuation)
                    return false
                }
                if isDone { continuation.resume() }
            }
        } onCancel: {
            state.withLock { $0.waiters.remove(id) }?.resume()
        }
    }
}
