package import RoomProtocol

/// The numbers of the reliable stream between two sessions: which frames were accepted, transmitted, acknowledged,
/// received.
///
/// Pure: numbers only. The bytes are kept by the shell, by sequence number, from `accepted` until `acknowledged`. The
/// machine outlives peer connections: each new channel begins with a resume frame of each side, after which exactly the
/// frames that the other side lacks are sent again. It belongs to one pair of sessions, for good: a new session of the
/// participant gets a new machine, one that was given up and comes back gets its old one from the `DeliveryMemory`.
package struct DeliveryMachine: Sendable, Equatable {
    /// Where the current channel stands.
    private enum State: Sendable, Equatable {
        /// No channel. Can transition to: `opening`.
        case detached
        /// A channel is open, our resume frame is out, the other side's has not come. Can transition to: `open`,
        /// `detached`.
        case opening
        /// Both resume frames were exchanged. Can transition to: `detached`.
        case open
    }

    /// The use of a data frame. The shell keeps the payloads of a message in parts, also from one channel to the next.
    package enum Verdict: Sendable, Equatable {
        /// The next one in order, a whole message: hand it on.
        case deliver
        /// The first part of a message: keep its payload, and nothing that was kept before.
        case begin
        /// Another part: keep its payload too.
        case append
        /// The last part: hand on what was kept and its payload as one message.
        case complete
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
    /// The last number that the other side has confirmed, or that was given up.
    package private(set) var acknowledged: UInt64 = 0
    /// The last number that the other side has confirmed.
    private var confirmed: UInt64 = 0
    /// The last number that has come, in order.
    package private(set) var received: UInt64 = 0
    /// The last `received` that the other side was told.
    private var reported: UInt64 = 0
    /// Of frames that came since then.
    private var unreportedBytes = 0
    /// Parts of a message have come, its end has not.
    private var isAssembling = false

    package init(session: SessionID, peerSession: SessionID) {
        self.session = session
        self.peerSession = peerSession
    }

    // MARK: Sending

    /// Frames up to `sequence` are in the shell's buffer. Returns `nextToTransmit`.
    @discardableResult
    package mutating func framesAccepted(upTo sequence: UInt64) -> UInt64? {
        accepted = max(accepted, sequence)
        return nextToTransmit
    }

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
        ackTransmitted()
    }

    /// Frames that were accepted and not yet confirmed.
    package var unacknowledged: UInt64 { accepted - acknowledged }

    // MARK: The channel

    /// A channel is open: send this first.
    package mutating func channelOpened() -> DeliveryProtocol.ResumeFrame {
        state = .opening
        transmitted = acknowledged
        ackTransmitted()
        return DeliveryProtocol.ResumeFrame(
            session: session, peerSession: peerSession, received: received, next: acknowledged + 1)
    }

    package mutating func channelLost() {
        if state != .detached, transmitted > 0 || received > 0 { isFirstChannel = false }
        state = .detached
    }

    /// Nobody waits for what was accepted and not confirmed: it is not sent any more.
    package mutating func abandon() {
        channelLost()
        acknowledged = accepted
    }

    /// The other side's resume frame. False: it belongs to other sessions or does not fit; close the peer connection.
    package mutating func resumeReceived(_ frame: DeliveryProtocol.ResumeFrame) -> Bool {
        guard state == .opening, frame.session == peerSession, frame.peerSession == session,
            frame.received >= confirmed, frame.received <= accepted, (1...UInt64.max / 2).contains(frame.next)
        else { return false }
        if frame.next - 1 > received {
            // It has given up what is between, and its application knows.
            received = frame.next - 1
            isAssembling = false
        }
        confirmed = frame.received
        acknowledged = max(acknowledged, frame.received)
        transmitted = max(transmitted, acknowledged)
        isFirstChannel = false
        state = .open
        return true
    }

    // MARK: Receiving

    /// A data frame with the lower 32 bits of its number; `kind` is `.binary`, `.text` or `.part`.
    package mutating func dataReceived(kind: DeliveryProtocol.Kind, sequence: UInt32, ack: UInt32) -> Verdict {
        guard state == .open, ackReceived(ack) else { return .violation }
        let distance = Int32(bitPattern: sequence &- UInt32(truncatingIfNeeded: received))
        guard distance == 1 else { return distance <= 0 ? .duplicate : .violation }
        received += 1
        let wasAssembling = isAssembling
        isAssembling = kind == .part
        if isAssembling { return wasAssembling ? .append : .begin }
        return wasAssembling ? .complete : .deliver
    }

    /// An acknowledgement with the lower 32 bits of its number. False: it confirms what was never sent.
    package mutating func ackReceived(_ ack: UInt32) -> Bool {
        guard state == .open else { return false }
        let distance = Int32(bitPattern: ack &- UInt32(truncatingIfNeeded: acknowledged))
        guard distance > 0 else { return true }
        guard UInt64(distance) <= transmitted - acknowledged else { return false }
        acknowledged += UInt64(distance)
        confirmed = acknowledged
        return true
    }

    // MARK: Acknowledging

    /// When an acknowledgement of its own is due; whatever is sent before carries it for nothing.
    package enum AckUrgency: Sendable, Equatable {
        case none
        /// Within `ackDelay`.
        case soon
        case now
    }

    package static let ackDelay: Duration = .milliseconds(20)
    /// Frames, and bytes, after which an acknowledgement is sent at once.
    package static let ackEvery: UInt64 = 64
    package static let ackEveryBytes = 262_144

    /// A data frame of `length` bytes was dealt with.
    package mutating func ackUrgency(afterFrameOf length: Int) -> AckUrgency {
        unreportedBytes += length
        guard unreported > 0 else {
            unreportedBytes = 0
            return .none
        }
        return unreported >= Self.ackEvery || unreportedBytes >= Self.ackEveryBytes ? .now : .soon
    }

    /// Frames that came and that the other side was not told of.
    package var unreported: UInt64 { received - reported }

    /// An acknowledgement of its own: nil when there is nothing to report or nobody to report to.
    package var ackToSend: UInt32? {
        state == .open && unreported > 0 ? UInt32(truncatingIfNeeded: received) : nil
    }

    /// An acknowledgement of everything that came was handed to the channel. One that the channel did not take is still
    /// to be sent.
    package mutating func ackTransmitted() {
        reported = received
        unreportedBytes = 0
    }

    package var isOpen: Bool { state == .open }
}
