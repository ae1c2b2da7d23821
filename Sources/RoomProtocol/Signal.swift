/// Negotiation between two participants, relayed by the server.
public struct Signal: Sendable, Hashable {
    /// To the server: the receiver. From the server: the sender, stamped by it.
    public var peer: ParticipantID
    /// The session of the receiver that is meant (to the server) or of the sender (from the server). A signal for a session
    /// that is no more is dropped.
    public var session: SessionID
    /// The peer connection that is meant; one that was replaced is recognised by it.
    public var connection: PeerConnectionID
    /// The round of this connection that is meant.
    public var negotiation: NegotiationID
    /// What is said.
    public var body: Body

    /// What one peer says to another.
    public enum Body: Sendable, Hashable {
        /// An offer or an answer.
        case description(Description)
        /// A candidate (trickle ICE, RFC 8838).
        case candidate(Candidate)
        /// All candidates of this generation were told.
        case endOfCandidates(usernameFragment: String)
        /// The answering side asks the offerer for a new path.
        case restartRequest(reason: String)
        /// The answering side asks the offerer for a new peer connection.
        case rebuildRequest(reason: String)
    }

    /// As a browser's `RTCSessionDescription` gives it as JSON.
    public struct Description: Sendable, Hashable {
        /// Which of the two it is.
        public enum Kind: String, Sendable {
            /// Of the offerer.
            case offer
            /// Of the other side, to an offer.
            case answer
        }
        /// Offer or answer.
        public var kind: Kind
        /// The session description (RFC 8829). It holds an ICE password: a secret.
        public var sdp: String
        /// A description of these values.
        public init(kind: Kind, sdp: String) {
            self.kind = kind
            self.sdp = sdp
        }
    }

    /// As a browser's `RTCIceCandidate` gives it as JSON.
    public struct Candidate: Sendable, Hashable {
        /// A line as in RFC 8839 §5.1, without `a=`.
        public var candidate: String
        /// `sdpMid`.
        public var mediaID: String?
        /// `sdpMLineIndex`.
        public var mediaLineIndex: Int?
        /// The generation that the candidate belongs to.
        public var usernameFragment: String?
        /// A candidate of these values.
        public init(
            candidate: String, mediaID: String? = nil, mediaLineIndex: Int? = nil, usernameFragment: String? = nil
        ) {
            self.candidate = candidate
            self.mediaID = mediaID
            self.mediaLineIndex = mediaLineIndex
            self.usernameFragment = usernameFragment
        }
    }

    /// A signal of these values.
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
