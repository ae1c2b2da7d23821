/// A refusal by the server, and whether a retry makes sense.
public struct ProtocolError: Error, Sendable, Hashable {
    /// The reason why a connection was replaced.
    public struct Replacement: Sendable, Hashable, RawRepresentable {
        public let rawValue: String
        /// Creates a value with any text.
        public init(rawValue: String) { self.rawValue = rawValue }

        /// The same session, over a newer connection.
        public static let session = Replacement(rawValue: "session")
        /// Another participant that has joined under the same name. The older one must not return.
        public static let participant = Replacement(rawValue: "participant")
    }

    /// The kind of an error. Unknown codes are kept unchanged.
    public struct Code: Sendable, Hashable, RawRepresentable {
        public let rawValue: String
        /// Creates a code with any text.
        public init(rawValue: String) { self.rawValue = rawValue }

        /// No JSON, a field that is missing or of the wrong type, or invalid numbers. Fatal only when the message's
        /// number could not be read.
        public static let malformed = Code(rawValue: "malformed")
        /// An unknown type, or body of a signal.
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
        /// The room is full.
        public static let roomFull = Code(rawValue: "room_full")
        /// Another participant in the room has this name.
        public static let nameTaken = Code(rawValue: "name_taken")
        /// The connection belongs to an older epoch than the one the server knows.
        public static let staleEpoch = Code(rawValue: "stale_epoch")
        /// The same session has a newer connection, and this one ends, unnoticed by the application; or another
        /// participant has taken the name: see `replacedBy`.
        public static let replaced = Code(rawValue: "replaced")
        /// The host has removed this participant, or one with this name.
        public static let kicked = Code(rawValue: "kicked")
        /// The host has closed the room.
        public static let roomClosed = Code(rawValue: "room_closed")
        /// Only the host may do this.
        public static let notHost = Code(rawValue: "not_host")
        /// A signal or a kick to a participant that is not in the room.
        public static let peerNotFound = Code(rawValue: "peer_not_found")
        /// Too many messages, rooms or connections.
        public static let tooManyRequests = Code(rawValue: "too_many_requests")
        /// The server is shutting down.
        public static let shuttingDown = Code(rawValue: "shutting_down")
        /// An internal error of the server.
        public static let internalError = Code(rawValue: "internal")
    }

    /// The kind of the error, for programs.
    public var code: Code
    /// One sentence for people.
    public var message: String
    /// Whether the same hello may succeed later.
    public var isRetryable: Bool
    /// Whether the connection ends with this error.
    public var isFatal: Bool
    /// The time window of a retry, when the server requests one.
    public var retryAfter: RetryWindow?
    /// The number of the client's message that caused the error, if there is one.
    public var sequence: SequenceNumber?
    /// The cause of `replaced`. Nil: the server does not say.
    public var replacedBy: Replacement?

    /// Creates an error with these values.
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

/// The time within which clients spread their return.
public typealias RetryWindow = ClosedRange<Duration>
