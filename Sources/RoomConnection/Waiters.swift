/// Tasks that wait for a condition of a locked state. A part of that state; resumed outside of the lock.
struct Waiters {
    private var next: UInt64 = 0
    private var waiting: [(id: UInt64, continuation: CheckedContinuation<Void, Never>)] = []

    var isEmpty: Bool { waiting.isEmpty }

    mutating func makeID() -> UInt64 {
        next += 1
        return next
    }

    mutating func add(_ id: UInt64, _ continuation: CheckedContinuation<Void, Never>) {
        waiting.append((id, continuation))
    }

    /// Takes out one task: to be resumed because it was cancelled.
    mutating func remove(_ id: UInt64) -> CheckedContinuation<Void, Never>? {
        guard let index = waiting.firstIndex(where: { $0.id == id }) else { return nil }
        return waiting.remove(at: index).continuation
    }

    /// Takes out all tasks: to be resumed by the caller.
    mutating func removeAll() -> [CheckedContinuation<Void, Never>] {
        defer { waiting = [] }
        return waiting.map(\.continuation)
    }
}
