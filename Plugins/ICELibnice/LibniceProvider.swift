internal import CNice
internal import Glibc
internal import Logging
public import TransportPluginAPI

/// A provider of ICE agents on libnice (RFC 8445, RFC 8838, RFC 8656).
public struct LibniceProvider: ICEAgentProvider {
    /// The settings of a provider's agents.
    public struct Options: Sendable {
        /// The cases in which candidates on 127.0.0.1 and ::1 are offered, and those of the other side are used.
        public enum Loopback: String, Sendable, CaseIterable {
            /// Not at all.
            case never
            /// Only where the machine has no other address: two processes on a machine without a network meet.
            case alone
            /// On every machine.
            case always
        }
        /// The way in which a pair is chosen (RFC 8445 §8).
        public enum Nomination: String, Sendable, CaseIterable {
            /// Checks first, then the best pair once more with the nomination (RFC 8445 §8.1.1).
            case regular
            /// Every check nominates: one round trip and one tick less, at the price of a pair that may change shortly
            /// after (RFC 5245 §8.1.1.2).
            case aggressive
        }
        /// Whether candidates on 127.0.0.1 and ::1 are offered, and those of the other side are used.
        public var loopback = Loopback.alone
        /// Whether a local address is offered that is no loopback address; called with the interface's name and the
        /// address, on the loop. Nil: all. Of those the 16 most promising ones are taken: see
        /// `LocalAddress.ranked(_:preferring:)`.
        public var acceptsAddress: (@Sendable (_ interface: String, _ address: String) -> Bool)?
        /// Milliseconds between two checks, 1 to 1000 (Ta of RFC 8445 §14).
        public var pacing = 5
        /// The way in which a pair is chosen.
        public var nomination = Nomination.aggressive
        /// Whether TCP candidates are offered (RFC 6544).
        public var usesTCP = false
        /// The local ports of host candidates. Nil: the system's choice.
        public var ports: ClosedRange<UInt16>?
        /// Whether data bypasses libnice where the system allows it (Linux 4.6 and later). Off only for comparison.
        public var usesDirectPath = true

        /// The defaults.
        public init() {}
    }

    /// The settings of its agents.
    public var options: Options

    /// Creates a provider of agents with these settings.
    public init(options: Options = Options()) { self.options = options }

    /// The options that `init(_:)` reads, for a descriptor.
    public static let pluginOptions: [PluginOption] = [
        PluginOption(
            name: "ice-loopback",
            help: "offer 127.0.0.1 and ::1, and take them from peers: never, alone (no other address), always; "
                + "default alone"),
        PluginOption(name: "ice-pacing", help: "milliseconds between connectivity checks, 1 to 1000; default 5"),
        PluginOption(name: "ice-nomination", help: "regular or aggressive; default aggressive"),
        PluginOption(name: "ice-tcp", help: "offer TCP candidates too; default false"),
        PluginOption(
            name: "ice-port-min",
            help: "lowest local UDP port, 1 to 65535, of a range with two for each peer; default: the system's choice"),
        PluginOption(name: "ice-port-max", help: "highest local UDP port, 1 to 65535; default: the system's choice"),
    ]

    /// Reads a plugin's options. Throws `.invalidArgument` naming the option.
    public init(_ context: PluginContext) throws(TransportError) {
        var options = Options()
        options.loopback = try Self.choice("ice-loopback", in: context, default: options.loopback)
        options.nomination = try Self.choice("ice-nomination", in: context, default: options.nomination)
        options.pacing = try context.integer("ice-pacing", in: 1...1000, default: options.pacing)
        options.usesTCP = try context.boolean("ice-tcp", default: options.usesTCP)
        let low = try context.integer("ice-port-min", in: 0...65_535, default: 0)
        let high = try context.integer("ice-port-max", in: 0...65_535, default: 0)
        if low > 0 || high > 0 {
            guard low > 0, high >= low else {
                throw TransportError(
                    .invalidArgument, "options 'ice-port-min' and 'ice-port-max' must both be set, the lower one first")
            }
            options.ports = UInt16(low)...UInt16(high)
            if high - low < 2 * Self.peersOfARoom {
                context.logger.warning(
                    "few ports: each peer needs one for each local address, and two while its path is replaced",
                    metadata: ["ice-port-min": "\(low)", "ice-port-max": "\(high)", "peers": "\((high - low + 1) / 2)"])
            }
        }
        self.options = options
    }

    /// The number of other participants in a full room, by default.
    private static let peersOfARoom = 15

    private static func choice<Choice: RawRepresentable & CaseIterable>(
        _ name: String, in context: PluginContext, default standard: Choice
    ) throws(TransportError) -> Choice where Choice.RawValue == String {
        guard let text = try context.string(name) else { return standard }
        guard let choice = Choice(rawValue: text) else {
            let known = Choice.allCases.map(\.rawValue).joined(separator: ", ")
            throw TransportError(.invalidArgument, "option '\(name)' must be one of \(known)")
        }
        return choice
    }

    public func makeAgent(
        _ configuration: ICEAgentConfiguration, on loop: TransportLoop, handler: any ICEAgentHandler
    ) throws(TransportError) -> LibniceAgent {
        loop.preconditionIsCurrent()
        _ = Self.silenceWarnings
        return try LibniceAgent(configuration, options, loop, handler)
    }

    private static let silenceWarnings: Void = CNice_silence()
}
