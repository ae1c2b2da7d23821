public import TransportValues

/// Negotiation between two participants, relayed by the server.
public struct Signal: Sendable, Hashable {
    /// The receiver, in a message to the server; the sender, set by the server, in a message from it.
    public var peer: ParticipantID
    /// The session of the receiver (to the server) or of the sender (from the server). A signal for a session that has
    /// ended is dropped.
    public var session: SessionID
    /// The peer connection of the signal. By it, signals of a replaced connection are recognised.
    public var connection: PeerConnectionID
    /// The negotiation round of the signal.
    public var negotiation: NegotiationID
    /// The content.
    public var body: Body

    /// The content of a signal.
    public enum Body: Sendable, Hashable {
        /// An offer or an answer, on the wire in the JSON form of a browser's `RTCSessionDescription`.
        case description(SessionDescription)
        /// A candidate (trickle ICE, RFC 8838), on the wire in the JSON form of a browser's `RTCIceCandidate`.
        case candidate(PeerCandidate)
        /// All candidates of this generation have been sent.
        case endOfCandidates(usernameFragment: String)
        /// The answering side requests a new path from the offerer.
        case restartRequest(reason: String)
        /// The answering side requests a new peer connection from the offerer.
        case rebuildRequest(reason: String)
    }

    /// Creates a signal with these values.
    public init(
        peer: ParticipantID, session: SessionID, connection: PeerConnectionID, negotiation: NegotiationID, body: Body
    ) {
        self.peer = peer
        self.session = session
        self.connection = connection
        self.negotiation = negotiation
        self.body = body
    }
}
