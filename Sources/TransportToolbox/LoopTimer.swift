internal import TransportValues

/// A timer of a `TransportLoop`. It belongs to the loop's thread; dropping the reference does not cancel it.
public final class LoopTimer {
    let deadline: Timestamp
    var handler: (() -> Void)?

    init(deadline: Timestamp, handler: @escaping () -> Void) {
        self.deadline = deadline
        self.handler = handler
    }

    /// Cancels the timer: its handler does not run any more. Idempotent, also from inside the handler.
    public func cancel() { handler = nil }

    /// Whether the handler will still run.
    public var isPending: Bool { handler != nil }
}

/// A binary heap of timers by deadline. Cancelled timers stay until they are due or outnumber the pending ones.
struct TimerHeap {
    private var heap: [LoopTimer] = []

    /// The earliest deadline of a pending timer.
    var next: Timestamp? {
        mutating get {
            while let first = heap.first, !first.isPending { removeFirst() }
            return heap.first?.deadline
        }
    }

    mutating func insert(_ timer: LoopTimer) {
        if heap.count >= 64, heap.count == heap.capacity {
            // About to grow: remove cancelled timers instead, if that is worthwhile.
            let pending = heap.filter(\.isPending)
            if pending.count < heap.count / 2 { heap = pending.sorted { $0.deadline < $1.deadline } }
        }
        heap.append(timer)
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard heap[child].deadline < heap[parent].deadline else { break }
            heap.swapAt(child, parent)
            child = parent
        }
    }

    /// Removes and returns the timers that are due, in the order of deadlines. Timers that their handlers add wait for
    /// the next turn.
    mutating func removeDue(at now: Timestamp) -> [LoopTimer] {
        guard let next, next <= now else { return [] }
        var due: [LoopTimer] = []
        while let first = heap.first, first.deadline <= now { due.append(removeFirst()) }
        return due
    }

    mutating func removeAll() { heap.removeAll() }

    @discardableResult
    private mutating func removeFirst() -> LoopTimer {
        heap.swapAt(0, heap.count - 1)
        let first = heap.removeLast()
        var parent = 0
        while true {
            var smallest = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count {
                if heap[child].deadline < heap[smallest].deadline { smallest = child }
            }
            guard smallest != parent else { break }
            heap.swapAt(parent, smallest)
            parent = smallest
        }
        return first
    }
}
