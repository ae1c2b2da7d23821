public import TransportPluginAPI

/// ICE servers of the application's own provider, and the expiry of their credentials.
public struct ProvidedICEServers: Sendable, Hashable {
    /// The servers.
    public var servers: [ICEServer]
    /// The time from which the servers cannot be used any more. Nil: never.
    public var expiresAt: Timestamp?

    /// Creates a list that can be used for `validFor` from now. Nil: without limit.
    public init(_ servers: [ICEServer], validFor: Duration? = nil) {
        self.servers = servers
        expiresAt = validFor.map(Timestamp.init(afterNow:))
    }
}
