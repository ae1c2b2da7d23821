/// What the server refuses, and whether it makes sense to ask again.
public struct ProtocolError: Error, Sendable, Hashable {
    /// Who has taken a connection's place.
    public struct Replacement: Sendable, Hashable, RawRepresentable {
        public let rawValue: String
        /// Takes the text as it is.
        public init(rawValue: String) { self.rawValue = rawValue }

        /// The same session, over a newer connection.
        public static let session = Replacement(rawValue: "session")
        /// Another participant, who has joined under the same name. The older one is out for good.
        public static let participant = Replacement(rawValue: "participant")
    }

    /// What was wrong. Codes that are not known here are kept as they came.
    public struct Code: Sendable, Hashable, RawRepresentable {
        public let rawValue: String
        /// Takes the text as it is.
        public init(rawValue: String) { self.rawValue = rawValue }

        /// No JSON, a field that is missing or of the wrong kind, numbers that make no sense. Fatal only where the message's number
        /// could not be read.
        public static let malformed = Code(rawValue: "malformed")
        /// A type, or a body of a signal, that is not known.
        public static let unknownType = Code(rawValue: "unknown_type")
        /// A field, or a whole message, over its limit.
        public static let limitExceeded = Code(rawValue: "limit_exceeded")
        /// The name of a room or participant has a character that no name may have.
        public static let invalidName = Code(rawValue: "invalid_name")
        /// No common version.
        public static let versionMismatch = Code(rawValue: "version_mismatch")
        /// The join token or the session token is missing, not signed by this server, or for something else.
        public static let unauthorized = Code(rawValue: "unauthorized")
        /// The join token has expired.
        public static let tokenExpired = Code(rawValue: "token_expired")
        /// A first join as guest of a room that does not exist.
        public static let roomNotFound = Code(rawValue: "room_not_found")
        /// A first join as host of a room that exists.
        public static let roomExists = Code(rawValue: "room_exists")
        /// As many participants as the room may have.
        public static let roomFull = Code(rawValue: "room_full")
        /// Somebody else in the room has this name.
        public static let nameTaken = Code(rawValue: "name_taken")
        /// The connection belongs to an older epoch than the one the server knows.
        public static let staleEpoch = Code(rawValue: "stale_epoch")
        /// The same session came back over a newer connection, and this one ends, silently for the application; or somebody else has
        /// taken the name: `replacedBy` tells.
        public static let replaced = Code(rawValue: "replaced")
        /// The host has removed the participant, or somebody of this name.
        public static let kicked = Code(rawValue: "kicked")
        /// The host has closed the room.
        public static let roomClosed = Code(rawValue: "room_closed")
        /// Only the host may do this.
        public static let notHost = Code(rawValue: "not_host")
        /// A signal or a kick for nobody.
        public static let peerNotFound = Code(rawValue: "peer_not_found")
        /// Too many messages, rooms or connections.
        public static let tooManyRequests = Code(rawValue: "too_many_requests")
        /// The server ends.
        public static let shuttingDown = Code(rawValue: "shutting_down")
        /// The server's own mistake.
        public static let internalError = Code(rawValue: "internal")
    }

    /// What programs look at.
    public var code: Code
    /// One sentence for people.
    public var message: String
    /// Whether the same hello may succeed later.
    public var isRetryable: Bool
    /// Whether the connection ends with this.
    public var isFatal: Bool
    /// When to come back, where the server asks for it.
    public var retryAfter: RetryWindow?
    /// The number of the client's message that is answered, where there is one.
    public var sequence: SequenceNumber?
    /// Of `replaced`: by whom. Nil: the server does not say.
    public var replacedBy: Replacement?

    /// An error of these values.
    public init(
        code: Code, message: String, isRetryable: Bool, isFatal: Bool, retryAfter: RetryWindow? = nil,
        sequence: SequenceNumber? = nil, replacedBy: Replacement? = nil
    ) {
        self.code = code
        self.message = message
        self.isRetryable = isRetryable
        self.isFatal = isFatal
        self.retryAfter = retryAfter
        self.sequence = sequence
        self.replacedBy = replacedBy
    }
}

/// Seconds within which clients spread their return.
public struct RetryWindow: Sendable, Hashable {
    /// Not before this.
    public var earliest: Duration
    /// Not after this.
    public var latest: Duration
    /// A window between the two.
    public init(earliest: Duration, latest: Duration) {
        self.earliest = earliest
        self.latest = latest
    }
}
