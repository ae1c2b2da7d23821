internal import TransportPluginAPI

/// A flag that is raised once, and that tasks can wait for.
final class Flag: Sendable {
    private struct State: Awaited {
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
    nonisolated(nonsending) func wait() async { await state.wait { $0.isRaised } }
}
