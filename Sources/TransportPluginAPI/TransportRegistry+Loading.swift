internal import Glibc

extension TransportRegistry {
    /// Loads a plugin, a shared library, and adds the backends that it registers (see ``PluginExchange``). Libraries
    /// are never unloaded.
    ///
    /// Works in a program that exports its symbols under the name of the library `RoomPluginAPI`, as the command `room`
    /// does; in another, the plugin is refused, because it would bring its own copy of this module.
    ///
    /// Throws `.unavailable`, with the reason and what to do about it.
    /// - Parameter path: The library's file.
    public mutating func loadPlugin(at path: String) throws(TransportError) {
        func refused(_ reason: String) -> TransportError {
            TransportError(.unavailable, "the plugin \(path) \(reason)")
        }
        guard access(path, F_OK) == 0 else { throw refused("does not exist") }
        // Without it the library would bring its own Swift runtime, and crash.
        guard dlopen("libswiftCore.so", RTLD_NOW | RTLD_NOLOAD) != nil else {
            throw refused(
                "cannot be loaded: this executable was linked with --static-swift-stdlib; link it dynamically")
        }
        // Resolves all symbols now: a library for another version of the API must fail here, before its code runs.
        guard let library = dlopen(path, RTLD_NOW | RTLD_LOCAL) else {
            let reason = dlerror().map { String(cString: $0) } ?? "no reason given"
            if reason.contains("transportPluginABI") {
                throw refused("was built for another version of TransportPluginAPI: rebuild it against this one")
            }
            throw refused("cannot be loaded: \(reason)")
        }
        guard let symbol = dlsym(library, PluginExchange.entryPoint) else {
            throw refused("has no function \(PluginExchange.entryPoint): it is not a transport plugin")
        }
        typealias Entry = @convention(c) (UnsafeMutableRawPointer) -> Int32
        let entry = unsafeBitCast(symbol, to: Entry.self)
        let exchange = PluginExchange(self)
        let status = withExtendedLifetime(exchange) {
            var arguments = (
                transportPluginAPIIdentity(), UnsafeRawPointer(Unmanaged.passUnretained(exchange).toOpaque())
            )
            return withUnsafeMutableBytes(of: &arguments) { bytes in
                bytes.baseAddress.map(entry) ?? PluginExchange.otherCopy
            }
        }
        guard status == PluginExchange.success else {
            throw refused("has a copy of TransportPluginAPI of its own: link the dynamic product RoomPluginAPI instead")
        }
        self = exchange.registry
    }
}
