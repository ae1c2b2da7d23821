import RoomProtocol
import TransportValues

/// A participant of a room. It outlives its connections by the grace period.
struct Member: Sendable {
    var participant: Participant
    /// The only role that its join token allows; nil if it allows both.
    let role: Hello.Role?
    var allowance: Allowance
    var joinedAt = Timestamp.zero
    /// The end of the join token that it has shown; nil: none, or to an earlier run of the server.
    var admittedUntil: Timestamp?
    /// The current connection; nil while the session waits to be resumed.
    var connection: ConnectionID?
    var disconnectedAt: Timestamp?
    /// Whether a message has arrived over a connection of this epoch, so that the client has received its token.
    var isConfirmed = false
    /// The highest number of a connection attempt received.
    var lastAttempt: UInt64 = 0
    var outbound: OutboundStream
    var inbound = InboundStream()
    var iceRefreshAt: Timestamp?
    /// The time at which half of its session token's life has passed.
    var tokenRenewalAt: Timestamp?
    /// Whether it has new metadata that was not sent to the others yet.
    var hasUnsentUpdate = false
    /// The session whose name it has taken, until a message has arrived from it.
    var formerSession: SessionID?

    init(
        _ participant: Participant, role: Hello.Role?, allowance: Allowance, limits: RoomServerLimits
    ) {
        self.participant = participant
        self.role = role
        self.allowance = allowance
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

    /// Begins a new epoch, and both streams at 1.
    mutating func restart(epoch: Epoch, _ effects: inout Effects) {
        participant.epoch = epoch
        isConfirmed = false
        outbound.removeAll(&effects.streamBytes)
        outbound = OutboundStream(limits: effects.limits)
        inbound = InboundStream()
    }

    /// Returns the messages to send again after a resume. Returns nil when one of them was dropped, or when they exceed
    /// the participant's allowance.
    mutating func replay(
        after received: SequenceNumber, _ effects: inout Effects
    ) -> [(SequenceNumber, ServerMessage)]? {
        guard let missed = outbound.replay(after: received, &effects.streamBytes),
            allowance.takeReplay(outbound.bytes, effects)
        else { return nil }
        return missed
    }

    /// The approximate size of its metadata in a message, in bytes.
    var updateSize: Int { participant.metadata.reduce(512) { $0 + $1.key.utf8.count + $1.value.utf8.count } }
}
