/// The data with which a client returns to a room.
public struct Resume: Sendable, Hashable {
    /// The token, as the server signed it in `joined`. A secret.
    public var sessionToken: String
    /// The number of the last message received from the server.
    public var received: SequenceNumber
    /// Whether to rejoin with a higher epoch and never resume, because the client has lost its place in the stream.
    public var mustRejoin: Bool
    /// Counts the session's connection attempts up from 1, so that the late success of an abandoned one cannot replace
    /// a newer one. 0: the client does not count.
    public var attempt: UInt64

    /// Creates the data from the last received number and the token.
    public init(sessionToken: String, received: SequenceNumber, mustRejoin: Bool = false, attempt: UInt64 = 0) {
        self.sessionToken = sessionToken
        self.received = received
        self.mustRejoin = mustRejoin
        self.attempt = attempt
    }
}
