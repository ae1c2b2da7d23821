package import RoomProtocol
import TransportValues

/// The rule for a newcomer whose name is taken, when it has proved that the name is its own.
package enum DuplicateNames: Sendable, Hashable {
    /// A connected participant keeps the name. A disconnected one loses it.
    case reject
    /// The newcomer gets the name.
    case replace
}

/// The server's limits and times.
package struct RoomServerLimits: Sendable, Hashable {
    package var connections = 10_000
    /// The maximum number of connections that have not sent `hello` yet.
    package var handshakes = 512
    package var helloDeadline: Duration = .seconds(10)
    package var rooms = 1000
    /// The maximum number of participants in a room, at most `Limits.participants`.
    package var participantsPerRoom = 16
    /// The messages that a participant may send over all of its connections: on average, and at once. A connection that
    /// has not joined yet has the same limits.
    package var messagesPerSecond = 200
    package var messageBurst = 600
    /// The number of bytes of a message that count as one more message.
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
    /// The life of a session token, at least twice the grace period. A connected participant gets a new one half-way.
    package var sessionLifetime: Duration = .seconds(86_400)
    /// The messages that are kept for a participant until they are acknowledged: number and bytes.
    package var streamMessages = 1024
    package var streamBytes = 2 << 20
    /// The bytes that are kept for all participants together.
    package var totalStreamBytes = 256 << 20
    /// The time for which a session can be resumed, and for which a room waits for its host.
    package var grace: Duration = .seconds(60)
    /// The time for which an empty room is kept.
    package var emptyRoomTTL: Duration = .seconds(30)
    package var pingInterval: Duration = .seconds(5)
    package var pingDeadline: Duration = .seconds(4)
    package var ackDelay: Duration = .milliseconds(100)
    /// The number of messages after which an acknowledgement is sent at once.
    package var ackEvery = 16
    /// The delay for clients that return too often, or when there are too many.
    package var retryAfter = RetryWindow(earliest: .milliseconds(500), latest: .seconds(3))
    package var duplicateNames = DuplicateNames.reject

    package init() {}
}
