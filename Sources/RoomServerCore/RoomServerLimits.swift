package import RoomProtocol
internal import TransportValues

/// The policy for a first join under a name that is in use in the room. When join tokens are required, a newcomer takes
/// over a name only with a token for exactly this name.
public enum DuplicateNames: String, Sendable, CaseIterable {
    /// The newcomer gets `name_taken` while the name's owner is connected. A disconnected owner loses the name,
    /// although it could still return: so a program that was restarted gets its name, and its role as host, at once.
    case reject
    /// The newest participant gets the name. The older one gets `replaced`, permanently.
    case replace
}

/// The limits and times of a room server. The machine keeps those of rooms and messages, the shell those of sockets.
public struct RoomServerLimits: Sendable, Hashable {
    /// The number of WebSocket connections.
    public var connections = 10_000
    /// The number of connections that have not sent `hello` yet.
    public var handshakes = 2048
    /// The time limit for the HTTP request, and again for the `hello`.
    public var handshakeTimeout: Duration = .seconds(10)
    /// The limits of one address.
    public var perAddress = AddressLimits()
    /// The number of rooms.
    public var rooms = 1000
    /// The number of participants in a room, at most 64.
    public var participantsPerRoom = 16
    /// The number of messages that one participant may send per second on average, over all of its connections. A
    /// connection that has not joined yet may send as many.
    public var messagesPerSecond = 200
    /// The number of messages that one participant may send at once.
    public var messageBurst = 600
    /// A message counts once, and once more for each of so many bytes.
    package var bytesPerMessage = 4096
    /// The returns that a participant may make: on average, and at once.
    package var returnsPerSecond = 1
    package var returnBurst = 20
    /// The bytes that are sent again to a participant that resumes: on average, and at once. A participant over the
    /// limit must rejoin.
    package var replayBytesPerSecond = 64 << 10
    package var replayBurst = 4 << 20
    /// The bytes of a participant's new metadata that are sent to all others together: on average, and at once.
    /// Metadata over the limit waits, and only the newest is sent.
    package var updateBytesPerSecond = 256 << 10
    package var updateBurst = 2 << 20
    /// Bytes that may wait for a slow client; at least 1 MiB. Over it the connection is closed; the session can be
    /// resumed.
    public var sendBuffer = 1 << 20
    /// Bytes that may wait for all clients together, including incomplete messages from them. Over it the connection
    /// that uses most is closed; its session can be resumed.
    public var totalBuffer = 64 << 20
    /// How long a session token is valid. A connected participant gets a new one half-way. Never less than twice
    /// `grace`.
    public var sessionLifetime: Duration = .seconds(86_400)
    /// Messages that are kept for a participant until they are acknowledged.
    package var streamMessages = 1024
    package var streamBytes = 2 << 20
    /// The bytes that are kept for all participants together.
    package var totalStreamBytes = 256 << 20
    /// How long a session may be resumed, and how long a room waits for its host.
    public var grace: Duration = .seconds(60)
    /// How long a room without participants is kept.
    public var emptyRoomTTL: Duration = .seconds(30)
    /// The silence after which a client is pinged, or a little earlier. Clients do the same.
    public var pingInterval: Duration = .seconds(5)
    /// The time limit of the answer. Then the connection is closed, and the session can be resumed.
    public var pingDeadline: Duration = .seconds(4)
    /// The time limit of the WebSocket closing handshake.
    public var closeTimeout: Duration = .seconds(2)
    /// When the server shuts down, clients return at a random time within this window.
    public var drainWindow: Duration = .seconds(2)
    package var ackDelay: Duration = .milliseconds(100)
    /// The number of messages after which an acknowledgement is sent at once.
    package var ackEvery = 16
    /// Sent to clients that come too often, and where there are too many.
    package var retryAfter: RetryWindow = .milliseconds(500) ... .seconds(3)
    package var duplicateNames = DuplicateNames.reject

    /// Creates the default limits.
    public init() {}

    /// How long a session token is valid.
    var tokenLifetime: Duration { max(sessionLifetime, grace * 2) }

    /// Returns when a client that was last heard at `heard` is pinged: before it pings by itself, as it heard the
    /// server at about the same time, and together with others, as a turn of the event loop costs more than a ping.
    func pingTime(after heard: Timestamp) -> Timestamp {
        let grid = max(pingInterval.saturatedNanoseconds / 50, 1)
        let silent = (heard + pingInterval).nanoseconds
        return Timestamp(nanoseconds: (silent / grid - 1) * grid)
    }

    /// Makes these the limits of one of several machines of a server.
    package mutating func divideStreams(by count: Int) { totalStreamBytes /= count }
}
