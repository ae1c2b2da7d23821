internal import InProcessTransport
internal import Logging
internal import TransportPluginAPI

#if Libwebsockets
    internal import SignalingLibwebsockets
#endif
#if WebRTC
    internal import ICELibnice
    internal import PeerWebRTC
#endif

/// The backends that this executable was built with.
enum Backends {
    /// `faults`: given, every ICE agent can have its path cut by it, for `room demo` and tests.
    static func registry(faults: ICEFaultControl? = nil) -> TransportRegistry {
        var registry = TransportRegistry()
        #if Libwebsockets
            registry.register(LibwebsocketsTransport.plugin())
        #endif
        #if WebRTC
            registry.register(webRTC(faults))
        #endif
        return registry
    }

    #if WebRTC
        private static func webRTC(_ faults: ICEFaultControl?) -> PeerPlugin {
            if let faults {
                return WebRTCTransport.plugin(
                    name: "webrtc-libnice", summary: "WebRTC data channels: libnice, OpenSSL, usrsctp"
                ) { context throws(TransportError) in
                    FaultInjectingICEAgentProvider(try LibniceProvider(context), control: faults)
                }
            }
            return WebRTCTransport.plugin(
                name: "webrtc-libnice", summary: "WebRTC data channels: libnice, OpenSSL, usrsctp"
            ) { context throws(TransportError) in try LibniceProvider(context) }
        }
    #endif
}
