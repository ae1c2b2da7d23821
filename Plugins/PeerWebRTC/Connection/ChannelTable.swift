internal import TransportPluginAPI

/// The channels of one connection, their ids and the streams that they are on. Pure.
struct ChannelTable {
    /// Slots, in use or free. A `ChannelID` is a slot's index and how often the slot was used.
    private(set) var slots: ContiguousArray<Channel> = []
    private var uses: [Int] = []
    private var free: [Int] = []
    /// Streams that can be sent on; no channel has a higher id.
    private(set) var streamCount: Int
    private var slotOfStream: ContiguousArray<Int16> = []
    /// Even ids are the DTLS client's, odd ones the server's (RFC 8832 §6). Nil while the roles are not settled.
    private(set) var parity: Int?
    /// The place where the search for a free stream begins. A stream that was used stays unused for as long as others
    /// are free, since the other side's reset of it may still be under way.
    private var nextStream = 0

    init(streamCount: Int) { self.streamCount = streamCount }

    @inline(__always)
    subscript(slot: Int) -> Channel {
        get { slots[slot] }
        _modify { yield &slots[slot] }
    }

    /// The slot of a channel that has not ended.
    @inline(__always)
    func slot(of id: ChannelID) -> Int? {
        let slot = id.rawValue & 0xFFFF
        // A free slot has no id.
        guard slot < slots.count, slots[slot].id == id, id.rawValue >= 0 else { return nil }
        return slot
    }

    @inline(__always)
    func slot(ofStream stream: UInt16) -> Int? {
        guard Int(stream) < slotOfStream.count, slotOfStream[Int(stream)] >= 0 else { return nil }
        return Int(slotOfStream[Int(stream)])
    }

    /// Slots in use, in the order of their opening as far as slots were not reused.
    var used: [Int] { slots.indices.filter { slots[$0].state != .free } }

    /// Adds a channel that this side opens. Throws `.resourceExhausted`, `.invalidArgument`.
    mutating func open(_ parameters: ChannelParameters) throws(TransportError) -> Int {
        guard parameters.label.utf8.count <= 65_535, parameters.protocol.utf8.count <= 65_535 else {
            throw TransportError(.invalidArgument, "a channel's label and protocol have at most 65535 bytes each")
        }
        var stream: UInt16?
        if let wanted = parameters.negotiatedID {
            guard Int(wanted) < streamCount else {
                throw TransportError(
                    .resourceExhausted, "channel id \(wanted) is over the limit of \(streamCount) streams")
            }
            guard slot(ofStream: wanted) == nil else {
                throw TransportError(.resourceExhausted, "channel id \(wanted) is in use")
            }
            stream = wanted
        } else if parity != nil {
            stream = try freeStream()
        } else if slots.count - free.count >= streamCount / 2 {
            throw TransportError(.resourceExhausted, "no channel id is left")
        }
        return insert(parameters, .waiting, stream: stream)
    }

    /// Adds a channel that the other side opened. Nil when its stream is in use.
    mutating func opened(_ parameters: ChannelParameters, stream: UInt16) -> Int? {
        guard Int(stream) < streamCount, slot(ofStream: stream) == nil else { return nil }
        let slot = insert(parameters, .open, stream: stream)
        slots[slot].mayOvertake = true
        return slot
    }

    /// Gives streams to the channels that wait for one, now that the roles are settled. Returns the slots for which
    /// none was left.
    mutating func rolesSettled(isClient: Bool) -> [Int] {
        guard parity == nil else { return [] }
        parity = isClient ? 0 : 1
        var failed: [Int] = []
        for slot in slots.indices where slots[slot].state == .waiting && slots[slot].stream == nil {
            if let stream = try? freeStream() { assign(stream, to: slot) } else { failed.append(slot) }
        }
        return failed
    }

    /// Limits streams to those that both sides agreed to. Returns the slots of channels beyond them.
    mutating func limitStreams(to count: Int) -> [Int] {
        streamCount = min(streamCount, count)
        return used.filter { Int(slots[$0].stream ?? 0) >= streamCount }
    }

    mutating func remove(_ slot: Int) {
        if let stream = slots[slot].stream, Int(stream) < slotOfStream.count { slotOfStream[Int(stream)] = -1 }
        slots[slot] = Channel()
        free.append(slot)
    }

    private mutating func insert(_ parameters: ChannelParameters, _ state: Channel.State, stream: UInt16?) -> Int {
        let slot: Int
        if let index = free.popLast() {
            slot = index
            uses[slot] += 1
        } else {
            slot = slots.count
            slots.append(Channel())
            uses.append(0)
        }
        var channel = Channel()
        channel.id = ChannelID(rawValue: uses[slot] << 16 | slot)
        channel.parameters = parameters
        channel.state = state
        channel.delivery = SCTPDelivery(parameters.reliability)
        channel.mayOvertake = channel.isNegotiated
        slots[slot] = channel
        if let stream { assign(stream, to: slot) }
        return slot
    }

    private mutating func assign(_ stream: UInt16, to slot: Int) {
        slots[slot].stream = stream
        slots[slot].delivery.stream = stream
        while slotOfStream.count <= Int(stream) { slotOfStream.append(-1) }
        slotOfStream[Int(stream)] = Int16(truncatingIfNeeded: slot)
    }

    private mutating func freeStream() throws(TransportError) -> UInt16 {
        let first = parity ?? 0
        let count = max(0, streamCount - first + 1) / 2
        for offset in 0..<count {
            let stream = first + (nextStream + offset) % count * 2
            guard slot(ofStream: UInt16(stream)) == nil else { continue }
            nextStream = (stream - first) / 2 + 1
            return UInt16(stream)
        }
        throw TransportError(.resourceExhausted, "no channel id is left: \(streamCount) streams are in use")
    }
}
