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
        /// An offer or an answer.
        case description(Description)
        /// A candidate (trickle ICE, RFC 8838).
        case candidate(Candidate)
        /// All candidates of this generation have been sent.
        case endOfCandidates(usernameFragment: String)
        /// The answering side requests a new path from the offerer.
        case restartRequest(reason: String)
        /// The answering side requests a new peer connection from the offerer.
        case rebuildRequest(reason: String)
    }

    /// A session description, in the JSON form of a browser's `RTCSessionDescription`.
    public struct Description: Sendable, Hashable {
        /// The kind of a description.
        public enum Kind: String, Sendable {
            /// The offerer's description.
            case offer
            /// The other side's answer to an offer.
            case answer
        }
        /// Whether it is an offer or an answer.
        public var kind: Kind
        /// The session description (RFC 8829). It contains an ICE password: a secret.
        public var sdp: String
        /// Creates a description with these values.
        public init(kind: Kind, sdp: String) {
            self.kind = kind
            self.sdp = sdp
        }
    }

    /// A candidate, in the JSON form of a browser's `RTCIceCandidate`.
    public struct Candidate: Sendable, Hashable {
        /// A line as in RFC 8839 §5.1, without `a=`.
        public var candidate: String
        /// `sdpMid`.
        public var mediaID: String?
        /// `sdpMLineIndex`.
        public var mediaLineIndex: Int?
        /// The candidate's generation.
        public var usernameFragment: String?
        /// Creates a candidate with these values.
        public init(
            candidate: String, mediaID: String? = nil, mediaLineIndex: Int? = nil, usernameFragment: String? = nil
        ) {
            self.candidate = candidate
            self.mediaID = mediaID
            self.mediaLineIndex = mediaLineIndex
            self.usernameFragment = usernameFragment
        }
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
