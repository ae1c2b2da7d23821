/// An offer or an answer, opaque to everybody but the peer transports at both ends (WebRTC: SDP, RFC 8829).
public struct SessionDescription: Sendable, Hashable {
    /// Which of the two it is.
    public enum Kind: String, Sendable {
        /// Of the offerer.
        case offer
        /// Of the other side, to an offer.
        case answer
    }
    /// Whether it is an offer or an answer.
    public var kind: Kind
    /// As the transport wrote it. It may hold an ICE password: a secret.
    public var text: String

    /// Takes the text as it is: the connection checks it.
    public init(kind: Kind, text: String) {
        self.kind = kind
        self.text = text
    }
}

/// A candidate, opaque to everybody but the peer transports at both ends (WebRTC: `candidate:…`, RFC 8839 §5.1).
public struct PeerCandidate: Sendable, Hashable {
    /// Empty: no more candidates will come for this generation (RFC 8838 §8).
    public var text: String
    /// The `mid` of the media section it belongs to, where the transport has such (RFC 8839 §5.1, W3C `sdpMid`).
    public var mediaID: String?
    /// The index of that section, from 0 (W3C `sdpMLineIndex`).
    public var mediaLineIndex: Int?
    /// The generation that the candidate belongs to (RFC 8838 §4).
    public var usernameFragment: String?

    /// Takes the text as it is: the connection checks it.
    public init(text: String, mediaID: String? = nil, mediaLineIndex: Int? = nil, usernameFragment: String? = nil) {
        self.text = text
        self.mediaID = mediaID
        self.mediaLineIndex = mediaLineIndex
        self.usernameFragment = usernameFragment
    }
}
