package import RoomProtocol
package import RoomValues
package import TransportValues

/// The data path to one participant's session: what goes out next on which channel, what becomes of a frame that came,
/// and when to acknowledge. It outlives peer connections.
///
/// Pure. A shell hands it what the connection tells, sends the frames that it names, and tells what became of them. The
/// frames lie in a `DeliveryOutbox`.
// What is asked for every frame is `mutating`, though it changes nothing: Swift would copy all of the link to ask it.
package struct DeliveryLink: ~Copyable, Sendable {
    package enum TimerID: Hashable, Sendable {
        /// An acknowledgement is due on a numbered channel.
        case acknowledgement(DeliveryChannel)
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
        /// Send the resume frame, the first on a numbered channel.
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
        /// Hand on the bytes of `takeAssembled`, of the reliable channel.
        case deliverAssembled(isText: Bool)
        /// Hand the bytes behind `offset` to topics, requests and streams.
        case exchange(DeliveryChannel, offset: Int)
        /// Hand the bytes of `takeAssembled` to topics, requests and streams.
        case exchangeAssembled(DeliveryChannel)
        /// Nothing. The frame counts for the acknowledgement.
        case absorbed
        /// Tell the owner of the link.
        case hint(DeliveryProtocol.Hint)
        /// Send again what the other side lacks: drain the channel.
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

    /// The protocols that both sides speak.
    package let level: DeliveryLevel
    /// Bytes of one message that this side accepts.
    private let messageLimit: Int

    /// The numbered streams. They outlive the link in a `DeliveryMemory`.
    package private(set) var streams: NumberedStreams
    private var channels: DeliveryChannels
    private var isAttached = false
    private var plain = PlainProgress()
    private var watches: AcknowledgementWatches
    /// The next message, of whatever kind, is news.
    private var expectsFirstMessage = false
    private var isFirstSinceBreak = false
    /// The participant has said that it leaves.
    package private(set) var isLeaving = false

    /// `streams`: from the memory of earlier ones. `patience`: how long data may go unacknowledged until it is told.
    package init(
        streams: NumberedStreams, level: DeliveryLevel, messageLimit: Int, patience: Duration = .seconds(8)
    ) {
        self.streams = streams
        self.streams.began()
        self.level = level
        self.messageLimit = messageLimit
        watches = AcknowledgementWatches(patience: patience)
        channels = DeliveryChannels(level)
    }

    /// The numbers of the reliable stream.
    package var machine: DeliveryMachine { streams[.reliable].machine }

    /// The channel of the reliable stream can carry data, both ways.
    package var isReady: Bool { channels.isOpen(.reliable) }
    package func id(of channel: DeliveryChannel) -> ChannelID? { channels.id(of: channel) }

    // MARK: Connections and their channels

    /// A new peer connection took the place of the last one, which was detached. Returns the channels that this side
    /// opens.
    package mutating func attached(isOpener: Bool) -> [DeliveryChannel] {
        isAttached = true
        channels.connectionBegan(isOpener: isOpener)
        return isOpener ? level.channels : []
    }

    /// The peer connection has ended. What was not acknowledged is kept for the next one; all timers are void.
    package mutating func detached() {
        guard isAttached else { return }
        isAttached = false
        channels.reset()
        streams.detached()
        watches.detached()
        plain.detached()
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
        plain.dataChannelChanged(of: channel)
        // Plain channels remember nothing: what the last one had taken is gone, the rest goes out now.
        if level.isNumbered(channel) {
            streams[channel].machine.channelLost()
            actions.append(.sendResume(streams[channel].machine.channelOpened(), id))
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
        plain.dataChannelChanged(of: channel)
        if level.isNumbered(channel) { streams[channel].machine.channelLost() }
        return channel == .reliable ? [.suspendSending] : []
    }

    /// It is time to open a channel again.
    package func reopeningTimerFired(_ channel: DeliveryChannel) -> [Action] {
        isAttached && channels.id(of: channel) == nil ? [.openChannel(channel)] : []
    }

    /// A data channel takes frames again. Returns the channel to drain.
    package mutating func channelWritable(_ id: ChannelID) -> DeliveryChannel? { channels.writableAgain(id) }

    // MARK: Sending

    /// The data channel to send on, nil while it takes nothing.
    package mutating func writable(_ channel: DeliveryChannel) -> ChannelID? { channels.writable(channel) }

    /// The next frames to hand to the channel. Called under the lock of the outbox, after `writable`.
    package mutating func nextFrames(on channel: DeliveryChannel, in outbox: inout DeliveryOutbox) -> FrameBatch {
        if level.isNumbered(channel) {
            let next = streams[channel].machine.framesAccepted(upTo: outbox.lastSequence(on: channel))
            return outbox.frames(on: channel, from: next)
        }
        if let sequence = takeReleasable(on: channel) { outbox.release(upTo: sequence, on: channel) }
        return outbox.frames(on: channel, from: outbox.firstSequence(on: channel))
    }

    /// Writes into a frame what it says of the other direction. Called right before it is sent.
    package mutating func stamp(_ frame: UnsafeMutableRawBufferPointer, on channel: DeliveryChannel) {
        let received = streams[channel].machine.received
        frame.storeBytes(of: UInt32(truncatingIfNeeded: received).bigEndian, toByteOffset: 5, as: UInt32.self)
    }

    /// The channel has taken the frame `sequence` of so many bytes.
    package mutating func frameTaken(_ sequence: UInt64, count: Int, on channel: DeliveryChannel) {
        if level.isNumbered(channel) { return streams[channel].machine.frameTransmitted(sequence) }
        plain.taken(sequence, count: count, on: channel)
    }

    /// The channel has refused the frame `sequence`.
    package mutating func frameRefused(
        _ sequence: UInt64, _ code: TransportError.Code, on channel: DeliveryChannel
    ) -> Refusal {
        if code == .wouldBlock {
            channels.blocked(channel)
            return .wait
        }
        if code == .messageTooLarge, !level.isNumbered(channel) {
            plain.dropped(sequence, on: channel)
            return .drop
        }
        return .close(channels.failed(channel))
    }

    /// Up to which number frames of a channel can be released; nil: none since the last call.
    package mutating func takeReleasable(on channel: DeliveryChannel) -> UInt64? {
        level.isNumbered(channel) ? streams[channel].takeReleasable() : plain.takeReleasable(on: channel)
    }

    // MARK: Receiving

    /// The channel that a data channel carries.
    package mutating func channel(of id: ChannelID) -> DeliveryChannel? { channels.channel(of: id) }

    /// A whole message of the transport. Afterwards: release what `takeReleasable` names on this channel, then do as
    /// the verdict says.
    package mutating func received(
        _ bytes: UnsafeRawBufferPointer, isText: Bool, on channel: DeliveryChannel
    ) -> Verdict {
        if expectsFirstMessage {
            expectsFirstMessage = false
            isFirstSinceBreak = true
        }
        if level.isNumbered(channel) { return received(frame: bytes, of: channel) }
        return channel == .topics ? .exchange(.topics, offset: 0) : .deliver(channel, isText: isText, offset: 0)
    }

    /// A frame of a numbered stream, whichever carrier it came over.
    package mutating func received(frame bytes: UnsafeRawBufferPointer, of channel: DeliveryChannel) -> Verdict {
        guard let frame = DeliveryProtocol.decode(bytes) else { return .violation }
        switch frame {
        case .data(.exchange, _, _) where level != .exchange: return .violation
        case .hint(let hint):
            guard let hint else { return .ignored }
            if hint == .leaving { isLeaving = true }
            return .hint(hint)
        case .data, .ack, .resume: break
        }
        let limit = channel == .bulk ? DeliveryProtocol.maximumBulkMessageLength : messageLimit
        switch streams[channel].received(frame, bytes, limit: limit) {
        case .whole(.exchange): return .exchange(channel, offset: DeliveryProtocol.dataHeaderLength)
        case .assembled(.exchange): return .exchangeAssembled(channel)
        case .whole(let kind):
            guard channel == .reliable else { return .absorbed }
            return .deliver(.reliable, isText: kind == .text, offset: DeliveryProtocol.dataHeaderLength)
        case .assembled(let kind):
            if channel == .reliable { return .deliverAssembled(isText: kind == .text) }
            // Only the reliable channel carries messages of the application as they are.
            _ = takeAssembled(on: channel)
            return .absorbed
        case .absorbed: return .absorbed
        case .acknowledged: return .ignored
        case .resumed: return .resumed
        case .violation: return .violation
        }
    }

    /// The bytes of a message that came in parts.
    package mutating func takeAssembled(on channel: DeliveryChannel = .reliable) -> [UInt8] {
        streams[channel].takeParts()
    }

    /// The participant's status has changed: while it recovers, the next message is news. Returns how many messages
    /// were given up meanwhile, once it is connected again.
    package mutating func statusChanged(_ status: PeerStatus, _ outbox: inout DeliveryOutbox) -> Int {
        outbox.statusChanged(status)
        if status.isRecovering { expectsFirstMessage = true }
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

    /// A data frame of `count` bytes was dealt with on a numbered channel.
    package mutating func acknowledgementUrgency(
        afterFrameOf count: Int, on channel: DeliveryChannel
    ) -> DeliveryMachine.AckUrgency {
        streams[channel].acknowledgementUrgency(afterFrameOf: count)
    }

    package mutating func acknowledgementTimerFired(_ channel: DeliveryChannel) {
        streams[channel].acknowledgementTimerFired()
    }

    /// Whether a numbered channel has an acknowledgement that no frame has carried while it was blocked.
    package mutating func isAcknowledgementOverdue(_ channel: DeliveryChannel) -> Bool {
        level.isNumbered(channel) && streams[channel].isAcknowledgementOverdue
    }

    /// The acknowledgement that is due on a numbered channel and can be sent, and the data channel for it. Tell by
    /// `acknowledgementTaken` or `refused`.
    package func acknowledgementFrame(_ channel: DeliveryChannel) -> (bytes: [5 of UInt8], id: ChannelID)? {
        guard let ack = streams[channel].machine.ackToSend,
            let id = channels.writable(channel)
        else { return nil }
        func byte(_ shift: UInt32) -> UInt8 { UInt8(truncatingIfNeeded: ack >> shift) }
        return ([DeliveryProtocol.Kind.ack.rawValue, byte(24), byte(16), byte(8), byte(0)], id)
    }

    package mutating func acknowledgementTaken(_ channel: DeliveryChannel) {
        streams[channel].machine.ackTransmitted()
    }

    /// The channel for a hint, nil where none can be sent now.
    package var hintChannel: ChannelID? { streams[.reliable].machine.isOpen ? channels.writable(.reliable) : nil }

    /// The channel has not taken an acknowledgement or a hint. An acknowledgement is sent when the channel takes frames
    /// again, unless a frame carries it before.
    package mutating func refused(_ code: TransportError.Code, on channel: DeliveryChannel) {
        if code == .wouldBlock { channels.blocked(channel) }
    }

    // MARK: Acknowledgements that do not come

    /// Something was sent on the channel. Returns after how long to look, nil where a look is already planned.
    /// `buffered`: the bytes of a data channel that are not acknowledged by its transport.
    package mutating func watch(_ channel: DeliveryChannel, buffered: (ChannelID) -> Int) -> Duration? {
        // Nobody waits for lossy messages.
        guard !watches.isRunning, !channel.isLossy else { return nil }
        return watches.begin(acknowledged: acknowledged(buffered))
    }

    /// The watch's timer has fired. Returns after how long to look again (nil: nothing is outstanding), and whether
    /// acknowledgements are missing, where that has changed.
    package mutating func watchTimerFired(buffered: (ChannelID) -> Int) -> (after: Duration?, isMissing: Bool?) {
        watches.timerFired(acknowledged: acknowledged(buffered))
    }

    /// Of the channels that are watched.
    private mutating func acknowledged(_ buffered: (ChannelID) -> Int) -> [3 of UInt64?] {
        [
            acknowledged(on: .reliable, buffered), acknowledged(on: .unordered, buffered),
            acknowledged(on: .bulk, buffered),
        ]
    }

    /// How much of the channel's data was acknowledged, in frames or bytes; nil when nothing is outstanding.
    private mutating func acknowledged(on channel: DeliveryChannel, _ buffered: (ChannelID) -> Int) -> UInt64? {
        guard channels.isOpen(channel), let id = channels.id(of: channel) else { return nil }
        if level.isNumbered(channel) {
            return streams[channel].machine.unacknowledged > 0 ? streams[channel].machine.acknowledged : nil
        }
        let outstanding = buffered(id)
        return outstanding > 0 ? plain.acknowledgedBytes(on: channel, buffered: outstanding) : nil
    }

    /// The data channels of plain channels on which something was sent that the transport's other side has not
    /// acknowledged. What a connection that has ended had taken is not known any more.
    package func unacknowledgedChannels(buffered: (ChannelID) -> Int) -> [ChannelID] {
        [DeliveryChannel.reliable, .unordered].compactMap { channel in
            guard !level.isNumbered(channel), let id = channels.id(of: channel), buffered(id) > 0 else {
                return nil
            }
            return id
        }
    }

    // MARK: The end

    /// The participant's session has ended, and the connection was detached. Returns how many messages are given up.
    package mutating func close(_ outbox: inout DeliveryOutbox) -> Int {
        for channel in [DeliveryChannel.reliable, .bulk] {
            streams[channel].machine.framesAccepted(upTo: outbox.lastSequence(on: channel))
        }
        return outbox.close()
    }
}
