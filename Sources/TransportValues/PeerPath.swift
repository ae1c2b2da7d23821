/// A path, as far as it is known.
public struct PeerPath: Sendable, Hashable {
    /// Candidate types (RFC 8445 §5.1.1).
    public enum Kind: String, Sendable {
        /// An address of the machine itself.
        case host
        /// Server-reflexive: what a STUN server saw.
        case srflx
        /// Peer-reflexive: what the other side saw.
        case prflx
        /// On a TURN server.
        case relay
        /// The transport has no candidates.
        case none
    }
    /// The local candidate's type (RFC 8445 §5.1.1).
    public var local: Kind
    /// The remote candidate's type.
    public var remote: Kind
    /// For logs: `udp 192.0.2.1:5000 → 192.0.2.2:6000`, or whatever the transport knows.
    public var summary: String
    /// The address of this machine that the path's packets leave from, numeric and without a port. When the machine loses it, the path is
    /// given up at once. Nil when it is not known, or not the path's end (relayed paths).
    public var localAddress: String?
    /// The generation that the path belongs to, as in the local candidates (RFC 8838 §4): an older one may still change while a newer
    /// one looks for its own. Nil: the latest.
    public var usernameFragment: String?

    /// A path between candidates of these types.
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
