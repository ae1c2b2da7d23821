public import TransportToolbox
public import TransportValues

/// Makes peer connections. Knows nothing about rooms, and never retries.
///
/// All connections of one transport live on its `loop`.
public protocol PeerTransport: Sendable {
    /// The type of the connections.
    associatedtype Connection: PeerConnection

    /// The thread of all connections of this transport.
    var loop: TransportLoop { get }

    /// Makes a connection in the state *new*. Called on `loop`.
    ///
    /// All of its events are emitted to `handler`, on `loop`, never from inside this call. The connection keeps
    /// `handler` alive until `closed` was delivered. Throws `.resourceExhausted`, `.invalidArgument`, `.closed` after
    /// `shutdown()`.
    func makeConnection(
        _ configuration: PeerConnectionConfiguration, handler: any PeerConnectionHandler
    ) throws(TransportError) -> Connection

    /// Closes open connections and releases everything, except a loop that was passed in. Idempotent.
    nonisolated(nonsending) func shutdown() async
}

/// One peer connection: an offer and an answer, candidates, channels.
///
/// **Isolation.** Every method is called on the transport's loop; every event is emitted on it. No method calls the
/// handler before it returns.
///
/// **Negotiation.** One side is the offerer for the whole life of the connection. `offer()` leads to the event
/// `.localDescription` with the offer. The other side passes it to `setRemoteDescription` and gets `.localDescription`
/// with the answer. A later `restart(iceServers:)` repeats this round with a new path under the open channels. Local
/// candidates are emitted as they are found (trickle ICE, RFC 8838). Remote ones may arrive at any time, also before
/// their description: the connection keeps those of an unknown generation (`usernameFragment`), at most 64, and drops
/// those of an old one.
public protocol PeerConnection: AnyObject, Sendable {
    /// Starts a negotiation as the offerer. Throws `.invalidState` when a description was set or requested before.
    func offer() throws(TransportError)

    /// Sets the other side's offer or answer. An answer that matches no open offer throws `.invalidState` and changes
    /// nothing. Malformed or unacceptable text throws `.protocolViolation` or `.notSupported` and changes nothing.
    func setRemoteDescription(_ description: SessionDescription) throws(TransportError)

    /// Adds a candidate of the other side. One that this side cannot use (an unknown transport, an unresolvable name)
    /// is ignored; malformed text throws `.protocolViolation` and changes nothing.
    func addRemoteCandidate(_ candidate: PeerCandidate) throws(TransportError)

    /// Starts a new generation: the offerer gathers again, with new ICE servers, and sends a new offer. The old path
    /// carries data until the new one does (make before break); channels do not notice.
    ///
    /// Throws `.notSupported` without the capability `.pathRestart`; `.invalidState` on the answering side, or before
    /// the first negotiation is complete; `.resourceExhausted` when this machine has no more ports or descriptors for a
    /// new path: nothing has changed then, and the old path stays in use; `.unreachable` while this machine has no
    /// network: the manager tries again.
    func restart(iceServers: [ICEServer]) throws(TransportError)

    /// Sets the ICE servers that the answering side uses when the next offer brings a new generation.
    func updateICEServers(_ servers: [ICEServer])

    /// Probes the other side now, ahead of the schedule. The next evidence of life is emitted as `.liveness(.alive)`,
    /// also when there was no suspicion.
    func probe()

    /// Opens a channel. May be called at any time; `.channelOpened` is emitted when data can flow. Throws
    /// `.resourceExhausted` when no id is left, `.invalidArgument` for a label or protocol over 65,535 bytes.
    func openChannel(_ parameters: ChannelParameters) throws(TransportError) -> ChannelID

    /// Sends one message, without waiting. The bytes are copied before the call returns.
    ///
    /// Throws `.wouldBlock` at the high-water mark (nothing was accepted; `.channelWritable` is emitted when there is
    /// room), `.messageTooLarge` over `maximumMessageSize`, `.closed` or `.invalidState` when the channel is not open.
    func send(_ bytes: UnsafeRawBufferPointer, isText: Bool, on channel: ChannelID) throws(TransportError)

    /// Returns the bytes that `send` has accepted and the other side has not yet acknowledged, or the closest known
    /// number.
    func bufferedAmount(of channel: ChannelID) -> Int

    /// Requests one `.channelWritable` when `bufferedAmount(of:)` has become 0, also without `.wouldBlock`. A flush
    /// waits for it. Optional: without it, a flush of messages that only the transport acknowledges may take some
    /// seconds longer.
    func notifyWhenAcknowledged(_ channel: ChannelID)

    /// Sets whether messages of the channel are read. While they are not, the window of the other side closes, and
    /// nothing is lost or buffered without bound. Initially true.
    func setReceiving(_ isReceiving: Bool, on channel: ChannelID)

    /// Closes one channel after its accepted messages have gone out; then `.channelClosed` is emitted. An unknown id is
    /// ignored.
    func closeChannel(_ channel: ChannelID)

    /// The largest message, in bytes, that the other side accepts, within this side's own limit.
    var maximumMessageSize: Int { get }

    /// The counters of the connection so far.
    var statistics: PeerConnectionStatistics { get }

    /// The reason why the connection is not up, or carries no data although it is; nil when nothing is missing or the
    /// reason is unknown. The manager reads it after waiting for some seconds, and reports it to the application.
    /// Optional: nil by default.
    var stall: PeerStall? { get }

    /// The certificates of both sides, after the connection was `.connected`. Optional: nil by default, for transports
    /// without certificates.
    var security: PeerSecurity? { get }

    /// Ends the connection, and notifies the other side where the protocol can. Messages accepted before go out first
    /// as far as the path takes them at once, and are not repeated. `.closed` is the last event. Idempotent.
    func close()
}

extension PeerConnection {
    public var stall: PeerStall? { nil }
    public var security: PeerSecurity? { nil }
    public func notifyWhenAcknowledged(_ channel: ChannelID) {}
}

/// Receives the events and messages of one peer connection, on its loop.
public protocol PeerConnectionHandler: AnyObject {
    /// Called on the connection's loop with each event, in the order in which they occur.
    func peerConnection(didEmit event: PeerConnectionEvent)

    /// Called with one whole message. The bytes are valid until the call returns: copy those that you keep. This is the
    /// data path: no hop, no copy.
    func peerConnection(didReceive bytes: UnsafeRawBufferPointer, isText: Bool, on channel: ChannelID)
}

/// An event of a peer connection.
public enum PeerConnectionEvent: Sendable {
    /// A description to pass to the other side.
    case localDescription(SessionDescription)
    /// A candidate to pass to the other side.
    case localCandidate(PeerCandidate)
    /// The candidates of this generation are complete. To pass to the other side.
    case endOfLocalCandidates(usernameFragment: String)
    /// The state changed.
    case state(PeerConnectionState)
    /// Evidence of life arrived after a suspicion, or is late. Managers act on it; the connection itself does not.
    case liveness(PeerLiveness)
    /// A connectivity check of the latest generation has succeeded (RFC 8445 §7.2.5). For the record of recoveries; a
    /// transport without checks never emits it.
    case pathChecked
    /// This side has no candidates in the latest round, for lack of the resource that the error names. The round
    /// continues all the same: the previous path, if there is one, stays.
    case gatheringFailed(TransportError)
    /// A path was selected or replaced.
    case pathChanged(PeerPath)
    /// A channel can carry data: one that this side opened, or (`isRemote`) one that the other side opened.
    case channelOpened(ChannelID, ChannelParameters, isRemote: Bool)
    /// The channel accepts messages again, after `.wouldBlock`; or all of its messages are acknowledged, after
    /// `notifyWhenAcknowledged(_:)`.
    case channelWritable(ChannelID)
    /// The channel has ended.
    case channelClosed(ChannelID)
    /// The last event. The error is nil when `close()` was called here, or when the other side closed normally.
    case closed(TransportError?)
}

/// The configuration of a new peer connection.
public struct PeerConnectionConfiguration: Sendable {
    /// The STUN and TURN servers for gathering candidates.
    public var iceServers: [ICEServer] = []
    /// The kinds of candidates that may be gathered.
    public var icePolicy = ICEPolicy.all
    /// The largest message, in bytes, that this side accepts (RFC 8841 §6).
    public var maximumMessageSize = 262_144
    /// The number of bytes in one channel's send buffer at which `send` throws `.wouldBlock`.
    public var sendHighWaterMark = 2 << 20
    /// A label for logs.
    public var label = ""

    /// Creates the default configuration.
    public init() {}
}
