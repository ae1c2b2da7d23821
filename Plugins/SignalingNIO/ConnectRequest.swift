#if NIO
    internal import TransportPluginAPI

    /// What one connection attempt needs.
    struct ConnectRequest: Sendable {
        let endpoint: SignalingEndpoint
        /// Nil for `ws`.
        let tls: TLSClient?
        let deadline: Timestamp
    }
#endif
