/// The channels that the bytes in the association's send buffer belong to: usrsctp only knows their sum. Pure.
///
/// Messages count as released in the order of sending. Across channels this is nearly exact, and exact whenever the
/// buffer is empty.
struct SendLedger {
    struct Entry: Equatable {
        /// The channel's slot, or -1 for control messages.
        var slot: Int32
        var count: UInt32
    }

    /// The maximum number of messages in flight: each costs usrsctp some 500 bytes, even a small one.
    static let maximumMessages = 16_384

    private var entries: ContiguousArray<Entry>
    private var head = 0
    private(set) var messageCount = 0
    /// The number of bytes of these messages.
    private(set) var byteCount = 0

    init() { entries = ContiguousArray(repeating: Entry(slot: 0, count: 0), count: 64) }

    var isFull: Bool { messageCount >= Self.maximumMessages }

    @inline(__always)
    mutating func sent(_ count: Int, slot: Int) {
        if messageCount == entries.count { grow() }
        entries[(head &+ messageCount) & (entries.count &- 1)] = Entry(
            slot: Int32(truncatingIfNeeded: slot), count: UInt32(truncatingIfNeeded: count))
        messageCount += 1
        byteCount += count
    }

    /// Returns the next message that has left the buffer, given the bytes that remain.
    @inline(__always)
    mutating func release(remaining: Int) -> Entry? {
        guard messageCount > 0 else { return nil }
        let entry = entries[head]
        guard remaining == 0 || byteCount - Int(entry.count) >= remaining else { return nil }
        head = (head &+ 1) & (entries.count &- 1)
        messageCount -= 1
        byteCount -= Int(entry.count)
        return entry
    }

    private mutating func grow() {
        var larger = ContiguousArray(repeating: Entry(slot: 0, count: 0), count: entries.count * 2)
        for index in 0..<messageCount { larger[index] = entries[(head + index) & (entries.count - 1)] }
        entries = larger
        head = 0
    }
}
