/// The state of a peer connection. New cases may be added: always have a `default`.
public enum PeerConnectionState: Sendable, Hashable {
    /// Negotiation has not started.
    case new
    /// Negotiating, checking paths, or in the handshake.
    case connecting
    /// Channels can carry data.
    case connected
    /// No path works at the moment. Channels are kept; call `restart(iceServers:)` for a new path.
    case disconnected
}

/// The evidence of the other side's presence.
public enum PeerLiveness: Sendable, Hashable {
    /// An authenticated datagram has arrived within the expected time.
    case alive
    /// Data is outstanding, and nothing has arrived since `since`. The connection probes every 250 ms.
    case suspect(since: Timestamp)
}

/// Counters of one peer connection.
public struct PeerConnectionStatistics: Sendable, Hashable {
    /// The number of messages that `send` has accepted, over all channels.
    public var messagesSent: UInt64 = 0
    /// The number of messages that arrived completely.
    public var messagesReceived: UInt64 = 0
    /// The bytes of the sent messages, without headers.
    public var bytesSent: UInt64 = 0
    /// The bytes of the received messages, without headers.
    public var bytesReceived: UInt64 = 0
    /// The smoothed round-trip time, when it is known.
    public var roundTrip: Duration?
    /// The time of the last authenticated datagram, when it is known.
    public var lastEvidence: Timestamp?

    /// Creates statistics with all counters zero.
    public init() {}
}
