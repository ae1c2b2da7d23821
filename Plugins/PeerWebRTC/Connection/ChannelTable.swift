internal import CUsrsctp
internal import TransportPluginAPI

/// One data channel.
struct Channel {
    enum Phase {
        /// The slot is not in use.
        case free
        /// Opened here; the association is not up, or the open message is not yet out.
        case waiting
        case open
        /// One direction of the stream, or both, is being reset.
        case closing
    }

    var id = ChannelID(rawValue: -1)
    var parameters = ChannelParameters(label: "")
    var phase = Phase.free
    /// Nil until the DTLS role says which ids are ours (RFC 8832 §6).
    var stream: UInt16?
    var delivery = CUsrsctp_delivery()
    /// Until the other side has acknowledged the open message, messages go in order, so that none overtakes it (RFC 8832 §6).
    var mayOvertake = false
    var hasResetOutgoing = false
    var hasResetIncoming = false
    /// Bytes in the association's send buffer.
    var buffered = 0
    var isBlocked = false
    var isReceiving = true
    /// What came while the channel was not being read.
    var stash: [StashedMessage] = []

    var isNegotiated: Bool { parameters.negotiatedID != nil }
}

/// A message that waits for its reader.
struct StashedMessage {
    var payload: Payload
    var isText: Bool
}

/// The channels of one connection and the streams that they are on. Pure.
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
    /// Where the search for a free stream begins: one that was used is left alone for as long as others are free, since what the other
    /// side says of its end may still be under way.
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
        guard slot < slots.count, slots[slot].id == id, slots[slot].phase != .free else { return nil }
        return slot
    }

    @inline(__always)
    func slot(ofStream stream: UInt16) -> Int? {
        guard Int(stream) < slotOfStream.count, slotOfStream[Int(stream)] >= 0 else { return nil }
        return Int(slotOfStream[Int(stream)])
    }

    /// Slots in use, in the order of their opening as far as slots were not reused.
    var used: [Int] { slots.indices.filter { slots[$0].phase != .free } }

    /// A channel that this side opens. Throws `.resourceExhausted`, `.invalidArgument`.
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
        return insert(parameters, stream: stream)
    }

    /// A channel that the other side opened. Nil when its stream is in use.
    mutating func opened(_ parameters: ChannelParameters, stream: UInt16) -> Int? {
        guard Int(stream) < streamCount, slot(ofStream: stream) == nil else { return nil }
        let slot = insert(parameters, stream: stream)
        slots[slot].phase = .open
        slots[slot].mayOvertake = true
        return slot
    }

    /// The roles are settled: channels without an id get theirs. Returns the slots for which none was left.
    mutating func rolesSettled(isClient: Bool) -> [Int] {
        guard parity == nil else { return [] }
        parity = isClient ? 0 : 1
        var failed: [Int] = []
        for slot in slots.indices where slots[slot].phase == .waiting && slots[slot].stream == nil {
            if let stream = try? freeStream() { assign(stream, to: slot) } else { failed.append(slot) }
        }
        return failed
    }

    /// The association tells how many streams both sides agreed to. Returns waiting channels that are beyond.
    mutating func limitStreams(to count: Int) -> [Int] {
        streamCount = min(streamCount, count)
        return used.filter { Int(slots[$0].stream ?? 0) >= streamCount }
    }

    mutating func remove(_ slot: Int) {
        if let stream = slots[slot].stream, Int(stream) < slotOfStream.count { slotOfStream[Int(stream)] = -1 }
        slots[slot] = Channel()
        free.append(slot)
    }

    private mutating func insert(_ parameters: ChannelParameters, stream: UInt16?) -> Int {
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
        channel.phase = .waiting
        switch parameters.reliability {
        case .reliable: channel.delivery.policy = UInt16(SCTP_PR_SCTP_NONE)
        case .retransmissions(let count):
            channel.delivery.policy = UInt16(SCTP_PR_SCTP_RTX)
            channel.delivery.limit = UInt32(count)
        case .lifetime(let milliseconds):
            channel.delivery.policy = UInt16(SCTP_PR_SCTP_TTL)
            channel.delivery.limit = UInt32(milliseconds)
        }
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
