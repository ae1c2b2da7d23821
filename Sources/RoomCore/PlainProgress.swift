/// How far the plain channels have come: which of their frames a connection has taken.
struct PlainProgress: Sendable {
    /// The last number that a connection has taken, or that was dropped.
    private var done: [5 of UInt64] = .init(repeating: 0)
    /// Bytes that the present data channel has taken.
    private var takenBytes: [5 of UInt64] = .init(repeating: 0)
    /// Up to which number the outbox was told to release frames.
    private var released: [5 of UInt64] = .init(repeating: 0)

    /// Another data channel carries this one from now on, or none does.
    mutating func dataChannelChanged(of channel: DeliveryChannel) { takenBytes[channel.rawValue] = 0 }

    /// The connection has ended.
    mutating func detached() { for index in takenBytes.indices { takenBytes[index] = 0 } }

    mutating func taken(_ sequence: UInt64, count: Int, on channel: DeliveryChannel) {
        takenBytes[channel.rawValue] &+= UInt64(count)
        done[channel.rawValue] = sequence
    }

    mutating func dropped(_ sequence: UInt64, on channel: DeliveryChannel) { done[channel.rawValue] = sequence }

    /// Up to which number frames can be released; nil: none since the last call.
    mutating func takeReleasable(on channel: DeliveryChannel) -> UInt64? {
        let index = channel.rawValue
        guard done[index] != released[index] else { return nil }
        released[index] = done[index]
        return done[index]
    }

    /// Bytes that the transport's other side has acknowledged. `buffered`: those that it has not.
    func acknowledgedBytes(on channel: DeliveryChannel, buffered: Int) -> UInt64 {
        takenBytes[channel.rawValue] &- UInt64(buffered)
    }
}
