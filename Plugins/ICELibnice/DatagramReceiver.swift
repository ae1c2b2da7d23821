internal import CNice
internal import Glibc
internal import TransportPluginAPI

/// The memory into which all agents of one loop receive. The loop keeps it, as a source that never has anything to do.
final class DatagramReceiver: LoopSource {
    /// The datagrams of the last call. A handler takes them before the next call.
    let batch: DatagramBatch
    private let receiver: UnsafeMutablePointer<CNice_receiver>
    /// The kernel puts up to 64 KiB of datagrams into one slot (GRO).
    private static let slotSize = 65_536
    /// Not a power of two, so that the beginnings of the slots do not share the same lines of the processor's caches.
    private static let stride = slotSize + 2_112
    /// The number of slots that one call fills: many while each holds one datagram, few while each holds dozens, which
    /// keeps the time of one call short and its memory within the caches, and one while datagrams come one at a time,
    /// which saves the kernel a look for a second one.
    private var slots = CNice_slots
    private static let aggregatedSlots = 3
    /// Datagrams that come within this time of each other are not taken one at a time.
    private static let burst = 15_000
    private var lastTime = Timestamp.zero

    /// The receiver of `loop`. Called on it.
    static func on(_ loop: TransportLoop) throws(TransportError) -> DatagramReceiver {
        if let receiver = loop.source(ofType: DatagramReceiver.self) { return receiver }
        let receiver = try DatagramReceiver()
        loop.attach(receiver)
        return receiver
    }

    private init() throws(TransportError) {
        let slots = CNice_slots
        // Memory that is never touched costs nothing: it is mapped, not filled.
        batch = DatagramBatch(capacity: slots * Self.stride, maximumCount: 512)
        guard let receiver = CNice_receiver_new(batch.block.baseAddress, Self.slotSize, Self.stride) else {
            throw TransportError(.resourceExhausted, "no memory for receiving datagrams")
        }
        self.receiver = receiver
    }

    deinit { CNice_receiver_free(receiver) }

    func loopWillSleep() -> Timestamp? { nil }

    /// Fills `batch` from `descriptor`, without waiting. False when nothing came. `time`: the beginning of this turn of
    /// the loop.
    func receive(from descriptor: Int32, at time: Timestamp) -> Bool {
        batch.removeAll()
        if slots == 1, time.nanoseconds - lastTime.nanoseconds < Self.burst { slots = CNice_slots }
        lastTime = time
        let filled = Int(CNice_receive(receiver, descriptor, Int32(slots)))
        guard filled > 0 else { return false }
        var isAggregated = false
        withUnsafeBytes(of: &receiver.pointee.length) { lengths in
            withUnsafeBytes(of: &receiver.pointee.segment) { segments in
                let lengths = lengths.assumingMemoryBound(to: Int32.self)
                let segments = segments.assumingMemoryBound(to: Int32.self)
                for slot in 0..<filled {
                    var offset = slot * Self.stride
                    var rest = Int(lengths[slot])
                    let segment = Int(segments[slot])
                    if segment < rest { isAggregated = true }
                    while rest > 0, batch.count < batch.maximumCount {
                        let length = min(segment, rest)
                        batch.commit(length, at: offset)
                        offset += length
                        rest -= length
                    }
                }
            }
        }
        slots = isAggregated ? Self.aggregatedSlots : filled == 1 ? 1 : CNice_slots
        return !batch.isEmpty
    }
}
