internal import RoomCore
internal import RoomProtocol
internal import TransportPluginAPI

/// The data path to one participant's session: performs what its `DeliveryLink` decides. It outlives peer connections.
///
/// Senders on any thread append to the outbox under the lock; everything else happens on the peer loop. No message
/// takes a hop more than from the sender's thread to the loop, and none at all when it is sent from the loop (from an
/// `onMessage` handler).
///
/// SAFETY of `@unchecked Sendable`: all state but `outbox` is touched only on the loop.
final class PeerLink: @unchecked Sendable {
    /// Limits of one participant's buffers, in bytes, and of waiting.
    struct Limits: Sendable {
        /// Of each channel's send buffer; senders wait above it.
        var send: Int
        /// Of one message that comes.
        var message: Int
        /// Of one message to this participant: what both sides take.
        var outgoing: Int
        /// How long data may go unacknowledged until it is told.
        var acknowledgement: Duration = .seconds(8)
    }

    let participant: ParticipantID
    let session: SessionID
    /// The protocols that both sides speak.
    let level: DeliveryLevel
    private let loop: TransportLoop
    private let outbox: SharedOutbox

    // On the loop only.
    private var connection: (any PeerConnection)?
    @exclusivity(unchecked) private(set) var delivery: DeliveryLink
    private var timers: [DeliveryLink.TimerID: LoopTimer] = [:]
    /// A flush waits until the transport's other side has acknowledged what it took.
    private var isTransportPending = false
    /// Called on the loop when data is not acknowledged for some seconds, and when it is again.
    var onAcknowledgement: (_ isMissing: Bool) -> Void = { _ in }
    /// Called on the loop when a channel that was thought to be open takes nothing.
    var onUnusable: () -> Void = {}
    /// Called on the loop.
    var onHint: (DeliveryProtocol.Hint) -> Void = { _ in }
    /// Called on the loop when the participant, whose connection was broken, has sent a message of whatever kind.
    var onData: () -> Void = {}
    /// Called on the loop with each message of topics, requests and streams, whose bytes are borrowed.
    var onExchange: (UnsafeRawBufferPointer, DeliveryChannel) -> Void = { _, _ in }
    /// Called on the loop when the buffer of bulk has room again.
    private var onBulkCredit: () -> Void = {}
    /// The streams of the application; nil towards a participant without them. Set once, before senders know the link.
    var streams: PeerStreams? {
        didSet { onBulkCredit = { [weak streams] in streams?.bulkHasCredit() } }
    }
    private weak var receiver: (any PeerLinkReceiver)?

    /// Called on any thread with a number of lossy messages that were not sent.
    private let onLossyDropped: @Sendable (Int) -> Void

    /// `streams`: from the memory of earlier ones.
    init(
        participant: ParticipantID, streams: NumberedStreams, level: DeliveryLevel, loop: TransportLoop,
        limits: Limits, receiver: any PeerLinkReceiver, onLossyDropped: @escaping @Sendable (Int) -> Void
    ) {
        self.participant = participant
        session = streams.peerSession
        self.level = level
        delivery = DeliveryLink(
            streams: streams, level: level, messageLimit: limits.message, patience: limits.acknowledgement)
        self.loop = loop
        self.receiver = receiver
        self.onLossyDropped = onLossyDropped
        outbox = SharedOutbox(
            DeliveryOutbox(
                level: level, streams: streams, limits: .init(buffer: limits.send, message: limits.outgoing)))
    }

    // MARK: Sending, from any thread

    /// Takes one message, without waiting. The bytes are copied.
    func send(
        _ bytes: UnsafeRawBufferPointer, isText: Bool, channel: RoomChannel, mayDrop: Bool = false
    ) -> DeliveryOutbox.Outcome {
        let channel = channel.delivery
        return append(on: channel) { $0.accept(bytes, isText: isText, on: channel, mayDrop: mayDrop) }
    }

    /// Takes one message of topics, requests or streams, without waiting. `head` are its first bytes; the bytes are
    /// copied. `isUrgent`: it is taken above the limit of the buffer, too. `isCounted`: the application is told when it
    /// is given up.
    func send(
        exchange head: UnsafeRawBufferPointer, _ body: UnsafeRawBufferPointer, on channel: DeliveryChannel,
        isUrgent: Bool = false, isCounted: Bool = false, mayDrop: Bool = false
    ) -> DeliveryOutbox.Outcome {
        append(on: channel) {
            $0.accept(
                exchange: head, body, on: channel, isUrgent: isUrgent, isCounted: isCounted, mayDrop: mayDrop)
        }
    }

    @inline(__always)
    private func append(
        on channel: DeliveryChannel, _ accept: (inout DeliveryOutbox) -> DeliveryOutbox.Outcome
    ) -> DeliveryOutbox.Outcome {
        let isOnLoop = loop.isCurrent
        let (outcome, mustSchedule) = outbox.append(isOnLoop: isOnLoop, accept)
        if mustSchedule {
            loop.execute { self.drainAll() }
        } else if case .accepted = outcome {
            if isOnLoop { drain(channel) }
        } else if channel.isLossy, outcome == .dropped {
            onLossyDropped(1)
        }
        return outcome
    }

    /// Returns when the channel has credit again, or the link is gone, or the task is cancelled. `mayDrop`: or none is
    /// needed.
    nonisolated(nonsending) func waitForCredit(_ channel: DeliveryChannel, mayDrop: Bool = false) async {
        await outbox.waitForCredit(channel, mayDrop: mayDrop)
    }

    /// Counts a message as given up that was never accepted, where the connection is broken. False: it is not.
    func giveUpIfBroken() -> Bool { outbox.giveUpIfBroken() }

    /// Returns when the connection is broken, or the link is gone, or the task is cancelled.
    nonisolated(nonsending) func waitUntilBroken() async { await outbox.waitUntilBroken() }

    /// Returns when what was accepted before the call has arrived, the link is gone, or the task is cancelled. True
    /// when all arrived: the delivery protocol or, on channels without it, the transport has the other side's
    /// acknowledgement.
    nonisolated(nonsending) func flush() async -> Bool {
        guard await outbox.waitUntilReleased() else { return false }
        // There is seldom anything to wait for. A loop that has ended has no connections.
        guard await loop.runUnlessEnded({ [self] in checkTransport() }) != nil else { return true }
        await outbox.waitForTransport()
        return !Task.isCancelled
    }

    /// Finds out whether a flush waits for the transport's other side, and for which channels.
    private func checkTransport() {
        var isPending = false
        if let connection {
            for id in delivery.unacknowledgedChannels(buffered: { connection.bufferedAmount(of: $0) }) {
                isPending = true
                connection.notifyWhenAcknowledged(id)
            }
        }
        setTransportPending(isPending)
    }

    private func setTransportPending(_ isPending: Bool) {
        isTransportPending = isPending
        outbox.setTransportPending(isPending)
    }

    /// The channel of `.reliable` can carry data, both ways.
    var isReady: Bool { delivery.isReady }

    var isGone: Bool { outbox.isGone }

    // MARK: The connection, on the loop

    /// A new peer connection took the place of the last one. `opensChannels`: this side opens them (it is the offerer).
    func attach(_ connection: any PeerConnection, opensChannels: Bool) throws(TransportError) {
        detach()
        self.connection = connection
        for channel in delivery.attached(isOpener: opensChannels) {
            let id = try connection.openChannel(channel.parameters(level))
            delivery.opening(channel, as: id)
        }
    }

    /// The peer connection is no more. What was not acknowledged is kept for the next one.
    func detach() {
        guard connection != nil else { return }
        connection = nil
        delivery.detached()
        for timer in timers.values { timer.cancel() }
        timers = [:]
        if isTransportPending { setTransportPending(false) }
        let dropped = outbox.change { $0.connectionEnded() }
        if dropped > 0 { onLossyDropped(dropped) }
    }

    /// The transport is connected, and the application hears of it. What it sends from now on is taken, on the lossy
    /// channel too: a channel that the other side opens follows by half a round trip.
    func connected() {
        guard let maximum = connection?.maximumMessageSize else { return }
        outbox.use { $0.connected(maximumMessageSize: maximum) }
    }

    /// The participant's session is no more: everything is given up. Returns how many messages that is.
    func close() -> Int {
        detach()
        return outbox.change { delivery.close(&$0) }
    }

    /// Returns how many messages were given up while the participant's connection was broken, when it is not any more.
    func statusChanged(_ status: PeerStatus) -> Int { outbox.change { delivery.statusChanged(status, &$0) } }

    /// Bytes of the frames into which streams are cut now.
    var bulkFrameLength: Int { outbox.bulkFrameLength }

    private func release(upTo sequence: UInt64, on channel: DeliveryChannel) {
        if outbox.release(upTo: sequence, on: channel, now: loop.turnTime), channel == .bulk { onBulkCredit() }
    }

    // MARK: Channels, on the loop

    func channelOpened(_ id: ChannelID, _ parameters: ChannelParameters) {
        perform(delivery.channelOpened(id, parameters))
    }

    func channelClosed(_ id: ChannelID) { perform(delivery.channelClosed(id, now: loop.turnTime)) }

    func channelWritable(_ id: ChannelID) {
        guard let channel = delivery.channelWritable(id) else { return }
        drain(channel)
        // A frame that was drained carries it.
        if delivery.isAcknowledgementOverdue(channel) { sendAck(on: channel) }
        if isTransportPending { checkTransport() }
    }

    func setReceiving(_ isReceiving: Bool, channel: RoomChannel) {
        if let id = delivery.id(of: channel.delivery) { connection?.setReceiving(isReceiving, on: id) }
    }

    private func perform(_ actions: [DeliveryLink.Action]) {
        guard let connection else { return }
        for action in actions {
            switch action {
            case .openChannel(let channel):
                do throws(TransportError) {
                    let id = try connection.openChannel(channel.parameters(level))
                    delivery.opening(channel, as: id)
                } catch {
                    perform(delivery.openingFailed(channel, now: loop.turnTime))
                }
            case .beginSending: connected()
            case .suspendSending: outbox.change { $0.disconnected() }
            case .sendResume(let frame, let id):
                frame.encoded.withUnsafeBytes { try? connection.send($0, isText: false, on: id) }
            case .drain(let channel): drain(channel)
            case .scheduleTimer(let timer, let delay): schedule(timer, after: delay)
            case .cancelTimer(let timer): timers.removeValue(forKey: timer)?.cancel()
            }
        }
    }

    private func schedule(_ timer: DeliveryLink.TimerID, after delay: Duration) {
        timers[timer] = loop.schedule(at: loop.turnTime + delay) { [weak self] in self?.timerFired(timer) }
    }

    private func timerFired(_ timer: DeliveryLink.TimerID) {
        timers[timer] = nil
        switch timer {
        case .acknowledgement(let channel):
            delivery.acknowledgementTimerFired(channel)
            sendAck(on: channel)
        case .reopening(let channel): perform(delivery.reopeningTimerFired(channel))
        case .watch:
            guard let connection else { return }
            let (delay, isMissing) = delivery.watchTimerFired { connection.bufferedAmount(of: $0) }
            if let delay { schedule(.watch, after: delay) }
            if let isMissing { onAcknowledgement(isMissing) }
            // Some transports do not tell.
            if isTransportPending { checkTransport() }
        }
    }

    // MARK: Transmitting, on the loop

    private func drainAll() {
        outbox.drainBegan()
        for channel in level.channels { drain(channel) }
    }

    private func drain(_ channel: DeliveryChannel) {
        guard let connection, let id = delivery.writable(channel) else { return }
        var firstTaken: UInt64?
        sending: while true {
            // A handful of frames per lock; the memory stays where it is until this loop releases it.
            var batch = outbox.use { delivery.nextFrames(on: channel, in: &$0) }
            for index in 0..<batch.count {
                let bytes = batch[index]
                if batch.hasHeaders { delivery.stamp(bytes, on: channel) }
                do throws(TransportError) {
                    try connection.send(UnsafeRawBufferPointer(bytes), isText: batch.isText(index), on: id)
                    delivery.frameTaken(batch.first + UInt64(index), count: bytes.count, on: channel)
                    if firstTaken == nil { firstTaken = batch.first + UInt64(index) }
                } catch {
                    switch delivery.frameRefused(batch.first + UInt64(index), error.code, on: channel) {
                    case .wait: break sending
                    case .drop: drop(on: channel)
                    case .close(let id):
                        fail(channel, id)
                        break sending
                    }
                }
            }
            // That was all: whoever has appended since makes the loop come again.
            if batch.count < FrameBatch.capacity { break }
        }
        if channel == .bulk, let firstTaken {
            let now = loop.turnTime
            outbox.use { $0.bulkTaken(firstTaken, now: now) }
        }
        if let sequence = delivery.takeReleasable(on: channel) { release(upTo: sequence, on: channel) }
        if let delay = delivery.watch(channel, buffered: { connection.bufferedAmount(of: $0) }) {
            schedule(.watch, after: delay)
        }
    }

    private func drop(on channel: DeliveryChannel) {
        if channel.isLossy { onLossyDropped(1) } else { outbox.use { $0.giveUpMessage() } }
    }

    /// A channel that does not take what it should is over, though nothing was told of its end.
    private func fail(_ channel: DeliveryChannel, _ id: ChannelID?) {
        if let id { connection?.closeChannel(id) }
        if channel == .reliable { loop.execute { [weak self] in self?.onUnusable() } }
    }

    // MARK: Receiving, on the loop

    /// A whole message of the transport. False: the other side broke the delivery protocol.
    func received(_ bytes: UnsafeRawBufferPointer, isText: Bool, on id: ChannelID) -> Bool {
        guard let receiver, let channel = delivery.channel(of: id) else { return true }
        let verdict = delivery.received(bytes, isText: isText, on: channel)
        if delivery.takeIsFirstSinceBreak() { onData() }
        if let sequence = delivery.takeReleasable(on: channel) { release(upTo: sequence, on: channel) }
        switch verdict {
        case .deliver(_, let isText, let offset):
            let body = UnsafeRawBufferPointer(rebasing: bytes.dropFirst(offset))
            deliver(body, channel, isText, receiver)
            // Plain channels have no acknowledgements.
            if offset == 0 { return true }
        case .deliverAssembled(let isText):
            delivery.takeAssembled().withUnsafeBytes { deliver($0, .reliable, isText, receiver) }
        case .exchange(_, let offset):
            onExchange(UnsafeRawBufferPointer(rebasing: bytes.dropFirst(offset)), channel)
            if offset == 0 { return true }
        case .exchangeAssembled:
            delivery.takeAssembled(on: channel).withUnsafeBytes { onExchange($0, channel) }
        case .absorbed: break
        case .hint(let hint):
            onHint(hint)
            return true
        case .resumed:
            drain(channel)
            return true
        case .ignored: return true
        case .violation: return false
        }
        switch delivery.acknowledgementUrgency(afterFrameOf: bytes.count, on: channel) {
        case .none: break
        case .soon: schedule(.acknowledgement(channel), after: DeliveryMachine.ackDelay)
        case .now: sendAck(on: channel)
        }
        return true
    }

    // Not inlined: the optimizer of Swift 6.3 crashes on it ("forwardToInit").
    @inline(never)
    private func deliver(
        _ body: UnsafeRawBufferPointer, _ channel: DeliveryChannel, _ isText: Bool, _ receiver: any PeerLinkReceiver
    ) {
        guard let channel = RoomChannel(channel) else { return }
        receiver.deliver(BorrowedMessage(from: participant, channel: channel, isText: isText, bytes: body), link: self)
    }

    /// Sends a hint if that is possible now.
    func send(_ hint: DeliveryProtocol.Hint) {
        guard let connection, let id = delivery.hintChannel else { return }
        hint.encoded.withUnsafeBytes { bytes in
            do throws(TransportError) {
                try connection.send(bytes, isText: false, on: id)
            } catch {
                delivery.refused(error.code, on: .reliable)
            }
        }
    }

    /// Sends the acknowledgements that are due.
    func sendAcks() { for channel in level.channels where level.isNumbered(channel) { sendAck(on: channel) } }

    private func sendAck(on channel: DeliveryChannel) {
        guard let connection, let (frame, id) = delivery.acknowledgementFrame(channel) else { return }
        frame.span.bytes.withUnsafeBytes { bytes in
            do throws(TransportError) {
                try connection.send(bytes, isText: false, on: id)
                delivery.acknowledgementTaken(channel)
            } catch {
                delivery.refused(error.code, on: channel)
            }
        }
    }
}
