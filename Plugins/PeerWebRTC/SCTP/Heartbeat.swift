internal import TransportPluginAPI

/// SCTP packets of one HEARTBEAT, or of the answer to one (RFC 9260 §3.3.5, §3.3.6). Pure.
///
/// They are made and answered without usrsctp, whose own heartbeats have one size, start a timer each, and make it walk
/// through the timers of all associations. The other side returns the information field unchanged: a number that
/// identifies the heartbeat, and padding up to the probed size (RFC 8899 §6.2). A PAD chunk (RFC 4820) would affect one
/// direction only, but some implementations drop a whole packet with an unknown chunk.
enum Heartbeat {
    /// Common header, chunk header, parameter header, identifier.
    static let minimumSize = 12 + 4 + 4 + 8
    /// The maximum size; usrsctp handles larger ones.
    static let maximumSize = 2048

    private static let request: UInt8 = 4
    private static let answer: UInt8 = 5
    private static let informationType: UInt16 = 1

    /// The kind of a packet.
    enum Packet: Equatable {
        case request
        case answer(UInt64)
    }

    /// Fills `packet`, except for the checksum. `header` holds the ports and the verification tag, as on the wire.
    static func write(_ id: UInt64, header: UInt64, into packet: UnsafeMutableRawBufferPointer) {
        precondition((minimumSize...maximumSize).contains(packet.count))
        packet.initializeMemory(as: UInt8.self, repeating: 0)
        packet.storeBytes(of: header, as: UInt64.self)
        packet[12] = request
        packet.storeBytes(of: UInt16(packet.count - 12).bigEndian, toByteOffset: 14, as: UInt16.self)
        packet.storeBytes(of: informationType.bigEndian, toByteOffset: 16, as: UInt16.self)
        packet.storeBytes(of: UInt16(packet.count - 16).bigEndian, toByteOffset: 18, as: UInt16.self)
        packet.storeBytes(of: id, toByteOffset: 20, as: UInt64.self)
    }

    /// Turns a copy of a request into its answer, except for the checksum.
    static func makeAnswer(from packet: UnsafeMutableRawBufferPointer, header: UInt64) {
        packet.storeBytes(of: header, as: UInt64.self)
        packet.storeBytes(of: 0, toByteOffset: 8, as: UInt32.self)
        packet[12] = answer
    }

    /// Reads a packet that holds one heartbeat or one answer. Nil for every other.
    @inline(__always)
    static func parse(_ packet: UnsafeRawBufferPointer) -> Packet? {
        guard packet.count >= 20, packet[12] == request || packet[12] == answer else { return nil }
        return parseChunk(packet)
    }

    private static func parseChunk(_ packet: UnsafeRawBufferPointer) -> Packet? {
        let length = Int(UInt16(bigEndian: packet.loadUnaligned(fromByteOffset: 14, as: UInt16.self)))
        guard length >= 8, packet.count <= maximumSize, (length + 3) & ~3 == packet.count - 12 else { return nil }
        if packet[12] == request { return .request }
        guard length >= minimumSize - 12,
            UInt16(bigEndian: packet.loadUnaligned(fromByteOffset: 16, as: UInt16.self)) == informationType
        else { return nil }
        return .answer(packet.loadUnaligned(fromByteOffset: 20, as: UInt64.self))
    }
}

/// The heartbeats that wait for their answers, and the round trip that the answers show. Pure.
struct HeartbeatLog: Equatable {
    struct Entry: Equatable {
        var id: UInt64
        var size: PathSizeMachine.Size?
        var sentAt: Timestamp
    }

    /// The maximum number of heartbeats: at four a second, enough for a round trip of four seconds.
    private static let maximumEntries = 16

    private var entries: [Entry] = []
    private var lastID: UInt64 = 0
    /// Smoothed as in RFC 6298 §2.
    private(set) var roundTrip: Duration?

    /// Records a heartbeat that is sent at `now`, and returns its identifier. `size` is set if it probes the path's
    /// size.
    mutating func sent(_ size: PathSizeMachine.Size?, at now: Timestamp) -> UInt64 {
        if entries.count >= Self.maximumEntries { entries.removeFirst() }
        lastID += 1
        entries.append(Entry(id: lastID, size: size, sentAt: now))
        return lastID
    }

    /// Returns the heartbeat that was answered; nil if none with this identifier waits.
    mutating func answered(_ id: UInt64, at now: Timestamp) -> Entry? {
        guard let index = entries.firstIndex(where: { $0.id == id }) else { return nil }
        let entry = entries.remove(at: index)
        let sample = max(.zero, now - entry.sentAt)
        roundTrip = roundTrip.map { ($0 * 7 + sample) / 8 } ?? sample
        return entry
    }

    /// The path has changed: earlier measurements do not apply to it.
    mutating func pathChanged() {
        entries = []
        roundTrip = nil
    }
}
