import TransportPluginAPI

extension UnixTransport {
    /// Returns the plugin to register: the backend called `unix`.
    public static func plugin() -> SignalingPlugin {
        let descriptor = PluginDescriptor(
            name: "unix", summary: "Signaling over Unix-domain sockets", capabilities: [])
        return SignalingPlugin(descriptor) { _ throws(TransportError) in try UnixTransport() }
    }
}

/// Called by a program that loads this library at run time.
@_cdecl("room_plugin_register")
public func register(_ exchange: UnsafeMutableRawPointer) -> Int32 {
    registerTransports(exchange) { registry in registry.register(UnixTransport.plugin()) }
}
