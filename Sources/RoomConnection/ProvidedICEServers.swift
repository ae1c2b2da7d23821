public import TransportPluginAPI

/// ICE servers of the application's own provider, and when their credentials expire.
public struct ProvidedICEServers: Sendable, Hashable {
    /// The servers.
    public var servers: [ICEServer]
    /// When they cannot be used any more. Nil: never.
    public var expiresAt: Timestamp?

    /// Servers that can be used for `validFor` from now on. Nil: for ever.
    public init(_ servers: [ICEServer], validFor: Duration? = nil) {
        self.servers = servers
        expiresAt = validFor.map(Timestamp.init(afterNow:))
    }
}
