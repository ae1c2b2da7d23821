/// The limits of protocol version 1, for every field. Lengths are bytes of UTF-8, before JSON's escapes.
///
/// Both sides refuse anything over a limit with `limit_exceeded`, and the error's message names the field.
public enum Limits {
    /// The size of a message from a client, as JSON.
    public static let clientMessageBytes = 256 << 10
    /// The size of a message from the server, as JSON. The largest is `joined` with its roster.
    public static let serverMessageBytes = 1 << 20
    /// The depth of nested arrays and objects.
    public static let jsonDepth = 16
    /// The number of values in one message, all levels together.
    public static let jsonValues = 32_768
    /// The name of a JSON member, whether it is known or not.
    public static let memberName = 64
    /// The number of characters of one number.
    public static let numberLength = 64

    /// A room's name; at least 1.
    public static let roomName = 128
    /// A participant's name; at least 1.
    public static let participantName = 128
    /// The ids of participants, sessions and peer connections: at least 1, `A-Z a-z 0-9 - _` only.
    public static let identifier = 64
    /// The number of entries of one participant's metadata.
    public static let metadataEntries = 16
    /// A key of metadata; at least 1.
    public static let metadataKey = 64
    /// A value of metadata.
    public static let metadataValue = 1024
    /// All keys and values of one participant together.
    public static let metadataBytes = 4096
    /// The number of capabilities of one participant.
    public static let capabilities = 16
    /// One capability; at least 1.
    public static let capability = 64
    /// A join token.
    public static let token = 8192
    /// A session token.
    public static let sessionToken = 2048
    /// The number of participants in one room, whatever the server's configuration; also of the entries of a roster.
    public static let participants = 64

    /// The text of an offer or an answer.
    public static let sdp = 64 << 10
    /// A candidate's line.
    public static let candidate = 2048
    /// `sdpMid`.
    public static let mediaID = 64
    /// The highest `sdpMLineIndex`.
    public static let mediaLineIndex = 65_535
    /// The user name fragment (RFC 8839 §5.4).
    public static let usernameFragment = 256
    /// The reason of a kick, a restart request or a rebuild request.
    public static let reason = 256

    /// The number of ICE servers in one list.
    public static let iceServers = 16
    /// The number of URLs of one ICE server.
    public static let iceServerURLs = 8
    /// One URL of an ICE server.
    public static let iceServerURL = 512
    /// A TURN user name.
    public static let iceUsername = 512
    /// A TURN password.
    public static let iceCredential = 512

    /// The code of an error.
    public static let errorCode = 64
    /// The message of an error.
    public static let errorMessage = 512
    /// Any duration. Durations are sent in seconds, rounded to microseconds.
    public static let duration = Duration.seconds(366 * 86_400)
}
