import TransportPluginAPI

/// One channel of a connection, from this side's point of view.
final class PeerChannel {
    /// Bytes that may be in transit or wait for the reader at the other side. One message of any size is allowed beyond
    /// them.
    static let window = 256 << 10
    /// Bytes counted for each message in addition to its payload, so that empty messages are bounded too.
    static let overhead = 16

    let id: ChannelID
    let key: ChannelKey
    let parameters: ChannelParameters
    var isOpen = false

    // Outbound
    private var queue: [(Payload, isText: Bool)] = []
    private var queued = 0
    /// Bytes that were sent, and not yet taken by the other side's reader.
    private var outstanding = 0
    var mustReportWritable = false
    /// Whether closing was requested here: the close frame goes out after the accepted messages.
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

    /// Returns the next message that the window has room for.
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

    /// Keeps a message for the reader. Returns false when the other side sends more than the window allows.
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
