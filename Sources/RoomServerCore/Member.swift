import RoomProtocol
import TransportValues

/// A participant's place in a room. It outlives connections, for the grace period.
struct Member: Sendable {
    var participant: Participant
    /// What its join token allows it to be. Nil: either.
    var role: Hello.Role?
    var allowance = Allowance()
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
    /// The last of the client's numbered messages that has come.
    var received: SequenceNumber = 0
    var unacknowledged = 0
    var ackDue: Timestamp?
    var iceRefreshAt: Timestamp?
    /// When its session token is half-way through its life.
    var tokenRenewalAt: Timestamp?
    /// Whether there are metadata that the others were not told of yet.
    var hasUntoldUpdate = false
    /// Whose name it has taken, until it has said something.
    var formerSession: SessionID?

    init(_ participant: Participant, order: UInt64, limits: RoomServerLimits) {
        self.participant = participant
        self.order = order
        outbound = OutboundStream(limits: limits)
    }

    /// Whether what has to be sent again is within what the participant may cost.
    mutating func takeReplay(_ effects: Effects) -> Bool { allowance.takeReplay(outbound.bytes, effects) }

    /// The state of a new epoch: both streams begin again.
    mutating func restart(epoch: Epoch, _ effects: inout Effects) {
        participant.epoch = epoch
        isConfirmed = false
        outbound.removeAll(&effects.streamBytes)
        outbound = OutboundStream(limits: effects.limits)
        received = 0
        unacknowledged = 0
        ackDue = nil
    }
}
