/// How a shared library that was built elsewhere hands its transports to a running program.
///
/// The library links the dynamic product `RoomPluginAPI`; at run time the program itself answers to that name, so that both have
/// one and the same copy of this module. A plugin exports one C function:
///
/// ```swift
/// @_cdecl("room_plugin_register")
/// public func register(_ exchange: UnsafeMutableRawPointer) -> Int32 {
///     registerTransports(exchange) { registry in registry.register(MySignaling.plugin()) }
/// }
/// ```
///
/// There is no stable ABI on Linux: plugin and program must be built from the same sources of this module with the same compiler.
/// A library for another version fails to load with an undefined symbol before any of its code runs.
public final class PluginExchange {
    /// What the plugin adds to.
    public var registry: TransportRegistry

    /// For the program that loads a plugin: what the plugin is to add to.
    public init(_ registry: TransportRegistry) { self.registry = registry }

    /// The name of the function that a plugin exports.
    public static let entryPoint = "room_plugin_register"
    /// What the function returns.
    public static let success: Int32 = 0
    /// The library brought a copy of this module of its own: it linked the static product instead of `RoomPluginAPI`.
    public static let otherCopy: Int32 = 1
}

/// An address that tells one copy of this module from another.
// SAFETY: written once, never read through: only its value counts.
private nonisolated(unsafe) let identity = UnsafeRawPointer(
    UnsafeMutableRawPointer.allocate(byteCount: 1, alignment: 1))

/// The address that belongs to the copy of this module that answers the call.
@inline(never)
public func transportPluginAPIIdentity() -> UnsafeRawPointer { identity }

/// Changes its name whenever the layout of a public type changes: an older plugin does not find it and is refused by the loader.
@inline(never)
public func __transportPluginABI_1() {}

/// Called by a plugin's entry point with the pointer that it got. Compiled into the plugin, so that the loader can refuse it.
@_alwaysEmitIntoClient
public func registerTransports(
    _ exchange: UnsafeMutableRawPointer, _ body: (inout TransportRegistry) -> Void
) -> Int32 {
    __transportPluginABI_1()
    // The program's identity comes first, so that nothing of it is touched by another copy's idea of its layout.
    let host = exchange.load(as: UnsafeRawPointer.self)
    guard host == transportPluginAPIIdentity() else { return 1 }
    let object = exchange.load(fromByteOffset: MemoryLayout<UnsafeRawPointer>.stride, as: UnsafeRawPointer.self)
    body(&Unmanaged<PluginExchange>.fromOpaque(object).takeUnretainedValue().registry)
    return 0
}
