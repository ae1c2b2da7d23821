public import Logging
public import TransportPluginAPI

/// A peer transport of WebRTC data channels (RFC 8831): SDP, DTLS by OpenSSL, SCTP by usrsctp, over any ICE agent.
///
/// Browsers can be at the other end. Socket, ICE, DTLS and SCTP of all connections run on one loop without a thread
/// hop. usrsctp is global to a process: transports that are given no loop share one, and all others must be given the
/// same one.
public final class WebRTCTransport<Provider: ICEAgentProvider>: PeerTransport {
    public let loop: TransportLoop
    private let core: TransportCore

    /// Makes the certificate, and starts or joins the loop.
    /// Throws `.resourceExhausted`, `.invalidArgument` (an option), `.invalidState` when another loop drives usrsctp.
    public init(
        provider: Provider, loop: TransportLoop? = nil, options: WebRTCOptions = WebRTCOptions(), logger: Logger
    ) throws(TransportError) {
        try options.check()
        let dtls = try DTLSContext()
        let loop = try SCTPStack.shared.acquire(loop)
        self.loop = loop
        core = TransportCore(loop: loop, dtls: dtls, options: options, logger: logger) {
            (configuration, handler) throws(TransportError) -> any ICEAgent in
            try provider.makeAgent(configuration, on: loop, handler: handler)
        }
    }

    public func makeConnection(
        _ configuration: PeerConnectionConfiguration, handler: any PeerConnectionHandler
    ) throws(TransportError) -> WebRTCConnection {
        loop.preconditionIsCurrent()
        guard !core.isShutDown else { throw TransportError(.closed, "the WebRTC transport is shut down") }
        try core.check(configuration)
        return WebRTCConnection(core, configuration, handler: handler)
    }

    public nonisolated(nonsending) func shutdown() async {
        let isFirst = await loop.run { [core] in core.shutDown() }
        if isFirst { await SCTPStack.shared.release() }
    }

    /// The transport as a backend for a registry. `provider` is called when the runtime starts it.
    public static func plugin(
        name: String, summary: String, options: [PluginOption] = [], relay: Bool = true, loop: TransportLoop? = nil,
        provider: @escaping @Sendable (PluginContext) throws(TransportError) -> Provider
    ) -> PeerPlugin {
        var capabilities: Capabilities = [
            .pathRestart, .unordered, .partialReliability, .encrypted, .browserCompatible,
        ]
        if relay { capabilities.insert(.relay) }
        let descriptor = PluginDescriptor(
            name: name, summary: summary, capabilities: capabilities, options: WebRTCOptions.pluginOptions + options)
        return PeerPlugin(descriptor) { context throws(TransportError) in
            try WebRTCTransport(
                provider: try provider(context), loop: loop, options: try WebRTCOptions(context), logger: context.logger
            )
        }
    }
}

/// Settings of all connections of a `WebRTCTransport`.
public struct WebRTCOptions: Sendable, Hashable {
    /// The maximum size of a UDP payload in bytes, 576 to 1452. The default, 1225, keeps IPv6 packets within 1280
    /// bytes, even over a TURN server. A path that drops packets of this size is noticed, and gets packets of half the
    /// size if that is at least 537.
    public var maximumDatagramSize = PacketSizes.defaultMaximumDatagram
    /// The number of SCTP streams in each direction, 16 to 16,384. Ids of channels are below it, and each side assigns
    /// half of them. Every connection allocates memory for all of them, 112 bytes each (RFC 8831 §6.2 would have
    /// 65,535).
    public var streams = 256

    /// The defaults.
    public init() {}

    static let pluginOptions = [
        PluginOption(
            name: "max-datagram-size",
            help: "bytes of the largest UDP payload that is sent, 576 to 1452; "
                + "default \(PacketSizes.defaultMaximumDatagram)"),
        PluginOption(
            name: "streams",
            help: "channels of a connection, both sides together, 16 to 16384, 112 bytes each; default 256"),
    ]

    init(_ context: PluginContext) throws(TransportError) {
        maximumDatagramSize = try context.integer(
            "max-datagram-size", in: 576...1452, default: PacketSizes.defaultMaximumDatagram)
        streams = try context.integer("streams", in: 16...16_384, default: 256)
    }

    func check() throws(TransportError) {
        guard (576...1452).contains(maximumDatagramSize) else {
            throw TransportError(.invalidArgument, "maximumDatagramSize must be from 576 to 1452 bytes")
        }
        guard (16...16_384).contains(streams) else {
            throw TransportError(.invalidArgument, "streams must be from 16 to 16384")
        }
    }

    var sizes: PacketSizes { PacketSizes(maximumDatagram: maximumDatagramSize) }
}

/// The state that the connections of one transport share. It belongs to the loop, except for the constants.
final class TransportCore: @unchecked Sendable {
    // SAFETY: the constants are set in `init`; everything else is touched on `loop` only.
    typealias MakeAgent =
        @Sendable (ICEAgentConfiguration, any ICEAgentHandler) throws(TransportError) -> any ICEAgent

    let loop: TransportLoop
    let dtls: DTLSContext
    let options: WebRTCOptions
    let logger: Logger
    let makeAgent: MakeAgent
    let stack = SCTPStack.shared
    let pool = SparePool { DatagramBatch() }
    let outboxes = SparePool { Outbox() }
    /// The buffer into which records are decrypted; a record's payload is at most 16 KiB.
    let plain = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 14, alignment: 64)
    /// The buffer into which messages are read; a larger message is reassembled by its connection.
    let message = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: 64)
    /// The byte that an empty message carries.
    let zero = UnsafeMutableRawBufferPointer.allocate(byteCount: 1, alignment: 1)
    /// Connections whose end was not reported, by their events.
    var connections: [ObjectIdentifier: WebRTCConnection] = [:]
    private(set) var isShutDown = false

    init(
        loop: TransportLoop, dtls: DTLSContext, options: WebRTCOptions, logger: Logger, makeAgent: @escaping MakeAgent
    ) {
        self.loop = loop
        self.dtls = dtls
        self.options = options
        self.logger = logger
        self.makeAgent = makeAgent
        zero[0] = 0
    }

    deinit {
        plain.deallocate()
        message.deallocate()
        zero.deallocate()
    }

    /// The largest `maximumMessageSize` that a configuration may ask for.
    private static let messageSizeLimit = 16 << 20
    private static let highWaterMarkLimit = 256 << 20

    /// Throws `.invalidArgument` for a configuration that cannot be used.
    func check(_ configuration: PeerConnectionConfiguration) throws(TransportError) {
        guard (1...Self.messageSizeLimit).contains(configuration.maximumMessageSize) else {
            throw TransportError(
                .invalidArgument, "maximumMessageSize must be from 1 to \(Self.messageSizeLimit) bytes")
        }
        guard (1...Self.highWaterMarkLimit).contains(configuration.sendHighWaterMark) else {
            throw TransportError(.invalidArgument, "sendHighWaterMark must be from 1 byte to 256 MiB")
        }
    }

    /// Closes every connection. Returns false if that was done before.
    func shutDown() -> Bool {
        guard !isShutDown else { return false }
        isShutDown = true
        for connection in connections.values { connection.close() }
        return true
    }
}
