/// The identifier of a channel of one connection, for its whole life. It is never used again for another channel.
public struct ChannelID: Sendable, Hashable {
    /// A number chosen by the connection.
    public var rawValue: Int
    /// Creates the id of a channel; for transports that open one.
    public init(rawValue: Int) { self.rawValue = rawValue }
}

/// The properties of a channel (RFC 8831 §6.4, RFC 8832 §5.1).
public struct ChannelParameters: Sendable, Hashable {
    /// Whether and when a message may be dropped (RFC 8832 §5.1).
    public enum Reliability: Sendable, Hashable {
        /// Messages are never dropped.
        case reliable
        /// A message is dropped after this many retransmissions (0: none).
        case retransmissions(UInt16)
        /// A message is dropped after this time.
        case lifetime(milliseconds: UInt16)
    }
    /// The channel's name, up to 65,535 bytes. Several channels may have the same name.
    public var label: String
    /// The name of the subprotocol.
    public var `protocol`: String
    /// Whether messages arrive in the order in which they were sent.
    public var isOrdered: Bool
    /// Whether and when a message may be dropped.
    public var reliability: Reliability
    /// The stream id, when both sides have agreed on it beforehand and no open message is sent.
    public var negotiatedID: UInt16?

    /// Creates parameters. The defaults are those of an ordered, reliable channel without a name.
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
