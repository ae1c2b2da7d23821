/// How far a peer connection is. New cases may be added: always have a `default`.
public enum PeerConnectionState: Sendable, Hashable {
    /// Nothing was begun.
    case new
    /// Negotiating, checking paths, or in the handshake.
    case connecting
    /// Channels can carry data.
    case connected
    /// No path works at the moment. Channels are kept; `restart(iceServers:)` is the cure.
    case disconnected
}

/// What is known of the other side being there.
public enum PeerLiveness: Sendable, Hashable {
    /// An authenticated datagram has come within the expected time.
    case alive
    /// Something was outstanding and nothing has come since `since`; the connection probes (every 250 ms).
    case suspect(since: Timestamp)
}

/// Counters of one peer connection.
public struct PeerConnectionStatistics: Sendable, Hashable {
    /// Messages that `send` has taken, of all channels.
    public var messagesSent: UInt64 = 0
    /// Messages that came whole.
    public var messagesReceived: UInt64 = 0
    /// Bytes of these messages, without headers.
    public var bytesSent: UInt64 = 0
    /// Bytes of these messages, without headers.
    public var bytesReceived: UInt64 = 0
    /// Smoothed round trip, where known.
    public var roundTrip: Duration?
    /// When the last authenticated datagram came, where known.
    public var lastEvidence: Timestamp?

    /// All zero.
    public init() {}
}
