internal import InProcessTransport
internal import SignalingFoundation
public import TransportPluginAPI

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

extension TransportRegistry {
    /// The backends of this package that the traits of the build include.
    ///
    /// For signaling: `libwebsockets`, `foundation`, `nio`. For peers: `webrtc-libnice`, and `in-process`, which
    /// connects rooms of one process to each other, for tests. An error about one that the build leaves out names the
    /// trait.
    ///
    /// ```swift
    /// try await TransportRuntime.withRunning(configuration, registry: .standard.adding(MySignaling.plugin())) { … }
    /// ```
    public static let standard: TransportRegistry = {
        var registry = TransportRegistry()
        #if Libwebsockets
            registry.register(LibwebsocketsSignaling.plugin())
        #else
            registry.explainAbsence(of: "libwebsockets", Self.trait("Libwebsockets"))
        #endif
        registry.register(FoundationSignaling.plugin())
        #if NIO
            registry.register(NIOSignaling.plugin())
        #else
            registry.explainAbsence(of: "nio", Self.trait("NIO"))
        #endif
        #if WebRTC
            registry.register(
                WebRTCTransport.plugin(
                    name: "webrtc-libnice", summary: "WebRTC data channels: libnice, OpenSSL, usrsctp",
                    options: LibniceProvider.pluginOptions
                ) { context throws(TransportError) in try LibniceProvider(context) })
        #else
            registry.explainAbsence(of: "webrtc-libnice", Self.trait("WebRTC"))
        #endif
        registry.register(InProcessNetwork.plugin)
        return registry
    }()

    private static func trait(_ name: String) -> String {
        "this program was built without the trait '\(name)' of the package 'room': add it where the package is declared"
    }
}

/// The network of all `in-process` peers of this process.
private enum InProcessNetwork {
    static let plugin = PeerPlugin(InProcessPeerTransport.descriptor) { _ throws(TransportError) in
        InProcessPeerTransport(network: try shared.get())
    }

    /// Its loop is never shut down: it belongs to the process.
    private static let shared = Result { () throws(TransportError) in
        InProcessPeerNetwork(loop: try TransportLoop(name: "in-process-peers"))
    }
}
