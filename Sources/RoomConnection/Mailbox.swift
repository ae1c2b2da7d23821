internal import TransportPluginAPI

/// A bounded queue from the peer loop to one consuming task.
///
/// `append` never waits. Its result says whether the queue has reached its high-water mark; `onDrained` is called,
/// outside of the lock and on the consumer's thread, when a full queue has fallen to half of it.
final class Mailbox<Element: Sendable>: Sendable {
    private struct State {
        var elements: [Element] = []
        var weight = 0
        var isFull = false
        var isFinished = false
        /// Waits only while there are no elements. Each one that is taken out of here is resumed, once.
        var waiter: UnsafeContinuation<[Element]?, Never>?
        var onDrained: (@Sendable () -> Void)?
    }

    private let state = Locked(State())
    private let limit: Int

    /// `limit` is in units of the weights given to `append`.
    init(limit: Int) { self.limit = limit }

    func setOnDrained(_ handler: @escaping @Sendable () -> Void) { state.withLock { $0.onDrained = handler } }

    /// Adds an element, also above the limit. True while the queue is below its high-water mark.
    @discardableResult
    func append(_ element: Element, weight: Int) -> Bool {
        let (hasRoom, waiter) = state.withLock { state -> (Bool, UnsafeContinuation<[Element]?, Never>?) in
            guard !state.isFinished else { return (true, nil) }
            if let waiter = state.waiter {
                state.waiter = nil
                return (true, waiter)
            }
            state.elements.append(element)
            state.weight += weight
            if state.weight >= limit { state.isFull = true }
            return (!state.isFull, nil)
        }
        waiter?.resume(returning: [element])
        return hasRoom
    }

    /// Replaces the newest element that matches, or else appends; over `limit` the oldest is dropped. For news of which
    /// only the latest counts, and which may have no reader.
    func coalesce(_ element: Element, where matches: ((Element) -> Bool)? = nil) {
        let waiter = state.withLock { state -> UnsafeContinuation<[Element]?, Never>? in
            guard !state.isFinished else { return nil }
            if let waiter = state.waiter {
                state.waiter = nil
                return waiter
            }
            if let matches, let index = state.elements.lastIndex(where: matches) {
                state.elements.remove(at: index)
            } else if state.elements.count >= limit {
                state.elements.removeFirst()
            }
            state.elements.append(element)
            return nil
        }
        waiter?.resume(returning: [element])
    }

    /// Everything that is there, without waiting.
    func takeNow() -> [Element] { takeNowOrEnd() ?? [] }

    var isFull: Bool { state.withLock { $0.isFull } }

    /// No more elements will come; what is there can still be taken.
    func finish() {
        let waiter = state.withLock { state -> UnsafeContinuation<[Element]?, Never>? in
            state.isFinished = true
            return state.waiter.take()
        }
        waiter?.resume(returning: nil)
    }

    /// Returns all elements, or nil at the end and when the task is cancelled. Suspends while there are none. One
    /// consumer at a time.
    nonisolated(nonsending) func takeAll() async -> [Element]? {
        switch take() {
        case .batch(let batch): batch
        case .end: nil
        case .nothing: await wait()
        }
    }

    private enum Taken {
        case batch([Element])
        case end
        case nothing
    }

    private func take() -> Taken {
        let (taken, drained) = state.withLock { state -> (Taken, (@Sendable () -> Void)?) in
            guard !state.elements.isEmpty else { return (state.isFinished ? .end : .nothing, nil) }
            var batch: [Element] = []
            swap(&batch, &state.elements)
            state.weight = 0
            defer { state.isFull = false }
            return (.batch(batch), state.isFull ? state.onDrained : nil)
        }
        drained?()
        return taken
    }

    private nonisolated(nonsending) func wait() async -> [Element]? {
        await withTaskCancellationHandler {
            await withUnsafeContinuation { continuation in
                let isWaiting = state.withLock { state -> Bool in
                    guard state.elements.isEmpty, !state.isFinished, !Task.isCancelled else { return false }
                    precondition(state.waiter == nil, "two tasks iterate over one sequence of a room")
                    state.waiter = continuation
                    return true
                }
                // Elements that came meanwhile are not lost to a cancelled task: another one may read on.
                if !isWaiting { continuation.resume(returning: Task.isCancelled ? nil : takeNowOrEnd()) }
            }
        } onCancel: {
            state.withLock { $0.waiter.take() }?.resume(returning: nil)
        }
    }

    private func takeNowOrEnd() -> [Element]? {
        if case .batch(let batch) = take() { return batch }
        return nil
    }
}
