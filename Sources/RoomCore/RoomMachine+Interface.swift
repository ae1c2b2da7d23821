package import RoomProtocol
package import TransportValues

/// Counts the attempts to open a signaling connection. Whatever carries an older one is dropped.
package typealias ConnectionGeneration = UInt64

extension RoomMachine {
    /// What has happened. Everything about a connection carries its generation; late news of an old one are dropped.
    package enum Event: Sendable, Hashable {
        /// Once, first.
        case started
        case leaveRequested
        /// Somebody has reason to believe that it is worth trying now.
        case reconnectRequested
        /// The network of this machine changed (address, route, link); debounced by the shell.
        case networkChanged(NetworkChange)
        /// This machine has slept for so long, by CLOCK_BOOTTIME against CLOCK_MONOTONIC.
        case woke(after: Duration)
        /// The application asks for a new path, to one participant or to all.
        case restartRequested(ParticipantID?)
        case metadataUpdated([String: String])
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
        /// `ttl`: for how long from now; nil: for ever.
        case iceServersProvided([ICEServer], ttl: Duration?)
        case iceServersFailed(SignalingFailure)

        case peer(ParticipantID, PeerConnectionID, PeerFact)
    }

    /// What is known after a change of this machine's network.
    package struct NetworkChange: Sendable, Hashable {
        /// The numeric addresses that packets can leave from now; nil when not known.
        package var addresses: Set<String>?
        /// The one that the open signaling connection leaves from.
        package var signalingAddress: String?

        package init(addresses: Set<String>? = nil, signalingAddress: String? = nil) {
            self.addresses = addresses
            self.signalingAddress = signalingAddress
        }

        /// Whether what leaves from `address` goes nowhere any more.
        package func hasLost(_ address: String?) -> Bool {
            guard let addresses, let address else { return false }
            return !addresses.contains(address) && !address.hasPrefix("127.") && address != "::1"
        }
    }

    /// What has happened to one peer connection.
    package enum PeerFact: Sendable, Hashable {
        case localDescription(SessionDescription)
        case localCandidate(PeerCandidate)
        case endOfLocalCandidates(usernameFragment: String)
        /// `connected`: and the channel of `.reliable` is open.
        case state(PeerConnectionState)
        /// The channel of `.reliable` has ended, and the connection lives. `state(.connected)` follows when it is open again.
        case channelClosed
        /// After a `probe`, evidence is told even when there was no suspicion.
        case liveness(PeerLiveness)
        /// A connectivity check of the latest round has succeeded.
        case checked
        case pathChanged(PeerPath)
        /// The first message since the status was last `recovering` has come.
        case dataArrived
        /// The last fact. Also when the connection could not be made at all.
        case closed(PeerFailure?)
        /// `setRemoteDescription`, `offer` or `restart` has thrown.
        case descriptionRefused(PeerFailure)
        /// One of them has thrown since this machine is out of something: ports, descriptors. Nothing has changed by the call.
        case notPrepared(PeerFailure)
        /// The round goes on without candidates of this side, for the same reason.
        case gatheringFailed(PeerFailure)
        /// What the connection answers to `diagnose`.
        case diagnosed(PeerStall?)
        /// Data was sent, and none of it has been acknowledged for `stallPatience`; told once until `acknowledged`.
        case unacknowledged
        /// The other side acknowledges again, or nothing is left that it could acknowledge.
        case acknowledged
        /// The other side says over its channel that it has come back to the room server.
        case serverIsBack
        /// The other side says over its channel that it leaves the room for good.
        case leaving
        /// The other side says over its channel that it hears nothing of us.
        case unheard
    }

    /// What the shell must do, in this order.
    package enum Action: Sendable, Hashable {
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
        /// Sets a timer, or moves the one of this name. A timer that fires too early, late, or twice does no harm.
        case scheduleTimer(TimerID, at: Timestamp)
        case cancelTimer(TimerID)
        case emit(RoomEvent)
        case peer(ParticipantID, PeerConnectionID, PeerCommand)
    }

    /// What the shell must do with one peer connection.
    package enum PeerCommand: Sendable, Hashable {
        /// Makes it. Delivery continues or begins by the sessions of the pair.
        case create(isOfferer: Bool, iceServers: [ICEServer])
        /// Closes it and forgets it; its facts are not wanted any more.
        case close
        case makeOffer
        case setRemoteDescription(SessionDescription)
        /// What is thrown is not told: a candidate that cannot be used is ignored.
        case addRemoteCandidate(PeerCandidate)
        /// `restart(iceServers:)`.
        case restartPath(iceServers: [ICEServer])
        case updateICEServers([ICEServer])
        case probe
        /// Answered by `diagnosed`.
        case diagnose
        /// Over the connection's channel, if it has one that works.
        case tellServerIsBack
        /// Over the connection's channel, if it has one that works; it may be lost.
        case tellLeaving
        /// The same.
        case tellUnheard
    }

    package enum TimerID: Sendable, Hashable {
        /// Backoff, attempt and hello timeouts.
        case attempt
        /// The connection has held long enough.
        case stability
        case liveness
        case acknowledgement
        /// ICE servers to be refreshed or asked for; absent participants to be given up.
        case session
        /// The ladder of one participant.
        case peer(ParticipantID)
        /// The next look at why the pair with a participant is not connected.
        case stall(ParticipantID)
        /// Offers that wait for their turn.
        case offers
    }
}
