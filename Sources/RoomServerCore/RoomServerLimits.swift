package import RoomProtocol
import TransportValues

/// The rule for a newcomer under a name that is taken already, and that it proves to be its own.
package enum DuplicateNames: Sendable, Hashable {
    /// A participant that is connected keeps the name. One that is only waited for gives way.
    case reject
    /// The newcomer has it.
    case replace
}

/// The limits on what the server holds, and its times.
package struct RoomServerLimits: Sendable, Hashable {
    package var connections = 10_000
    /// Connections that have not said `hello` yet.
    package var handshakes = 512
    package var helloDeadline: Duration = .seconds(10)
    package var rooms = 1000
    /// At most `Limits.participants`.
    package var participantsPerRoom = 16
    /// Messages that a participant may send, over all of its connections: on average, and at once. A connection that
    /// has not joined yet has the same for itself.
    package var messagesPerSecond = 200
    package var messageBurst = 600
    /// A message counts once, and once more for each of so many bytes.
    package var bytesPerMessage = 4096
    /// How often a participant may come back: on average, and at once.
    package var returnsPerSecond = 1
    package var returnBurst = 20
    /// Bytes that are sent again to a participant that resumes: on average, and at once. A participant over it rejoins.
    package var replayBytesPerSecond = 64 << 10
    package var replayBurst = 4 << 20
    /// Bytes of a participant's new metadata that are sent to all others together: on average, and at once. More of it
    /// waits, and only the newest is sent.
    package var updateBytesPerSecond = 256 << 10
    package var updateBurst = 2 << 20
    /// How long a session token is good; a living session gets a new one half-way. Never less than twice the grace
    /// period.
    package var sessionLifetime: Duration = .seconds(86_400)
    /// Messages that are kept for a participant until they are acknowledged.
    package var streamMessages = 1024
    package var streamBytes = 2 << 20
    /// The same for all participants together.
    package var totalStreamBytes = 256 << 20
    /// How long a session may be resumed, and how long a room waits for its host.
    package var grace: Duration = .seconds(60)
    /// How long a room without anybody in it is kept.
    package var emptyRoomTTL: Duration = .seconds(30)
    package var pingInterval: Duration = .seconds(5)
    package var pingDeadline: Duration = .seconds(4)
    package var ackDelay: Duration = .milliseconds(100)
    /// Messages after which an acknowledgement is sent at once.
    package var ackEvery = 16
    /// Sent to clients that come too often, and where there are too many.
    package var retryAfter = RetryWindow(earliest: .milliseconds(500), latest: .seconds(3))
    package var duplicateNames = DuplicateNames.reject

    package init() {}
}
