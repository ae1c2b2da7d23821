package import RoomProtocol

/// One numbered stream between two sessions, as this side has it: its numbers, the parts so far of a message that is
/// not whole, and how far its frames were released. There is one for the reliable channel and one for bulk.
///
/// Frames may come over any carrier: only their numbers count. The stream outlives peer connections.
package struct NumberedStream: Sendable {
    /// The use of a received frame.
    package enum Arrival: Sendable, Equatable {
        /// A whole message: hand on the bytes behind the header.
        case whole(DeliveryProtocol.Kind)
        /// The last part of a message: hand on the bytes of `takeParts`.
        case assembled(DeliveryProtocol.Kind)
        /// Nothing to hand on. The frame counts for the acknowledgement.
        case absorbed
        /// An acknowledgement.
        case acknowledged
        /// Send again what the other side lacks.
        case resumed
        /// The other side broke the delivery protocol.
        case violation
    }

    package internal(set) var machine: DeliveryMachine
    /// They were acknowledged, so they outlive the channel that they came on.
    package private(set) var parts: [UInt8] = []
    /// Up to which number the owner was told to release frames.
    private var released: UInt64 = 0
    private var isAcknowledgementScheduled = false

    package init(session: SessionID, peerSession: SessionID) {
        machine = DeliveryMachine(session: session, peerSession: peerSession)
    }

    /// Up to which number frames can be released; nil: none since the last call.
    mutating func takeReleasable() -> UInt64? {
        guard machine.acknowledged != released else { return nil }
        released = machine.acknowledged
        return released
    }

    // MARK: Receiving

    /// A frame of this stream; `limit`: bytes of a message that this side accepts. Hints are the owner's.
    mutating func received(
        _ frame: DeliveryProtocol.Frame, _ bytes: UnsafeRawBufferPointer, limit: Int
    ) -> Arrival {
        switch frame {
        case .data(let kind, let sequence, let ack):
            switch machine.dataReceived(kind: kind, sequence: sequence, ack: ack) {
            case .deliver: return .whole(kind)
            case .begin:
                parts.removeAll(keepingCapacity: true)
                return assemble(bytes, limit) ? .absorbed : .violation
            case .append: return assemble(bytes, limit) ? .absorbed : .violation
            case .complete: return assemble(bytes, limit) ? .assembled(kind) : .violation
            case .duplicate: return .absorbed
            case .violation: return .violation
            }
        case .ack(let ack): return machine.ackReceived(ack) ? .acknowledged : .violation
        case .resume(let resume): return machine.resumeReceived(resume) ? .resumed : .violation
        case .hint: return .acknowledged
        }
    }

    private mutating func assemble(_ frame: UnsafeRawBufferPointer, _ limit: Int) -> Bool {
        let part = UnsafeRawBufferPointer(rebasing: frame.dropFirst(DeliveryProtocol.dataHeaderLength))
        guard parts.count + part.count <= limit else { return false }
        parts.append(contentsOf: part)
        return true
    }

    /// The bytes of a message that came in parts.
    mutating func takeParts() -> [UInt8] {
        var whole: [UInt8] = []
        swap(&whole, &parts)
        return whole
    }

    // MARK: Acknowledging

    /// A data frame of `count` bytes was dealt with.
    mutating func acknowledgementUrgency(afterFrameOf count: Int) -> DeliveryMachine.AckUrgency {
        let urgency = machine.ackUrgency(afterFrameOf: count)
        guard urgency == .soon else { return urgency }
        if isAcknowledgementScheduled { return .none }
        isAcknowledgementScheduled = true
        return .soon
    }

    mutating func acknowledgementTimerFired() { isAcknowledgementScheduled = false }

    /// An acknowledgement that no frame has carried while the channel was blocked.
    var isAcknowledgementOverdue: Bool { machine.ackToSend != nil && !isAcknowledgementScheduled }

    // MARK: Channels

    /// There is no connection any more: the timer of the acknowledgement is void.
    mutating func detached() {
        machine.channelLost()
        isAcknowledgementScheduled = false
    }

    /// The link begins: nothing was released yet of the outbox that begins with it.
    mutating func began() {
        released = machine.acknowledged
        isAcknowledgementScheduled = false
    }
}

/// The numbered streams between two sessions.
package struct NumberedStreams: Sendable {
    private var all: [2 of NumberedStream]
    /// Of the streams of the application.
    package var record = StreamRecord()
    /// Of its topics and requests.
    package var exchange = ExchangeRecord()

    package init(session: SessionID, peerSession: SessionID) {
        all = .init(repeating: NumberedStream(session: session, peerSession: peerSession))
    }

    /// The stream of a numbered channel. In place: a copy would count references for each message.
    package internal(set) subscript(channel: DeliveryChannel) -> NumberedStream {
        _read { yield all[channel == .bulk ? 1 : 0] }
        _modify { yield &all[channel == .bulk ? 1 : 0] }
    }

    package var session: SessionID { self[.reliable].machine.session }
    package var peerSession: SessionID { self[.reliable].machine.peerSession }

    /// Nobody waits for what was accepted and not confirmed: it is not sent any more.
    mutating func abandon() { for index in all.indices { all[index].machine.abandon() } }

    /// There is no connection any more.
    mutating func detached() { for index in all.indices { all[index].detached() } }

    /// A link begins, with an outbox of its own.
    mutating func began() { for index in all.indices { all[index].began() } }
}
