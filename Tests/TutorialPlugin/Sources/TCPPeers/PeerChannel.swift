import TransportPluginAPI

/// One channel of a connection, as this side sees it.
final class PeerChannel {
    /// Bytes that may be on their way or wait for the reader at the other side; one message more, whatever its size.
    static let window = 256 << 10
    /// Counted for each message beside its bytes, so that empty ones are bounded too.
    static let overhead = 16

    let id: ChannelID
    let key: ChannelKey
    let parameters: ChannelParameters
    var isOpen = false

    // Outbound
    private var queue: [(Payload, isText: Bool)] = []
    private var queued = 0
    /// Sent, and not yet taken by the other side's reader.
    private var outstanding = 0
    var owesWritable = false
    /// Closing was asked for here: the frame goes out after what was accepted.
    var isClosing = false
    var hasSentClose = false
    var hasReceivedClose = false

    // Inbound
    private var unread: [(Payload, isText: Bool)] = []
    private(set) var unreadBytes = 0
    var isReceiving = true

    init(id: ChannelID, key: ChannelKey, parameters: ChannelParameters) {
        self.id = id
        self.key = key
        self.parameters = parameters
    }

    var buffered: Int { queued + outstanding }

    var isDrained: Bool { queue.isEmpty }

    func append(_ payload: Payload, isText: Bool) {
        queue.append((payload, isText))
        queued += payload.count + Self.overhead
    }

    /// The next message that the window has room for.
    func next() -> PeerFrame? {
        guard let (payload, isText) = queue.first else { return nil }
        let cost = payload.count + Self.overhead
        guard outstanding == 0 || outstanding + cost <= Self.window else { return nil }
        queue.removeFirst()
        queued -= cost
        outstanding += cost
        return .message(key, payload, isText: isText)
    }

    func taken(_ count: Int) { outstanding = max(0, outstanding - count) }

    /// Keeps a message for the reader. False: the other side sends more than the window allows.
    func received(_ payload: Payload, isText: Bool, maximum: Int) -> Bool {
        unread.append((payload, isText))
        unreadBytes += payload.count + Self.overhead
        return unreadBytes <= Self.window + maximum + Self.overhead
    }

    func nextUnread() -> (Payload, isText: Bool)? {
        guard isReceiving, !unread.isEmpty else { return nil }
        let message = unread.removeFirst()
        unreadBytes -= message.0.count + Self.overhead
        return message
    }

    var isRead: Bool { unread.isEmpty }
}
