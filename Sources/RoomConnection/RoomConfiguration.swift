public import Logging
@_exported public import RoomValues
public import TransportPluginAPI

/// The choices of a program: the backends, the server, and how to connect.
public struct RoomConfiguration: Sendable {
    /// A backend by its name in the registry, with its options.
    public struct Backend: Sendable, ExpressibleByStringLiteral {
        /// The name under which it is registered.
        public var name: String
        /// The options that differ from the defaults; `room plugins` lists those that it understands.
        public var options: [String: OptionValue]

        /// The backend of this name.
        public init(name: String, options: [String: OptionValue] = [:]) {
            self.name = name
            self.options = options
        }

        /// The backend of this name, without options.
        public init(stringLiteral name: String) { self.init(name: name) }
    }

    /// The peers that are renegotiated after a rejoin.
    public typealias RejoinPolicy = RoomValues.RejoinPolicy

    /// Where the room server is.
    public var server: SignalingEndpoint
    /// The backend that carries messages to and from the room server. By default `libwebsockets`, and `foundation` in
    /// a build without the trait `Libwebsockets`.
    public var signaling = Backend(name: standardSignaling)
    /// The backend that carries messages to and from the other participants.
    public var peer: Backend = "webrtc-libnice"

    /// Asked for a join token before each attempt that needs one: when there is none, when the one that there is lasts
    /// for less than 30 s (a ``JoinCredential`` says when it expires; a plain `String` is taken to last), and when the
    /// server has refused it. The request says for which room and participant, and which of the three it is.
    ///
    /// Keep it quick. It may throw, and is called again later. A call that has not returned after 30 s is cancelled and
    /// counts as failed. A participant that has been in the room returns with another token, from the server: a
    /// provider that is slow (2 s) or throws then keeps nobody outside.
    public var token: (@Sendable (TokenRequest) async throws -> any JoinCredentialConvertible)?
    /// Whether any path may be used, or only relayed ones, which reveal no address of this machine to other
    /// participants.
    public var icePolicy = ICEPolicy.all
    /// The ICE servers in addition to those of the room server. An unusable one is refused at the start. Unusable ones
    /// from the room server or the provider are left out, with an event `.error` (`ice_server_unusable`). When the peer
    /// backend can use none of them, another event says so (`no_usable_ice_server`, `no_usable_relay`).
    public var iceServers: [ICEServer] = []
    /// The provider of further ICE servers, such as a TURN service. Called at the start, when 0.7 of their life is
    /// over, and with an attempt to return to the room when half of it is over.
    ///
    /// Nothing waits for it: connections are made with the servers that there are, and its result is used from then on;
    /// relayed paths are moved to it. It may throw, and is called again after 5 s, later every minute; the first
    /// failure is reported by an event `.error` (`ice_provider_failed`). A call that has not returned after 30 s is
    /// cancelled and counts as failed.
    public var iceServerProvider: (@Sendable (ICEServerRequest) async throws -> ProvidedICEServers)?
    /// The treatment of peer connections after a rejoin.
    public var rejoinPolicy = RejoinPolicy.all
    /// The budgets of the recovery of peer connections.
    public var recovery = RecoveryBudgets()
    /// The delays between attempts to reach the room server.
    public var reconnect = ReconnectBackoff()

    /// Bytes of unacknowledged messages to one participant and channel above which `send` waits. 64 KiB to 1 GiB.
    public var sendLimit = 8 << 20
    /// Bytes of messages that wait for the application above which senders are held back. 64 KiB to 1 GiB.
    public var receiveLimit = 8 << 20
    /// Bytes of one message on a reliable channel between members that speak the delivery protocol. 1 KiB to 64 MiB.
    public var maximumMessageSize = 4 << 20
    /// The first join is given up after this long; later outages are never given up.
    public var joinTimeout: Duration = .seconds(30)
    /// How long after the join a request waits for its handler: the program may only be about to register it.
    package var handlerGrace: Duration = .milliseconds(500)

    /// Gets what the room and its transports log: at trace and debug what they do; a `warning` when the room server
    /// cannot be reached, once for each outage, and a `notice` when it is reached again; warnings of backends about
    /// their options.
    ///
    /// Unless it is set, warnings and notices are lines on standard error, and nothing else is written. For silence,
    /// set a logger with `SwiftLogNoOpLogHandler`.
    public var logger = Logger(label: "room") { _ in NoticeLogHandler() }

    /// `server`: a `ws://` or `wss://` URL. Throws `.configuration` saying what is wrong with it.
    public init(server: String) throws(RoomError) {
        do throws(TransportError) {
            self.server = try SignalingEndpoint(url: server)
        } catch {
            throw RoomError(.configuration, error.message)
        }
    }

    #if Libwebsockets
        private static let standardSignaling = "libwebsockets"
    #else
        private static let standardSignaling = "foundation"
    #endif

    func validate() throws(RoomError) {
        func check(_ name: String, _ value: Int, _ range: ClosedRange<Int>) throws(RoomError) {
            guard range.contains(value) else {
                throw RoomError(
                    .configuration,
                    "\(name) is \(value); it must be from \(range.lowerBound) to \(range.upperBound) bytes")
            }
        }
        try check("sendLimit", sendLimit, 65_536...1_073_741_824)
        try check("receiveLimit", receiveLimit, 65_536...1_073_741_824)
        try check("maximumMessageSize", maximumMessageSize, 1024...67_108_864)
        for server in iceServers {
            for url in server.urls {
                do throws(TransportError) { _ = try ICEServerURL(url, of: server) } catch {
                    throw RoomError(.configuration, "iceServers: \(error.message)")
                }
            }
        }
        try recovery.validate()
        try reconnect.validate()
        guard maximumMessageSize <= sendLimit else {
            throw RoomError(.configuration, "maximumMessageSize is over sendLimit: such a message could never be sent")
        }
    }
}
