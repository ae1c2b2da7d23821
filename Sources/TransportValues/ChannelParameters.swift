/// Names a channel of one connection, for its whole life. Never used again for another channel.
public struct ChannelID: Sendable, Hashable {
    /// A number of the connection's choice.
    public var rawValue: Int
    /// For transports: the id of a channel that they open.
    public init(rawValue: Int) { self.rawValue = rawValue }
}

/// What a channel promises (RFC 8831 §6.4, RFC 8832 §5.1).
public struct ChannelParameters: Sendable, Hashable {
    /// Whether a message may be given up, and when (RFC 8832 §5.1).
    public enum Reliability: Sendable, Hashable {
        /// Never.
        case reliable
        /// A message is given up after this many retransmissions (0: none).
        case retransmissions(UInt16)
        /// A message is given up after this long.
        case lifetime(milliseconds: UInt16)
    }
    /// The channel's name, up to 65,535 bytes. Several channels may have the same.
    public var label: String
    /// The subprotocol's name.
    public var `protocol`: String
    /// Whether messages arrive in the order in which they were sent.
    public var isOrdered: Bool
    /// Whether a message may be given up.
    public var reliability: Reliability
    /// The stream id, when both sides have agreed on it beforehand and no open message is to be sent.
    public var negotiatedID: UInt16?

    /// An ordered, reliable channel, but for what is given.
    public init(
        label: String, protocol: String = "", isOrdered: Bool = true, reliability: Reliability = .reliable,
        negotiatedID: UInt16? = nil
    ) {
        self.label = label
        self.protocol = `protocol`
        self.isOrdered = isOrdered
        self.reliability = reliability
        self.negotiatedID = negotiatedID
    }
}
