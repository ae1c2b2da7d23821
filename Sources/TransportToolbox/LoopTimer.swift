internal import HeapModule
import TransportValues

/// A timer of a `TransportLoop`. It belongs to the loop's thread; dropping the reference does not cancel it.
public final class LoopTimer {
    let deadline: Timestamp
    var handler: (() -> Void)?

    init(deadline: Timestamp, handler: @escaping () -> Void) {
        self.deadline = deadline
        self.handler = handler
    }

    /// Cancels the timer: its handler no longer runs. Idempotent, also from inside the handler.
    public func cancel() { handler = nil }

    /// Whether the handler will still run.
    public var isPending: Bool { handler != nil }
}

/// A heap of timers by deadline. Cancelled timers stay until they are due or outnumber the pending ones.
struct TimerHeap {
    private struct Entry: Comparable {
        let deadline: Timestamp
        let timer: LoopTimer

        static func == (left: Self, right: Self) -> Bool { left.deadline == right.deadline }
        static func < (left: Self, right: Self) -> Bool { left.deadline < right.deadline }
    }

    private static let minimumCleanup = 64

    private var heap = Heap<Entry>()
    /// The number of timers at which cancelled ones are removed.
    private var cleanupCount = minimumCleanup

    /// The earliest deadline of a pending timer.
    var next: Timestamp? {
        mutating get {
            while let first = heap.min, !first.timer.isPending { heap.removeMin() }
            return heap.min?.deadline
        }
    }

    mutating func insert(_ timer: LoopTimer) {
        if heap.count >= cleanupCount {
            let pending = heap.unordered.filter(\.timer.isPending)
            if pending.count < heap.count / 2 { heap = Heap(pending) }
            cleanupCount = max(Self.minimumCleanup, 2 * heap.count)
        }
        heap.insert(Entry(deadline: timer.deadline, timer: timer))
    }

    /// Removes and returns the timers that are due, in the order of deadlines. Timers that their handlers add wait for
    /// the next turn.
    mutating func removeDue(at now: Timestamp) -> [LoopTimer] {
        guard let next, next <= now else { return [] }
        var due: [LoopTimer] = []
        while let first = heap.min, first.deadline <= now { due.append(heap.removeMin().timer) }
        return due
    }

    mutating func removeAll() { heap = Heap() }
}
