internal import TransportValues

/// A heap of what is to happen, by time; what has the same time happens in the order in which it was put in.
struct EventQueue<Element>: ~Copyable {
    /// Where the elements lie still; only their keys are moved. Those at the places in `free` are not initialized.
    private var elements: UnsafeMutableBufferPointer<Element>
    private var free: [Int] = []
    /// The first place that was never used.
    private var unused = 0
    private var keys = KeyHeap()

    init() { elements = .allocate(capacity: 256) }

    deinit {
        let empty = Set(free)
        for slot in 0..<unused where !empty.contains(slot) { elements.deinitializeElement(at: slot) }
        elements.deallocate()
    }

    mutating func push(_ element: consuming Element, at time: Timestamp) {
        let slot: Int
        if let last = free.popLast() {
            slot = last
        } else {
            if unused == elements.count { grow() }
            slot = unused
            unused += 1
        }
        elements.initializeElement(at: slot, to: element)
        keys.push(time: time.nanoseconds, slot: slot)
    }

    mutating func pop() -> (time: Timestamp, element: Element)? {
        guard let (time, slot) = keys.pop() else { return nil }
        free.append(slot)
        return (Timestamp(nanoseconds: time), elements.moveElement(from: slot))
    }

    /// Every place is in use.
    private mutating func grow() {
        let larger = UnsafeMutableBufferPointer<Element>.allocate(capacity: elements.count * 2)
        _ = larger.moveInitialize(fromContentsOf: elements)
        elements.deallocate()
        elements = larger
    }
}

/// Four children each, so that those of one parent lie in one line of the cache.
private struct KeyHeap {
    struct Key {
        var time: Int64
        /// The number of the event in the upper bits: the keys of a time are in order of it. Its slot below.
        var orderAndSlot: UInt64

        static let slotBits = 24

        func precedes(_ other: Key) -> Bool {
            time == other.time ? orderAndSlot < other.orderAndSlot : time < other.time
        }
    }
    private var heap: [Key] = []
    private var pushed: UInt64 = 0

    mutating func push(time: Int64, slot: Int) {
        precondition(slot < 1 << Key.slotBits)
        let key = Key(time: time, orderAndSlot: pushed << Key.slotBits | UInt64(slot))
        pushed += 1
        heap.append(key)
        heap.withUnsafeMutableBufferPointer { heap in
            var child = heap.count - 1
            while child > 0 {
                let parent = (child - 1) / 4
                guard key.precedes(heap[parent]) else { break }
                heap[child] = heap[parent]
                child = parent
            }
            heap[child] = key
        }
    }

    mutating func pop() -> (time: Int64, slot: Int)? {
        guard let last = heap.popLast() else { return nil }
        guard let first = heap.first else { return Self.parts(of: last) }
        heap.withUnsafeMutableBufferPointer { heap in
            var parent = 0
            while true {
                let children = 4 * parent + 1
                guard children < heap.count else { break }
                var earliest = children
                for child in (children + 1)..<max(children + 1, min(children + 4, heap.count))
                where heap[child].precedes(heap[earliest]) { earliest = child }
                guard heap[earliest].precedes(last) else { break }
                heap[parent] = heap[earliest]
                parent = earliest
            }
            heap[parent] = last
        }
        return Self.parts(of: first)
    }

    private static func parts(of key: Key) -> (time: Int64, slot: Int) {
        (key.time, Int(key.orderAndSlot & (1 << slotBits - 1)))
    }

    private static var slotBits: Int { Key.slotBits }
}
