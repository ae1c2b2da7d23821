internal import RoomProtocol

/// The counters and gauges of one event loop. The loop changes them, and a scrape reads them on another thread.
final class ServerMetrics: Sendable {
    // Messages
    let messagesReceived = Count()
    let messagesSent = Count()
    let signals = Count()
    let bytesReceived = Count()
    let bytesSent = Count()
    let refusals = LabelledCounts(ServerMetrics.codes, hasOthers: true)
    let violations = Count()

    // Connections
    let sockets = Count()
    let waiting = Count()
    let joins = LabelledCounts(Join.allCases)
    let responses = LabelledCounts(ServerMetrics.statuses, hasOthers: true)
    let failures = LabelledCounts(HandshakeFailure.allCases)
    let addressRefusals = Count()
    let slowClients = Count()
    let silentClients = Count()
    let handshakes = DurationCounts(
        "room_server_handshake_seconds", ServerMetrics.handshakeLimits)
    let tlsHandshakes = DurationCounts(
        "room_server_tls_handshake_seconds", ServerMetrics.handshakeLimits)
    let joinTimes = DurationCounts("room_server_join_seconds", ServerMetrics.joinLimits)

    // Memory
    let buffered = Count()
    let streamBytes = Count()

    let pulse = LoopPulse()
    /// 1: the loop drains.
    let draining = Count()

    /// The ways into a room.
    enum Join: String, Sendable, CaseIterable {
        /// For the first time.
        case first
        /// Into the same session, without a loss.
        case resume
        /// Into a room that was rebuilt, or after messages were dropped.
        case rejoin
    }

    /// The reasons for which a socket is closed without an answer to its request.
    enum HandshakeFailure: String, Sendable, CaseIterable {
        case tls
        /// Too slow.
        case timeout
        /// There are too many sockets.
        case limit
    }

    private static let handshakeLimits = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5]
    private static let joinLimits = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1, 2.5, 5]
    private static let statuses = [
        "101", "200", "304", "400", "401", "403", "404", "405", "426", "429", "431", "503",
    ]
    private static let codes: [ProtocolError.Code] = [
        .malformed, .unknownType, .limitExceeded, .invalidName, .versionMismatch, .unauthorized, .tokenExpired,
        .roomNotFound, .roomExists, .roomFull, .nameTaken, .staleEpoch, .replaced, .kicked, .roomClosed, .notHost,
        .peerNotFound, .tooManyRequests, .shuttingDown, .internalError,
    ]

    func received() { messagesReceived.add() }
    func violated() { violations.add() }
    func overflowed() { slowClients.add() }
    func refusedAddress() { addressRefusals.add() }
    func failed(_ failure: HandshakeFailure) { failures.add(failure) }
    func responded(_ status: String) { responses.add(String(status.prefix(3))) }

    /// Counts a message that was sent.
    func sent(_ message: ServerMessage) {
        messagesSent.add()
        switch message {
        case .signal: signals.add()
        case .joined(let joined): joins.add(joined.isResumed ? .resume : joined.epoch == 1 ? .first : .rejoin)
        case .error(let error): refusals.add(error.code)
        default: break
        }
    }
}
