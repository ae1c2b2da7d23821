internal import Foundation
internal import InProcessTransport
internal import Logging
internal import SignalingFoundation
internal import TransportPluginAPI

#if Libwebsockets
    internal import SignalingLibwebsockets
#endif
#if NIO
    internal import SignalingNIO
#endif
#if WebRTC
    internal import ICELibnice
    internal import PeerWebRTC
#endif

/// The backends that this executable was built with.
enum Backends {
    /// The peer backends whose paths `faults` can cut.
    static let faultable: Set = ["webrtc-libnice"]

    /// Returns a registry of the backends of this executable.
    ///
    /// - Parameters:
    ///   - faults: Cuts the paths of all ICE agents, for `room demo` and tests.
    ///   - plugins: Shared libraries to load, after those of the environment variable ROOM_PLUGINS (comma-separated).
    static func registry(faults: ICEFaultControl? = nil, plugins: [String] = []) throws -> TransportRegistry {
        var registry = TransportRegistry()
        #if Libwebsockets
            registry.register(LibwebsocketsSignaling.plugin())
        #endif
        registry.register(FoundationSignaling.plugin())
        #if NIO
            registry.register(NIOSignaling.plugin())
        #endif
        #if WebRTC
            registry.register(webRTC(faults))
        #endif
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
    static func hasFaults(_ name: String) -> Bool { name == "webrtc-libnice" }

    #if WebRTC
        private static let summary = "WebRTC data channels: libnice, OpenSSL, usrsctp"

        private static func webRTC(_ faults: ICEFaultControl?) -> PeerPlugin {
            if let faults {
                return WebRTCTransport.plugin(
                    name: "webrtc-libnice", summary: summary, options: LibniceProvider.pluginOptions
                ) { context throws(TransportError) in
                    FaultInjectingICEAgentProvider(try LibniceProvider(context), control: faults)
                }
            }
            return WebRTCTransport.plugin(
                name: "webrtc-libnice", summary: summary, options: LibniceProvider.pluginOptions
            ) { context throws(TransportError) in try LibniceProvider(context) }
        }
    #endif
}
