package import RoomProtocol

/// What is known of the reliable stream between two sessions: which frames were accepted, transmitted, acknowledged, received.
///
/// Pure: numbers only. The bytes are kept by the shell, by sequence number, from `accepted` until `acknowledged`. The machine
/// outlives peer connections: each new channel begins with a resume frame of each side, after which exactly the frames that the
/// other side lacks are sent again. It belongs to one pair of sessions; a new session of the participant gets a new machine.
package struct DeliveryMachine: Sendable, Equatable {
    /// Where the current channel stands.
    private enum State: Sendable, Equatable {
        /// No channel. Can transition to: `opening`.
        case detached
        /// A channel is open, our resume frame is out, the other side's has not come. Can transition to: `open`, `detached`.
        case opening
        /// Both resume frames were exchanged. Can transition to: `detached`.
        case open
    }

    /// What to do with a data frame.
    package enum Verdict: Sendable, Equatable {
        /// The next one in order: hand it on.
        case deliver
        /// It came before: drop it, but acknowledge.
        case duplicate
        /// It cannot be: the channel is ordered. Close the peer connection.
        case violation
    }

    package let session: SessionID
    package let peerSession: SessionID
    private var state = State.detached

    /// The last number given to a frame.
    package private(set) var accepted: UInt64 = 0
    /// The last number handed to the current channel.
    package private(set) var transmitted: UInt64 = 0
    /// The last number that the other side has confirmed.
    package private(set) var acknowledged: UInt64 = 0
    /// The last number that has come, in order.
    package private(set) var received: UInt64 = 0
    /// The last `received` that the other side was told.
    private var reported: UInt64 = 0

    package init(session: SessionID, peerSession: SessionID) {
        self.session = session
        self.peerSession = peerSession
    }

    // MARK: Sending

    /// Frames up to `sequence` are in the shell's buffer.
    package mutating func framesAccepted(upTo sequence: UInt64) { accepted = max(accepted, sequence) }

    /// The next frame to hand to the channel, nil when there is none or the channel does not take any yet.
    package var nextToTransmit: UInt64? {
        guard transmitted < accepted else { return nil }
        switch state {
        case .open: return transmitted + 1
        // Nothing was ever exchanged: no need to wait for the other side's resume frame.
        case .opening: return acknowledged == 0 && received == 0 && isFirstChannel ? transmitted + 1 : nil
        case .detached: return nil
        }
    }
    private var isFirstChannel = true

    /// The frame `sequence` was handed to the channel, carrying `received` as its acknowledgement.
    package mutating func frameTransmitted(_ sequence: UInt64) {
        transmitted = sequence
        reported = received
    }

    /// Frames that were accepted and not yet confirmed.
    package var unacknowledged: UInt64 { accepted - acknowledged }

    // MARK: The channel

    /// A channel is open: send this first.
    package mutating func channelOpened() -> DeliveryProtocol.ResumeFrame {
        state = .opening
        transmitted = acknowledged
        reported = received
        return DeliveryProtocol.ResumeFrame(
            session: session, peerSession: peerSession, received: received, next: acknowledged + 1)
    }

    package mutating func channelLost() {
        if state != .detached, transmitted > 0 || received > 0 { isFirstChannel = false }
        state = .detached
    }

    /// The other side's resume frame. False: it belongs to other sessions or does not fit; close the peer connection.
    package mutating func resumeReceived(_ frame: DeliveryProtocol.ResumeFrame) -> Bool {
        guard state == .opening, frame.session == peerSession, frame.peerSession == session,
            frame.received >= acknowledged, frame.received <= accepted, frame.next <= received + 1
        else { return false }
        acknowledged = frame.received
        transmitted = max(transmitted, acknowledged)
        isFirstChannel = false
        state = .open
        return true
    }

    // MARK: Receiving

    /// A data frame with the lower 32 bits of its number.
    package mutating func dataReceived(sequence: UInt32, ack: UInt32) -> Verdict {
        guard state == .open, ackReceived(ack) else { return .violation }
        let distance = Int32(bitPattern: sequence &- UInt32(truncatingIfNeeded: received))
        if distance == 1 {
            received += 1
            return .deliver
        }
        return distance <= 0 ? .duplicate : .violation
    }

    /// An acknowledgement with the lower 32 bits of its number. False: it confirms what was never sent.
    package mutating func ackReceived(_ ack: UInt32) -> Bool {
        guard state == .open else { return false }
        let distance = Int32(bitPattern: ack &- UInt32(truncatingIfNeeded: acknowledged))
        guard distance > 0 else { return true }
        guard UInt64(distance) <= transmitted - acknowledged else { return false }
        acknowledged += UInt64(distance)
        return true
    }

    /// Frames that came and that the other side was not told of.
    package var unreported: UInt64 { received - reported }

    /// An acknowledgement of its own: nil when there is nothing to report or nobody to report to.
    package mutating func ackToSend() -> UInt32? {
        guard state == .open, unreported > 0 else { return nil }
        reported = received
        return UInt32(truncatingIfNeeded: received)
    }

    package var isOpen: Bool { state == .open }
}
