package import RoomProtocol
package import TransportValues

/// An event of one peer connection.
package enum PeerFact: Sendable, Hashable {
    case localDescription(SessionDescription)
    case localCandidate(PeerCandidate)
    case endOfLocalCandidates(usernameFragment: String)
    /// `connected`: and the channel of `.reliable` is open.
    case state(PeerConnectionState)
    /// The channel of `.reliable` has ended, and the connection lives. `state(.connected)` follows when it is open
    /// again.
    case channelClosed
    /// After a `probe`, evidence is reported even when there was no suspicion.
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
    /// One of them has thrown since this machine is out of something: ports, descriptors. Nothing has changed by the
    /// call.
    case notPrepared(PeerFailure)
    /// The round goes on without candidates of this side, for the same reason.
    case gatheringFailed(PeerFailure)
    /// The answer to `diagnose`.
    case diagnosed(PeerStall?)
    /// Data was sent, and none of it has been acknowledged for `stallPatience`. Reported once until `acknowledged`.
    case unacknowledged
    /// The other side acknowledges again, or nothing is left that it could acknowledge.
    case acknowledged
    /// The other side says over its channel that it has come back to the room server.
    case serverIsBack
    /// The other side says over its channel that it leaves the room permanently.
    case leaving
    /// The other side says over its channel that it hears nothing from this side.
    case unheard
}

/// An action of the shell on one peer connection.
package enum PeerCommand: Sendable, Hashable {
    /// Makes it. Delivery continues or begins by the sessions of the pair.
    case create(isOfferer: Bool, iceServers: [ICEServer])
    /// Closes it and forgets it; its facts are not wanted any more.
    case close
    case makeOffer
    case setRemoteDescription(SessionDescription)
    /// Errors are not reported: a candidate that cannot be used is ignored.
    case addRemoteCandidate(PeerCandidate)
    /// `restart(iceServers:)`.
    case restartPath(iceServers: [ICEServer])
    case updateICEServers([ICEServer])
    case probe
    /// Answered by `diagnosed`.
    case diagnose
    /// Sends a hint over the connection's channel, if it has one that works. It may be lost.
    case sendHint(DeliveryProtocol.Hint)
}
