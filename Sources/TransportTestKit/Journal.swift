internal import TransportPluginAPI

/// Keeps entries in order, and wakes tasks that wait for some.
package final class Journal<Entry: Sendable>: Sendable {
    /// The entries did not come in time.
    package struct Timeout: Error, CustomStringConvertible {
        package let description: String
    }

    private struct Watcher {
        let id: Int
        let isDone: @Sendable ([Entry]) -> Bool
        let continuation: CheckedContinuation<Bool, Never>
    }

    private struct State {
        var entries: [Entry] = []
        var hasEnded = false
        var watchers: [Watcher] = []
        var lastID = 0
    }

    private let state = Locked(State())
    private let describe: @Sendable (Entry) -> String

    /// Creates an empty journal.
    ///
    /// - Parameter describe: Writes an entry for the description of a ``Timeout``.
    package init(describe: @escaping @Sendable (Entry) -> String = { "\($0)" }) { self.describe = describe }

    package var entries: [Entry] { state.withLock { $0.entries } }

    package func append(_ entry: Entry) { record { $0.entries.append(entry) } }

    /// Ends the journal: waits for entries that have not come end at once.
    package func finish() { record { $0.hasEnded = true } }

    /// Returns when the entries so far fulfil the condition. Throws ``Timeout`` after `deadline`, or when the journal
    /// has ended.
    package func wait(
        _ what: String, within deadline: Duration = .seconds(20), until isDone: @escaping @Sendable ([Entry]) -> Bool
    ) async throws {
        let id = state.withLock { state -> Int in
            state.lastID += 1
            return state.lastID
        }
        let alarm = Task {
            try await Task.sleep(for: deadline)
            let late = state.withLock { state in
                state.watchers.firstIndex { $0.id == id }.map { state.watchers.remove(at: $0) }
            }
            late?.continuation.resume(returning: false)
        }
        defer { alarm.cancel() }
        let isThere = await withCheckedContinuation { continuation in
            let answer = state.withLock { state -> Bool? in
                if isDone(state.entries) { return true }
                if state.hasEnded { return false }
                state.watchers.append(Watcher(id: id, isDone: isDone, continuation: continuation))
                return nil
            }
            if let answer { continuation.resume(returning: answer) }
        }
        guard isThere else {
            let last = entries.suffix(6).map(describe)
            throw Timeout(description: "\(what) did not happen within \(deadline); last: \(last)")
        }
    }

    private func record(_ change: (inout State) -> Void) {
        let ready = state.withLock { state -> [(continuation: CheckedContinuation<Bool, Never>, isDone: Bool)] in
            change(&state)
            let (entries, hasEnded) = (state.entries, state.hasEnded)
            var ready: [(continuation: CheckedContinuation<Bool, Never>, isDone: Bool)] = []
            state.watchers.removeAll { watcher in
                let isDone = watcher.isDone(entries)
                if isDone || hasEnded { ready.append((watcher.continuation, isDone)) }
                return isDone || hasEnded
            }
            return ready
        }
        for (continuation, isDone) in ready { continuation.resume(returning: isDone) }
    }
}
