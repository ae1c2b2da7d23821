/// The limits of protocol version 1, for every field. Lengths are bytes of UTF-8, before JSON's escapes.
///
/// Both sides refuse what is over a limit with `limit_exceeded`, and the message of the error names the field.
public enum Limits {
    /// A message from a client, as JSON.
    public static let clientMessageBytes = 256 << 10
    /// A message from the server, as JSON. The largest is `joined` with its roster.
    public static let serverMessageBytes = 1 << 20
    /// Arrays and objects inside each other.
    public static let jsonDepth = 16
    /// Values in one message, all levels together.
    public static let jsonValues = 32_768
    /// The name of a member, whether it is known or not.
    public static let memberName = 64
    /// Characters of one number.
    public static let numberLength = 64

    /// A room's name; 1 at least.
    public static let roomName = 128
    /// A participant's name; 1 at least.
    public static let participantName = 128
    /// Participant, session and peer connection ids: 1 at least, `A-Z a-z 0-9 - _` only.
    public static let identifier = 64
    /// Entries of one participant's metadata.
    public static let metadataEntries = 16
    /// A key of metadata; 1 at least.
    public static let metadataKey = 64
    /// A value of metadata.
    public static let metadataValue = 1024
    /// All keys and values of one participant together.
    public static let metadataBytes = 4096
    /// Capabilities of one participant.
    public static let capabilities = 16
    /// One capability; 1 at least.
    public static let capability = 64
    /// A join token.
    public static let token = 8192
    /// A session token.
    public static let sessionToken = 2048
    /// Participants in one room, whatever the server is configured for; also the entries of a roster.
    public static let participants = 64

    /// The text of an offer or an answer.
    public static let sdp = 64 << 10
    /// A candidate's line.
    public static let candidate = 2048
    /// `sdpMid`.
    public static let mediaID = 64
    /// The highest `sdpMLineIndex`.
    public static let mediaLineIndex = 65_535
    /// RFC 8839 §5.4: at most 256.
    public static let usernameFragment = 256
    /// Of a kick, a restart request or a rebuild request.
    public static let reason = 256

    /// ICE servers in one list.
    public static let iceServers = 16
    /// URLs of one ICE server.
    public static let iceServerURLs = 8
    /// One of them.
    public static let iceServerURL = 512
    /// A TURN user name.
    public static let iceUsername = 512
    /// A TURN password.
    public static let iceCredential = 512

    /// The code of an error.
    public static let errorCode = 64
    /// The message of an error.
    public static let errorMessage = 512
    /// Any duration. Durations travel in seconds and are rounded to microseconds.
    public static let duration = Duration.seconds(366 * 86_400)
}
