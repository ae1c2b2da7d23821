public import TransportValues

/// A message from the room server to a client. Large payloads are indirect, so that envelopes stay small.
public enum ServerMessage: Sendable, Hashable {
    /// The answer to `hello`.
    indirect case joined(Joined)
    /// The room does not exist yet, and the client's `hello` waits for it: `joined` or an error follows when it does.
    /// Meanwhile the server sends a `ping` whenever it has heard nothing for `pingInterval`; a client that has heard
    /// nothing for both durations together reconnects.
    case waiting(pingInterval: Duration, pingDeadline: Duration)
    /// A participant has joined. Numbered and acknowledged, as are `peerLeft`, `peerChanged`, `hostChanged` and
    /// `signal`.
    indirect case peerJoined(Participant)
    /// A session has ended permanently.
    case peerLeft(ParticipantID, SessionID, reason: LeaveReason)
    /// New metadata, another host role, or a higher epoch: the participant has rejoined.
    indirect case peerChanged(Participant)
    /// The host has changed. `sessionToken` is the receiver's own, newly signed: when the server loses its state, the
    /// highest term wins, so everybody must be able to prove this one. A secret.
    case hostChanged(ParticipantID, term: HostTerm, sessionToken: String)
    /// The room's attributes have changed. For clients with the capability `attributes.v1`; numbered and acknowledged.
    case roomChanged(RoomAttributes)
    /// A signal from another participant; the server sets `peer`.
    indirect case signal(Signal)
    /// Fresh ICE servers outside of a join.
    case iceServers(ICEServerList)
    /// All of the client's numbered messages up to `received` have arrived.
    case ack(received: SequenceNumber)
    /// Requests a `pong` with the same id, as evidence of life.
    case ping(id: UInt64)
    /// The answer to a `ping`.
    case pong(id: UInt64)
    /// The server is shutting down. Clients return after a delay chosen at random within the window.
    case goingAway(retryAfter: RetryWindow)
    /// An error. A fatal one is the last message of the connection.
    indirect case error(ProtocolError)
}

/// ICE servers with the life of their credentials, counted from the message's arrival.
public struct ICEServerList: Sendable, Hashable {
    /// The servers.
    public var servers: [ICEServer]
    /// The life of the credentials. Nil: they do not expire.
    public var ttl: Duration?

    /// Creates a list with these values.
    public init(servers: [ICEServer] = [], ttl: Duration? = nil) {
        self.servers = servers
        self.ttl = ttl
    }
}

/// The reason why a session has ended.
public enum LeaveReason: String, Sendable, CaseIterable {
    /// The participant left.
    case left
    /// The participant did not return within the grace period.
    case timedOut = "timed_out"
    /// The host removed the participant.
    case kicked
    /// The room was closed.
    case roomClosed = "room_closed"
}
