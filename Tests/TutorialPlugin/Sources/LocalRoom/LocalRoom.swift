import Foundation
import RoomConnection
import SignalingFoundation
import TCPPeers
import TransportPluginAPI
import UnixSignaling

/// Returns the backends that this program was built with: its own, and one that reaches a room server over TCP.
public func localBackends() -> TransportRegistry {
    var registry = TransportRegistry()
    registry.register(FoundationSignaling.plugin())
    registry.register(UnixTransport.plugin())
    registry.register(TCPPeerTransport.plugin())
    return registry
}

/// The content of the configuration file: `{"server": "ws://127.0.0.1:8080/", "signaling": "foundation", "peer":
/// "tcp"}`.
private struct File: Decodable {
    var server: String
    var signaling: String
    var peer: String
}

/// Returns the configuration that a file chooses. An unknown backend is refused when the runtime starts, in a message
/// that names the known ones.
public func localConfiguration(fromFile path: String) throws -> RoomConfiguration {
    let file = try JSONDecoder().decode(File.self, from: Data(contentsOf: URL(filePath: path)))
    var configuration = try RoomConfiguration(server: file.server)
    configuration.signaling.name = file.signaling
    configuration.peer.name = file.peer
    return configuration
}
