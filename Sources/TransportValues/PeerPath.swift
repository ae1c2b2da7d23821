/// A path of a peer connection, as far as it is known.
public struct PeerPath: Sendable, Hashable {
    /// The type of a candidate (RFC 8445 §5.1.1).
    public enum Kind: String, Sendable {
        /// An address of the machine itself.
        case host
        /// Server-reflexive: the address that a STUN server saw.
        case srflx
        /// Peer-reflexive: the address that the other side saw.
        case prflx
        /// Relayed: an address on a TURN server.
        case relay
        /// The transport has no candidates.
        case none
    }
    /// The local candidate's type (RFC 8445 §5.1.1).
    public var local: Kind
    /// The remote candidate's type.
    public var remote: Kind
    /// A description for logs: `udp 192.0.2.1:5000 → 192.0.2.2:6000`, or whatever the transport knows.
    public var summary: String
    /// The local address of the path's packets, numeric and without a port. When the machine loses it, the path is
    /// abandoned at once. Nil when it is unknown, or not the end of the path (relayed paths).
    public var localAddress: String?
    /// The generation of the path, as in the local candidates (RFC 8838 §4). An older path may still change while a
    /// newer generation searches for its own. Nil: the latest.
    public var usernameFragment: String?

    /// Creates a path between candidates of these types.
    public init(
        local: Kind, remote: Kind, summary: String = "", localAddress: String? = nil, usernameFragment: String? = nil
    ) {
        self.usernameFragment = usernameFragment
        self.local = local
        self.remote = remote
        self.summary = summary
        self.localAddress = localAddress
    }
}
