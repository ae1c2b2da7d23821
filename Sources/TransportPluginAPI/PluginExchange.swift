/// Passes the transports of a shared library that was built elsewhere to a running program.
///
/// The library links the dynamic product `RoomPluginAPI`. At run time the program itself has that name, so that both
/// use the same copy of this module. A plugin exports one C function:
///
/// ```swift
/// @_cdecl("room_plugin_register")
/// public func register(_ exchange: UnsafeMutableRawPointer) -> Int32 {
///     registerTransports(exchange) { registry in registry.register(MySignaling.plugin()) }
/// }
/// ```
///
/// There is no stable ABI on Linux: plugin and program must be built from the same sources of this module with the same
/// compiler. A library for another version fails to load with an undefined symbol, before any of its code runs.
public final class PluginExchange {
    /// The registry to which the plugin adds its transports.
    public var registry: TransportRegistry

    /// Creates an exchange with the registry to add to; for the program that loads a plugin.
    public init(_ registry: TransportRegistry) { self.registry = registry }

    /// The name of the function that a plugin exports.
    public static let entryPoint = "room_plugin_register"
    /// The result of an entry point that has registered its transports.
    public static let success: Int32 = 0
    /// The result of a library with its own copy of this module: it linked the static product instead of
    /// `RoomPluginAPI`.
    public static let otherCopy: Int32 = 1
}

/// An address that identifies a copy of this module.
// SAFETY: written once, never read through: only its value counts.
private nonisolated(unsafe) let identity = UnsafeRawPointer(
    UnsafeMutableRawPointer.allocate(byteCount: 1, alignment: 1))

/// Returns the identity of the copy of this module that answers the call.
@inline(never)
public func transportPluginAPIIdentity() -> UnsafeRawPointer { identity }

/// A function whose name changes whenever the layout of a public type changes: the loader refuses an older plugin,
/// which does not find it.
@inline(never)
public func __transportPluginABI_1() {}

/// Called by a plugin's entry point with its argument. Compiled into the plugin, so that the loader can refuse it.
@_alwaysEmitIntoClient
public func registerTransports(
    _ exchange: UnsafeMutableRawPointer, _ body: (inout TransportRegistry) -> Void
) -> Int32 {
    __transportPluginABI_1()
    // The program's identity comes first, so that code with another copy's layout touches nothing after it.
    let host = exchange.load(as: UnsafeRawPointer.self)
    guard host == transportPluginAPIIdentity() else { return 1 }
    let object = exchange.load(fromByteOffset: MemoryLayout<UnsafeRawPointer>.stride, as: UnsafeRawPointer.self)
    body(&Unmanaged<PluginExchange>.fromOpaque(object).takeUnretainedValue().registry)
    return 0
}
