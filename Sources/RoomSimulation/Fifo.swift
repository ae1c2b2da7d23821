/// First in, first out. What is taken out is moved, not copied.
struct Fifo<Element>: ~Copyable {
    /// A ring. Its `count` elements from `head` on are initialized.
    private var ring = UnsafeMutableBufferPointer<Element>(start: nil, count: 0)
    private var head = 0
    private(set) var count = 0

    init() {}

    deinit {
        for index in 0..<count { ring.deinitializeElement(at: place(index)) }
        ring.deallocate()
    }

    var isEmpty: Bool { count == 0 }

    /// The size of the ring is a power of two.
    private func place(_ index: Int) -> Int { (head + index) & (ring.count - 1) }

    mutating func append(_ element: consuming Element) {
        if count == ring.count { grow() }
        ring.initializeElement(at: place(count), to: element)
        count += 1
    }

    mutating func popFirst() -> Element? {
        guard count > 0 else { return nil }
        let first = head
        head = place(1)
        count -= 1
        return ring.moveElement(from: first)
    }

    /// Keeps the first `limit`.
    mutating func truncate(to limit: Int) {
        while count > limit {
            count -= 1
            ring.deinitializeElement(at: place(count))
        }
    }

    mutating func removeAll() { truncate(to: 0) }

    private mutating func grow() {
        let larger = UnsafeMutableBufferPointer<Element>.allocate(capacity: max(8, ring.count * 2))
        for index in 0..<count { larger.initializeElement(at: index, to: ring.moveElement(from: place(index))) }
        ring.deallocate()
        ring = larger
        head = 0
    }
}
