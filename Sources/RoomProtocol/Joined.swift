/// The answer to `hello`: the client's identity, and the state of the room.
public struct Joined: Sendable, Hashable {
    /// The version that both sides speak.
    public var version: Int
    /// The client's own id, which never changes.
    public var participant: ParticipantID
    /// The client's own session.
    public var session: SessionID
    /// The epoch of the client's own session.
    public var epoch: Epoch
    /// Whether the client is the room's host.
    public var isHost: Bool
    /// The term of the current host; 0 while the room waits for one.
    public var hostTerm: HostTerm
    /// Whether the same epoch continues with both streams, and the others never saw a leave. False: a first join or a
    /// rejoin; both streams start again at 1.
    public var isResumed: Bool
    /// The number up to which all of the client's messages have arrived (a resume only).
    public var received: SequenceNumber
    /// The number of the server's last message before this one (a resume only): repeated messages up to it are older
    /// than the roster. Nil: the server does not say.
    public var sent: SequenceNumber?
    /// The token for the next `Resume`. A secret.
    public var sessionToken: String
    /// All other participants at this time.
    public var roster: [Participant]
    /// The attributes of the room at this time.
    public var attributes: RoomAttributes
    /// The ICE servers, valid from now on for their time to live.
    public var iceServers: ICEServerList
    /// The silence after which a client pings. It closes the connection `pingDeadline` later.
    public var pingInterval: Duration
    /// See `pingInterval`.
    public var pingDeadline: Duration
    /// How long a session may be resumed.
    public var grace: Duration

    /// Creates a `joined` message.
    public init(
        version: Int = protocolVersion, participant: ParticipantID, session: SessionID, epoch: Epoch, isHost: Bool,
        hostTerm: HostTerm, isResumed: Bool, received: SequenceNumber = 0, sent: SequenceNumber? = nil,
        sessionToken: String, roster: [Participant], attributes: RoomAttributes = RoomAttributes(),
        iceServers: ICEServerList, pingInterval: Duration = .seconds(5), pingDeadline: Duration = .seconds(5),
        grace: Duration
    ) {
        self.version = version
        self.participant = participant
        self.session = session
        self.epoch = epoch
        self.isHost = isHost
        self.hostTerm = hostTerm
        self.isResumed = isResumed
        self.received = received
        self.sent = sent
        self.sessionToken = sessionToken
        self.roster = roster
        self.attributes = attributes
        self.iceServers = iceServers
        self.pingInterval = pingInterval
        self.pingDeadline = pingDeadline
        self.grace = grace
    }
}
