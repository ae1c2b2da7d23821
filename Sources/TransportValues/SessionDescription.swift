/// An offer or an answer. Only the peer transports at both ends interpret it (WebRTC: SDP, RFC 8829).
public struct SessionDescription: Sendable, Hashable {
    /// The kind of a description.
    public enum Kind: String, Sendable {
        /// The offerer's description.
        case offer
        /// The other side's answer to an offer.
        case answer
    }
    /// Whether it is an offer or an answer.
    public var kind: Kind
    /// The text, as the transport wrote it. It may contain an ICE password: a secret.
    public var text: String

    /// Creates a description with any text. The connection checks it.
    public init(kind: Kind, text: String) {
        self.kind = kind
        self.text = text
    }
}

/// A candidate. Only the peer transports at both ends interpret it (WebRTC: `candidate:…`, RFC 8839 §5.1).
public struct PeerCandidate: Sendable, Hashable {
    /// The text. Empty: no more candidates of this generation follow (RFC 8838 §8).
    public var text: String
    /// The `mid` of the candidate's media section, when the transport has such (RFC 8839 §5.1, W3C `sdpMid`).
    public var mediaID: String?
    /// The index of that section, from 0 (W3C `sdpMLineIndex`).
    public var mediaLineIndex: Int?
    /// The candidate's generation (RFC 8838 §4).
    public var usernameFragment: String?

    /// Creates a candidate with any text. The connection checks it.
    public init(text: String, mediaID: String? = nil, mediaLineIndex: Int? = nil, usernameFragment: String? = nil) {
        self.text = text
        self.mediaID = mediaID
        self.mediaLineIndex = mediaLineIndex
        self.usernameFragment = usernameFragment
    }
}
