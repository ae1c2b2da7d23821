package import TransportValues

/// The data channels of one peer connection that carry the room's channels: which are open, and when one is
/// opened again.
package struct DeliveryChannels: Sendable {
    private struct Slot: Sendable {
        var id: ChannelID?
        var isOpen = false
        /// The channel has refused a frame and takes none until it is writable.
        var isBlocked = false
        var backoff = ReopeningBackoff()
    }
    /// A further data channel of the other side for one of them. Its messages are received too.
    private struct Extra: Sendable {
        var id: ChannelID
        var channel: DeliveryChannel
    }

    /// The consequence of a data channel's end.
    package enum Closing: Sendable, Equatable {
        /// Nothing: it carried no channel.
        case ignored
        /// Another data channel of the other side takes its place.
        case replaced(DeliveryChannel, by: ChannelID)
        /// This side opens a new one after a while.
        case reopen(DeliveryChannel, after: Duration)
        /// The other side opens a new one.
        case left(DeliveryChannel)
    }

    package static let maximumExtras = 16
    /// How much later than the opener the other side opens a channel, where it may.
    package static let openersHeadStart = Duration.seconds(1)

    private let level: DeliveryLevel
    /// This side opens the channels: it is the offerer.
    private var isOpener = false
    private var slots: [5 of Slot] = .init(repeating: Slot())
    private var extras: [Extra] = []

    package init(_ level: DeliveryLevel) { self.level = level }

    /// A new connection: nothing is open on it.
    package mutating func connectionBegan(isOpener: Bool) {
        self.isOpener = isOpener
        reset()
    }

    package mutating func reset() {
        for index in slots.indices {
            slots[index].id = nil
            slots[index].isOpen = false
            slots[index].isBlocked = false
        }
        extras = []
    }

    package func isOpen(_ channel: DeliveryChannel) -> Bool { slots[channel.rawValue].isOpen }
    package func id(of channel: DeliveryChannel) -> ChannelID? { slots[channel.rawValue].id }

    /// The data channel to send on, nil while it takes nothing.
    package func writable(_ channel: DeliveryChannel) -> ChannelID? {
        guard slots[channel.rawValue].isOpen, !slots[channel.rawValue].isBlocked else { return nil }
        return slots[channel.rawValue].id
    }

    /// The channel that a data channel carries.
    package func channel(of id: ChannelID) -> DeliveryChannel? { primary(id) ?? extras.first { $0.id == id }?.channel }

    private func primary(_ id: ChannelID) -> DeliveryChannel? {
        for index in slots.indices where slots[index].id == id { return DeliveryChannel(rawValue: index) }
        return nil
    }

    /// This side has asked for a data channel.
    package mutating func opening(_ channel: DeliveryChannel, as id: ChannelID) { slots[channel.rawValue].id = id }

    /// A data channel is open. Returns the channel if it carries it from now on.
    package mutating func opened(_ id: ChannelID, _ parameters: ChannelParameters) -> DeliveryChannel? {
        guard let channel = DeliveryChannel(parameters, level) else { return nil }
        let slot = slots[channel.rawValue]
        // Numbered streams begin anew on the newest one; that the one before has ended may be told later.
        guard !slot.isOpen || slot.id == id || level.isNumbered(channel) else {
            if extras.count < Self.maximumExtras { extras.append(Extra(id: id, channel: channel)) }
            return nil
        }
        use(id, for: channel)
        return channel
    }

    private mutating func use(_ id: ChannelID, for channel: DeliveryChannel) {
        slots[channel.rawValue].id = id
        slots[channel.rawValue].isOpen = true
        slots[channel.rawValue].isBlocked = false
    }

    package mutating func closed(_ id: ChannelID, now: Timestamp) -> Closing {
        if let index = extras.firstIndex(where: { $0.id == id }) {
            extras.remove(at: index)
            return .ignored
        }
        guard let channel = primary(id) else { return .ignored }
        slots[channel.rawValue].isOpen = false
        slots[channel.rawValue].id = nil
        if let index = extras.firstIndex(where: { $0.channel == channel }) {
            let extra = extras.remove(at: index).id
            use(extra, for: channel)
            return .replaced(channel, by: extra)
        }
        return reopenDelay(of: channel, now: now).map { .reopen(channel, after: $0) } ?? .left(channel)
    }

    /// When to open the channel again. The side that opened it does; the other one only where it makes no difference
    /// when both do.
    package mutating func reopenDelay(of channel: DeliveryChannel, now: Timestamp) -> Duration? {
        guard isOpener || !level.isNumbered(channel) else { return nil }
        return slots[channel.rawValue].backoff.delay(now: now) + (isOpener ? .zero : Self.openersHeadStart)
    }

    /// A frame was refused with `wouldBlock`.
    package mutating func blocked(_ channel: DeliveryChannel) { slots[channel.rawValue].isBlocked = true }

    /// The data channel takes frames again. Returns the channel that it carries.
    package mutating func writableAgain(_ id: ChannelID) -> DeliveryChannel? {
        guard let channel = primary(id) else { return nil }
        slots[channel.rawValue].isBlocked = false
        return channel
    }

    /// The channel does not take what it should, though its end was not told. Returns the data channel to close.
    package mutating func failed(_ channel: DeliveryChannel) -> ChannelID? {
        slots[channel.rawValue].isOpen = false
        return slots[channel.rawValue].id
    }
}
