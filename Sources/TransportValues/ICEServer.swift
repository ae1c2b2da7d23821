/// A STUN or TURN server with its credentials (W3C webrtc-pc §4.2.2).
public struct ICEServer: Sendable, Hashable, CustomStringConvertible {
    /// `stun:host:port`, `turn:host:port?transport=udp`, `turns:…` (RFC 7064, RFC 7065).
    public var urls: [String]
    /// Nil for STUN.
    public var username: String?
    /// A password. A secret.
    public var credential: String?

    /// A server with the credentials for it.
    public init(urls: [String], username: String? = nil, credential: String? = nil) {
        self.urls = urls
        self.username = username
        self.credential = credential
    }

    /// Without the credential.
    public var description: String { urls.joined(separator: ", ") }
}

/// Which candidates may be gathered.
public enum ICEPolicy: String, Sendable, CaseIterable {
    /// Every kind.
    case all
    /// Only relayed candidates: no address of this machine is told to anybody.
    case relay
}
