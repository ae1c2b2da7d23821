/// A STUN or TURN server with its credentials (W3C webrtc-pc §4.2.2).
public struct ICEServer: Sendable, Hashable, CustomStringConvertible {
    /// The URLs: `stun:host:port`, `turn:host:port?transport=udp`, `turns:…` (RFC 7064, RFC 7065).
    public var urls: [String]
    /// The user name; nil for STUN.
    public var username: String?
    /// The password; nil for STUN. A secret.
    public var credential: String?

    /// Creates a server with its credentials.
    public init(urls: [String], username: String? = nil, credential: String? = nil) {
        self.urls = urls
        self.username = username
        self.credential = credential
    }

    /// The URLs, without the credential.
    public var description: String { urls.joined(separator: ", ") }
}

/// The kinds of candidates that may be gathered.
public enum ICEPolicy: String, Sendable, CaseIterable {
    /// Every kind.
    case all
    /// Only relayed candidates: the other side learns no address of this machine.
    case relay
}
