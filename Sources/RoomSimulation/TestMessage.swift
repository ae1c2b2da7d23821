internal import RoomCore

/// A message of an application: every byte of it is known, so that one that was torn or mixed is noticed.
struct TestMessage {
    /// Index of the ledger that it is counted in.
    var ledger: Int
    var channel: DeliveryChannel
    /// Counts the messages of its ledger and channel.
    var number: UInt64
    /// Bytes as a whole.
    var length: Int

    /// Ledger, length, channel, number.
    static let headerLength = 16

    var isText: Bool { number & 1 == 1 }

    func write(to bytes: UnsafeMutableRawBufferPointer) {
        bytes.storeBytes(of: UInt32(ledger), toByteOffset: 0, as: UInt32.self)
        bytes.storeBytes(of: UInt16(length), toByteOffset: 4, as: UInt16.self)
        bytes.storeBytes(of: UInt16(channel.rawValue), toByteOffset: 6, as: UInt16.self)
        bytes.storeBytes(of: number, toByteOffset: 8, as: UInt64.self)
        for index in Self.headerLength..<length { bytes[index] = filler(index) }
    }

    private func filler(_ index: Int) -> UInt8 { UInt8(truncatingIfNeeded: Int(truncatingIfNeeded: number) &+ index) }

    /// Nil: it is not as it was sent.
    init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= Self.headerLength,
            let channel = DeliveryChannel(rawValue: Int(bytes.loadUnaligned(fromByteOffset: 6, as: UInt16.self)))
        else { return nil }
        self.channel = channel
        ledger = Int(bytes.loadUnaligned(fromByteOffset: 0, as: UInt32.self))
        length = Int(bytes.loadUnaligned(fromByteOffset: 4, as: UInt16.self))
        number = bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
        guard bytes.count == length else { return nil }
        for index in Self.headerLength..<length where bytes[index] != filler(index) { return nil }
    }

    init(ledger: Int, channel: DeliveryChannel, number: UInt64, length: Int) {
        self.ledger = ledger
        self.channel = channel
        self.number = number
        self.length = length
    }
}

/// The messages of one session to another on the reliable channel, from end to end.
struct Ledger {
    var sent: UInt64 = 0
    var delivered: UInt64 = 0
    /// Messages that the sender was told to be given up.
    var givenUp: [ClosedRange<UInt64>] = []

    func isGivenUp(_ number: UInt64) -> Bool { givenUp.contains { $0.contains(number) } }
}

/// The messages of one session to another on one of the other channels.
struct PlainLedger {
    var sent: UInt64 = 0
    /// Handed to a connection, and neither delivered nor lost with it.
    var open: Set<UInt64> = []
    /// The latest that was delivered.
    var latest: UInt64 = 0
    var delivered: UInt64 = 0
    /// Lost on the way, or with a connection.
    var lost: UInt64 = 0
    /// Messages that the sender was told to be dropped.
    var dropped: UInt64 = 0

    /// Messages whose end is known.
    var ended: UInt64 { delivered + lost + dropped }
    /// Messages that came to nothing known.
    var isMissingSome: Bool { sent != ended }
}

/// Counts of messages on the channels that are not reliable.
package struct PlainStatistics: Sendable, Equatable {
    package var delivered = 0
    /// Came behind a later one.
    package var overtaken = 0
    /// Datagrams that came again, or too late.
    package var repeated = 0
    /// On the lossy channel, or with a connection.
    package var lost = 0
}
