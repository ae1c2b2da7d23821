package import RoomProtocol
package import RoomValues
package import TransportValues

/// The data path to one participant's session: what goes out next on which channel, what becomes of a frame that came,
/// and when to acknowledge. It outlives peer connections.
///
/// Pure. A shell hands it what the connection tells, sends the frames that it names, and tells what became of them. The
/// frames lie in a `DeliveryOutbox`. Frames of the reliable stream may come over any carrier: only their numbers count.
package struct DeliveryLink: Sendable {
    package enum TimerID: Hashable, Sendable {
        /// An acknowledgement is due.
        case acknowledgement
        /// Time to look whether what was sent was acknowledged.
        case watch
        /// A closed channel is opened again.
        case reopening(DeliveryChannel)
    }

    package enum Action: Equatable, Sendable {
        /// Open a data channel, and tell by `opening` or `openingFailed`.
        case openChannel(DeliveryChannel)
        /// Tell the outbox that messages can be sent.
        case beginSending
        /// Tell the outbox that the reliable channel is gone.
        case suspendSending
        /// Send the resume frame, the first on a channel of the reliable stream.
        case sendResume(DeliveryProtocol.ResumeFrame, ChannelID)
        /// Send what waits on a channel.
        case drain(DeliveryChannel)
        case scheduleTimer(TimerID, after: Duration)
        case cancelTimer(TimerID)
    }

    /// The use of a message of the transport.
    package enum Verdict: Sendable, Equatable {
        /// Hand on the bytes behind `offset`.
        case deliver(DeliveryChannel, isText: Bool, offset: Int)
        /// Hand on the bytes of `takeAssembled`.
        case deliverAssembled(isText: Bool)
        /// Nothing. The frame counts for the acknowledgement.
        case absorbed
        /// Tell the owner of the link.
        case hint(DeliveryProtocol.Hint)
        /// Send again what the other side lacks: drain the reliable channel.
        case resumed
        /// Nothing.
        case ignored
        /// The other side broke the delivery protocol: close the peer connection.
        case violation
    }

    /// The answer to a channel that did not take a frame.
    package enum Refusal: Sendable, Equatable {
        /// Stop: the channel tells when it takes frames again.
        case wait
        /// Drop it and go on: it was accepted before the other side's limit was known.
        case drop
        /// Stop, and close the channel: it takes nothing any more.
        case close(ChannelID?)
    }

    /// Whether both sides speak the delivery protocol.
    package let isDelivery: Bool
    /// Bytes of one message that this side accepts.
    private let messageLimit: Int
    /// How long data may go unacknowledged until it is told.
    private let patience: Duration

    package private(set) var machine: DeliveryMachine
    /// The parts so far of a message that is not whole. They were acknowledged, so they outlive the channel that they
    /// came on.
    package private(set) var assembled: [UInt8]
    private var channels: DeliveryChannels
    private var isAttached = false
    /// The last number on the plain channels that a connection has taken, or that was dropped.
    private var done: [3 of UInt64] = .init(repeating: 0)
    /// Bytes that the present data channel has taken on the plain channels.
    private var takenBytes: [3 of UInt64] = .init(repeating: 0)
    /// Up to which number the outbox was told to release frames.
    private var released: [3 of UInt64]
    private var isAcknowledgementScheduled = false
    /// Of the reliable and the unordered channel.
    private var watches: [2 of AcknowledgementWatch] = .init(repeating: AcknowledgementWatch())
    /// The watch's timer runs: something is outstanding.
    private var isWatching = false
    private var isUnacknowledged = false
    /// The next message, of whatever kind, is news.
    private var awaitsFirstMessage = false
    private var isFirstSinceBreak = false
    /// The participant has said that it leaves.
    package private(set) var isLeaving = false

    /// `machine` and `parts`: from the memory of earlier streams.
    package init(
        machine: DeliveryMachine, parts: [UInt8], isDelivery: Bool, messageLimit: Int,
        patience: Duration = .seconds(8)
    ) {
        self.machine = machine
        assembled = parts
        released = [machine.acknowledged, 0, 0]
        self.isDelivery = isDelivery
        self.messageLimit = messageLimit
        self.patience = patience
        channels = DeliveryChannels(isDelivery: isDelivery)
    }

    /// The channel of the reliable stream can carry data, both ways.
    package var isReady: Bool { channels.isOpen(.reliable) }
    package func id(of channel: DeliveryChannel) -> ChannelID? { channels.id(of: channel) }

    // MARK: Connections and their channels

    /// A new peer connection took the place of the last one, which was detached. Returns the channels that this side
    /// opens.
    package mutating func attached(isOpener: Bool) -> [DeliveryChannel] {
        isAttached = true
        channels.connectionBegan(isOpener: isOpener)
        return isOpener ? DeliveryChannel.allCases : []
    }

    /// The peer connection has ended. What was not acknowledged is kept for the next one; all timers are void.
    package mutating func detached() {
        guard isAttached else { return }
        isAttached = false
        channels.reset()
        machine.channelLost()
        isAcknowledgementScheduled = false
        isWatching = false
        isUnacknowledged = false
        for index in watches.indices { watches[index] = AcknowledgementWatch() }
        for index in takenBytes.indices { takenBytes[index] = 0 }
    }

    /// This side has asked the connection for a data channel.
    package mutating func opening(_ channel: DeliveryChannel, as id: ChannelID) { channels.opening(channel, as: id) }

    /// The connection has refused to open a data channel.
    package mutating func openingFailed(_ channel: DeliveryChannel, now: Timestamp) -> [Action] {
        guard let delay = channels.reopenDelay(of: channel, now: now) else { return [] }
        return [.scheduleTimer(.reopening(channel), after: delay)]
    }

    package mutating func channelOpened(_ id: ChannelID, _ parameters: ChannelParameters) -> [Action] {
        guard isAttached, let channel = channels.opened(id, parameters) else { return [] }
        return begin(channel, on: id)
    }

    private mutating func begin(_ channel: DeliveryChannel, on id: ChannelID) -> [Action] {
        var actions: [Action] = [.cancelTimer(.reopening(channel)), .beginSending]
        takenBytes[channel.rawValue] = 0
        // Plain channels remember nothing: what the last one had taken is gone, the rest goes out now.
        if channel == .reliable, isDelivery {
            machine.channelLost()
            actions.append(.sendResume(machine.channelOpened(), id))
        }
        actions.append(.drain(channel))
        return actions
    }

    package mutating func channelClosed(_ id: ChannelID, now: Timestamp) -> [Action] {
        switch channels.closed(id, now: now) {
        case .ignored: return []
        case .replaced(let channel, let next): return begin(channel, on: next)
        case .left(let channel): return lost(channel)
        case .reopen(let channel, let delay):
            return lost(channel) + [.scheduleTimer(.reopening(channel), after: delay)]
        }
    }

    private mutating func lost(_ channel: DeliveryChannel) -> [Action] {
        takenBytes[channel.rawValue] = 0
        guard channel == .reliable else { return [] }
        machine.channelLost()
        return [.suspendSending]
    }

    /// It is time to open a channel again.
    package func reopeningTimerFired(_ channel: DeliveryChannel) -> [Action] {
        isAttached && channels.id(of: channel) == nil ? [.openChannel(channel)] : []
    }

    /// A data channel takes frames again. Returns the channel to drain.
    package mutating func channelWritable(_ id: ChannelID) -> DeliveryChannel? { channels.writableAgain(id) }

    // MARK: Sending

    /// The data channel to send on, nil while it takes nothing.
    package func writable(_ channel: DeliveryChannel) -> ChannelID? { channels.writable(channel) }

    /// The next frames to hand to the channel. Called under the lock of the outbox, after `writable`.
    package mutating func nextFrames(on channel: DeliveryChannel, in outbox: inout DeliveryOutbox) -> FrameBatch {
        if channel == .reliable, isDelivery {
            let next = machine.framesAccepted(upTo: outbox.lastSequence(on: .reliable))
            return outbox.frames(on: .reliable, from: next)
        }
        if let sequence = takeReleasable(on: channel) { outbox.release(upTo: sequence, on: channel) }
        return outbox.frames(on: channel, from: outbox.firstSequence(on: channel))
    }

    /// Writes into a frame what it says of the other direction. Called right before it is sent.
    package func stamp(_ frame: UnsafeMutableRawBufferPointer) {
        frame.storeBytes(
            of: UInt32(truncatingIfNeeded: machine.received).bigEndian, toByteOffset: 5, as: UInt32.self)
    }

    /// The channel has taken the frame `sequence` of so many bytes.
    package mutating func frameTaken(_ sequence: UInt64, count: Int, on channel: DeliveryChannel) {
        if channel == .reliable, isDelivery { return machine.frameTransmitted(sequence) }
        takenBytes[channel.rawValue] &+= UInt64(count)
        done[channel.rawValue] = sequence
    }

    /// The channel has refused the frame `sequence`.
    package mutating func frameRefused(
        _ sequence: UInt64, _ code: TransportError.Code, on channel: DeliveryChannel
    ) -> Refusal {
        if code == .wouldBlock {
            channels.blocked(channel)
            return .wait
        }
        if code == .messageTooLarge, channel != .reliable || !isDelivery {
            done[channel.rawValue] = sequence
            return .drop
        }
        return .close(channels.failed(channel))
    }

    /// Up to which number frames of a channel can be released; nil: none since the last call.
    package mutating func takeReleasable(on channel: DeliveryChannel) -> UInt64? {
        let index = channel.rawValue
        let number = channel == .reliable && isDelivery ? machine.acknowledged : done[index]
        guard number != released[index] else { return nil }
        released[index] = number
        return number
    }

    // MARK: Receiving

    /// A whole message of the transport. Afterwards: release what
    /// `takeReleasable` names, then do as the verdict says.
    package mutating func received(_ bytes: UnsafeRawBufferPointer, isText: Bool, on id: ChannelID) -> Verdict {
        guard let channel = channels.channel(of: id) else { return .ignored }
        if awaitsFirstMessage {
            awaitsFirstMessage = false
            isFirstSinceBreak = true
        }
        if channel == .reliable, isDelivery { return received(frame: bytes) }
        return .deliver(channel, isText: isText, offset: 0)
    }

    /// A frame of the reliable stream, whichever carrier it came over.
    package mutating func received(frame bytes: UnsafeRawBufferPointer) -> Verdict {
        guard let frame = DeliveryProtocol.decode(bytes) else { return .violation }
        switch frame {
        case .data(let kind, let sequence, let ack):
            switch machine.dataReceived(kind: kind, sequence: sequence, ack: ack) {
            case .deliver:
                return .deliver(.reliable, isText: kind == .text, offset: DeliveryProtocol.dataHeaderLength)
            case .begin:
                assembled.removeAll(keepingCapacity: true)
                return assemble(bytes) ? .absorbed : .violation
            case .append: return assemble(bytes) ? .absorbed : .violation
            case .complete: return assemble(bytes) ? .deliverAssembled(isText: kind == .text) : .violation
            case .duplicate: return .absorbed
            case .violation: return .violation
            }
        case .ack(let ack): return machine.ackReceived(ack) ? .ignored : .violation
        case .hint(let hint):
            guard let hint else { return .ignored }
            if hint == .leaving { isLeaving = true }
            return .hint(hint)
        case .resume(let resume): return machine.resumeReceived(resume) ? .resumed : .violation
        }
    }

    private mutating func assemble(_ frame: UnsafeRawBufferPointer) -> Bool {
        let part = UnsafeRawBufferPointer(rebasing: frame.dropFirst(DeliveryProtocol.dataHeaderLength))
        guard assembled.count + part.count <= messageLimit else { return false }
        assembled.append(contentsOf: part)
        return true
    }

    /// The bytes of a message that came in parts.
    package mutating func takeAssembled() -> [UInt8] {
        var whole: [UInt8] = []
        swap(&whole, &assembled)
        return whole
    }

    /// The participant's status has changed: while it recovers, the next message is news. Returns how many messages
    /// were given up meanwhile, once it is connected again.
    package mutating func statusChanged(_ status: PeerStatus, _ outbox: inout DeliveryOutbox) -> Int {
        outbox.statusChanged(status)
        if status.isRecovering { awaitsFirstMessage = true }
        if case .connected = status { return outbox.takeGivenUpCount() }
        return 0
    }

    /// Whether the last message was the first since the path broke. Asked for each one.
    package mutating func takeIsFirstSinceBreak() -> Bool {
        guard isFirstSinceBreak else { return false }
        isFirstSinceBreak = false
        return true
    }

    // MARK: Acknowledging

    /// A data frame of `count` bytes was dealt with.
    package mutating func acknowledgementUrgency(afterFrameOf count: Int) -> DeliveryMachine.AckUrgency {
        let urgency = machine.ackUrgency(afterFrameOf: count)
        guard urgency == .soon else { return urgency }
        if isAcknowledgementScheduled { return .none }
        isAcknowledgementScheduled = true
        return .soon
    }

    package mutating func acknowledgementTimerFired() { isAcknowledgementScheduled = false }

    /// An acknowledgement that no frame has carried while the channel was blocked.
    package var isAcknowledgementOverdue: Bool { machine.ackToSend != nil && !isAcknowledgementScheduled }

    /// The acknowledgement that is due and can be sent, and the channel for it. Tell by `acknowledgementTaken` or
    /// `refused`.
    package var acknowledgementFrame: (bytes: [5 of UInt8], channel: ChannelID)? {
        guard let ack = machine.ackToSend, let id = channels.writable(.reliable) else { return nil }
        func byte(_ shift: UInt32) -> UInt8 { UInt8(truncatingIfNeeded: ack >> shift) }
        return ([DeliveryProtocol.Kind.ack.rawValue, byte(24), byte(16), byte(8), byte(0)], id)
    }

    package mutating func acknowledgementTaken() { machine.ackTransmitted() }

    /// The channel for a hint, nil where none can be sent now.
    package var hintChannel: ChannelID? { isDelivery && machine.isOpen ? channels.writable(.reliable) : nil }

    /// The channel has not taken an acknowledgement or a hint. An acknowledgement is sent when the channel takes frames
    /// again, unless a frame carries it before.
    package mutating func refused(_ code: TransportError.Code) {
        if code == .wouldBlock { channels.blocked(.reliable) }
    }

    // MARK: Acknowledgements that do not come

    /// Something was sent on the channel. Returns after how long to look, nil where a look is already planned.
    /// `buffered`: the bytes of a data channel that are not acknowledged by its transport.
    package mutating func watch(_ channel: DeliveryChannel, buffered: (ChannelID) -> Int) -> Duration? {
        // Nobody waits for lossy messages.
        guard !isWatching, channel != .lossy else { return nil }
        isWatching = true
        _ = sampleWatches(buffered)
        return patience / AcknowledgementWatch.patience
    }

    /// The watch's timer has fired. Returns after how long to look again (nil: nothing is outstanding), and whether
    /// acknowledgements are missing, where that has changed.
    package mutating func watchTimerFired(buffered: (ChannelID) -> Int) -> (after: Duration?, isMissing: Bool?) {
        isWatching = sampleWatches(buffered)
        let delay = isWatching ? patience / AcknowledgementWatch.patience : nil
        let isMissing = watches[0].isUnacknowledged || watches[1].isUnacknowledged
        guard isMissing != isUnacknowledged else { return (delay, nil) }
        isUnacknowledged = isMissing
        return (delay, isMissing)
    }

    /// Whether anything is outstanding.
    private mutating func sampleWatches(_ buffered: (ChannelID) -> Int) -> Bool {
        var isOutstanding = false
        for channel in [DeliveryChannel.reliable, .unordered] {
            let acknowledged = acknowledged(on: channel, buffered)
            watches[channel.rawValue].sample(acknowledged: acknowledged)
            if acknowledged != nil { isOutstanding = true }
        }
        return isOutstanding
    }

    /// How much of the channel's data was acknowledged, in frames or bytes; nil when nothing is outstanding.
    private func acknowledged(on channel: DeliveryChannel, _ buffered: (ChannelID) -> Int) -> UInt64? {
        guard channels.isOpen(channel), let id = channels.id(of: channel) else { return nil }
        if channel == .reliable, isDelivery { return machine.unacknowledged > 0 ? machine.acknowledged : nil }
        let outstanding = buffered(id)
        return outstanding > 0 ? takenBytes[channel.rawValue] &- UInt64(outstanding) : nil
    }

    /// Whether the transport's other side has acknowledged what was sent on the plain channels. What a connection that
    /// has ended had taken is not known any more.
    package func isAcknowledgedByTransport(buffered: (ChannelID) -> Int) -> Bool {
        for channel in [DeliveryChannel.reliable, .unordered] where channel != .reliable || !isDelivery {
            if let id = channels.id(of: channel), buffered(id) > 0 { return false }
        }
        return true
    }

    // MARK: The end

    /// The participant's session has ended, and the connection was detached. Returns how many messages are given up.
    package mutating func close(_ outbox: inout DeliveryOutbox) -> Int {
        machine.framesAccepted(upTo: outbox.lastSequence(on: .reliable))
        return outbox.close()
    }
}
