import TransportPluginAPI

/// Peer connections over plain TCP between processes of one machine. They are not encrypted, and therefore do not lead
/// to another machine.
///
/// The offerer listens on 127.0.0.1 and announces the port; the other side connects. Each side shows the token from the
/// other's description.
public final class TCPPeerTransport: PeerTransport {
    private struct State {
        var isShutDown = false
        var connections: [ObjectIdentifier: TCPPeerConnection] = [:]
    }

    public let loop: TransportLoop
    private let state = Locked(State())

    /// Throws `.resourceExhausted` when the system has no descriptor or thread left.
    public init() throws(TransportError) { loop = try TransportLoop(name: "tcp-peers") }

    /// Returns the plugin to register: the backend called `tcp`.
    public static func plugin() -> PeerPlugin {
        let descriptor = PluginDescriptor(
            name: "tcp", summary: "Plain TCP between processes of one machine, not encrypted", capabilities: [])
        return PeerPlugin(descriptor) { _ throws(TransportError) in try TCPPeerTransport() }
    }

    public func makeConnection(
        _ configuration: PeerConnectionConfiguration, handler: any PeerConnectionHandler
    ) throws(TransportError) -> TCPPeerConnection {
        loop.preconditionIsCurrent()
        let connection = TCPPeerConnection(loop, configuration, handler) { [weak self] connection in
            _ = self?.state.withLock { $0.connections.removeValue(forKey: ObjectIdentifier(connection)) }
        }
        let isShutDown = state.withLock { state in
            if !state.isShutDown { state.connections[ObjectIdentifier(connection)] = connection }
            return state.isShutDown
        }
        if isShutDown { throw TransportError(.closed, "the transport is shut down") }
        return connection
    }

    public nonisolated(nonsending) func shutdown() async {
        let (isFirst, open) = state.withLock { state in
            defer { state.isShutDown = true }
            return (!state.isShutDown, Array(state.connections.values))
        }
        if isFirst {
            await loop.run { for connection in open { connection.close() } }
            // After the events that `close` has queued.
            await loop.run {}
        }
        await loop.shutdown()
    }
}

#if LOADABLE
    /// Called by a program that loads this library at run time. A program that registers several transports itself does
    /// not need it.
    @_cdecl("room_plugin_register")
    public func register(_ exchange: UnsafeMutableRawPointer) -> Int32 {
        registerTransports(exchange) { registry in registry.register(TCPPeerTransport.plugin()) }
    }
#endif
