/// The small messages of one turn, gathered so that SCTP puts many of them into one packet. By itself, usrsctp sends
/// each message at once.
///
/// It comes from a pool that all connections of a loop share, like `DatagramBatch`.
final class Outbox: Reusable {
    struct Entry {
        var delivery: SCTPDelivery
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

    /// Adds a message. Returns false when the outbox is full.
    @inline(__always)
    func append(_ message: UnsafeRawBufferPointer, _ delivery: SCTPDelivery, protocol: UInt32, slot: Int) -> Bool {
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

    /// Passes all messages to SCTP, which fills packets with them, and calls `onSent` with the size and slot of each.
    /// Returns false when the send buffer is full; the rest stays.
    @inline(__always)
    func drain(into association: SCTPAssociation, onSent: (_ size: Int, _ slot: Int) -> Void) -> Bool {
        var isCorked = false
        defer { if isCorked { association.setCork(false) } }
        while first < end {
            let entry = entries + first
            // All but the last wait for a full packet.
            if end - first > 1, !isCorked {
                isCorked = true
                association.setCork(true)
            } else if end - first == 1, isCorked {
                isCorked = false
                association.setCork(false)
            }
            let payload = UnsafeRawBufferPointer(
                start: bytes + Int(entry.pointee.offset), count: Int(entry.pointee.count))
            let result = association.send(payload, &entry.pointee.delivery, protocol: entry.pointee.protocol)
            if result == .full { return false }
            // Any other failure means that the association has ended, which is reported separately.
            onSent(Int(entry.pointee.count), Int(entry.pointee.slot))
            first += 1
        }
        removeAll()
        return true
    }

    func removeAll() {
        first = 0
        end = 0
        byteEnd = 0
    }
}
