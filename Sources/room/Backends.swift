internal import Foundation
internal import InProcessTransport
internal import RoomKit
internal import TransportPluginAPI

#if WebRTC
    internal import ICELibnice
    internal import PeerWebRTC
#endif

/// The backends of the command: the standard ones and loaded plugins.
enum Backends {
    /// The peer backends whose paths `faults` can cut.
    static let faultable: Set = ["webrtc-libnice"]

    /// Returns a registry of the backends of this executable.
    ///
    /// - Parameters:
    ///   - faults: Cuts the paths of all ICE agents, for `room demo` and tests.
    ///   - plugins: Shared libraries to load, after those of the environment variable ROOM_PLUGINS (comma-separated).
    static func registry(faults: ICEFaultControl? = nil, plugins: [String] = []) throws -> TransportRegistry {
        var registry = TransportRegistry.standard
        // The participants of the command are processes.
        registry.removePeer(named: "in-process")
        if let faults { addFaults(faults, to: &registry) }
        let named = ProcessInfo.processInfo.environment["ROOM_PLUGINS"]?.split(separator: ",").map(String.init) ?? []
        for path in named + plugins { try load(path, into: &registry) }
        return registry
    }

    /// Adds the backends of a shared library to the registry.
    static func load(_ path: String, into registry: inout TransportRegistry) throws {
        do throws(TransportError) { try registry.loadPlugin(at: path) } catch {
            throw CommandError(.unavailable, error.message)
        }
    }

    /// Returns whether the `faults` of its registry can cut the backend's paths.
    static func hasFaults(_ name: String) -> Bool { faultable.contains(name) }

    private static func addFaults(_ faults: ICEFaultControl, to registry: inout TransportRegistry) {
        #if WebRTC
            guard let plain = try? registry.peerPlugin(named: "webrtc-libnice").descriptor else { return }
            registry.register(
                WebRTCTransport.plugin(
                    name: plain.name, summary: plain.summary, options: LibniceProvider.pluginOptions
                ) { context throws(TransportError) in
                    FaultInjectingICEAgentProvider(try LibniceProvider(context), control: faults)
                })
        #endif
    }
}
