internal import TransportValues

/// A binary heap of what is to happen, by time; what has the same time happens in the order in which it was put in.
struct EventQueue<Element> {
    /// The elements lie still, only their keys are moved.
    private var elements: [Element?] = []
    private var free: [Int] = []
    private var keys = KeyHeap()

    mutating func push(_ element: Element, at time: Timestamp) {
        let slot = free.popLast() ?? elements.count
        if slot == elements.count { elements.append(element) } else { elements[slot] = element }
        keys.push(time: time.nanoseconds, slot: slot)
    }

    mutating func pop() -> (time: Timestamp, element: Element)? {
        guard let key = keys.pop() else { return nil }
        // Taken out, not copied.
        var taken: Element?
        swap(&taken, &elements[key.slot])
        free.append(key.slot)
        guard let element = taken else { return nil }
        return (Timestamp(nanoseconds: key.time), element)
    }
}

private struct KeyHeap {
    struct Key {
        var time: Int64
        var order: UInt64
        var slot: Int

        func precedes(_ other: Key) -> Bool { time == other.time ? order < other.order : time < other.time }
    }
    private var heap: [Key] = []
    private var pushed: UInt64 = 0

    mutating func push(time: Int64, slot: Int) {
        let key = Key(time: time, order: pushed, slot: slot)
        pushed += 1
        heap.append(key)
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard key.precedes(heap[parent]) else { break }
            heap[child] = heap[parent]
            child = parent
        }
        heap[child] = key
    }

    mutating func pop() -> Key? {
        guard let first = heap.first, let last = heap.popLast() else { return nil }
        guard !heap.isEmpty else { return first }
        var parent = 0
        while true {
            var child = 2 * parent + 1
            guard child < heap.count else { break }
            if child + 1 < heap.count, heap[child + 1].precedes(heap[child]) { child += 1 }
            guard heap[child].precedes(last) else { break }
            heap[parent] = heap[child]
            parent = child
        }
        heap[parent] = last
        return first
    }
}
