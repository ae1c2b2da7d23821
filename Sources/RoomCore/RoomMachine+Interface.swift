package import RoomProtocol
package import RoomValues
package import TransportValues

/// Counts the attempts to open a signaling connection. A fact or an answer that carries an older one is dropped.
package typealias ConnectionGeneration = UInt64

extension RoomMachine {
    /// A fact. Everything about a connection carries its generation; late news of an old one is dropped.
    package enum Event: Sendable, Hashable {
        /// Once, first.
        case started
        case leaveRequested
        /// The application has reason to believe that an attempt may succeed now.
        case reconnectRequested
        /// The network of this machine changed (address, route, link); debounced by the shell.
        case networkChanged(NetworkChange)
        /// This machine has slept for this long, by CLOCK_BOOTTIME against CLOCK_MONOTONIC.
        case woke(after: Duration)
        /// The application asks for a new path, to one participant or to all.
        case restartRequested(ParticipantID?)
        case metadataUpdated([String: String])
        /// The application sets the room's attributes.
        case attributesUpdated([String: String])
        case kickRequested(ParticipantID, reason: String)
        case closeRequested(reason: String)
        case timerFired(TimerID)

        /// `connect` has returned. When the attempt was given up meanwhile, the answer is `abortTransport`.
        case transportConnected(ConnectionGeneration)
        /// `connect` has thrown.
        case transportFailed(ConnectionGeneration, SignalingFailure)
        /// The open connection has ended. Nil: closed in order by the other side.
        case transportClosed(ConnectionGeneration, SignalingFailure?)
        case received(Envelope<ServerMessage>, ConnectionGeneration)
        /// A message came that cannot be decoded.
        case receivedMalformed(ProtocolError, ConnectionGeneration)
        /// `expiresAt` nil: not known.
        case credentialReady(token: String?, expiresAt: Timestamp?)
        case credentialFailed(SignalingFailure)
        /// `ttl` from now; nil: forever.
        case iceServersProvided([ICEServer], ttl: Duration?)
        case iceServersFailed(SignalingFailure)

        case peer(ParticipantID, PeerConnectionID, PeerFact)
    }

    /// An action of the shell, to be performed in this order.
    package enum Action: Sendable, Hashable {
        /// Sets a timer, or moves the one of this name. A timer that fires too early, late, or twice does no harm.
        case scheduleTimer(TimerID, at: Timestamp)
        case cancelTimer(TimerID)
        /// Answered by `transportConnected` or `transportFailed`.
        case openTransport(ConnectionGeneration)
        /// Cancels an attempt, or ends a connection without a close handshake. No answer is needed.
        case abortTransport(ConnectionGeneration)
        /// Sends what was accepted and closes in order. No answer is needed.
        case closeTransport(ConnectionGeneration, SignalingClose)
        case send(Envelope<ClientMessage>, ConnectionGeneration)
        /// Answered by `credentialReady` or `credentialFailed`. Forced: not from a cache.
        case requestCredential(forced: Bool)
        /// Answered by `iceServersProvided` or `iceServersFailed`. Nothing waits for it.
        case requestICEServers
        case emit(RoomEvent)
        case peer(ParticipantID, PeerConnectionID, PeerCommand)
    }

    package enum TimerID: Sendable, Hashable {
        case signaling(SignalingMachine.TimerID)
        /// ICE servers to be refreshed or asked for; absent participants to be given up.
        case session
        case peer(ParticipantID, PeerMachine.TimerID)
        /// Offers that wait for their turn.
        case offers
    }
}
