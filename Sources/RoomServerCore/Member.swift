import RoomProtocol
import TransportValues

/// A participant's place in a room. It outlives connections, for the grace period.
struct Member: Sendable {
    var participant: Participant
    /// The one role that its join token allows. Nil: either.
    let role: Hello.Role?
    var allowance: Allowance
    /// Counts up in the order of arrival; the lowest has been present for longest.
    let order: UInt64
    /// Nil while the session waits to be resumed.
    var connection: ConnectionID?
    var disconnectedAt: Timestamp?
    /// Whether anything has come over a connection of this epoch: then the client has got its token.
    var isConfirmed = false
    /// The highest connection attempt that was seen.
    var lastAttempt: UInt64 = 0
    var outbound: OutboundStream
    var inbound = InboundStream()
    var iceRefreshAt: Timestamp?
    /// When its session token is half-way through its life.
    var tokenRenewalAt: Timestamp?
    /// Whether there are metadata that the others have not been sent yet.
    var hasUnsentUpdate = false
    /// The session whose name it has taken, until something has come from it.
    var formerSession: SessionID?

    init(
        _ participant: Participant, role: Hello.Role?, allowance: Allowance, order: UInt64, limits: RoomServerLimits
    ) {
        self.participant = participant
        self.role = role
        self.allowance = allowance
        self.order = order
        outbound = OutboundStream(limits: limits)
    }

    mutating func connected(_ connection: ConnectionID, attempt: UInt64) {
        self.connection = connection
        disconnectedAt = nil
        inbound.connected()
        lastAttempt = max(lastAttempt, attempt)
    }

    mutating func disconnected(at now: Timestamp) {
        connection = nil
        disconnectedAt = now
        inbound.disconnected()
    }

    /// Begins a new epoch: both streams begin again.
    mutating func restart(epoch: Epoch, _ effects: inout Effects) {
        participant.epoch = epoch
        isConfirmed = false
        outbound.removeAll(&effects.streamBytes)
        outbound = OutboundStream(limits: effects.limits)
        inbound = InboundStream()
    }

    /// The messages that are sent again after a resume. Nil: one of them is gone, or they are more than the participant
    /// may cost.
    mutating func replay(
        after received: SequenceNumber, _ effects: inout Effects
    ) -> [(SequenceNumber, ServerMessage)]? {
        guard let missed = outbound.replay(after: received, &effects.streamBytes),
            allowance.takeReplay(outbound.bytes, effects)
        else { return nil }
        return missed
    }

    /// The bytes, roughly, that its metadata take in a message.
    var updateSize: Int { participant.metadata.reduce(512) { $0 + $1.key.utf8.count + $1.value.utf8.count } }
}
