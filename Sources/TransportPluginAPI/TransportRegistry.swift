public import Logging
public import TransportValues

/// The transports that a program can choose from. A value: make one, register transports, and pass it to the runtime.
///
/// ```swift
/// var registry = TransportRegistry()
/// registry.register(SignalingPlugin(descriptor) { context in MySignaling(context) })
/// ```
public struct TransportRegistry: Sendable {
    /// The signaling backends, in the order of registration.
    public private(set) var signaling: [SignalingPlugin] = []
    /// The peer backends, in the order of registration.
    public private(set) var peer: [PeerPlugin] = []
    /// Why backends are not there, by their names.
    private var absences: [String: String] = [:]

    /// Creates an empty registry.
    public init() {}

    /// Adds a backend. It replaces one of the same name.
    public mutating func register(_ plugin: SignalingPlugin) { signaling.replace(with: plugin) }

    /// Adds a backend. It replaces one of the same name.
    public mutating func register(_ plugin: PeerPlugin) { peer.replace(with: plugin) }

    /// Returns this registry with one more backend. It replaces one of the same name.
    public func adding(_ plugin: SignalingPlugin) -> TransportRegistry {
        var registry = self
        registry.register(plugin)
        return registry
    }

    /// Returns this registry with one more backend. It replaces one of the same name.
    public func adding(_ plugin: PeerPlugin) -> TransportRegistry {
        var registry = self
        registry.register(plugin)
        return registry
    }

    /// Removes the signaling backend of this name, if there is one.
    public mutating func removeSignaling(named name: String) { signaling.removeAll { $0.descriptor.name == name } }

    /// Removes the peer backend of this name, if there is one.
    public mutating func removePeer(named name: String) { peer.removeAll { $0.descriptor.name == name } }

    /// Says why a backend that could be here is not: one sentence for the error of a program that names it.
    public mutating func explainAbsence(of name: String, _ reason: String) { absences[name] = reason }

    /// Returns the backend of this name. Throws `.unavailable` when it is known why there is none, or else
    /// `.invalidArgument`, naming the known ones.
    public func signalingPlugin(named name: String) throws(TransportError) -> SignalingPlugin {
        try plugin(named: name, in: signaling, kind: "signaling")
    }

    /// Returns the backend of this name. Throws as `signalingPlugin(named:)`.
    public func peerPlugin(named name: String) throws(TransportError) -> PeerPlugin {
        try plugin(named: name, in: peer, kind: "peer")
    }

    private func plugin<Transport>(
        named name: String, in plugins: [TransportPlugin<Transport>], kind: String
    ) throws(TransportError) -> TransportPlugin<Transport> {
        if let plugin = plugins.first(where: { $0.descriptor.name == name }) { return plugin }
        let known = plugins.map(\.descriptor.name)
        let names = known.isEmpty ? "none is registered" : "there is " + known.joined(separator: ", ")
        if let reason = absences[name] {
            throw TransportError(
                .unavailable, "there is no \(kind) transport '\(name)': \(reason), or use another one (\(names))")
        }
        throw TransportError(.invalidArgument, "no \(kind) transport is called '\(name.prefix(64))': \(names)")
    }
}

extension Array {
    fileprivate mutating func replace<Transport>(with plugin: Element) where Element == TransportPlugin<Transport> {
        removeAll { $0.descriptor.name == plugin.descriptor.name }
        append(plugin)
    }
}

/// A backend: its description, and how to make its transport.
public struct TransportPlugin<Transport>: Sendable {
    /// The plugin's description.
    public let descriptor: PluginDescriptor
    /// Makes the transport. Called once by a starting runtime, before any connection. Throws `.unavailable` or
    /// `.invalidArgument` (an option).
    public let make: @Sendable (PluginContext) throws(TransportError) -> Transport

    /// Creates a plugin with this description.
    public init(
        _ descriptor: PluginDescriptor, make: @escaping @Sendable (PluginContext) throws(TransportError) -> Transport
    ) {
        self.descriptor = descriptor
        self.make = make
    }
}

/// A signaling backend.
public typealias SignalingPlugin = TransportPlugin<any SignalingTransport>

/// A peer backend.
public typealias PeerPlugin = TransportPlugin<any PeerTransport>

/// The description of a plugin, available without starting it.
public struct PluginDescriptor: Sendable {
    /// The name, as written in configuration: lower case letters, digits, `-`.
    public let name: String
    /// One line for `room plugins`.
    public let summary: String
    /// The capabilities beyond the core of its contract.
    public let capabilities: Capabilities
    /// The options of its part of the configuration. Any other name is refused.
    public let options: [PluginOption]
    /// Returns nil when it can run on this machine, or else one sentence that names what is missing and the package
    /// that provides it.
    public let unavailability: @Sendable () -> String?

    /// Creates a description. Starts nothing.
    public init(
        name: String, summary: String, capabilities: Capabilities, options: [PluginOption] = [],
        unavailability: @escaping @Sendable () -> String? = { nil }
    ) {
        self.name = name
        self.summary = summary
        self.capabilities = capabilities
        self.options = options
        self.unavailability = unavailability
    }
}

/// The capabilities of a backend beyond the core of its contract. The conformance kit tests those that are declared.
public struct Capabilities: OptionSet, Sendable, Hashable {
    public let rawValue: UInt64
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    // Signaling
    /// `wss`, with verified certificates.
    public static let tls = Capabilities(rawValue: 1 << 0)
    /// The extension permessage-deflate (RFC 7692).
    public static let deflate = Capabilities(rawValue: 1 << 1)
    /// HTTP proxies.
    public static let proxy = Capabilities(rawValue: 1 << 2)
    // Peer
    /// `restart(iceServers:)`.
    public static let pathRestart = Capabilities(rawValue: 1 << 16)
    /// TURN.
    public static let relay = Capabilities(rawValue: 1 << 17)
    /// Unordered channels really are unordered.
    public static let unordered = Capabilities(rawValue: 1 << 18)
    /// Retransmission and lifetime limits of channels are honoured.
    public static let partialReliability = Capabilities(rawValue: 1 << 19)
    /// Data is encrypted and the other side authenticated by its description.
    public static let encrypted = Capabilities(rawValue: 1 << 20)
    /// Browsers can be at the other end.
    public static let browserCompatible = Capabilities(rawValue: 1 << 21)

    /// STUN and TURN servers over TLS: `stuns:`, `turns:`.
    public static let secureRelay = Capabilities(rawValue: 1 << 22)

    /// The names of the declared capabilities, for people.
    public var names: [String] {
        let all: [(Capabilities, String)] = [
            (.tls, "TLS"), (.deflate, "deflate"), (.proxy, "proxy"), (.pathRestart, "path restart"), (.relay, "relay"),
            (.unordered, "unordered"), (.partialReliability, "partial reliability"), (.encrypted, "encrypted"),
            (.browserCompatible, "browsers"), (.secureRelay, "relay over TLS"),
        ]
        return all.filter { contains($0.0) }.map(\.1)
    }
}

/// An option that a plugin understands.
public struct PluginOption: Sendable, Hashable {
    /// The name, as written in configuration.
    public let name: String
    /// One line: meaning, unit, range, default.
    public let help: String

    /// Creates an option of this name.
    public init(name: String, help: String) {
        self.name = name
        self.help = help
    }
}

/// A value in a plugin's configuration.
public indirect enum OptionValue: Sendable, Hashable {
    /// Text.
    case string(String)
    /// A whole number.
    case integer(Int)
    /// A number that is not whole.
    case number(Double)
    /// True or false.
    case boolean(Bool)
    /// Values in order.
    case list([OptionValue])
    /// Values by name.
    case table([String: OptionValue])
}

/// The arguments for making a plugin's transport.
public struct PluginContext: Sendable {
    /// The plugin's own part of the configuration. The names were checked against its descriptor.
    public let options: [String: OptionValue]
    /// The logger. Libraries log at trace and debug only, and never a secret.
    public let logger: Logger

    /// Creates a context. A runtime passes one to `make`; tests make their own.
    public init(options: [String: OptionValue] = [:], logger: Logger) {
        self.options = options
        self.logger = logger
    }

    /// Returns the option's integer within `range`, or `standard` when it is not set. Throws `.invalidArgument`, naming
    /// the option.
    public func integer(_ name: String, in range: ClosedRange<Int>, default standard: Int) throws(TransportError) -> Int
    {
        guard let value = options[name] else { return standard }
        guard case .integer(let integer) = value, range.contains(integer) else {
            throw TransportError(
                .invalidArgument,
                "option '\(name)' must be a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return integer
    }

    /// Returns the option's truth value, or `standard` when it is not set. Throws `.invalidArgument`, naming the
    /// option.
    public func boolean(_ name: String, default standard: Bool) throws(TransportError) -> Bool {
        guard let value = options[name] else { return standard }
        guard case .boolean(let boolean) = value else {
            throw TransportError(.invalidArgument, "option '\(name)' must be true or false")
        }
        return boolean
    }

    /// Returns the option's text, or nil when it is not set. Throws `.invalidArgument`, naming the option.
    public func string(_ name: String) throws(TransportError) -> String? {
        guard let value = options[name] else { return nil }
        guard case .string(let string) = value else {
            throw TransportError(.invalidArgument, "option '\(name)' must be text")
        }
        return string
    }
}
