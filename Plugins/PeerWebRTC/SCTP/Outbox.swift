internal import CUsrsctp

/// Small messages of one turn, gathered so that SCTP puts many of them into one packet. usrsctp by itself sends each at once.
///
/// Lent by a pool that all connections of a loop share, like `DatagramBatch`.
final class Outbox {
    struct Entry {
        var delivery: CUsrsctp_delivery
        var `protocol`: UInt32
        /// The channel's slot.
        var slot: Int32
        var offset: Int32
        var count: Int32
    }

    /// Larger messages fill packets by themselves.
    static let maximumMessage = 512
    static let maximumCount = 256
    private static let capacity = 1 << 15

    private let bytes = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 64)
    private let entries = UnsafeMutablePointer<Entry>.allocate(capacity: maximumCount)
    @exclusivity(unchecked) private var first = 0
    @exclusivity(unchecked) private var end = 0
    @exclusivity(unchecked) private var byteEnd = 0

    deinit {
        bytes.deallocate()
        entries.deallocate()
    }

    var count: Int { end - first }

    /// False, and nothing taken, when it is full.
    @inline(__always)
    func append(_ message: UnsafeRawBufferPointer, _ delivery: CUsrsctp_delivery, protocol: UInt32, slot: Int) -> Bool {
        guard end < Self.maximumCount, byteEnd + message.count <= Self.capacity else { return false }
        if let source = message.baseAddress { (bytes + byteEnd).copyMemory(from: source, byteCount: message.count) }
        (entries + end).initialize(
            to: Entry(
                delivery: delivery, protocol: `protocol`, slot: Int32(truncatingIfNeeded: slot),
                offset: Int32(truncatingIfNeeded: byteEnd), count: Int32(truncatingIfNeeded: message.count)))
        end += 1
        byteEnd += message.count
        return true
    }

    /// The oldest message.
    @inline(__always)
    func peek() -> UnsafeMutablePointer<Entry>? { first < end ? entries + first : nil }

    @inline(__always)
    func payload(of entry: UnsafeMutablePointer<Entry>) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: bytes + Int(entry.pointee.offset), count: Int(entry.pointee.count))
    }

    @inline(__always)
    func removeFirst() {
        first += 1
        if first == end { removeAll() }
    }

    func removeAll() {
        first = 0
        end = 0
        byteEnd = 0
    }
}

/// Outboxes that nobody uses now.
final class OutboxPool {
    private static let maximumCount = 8
    @exclusivity(unchecked) private var spare: Outbox?
    private var others: [Outbox] = []

    @inline(__always)
    func take() -> Outbox {
        if let box = spare {
            spare = nil
            return box
        }
        return others.popLast() ?? Outbox()
    }

    @inline(__always)
    func giveBack(_ box: Outbox) {
        box.removeAll()
        if spare == nil {
            spare = box
        } else if others.count < Self.maximumCount {
            others.append(box)
        }
    }
}
