internal import RoomCore

/// A stream of an application, as the simulation knows it from both ends.
final class Transfer: CustomStringConvertible {
    /// Where it is counted: the ledger of the messages in its direction, and its id.
    struct Key: Hashable {
        var ledger: Int
        var id: UInt64
    }

    /// Bytes that the sender will write.
    let length: Int
    /// Bytes that were accepted from the sender.
    var sent = 0
    /// Bytes that came to the receiver.
    var received = 0
    /// Bytes that its application has read.
    var consumed = 0
    var isEnded = false
    var hasSeenEnd = false
    /// The sender knows that everything was consumed.
    var isFinished = false
    /// Given up by either side, or with the session of one.
    var isGivenUp = false

    init(length: Int) { self.length = length }

    var description: String {
        "\(length) bytes, \(sent) sent, \(received) received, \(consumed) read, ended: \(isEnded), seen: \(hasSeenEnd)"
    }

    /// The byte at an offset.
    static func byte(_ key: Key, _ offset: Int) -> UInt8 { byte(UInt32(truncatingIfNeeded: offset), base(key)) }

    // In 32 bits and without a branch, so that the compiler does several bytes at once.
    private static func base(_ key: Key) -> UInt32 {
        UInt32(truncatingIfNeeded: Int(truncatingIfNeeded: key.id) &* 31 &+ key.ledger)
    }

    private static func byte(_ offset: UInt32, _ base: UInt32) -> UInt8 {
        UInt8(truncatingIfNeeded: offset &* 7 &+ offset >> 8 &+ base)
    }

    /// Writes the bytes from `offset` on.
    static func write(to bytes: UnsafeMutableRawBufferPointer, _ key: Key, _ offset: Int) {
        let (offset, base) = (UInt32(truncatingIfNeeded: offset), base(key))
        for index in 0..<bytes.count { bytes[index] = byte(offset &+ UInt32(truncatingIfNeeded: index), base) }
    }

    /// Whether these are the bytes from `offset` on.
    static func areBytes(_ bytes: UnsafeRawBufferPointer, _ key: Key, _ offset: Int) -> Bool {
        let (offset, base) = (UInt32(truncatingIfNeeded: offset), base(key))
        var differences: UInt8 = 0
        for index in 0..<bytes.count {
            differences |= bytes[index] ^ byte(offset &+ UInt32(truncatingIfNeeded: index), base)
        }
        return differences == 0
    }
}

/// The streams of one end of the data path: their machines, and what an application has not read.
struct TransferEnds {
    var outgoing: Recorded<OutgoingStreams>
    var incoming: Recorded<IncomingStreams>
    var budget = ReceiveWindow.Budget()
    /// The chunks that were not read, by stream.
    var unread: [UInt64: [Int]] = [:]
    /// The streams whose end has come.
    var ended: Set<UInt64> = []
    /// The streams for which a read is scheduled.
    var reading: Set<UInt64> = []

    /// Small, so that senders run into it.
    static let window: UInt64 = 300
    static let longestChunk = 200

    /// Both at once, which a reference to the whole would not allow.
    mutating func withIncoming<Result>(
        _ body: (inout Recorded<IncomingStreams>, inout ReceiveWindow.Budget) -> Result
    ) -> Result {
        body(&incoming, &budget)
    }

    /// `name`: of the stream, on the tape.
    init(_ record: StreamRecord, _ tape: VectorTape?, _ name: String) {
        outgoing = Recorded<OutgoingStreams>(
            lastID: record.lastOutgoing, window: Self.window,
            tape: tape?.instance("OutgoingStreams", name, group: "streams"))
        incoming = Recorded<IncomingStreams>(
            lastID: record.lastIncoming, window: Self.window,
            tape: tape?.instance("IncomingStreams", name, group: "streams"))
    }
}
