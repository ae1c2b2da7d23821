public import TransportToolbox
public import TransportValues

/// Makes peer connections. Knows nothing of rooms, and never retries.
///
/// All connections of one transport live on its `loop`.
public protocol PeerTransport: Sendable {
    /// What `makeConnection` makes.
    associatedtype Connection: PeerConnection

    /// The thread of all connections of this transport.
    var loop: TransportLoop { get }

    /// Makes a connection in the state *new*. Called on `loop`.
    ///
    /// Everything that happens to it is told to `handler`, on `loop`, never from inside this call. The connection keeps
    /// `handler` alive until `closed` was delivered. Throws `.resourceExhausted`, `.invalidArgument`, `.closed` after
    /// `shutdown()`.
    func makeConnection(
        _ configuration: PeerConnectionConfiguration, handler: any PeerConnectionHandler
    ) throws(TransportError) -> Connection

    /// Closes what is still open and gives everything back, the loop excepted if it was handed in. Idempotent.
    nonisolated(nonsending) func shutdown() async
}

/// One peer connection: an offer and an answer, candidates, channels.
///
/// **Isolation.** Every method is called on the transport's loop; every event comes on it. No method calls the handler back
/// before it returns.
///
/// **Negotiation.** One side is the offerer for the whole life of the connection. `offer()` leads to the event
/// `.localDescription` with the offer; the other side passes it to `setRemoteDescription` and gets `.localDescription` with
/// the answer. A later `restart(iceServers:)` does the same round again with a new path under the living channels. Local
/// candidates are told as they are found (trickle ICE, RFC 8838), remote ones may come at any time, also before the
/// description they belong to: the connection keeps those of an unknown generation (`usernameFragment`), at most 64, and
/// drops those of an old one.
public protocol PeerConnection: AnyObject, Sendable {
    /// Starts a negotiation as the offerer. Throws `.invalidState` when a description was set or asked for before.
    func offer() throws(TransportError)

    /// Takes the other side's offer or answer. An answer that fits no open offer throws `.invalidState` and changes
    /// nothing. Malformed or unacceptable text throws `.protocolViolation` or `.notSupported` and changes nothing.
    func setRemoteDescription(_ description: SessionDescription) throws(TransportError)

    /// Takes a candidate of the other side. One that this side cannot use (an unknown transport, an unresolvable name)
    /// is ignored; malformed text throws `.protocolViolation` and changes nothing.
    func addRemoteCandidate(_ candidate: PeerCandidate) throws(TransportError)

    /// The offerer gathers afresh with new ICE servers and offers again, as a new generation. The old path carries data until
    /// the new one does (make before break); channels never notice. Throws `.notSupported` without the capability
    /// `.pathRestart`, `.invalidState` on the answering side or before the first negotiation is complete, `.resourceExhausted` when this
    /// machine is out of what a new path needs (ports, descriptors): nothing has changed then, and the old path goes on. `.unreachable`
    /// while this machine has no network: the manager tries again.
    func restart(iceServers: [ICEServer]) throws(TransportError)

    /// The ICE servers that the answering side uses when the next offer brings a new generation.
    func updateICEServers(_ servers: [ICEServer])

    /// Asks the other side for a sign of life now, ahead of the schedule. The next evidence is told as `.liveness(.alive)`, also
    /// when there was no suspicion.
    func probe()

    /// Opens a channel. It may be called at any time; `.channelOpened` tells when data can flow.
    /// Throws `.resourceExhausted` when no id is left, `.invalidArgument` for a label or protocol over 65,535 bytes.
    func openChannel(_ parameters: ChannelParameters) throws(TransportError) -> ChannelID

    /// Sends one message, without waiting. The bytes are copied before the call returns.
    ///
    /// Throws `.wouldBlock` at the high-water mark (nothing was taken; `.channelWritable` tells when to go on),
    /// `.messageTooLarge` over `maximumMessageSize`, `.closed` or `.invalidState` when the channel is not open.
    func send(_ bytes: UnsafeRawBufferPointer, isText: Bool, on channel: ChannelID) throws(TransportError)

    /// Bytes that `send` has taken and the other side has not yet acknowledged, or what comes closest.
    func bufferedAmount(of channel: ChannelID) -> Int

    /// Whether messages of the channel are read. While they are not, the window towards the other side closes, and nothing is
    /// lost nor buffered without bound. Initially true.
    func setReceiving(_ isReceiving: Bool, on channel: ChannelID)

    /// Closes one channel after what was accepted has gone out. `.channelClosed` tells when it is done. Unknown: ignored.
    func closeChannel(_ channel: ChannelID)

    /// The largest message, in bytes, that the other side declared to accept, within this side's own limit.
    var maximumMessageSize: Int { get }

    /// What the connection counted so far.
    var statistics: PeerConnectionStatistics { get }

    /// The reason why the connection is not up, or carries no data although it is, as far as it is known here; nil when nothing is
    /// missing or nothing is known. The manager asks when it has waited for some seconds, and tells the answer to the application.
    /// Optional: the default is nil.
    var stall: PeerStall? { get }

    /// The certificates of both sides, once the connection was `.connected`. Optional: the default is nil, for transports without.
    var security: PeerSecurity? { get }

    /// Ends the connection; the other side is told where the protocol can. What was accepted before goes out first as far as the path
    /// takes it at once, and is not repeated. `.closed` is the last event. Idempotent.
    func close()
}

extension PeerConnection {
    public var stall: PeerStall? { nil }
    public var security: PeerSecurity? { nil }
}

/// Gets everything that happens to one peer connection, on its loop.
public protocol PeerConnectionHandler: AnyObject {
    /// Something happened to the connection. Called on its loop, in the order in which things happen.
    func peerConnection(didEmit event: PeerConnectionEvent)

    /// One whole message. The bytes are valid until the call returns: copy what is kept. The data path: no hop, no copy.
    func peerConnection(didReceive bytes: UnsafeRawBufferPointer, isText: Bool, on channel: ChannelID)
}

/// What happens to a peer connection.
public enum PeerConnectionEvent: Sendable {
    /// To be passed to the other side.
    case localDescription(SessionDescription)
    /// To be passed to the other side.
    case localCandidate(PeerCandidate)
    /// Candidates of this generation are complete; to be passed to the other side.
    case endOfLocalCandidates(usernameFragment: String)
    /// The state changed.
    case state(PeerConnectionState)
    /// Evidence of life came after a while of suspicion, or is late. Managers act on it; the connection itself does not.
    case liveness(PeerLiveness)
    /// A connectivity check of the latest generation has succeeded (RFC 8445 §7.2.5). For the record of recoveries; a transport
    /// without checks never tells it.
    case pathChecked
    /// This side has no candidates in the latest round, since it is out of something, as the error says. The round goes on all the same:
    /// the path before it, if there is one, stays.
    case gatheringFailed(TransportError)
    /// A path was chosen or replaced.
    case pathChanged(PeerPath)
    /// A channel can carry data: one of ours, or (`isRemote`) one that the other side opened.
    case channelOpened(ChannelID, ChannelParameters, isRemote: Bool)
    /// After `.wouldBlock`: the channel takes messages again.
    case channelWritable(ChannelID)
    /// The channel has ended.
    case channelClosed(ChannelID)
    /// The last event. Nil when `close()` was called here or the other side closed in order.
    case closed(TransportError?)
}

/// What a new peer connection is given.
public struct PeerConnectionConfiguration: Sendable {
    /// STUN and TURN servers to gather candidates from.
    public var iceServers: [ICEServer] = []
    /// Which candidates may be gathered.
    public var icePolicy = ICEPolicy.all
    /// Bytes; the largest message that this side accepts (RFC 8841 §6).
    public var maximumMessageSize = 262_144
    /// Bytes in one channel's send buffer at which `send` says `.wouldBlock`.
    public var sendHighWaterMark = 2 << 20
    /// For logs.
    public var label = ""

    /// The defaults.
    public init() {}
}
