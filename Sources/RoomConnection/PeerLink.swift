internal import RoomCore
internal import RoomProtocol
internal import TransportPluginAPI

/// The data path to one participant's session: send buffers that outlive peer connections, and the channels of the current one.
///
/// Senders on any thread append to the buffers under the lock; everything else happens on the peer loop. No message takes a hop more than
/// from the sender's thread to the loop, and none at all when it is sent from the loop (from an `onMessage` handler).
///
/// SAFETY of `@unchecked Sendable`: `shared` is behind its lock; all other state is touched only on the loop.
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

    enum SendOutcome: Equatable {
        case accepted
        /// Nothing was taken: wait for credit.
        case full
        /// Nobody to send to now, and the channel keeps nothing (lossy), or the buffer of a broken peer is full.
        case dropped
        case gone
        case tooLarge(limit: Int)
    }

    private struct Shared {
        var buffers: [SendBuffer]
        var isDrainScheduled = false
        var isConnected = false
        /// There is a connection, but no path: it is being replaced.
        var isBroken = false
        var isGone = false
        /// Messages of the reliable and the unordered channel that were given up.
        var givenUpCount = 0
        var waiters = Waiters()
        var maximumMessageSize: Int
        /// What is sent to everybody does not wait for this participant.
        var mayDrop: Bool { !isConnected || isBroken }
        var firstUnsent: [UInt64] = [1, 1, 1]
        var acknowledged: UInt64 = 0

        func isReleased(upTo sequences: [UInt64]) -> Bool {
            zip(buffers, sequences).allSatisfy { $0.firstSequence > $1 }
        }
    }

    let participant: ParticipantID
    let session: SessionID
    /// Whether both sides speak the delivery protocol.
    let isDelivery: Bool
    private let loop: TransportLoop
    private let limits: Limits
    private let shared: Locked<Shared>

    // On the loop only.
    private var connection: (any PeerConnection)?
    @exclusivity(unchecked) private var channels: [ChannelID?] = [nil, nil, nil]
    private var isOpen = [false, false, false]
    private var isBlocked = [false, false, false]
    /// Further channels of the other side that stand for one of the three; what comes on them is read too.
    private var doubles: [ChannelID: Int] = [:]
    private static let maximumDoubles = 16
    private var opensChannels = false
    private var reopenings = [ReopeningBackoff(), ReopeningBackoff(), ReopeningBackoff()]
    private var reopeningTimers: [LoopTimer?] = [nil, nil, nil]
    @exclusivity(unchecked) private(set) var delivery: DeliveryMachine
    /// The parts so far of a message that is not whole. They were acknowledged, so they outlive the channel they came on.
    private(set) var assembled: [UInt8]
    private var ackTimer: LoopTimer?
    /// Of the reliable and the unordered channel.
    private var watches = [AcknowledgementWatch(), AcknowledgementWatch()]
    /// Runs while something is outstanding.
    private var watchTimer: LoopTimer?
    private var isUnacknowledged = false
    /// Bytes that the current connection has taken on the plain channels.
    @exclusivity(unchecked) private var plainBytes: [UInt64] = [0, 0, 0]
    /// Called on the loop when data is not acknowledged for some seconds, and when it is again.
    var onAcknowledgement: (_ isMissing: Bool) -> Void = { _ in }
    /// Called on the loop when a channel that was thought to be open takes nothing.
    var onUnusable: () -> Void = {}
    /// Called on the loop.
    var onHint: (DeliveryProtocol.Hint) -> Void = { _ in }
    /// The participant has said that it leaves.
    private(set) var isLeaving = false
    /// The next message, of whatever kind, is told by `onData`, once.
    @exclusivity(unchecked) var isAwaited = false
    /// Called on the loop.
    var onData: () -> Void = {}
    private weak var receiver: (any PeerLinkReceiver)?

    /// Called on any thread with a number of lossy messages that were not sent.
    private let onLossyDropped: @Sendable (Int) -> Void

    /// `delivery` and `parts`: from the memory of earlier streams.
    init(
        participant: ParticipantID, delivery: DeliveryMachine, parts: [UInt8], isDelivery: Bool, loop: TransportLoop,
        limits: Limits, receiver: any PeerLinkReceiver, onLossyDropped: @escaping @Sendable (Int) -> Void
    ) {
        self.participant = participant
        session = delivery.peerSession
        self.delivery = delivery
        assembled = parts
        self.isDelivery = isDelivery
        self.loop = loop
        self.limits = limits
        self.receiver = receiver
        self.onLossyDropped = onLossyDropped
        let header = isDelivery ? DeliveryProtocol.dataHeaderLength : 0
        let buffers = [
            SendBuffer(headerLength: header, lastSequence: delivery.accepted), SendBuffer(headerLength: 0),
            SendBuffer(headerLength: 0),
        ]
        shared = Locked(Shared(buffers: buffers, maximumMessageSize: 65_536))
    }

    // MARK: Sending, from any thread

    /// Takes one message, without waiting. The bytes are copied.
    func send(_ bytes: UnsafeRawBufferPointer, isText: Bool, channel: RoomChannel, mayDrop: Bool = false) -> SendOutcome
    {
        let index = channel.index
        let splits = isDelivery && channel == .reliable
        guard bytes.count <= limits.outgoing else { return .tooLarge(limit: limits.outgoing) }
        let isOnLoop = loop.isCurrent
        let (outcome, mustSchedule) = shared.withLock { shared -> (SendOutcome, Bool) in
            guard !shared.isGone else { return (.gone, false) }
            if !splits, shared.isConnected, bytes.count > shared.maximumMessageSize {
                return (.tooLarge(limit: shared.maximumMessageSize), false)
            }
            if channel == .lossy, !shared.isConnected || shared.buffers[index].byteCount > limits.send {
                return (.dropped, false)
            }
            if shared.buffers[index].byteCount > 0, shared.buffers[index].byteCount + bytes.count > limits.send {
                guard mayDrop, shared.mayDrop else { return (.full, false) }
                if channel != .lossy { shared.givenUpCount += 1 }
                return (.dropped, false)
            }
            let last: DeliveryProtocol.Kind = isText ? .text : .binary
            // No frame is longer than what the other side's transport takes.
            let partLength = min(
                DeliveryProtocol.maximumPartLength, shared.maximumMessageSize - DeliveryProtocol.dataHeaderLength)
            if splits, bytes.count > partLength, partLength > 0 {
                var rest = bytes
                while rest.count > partLength {
                    let part = UnsafeRawBufferPointer(rebasing: rest.prefix(partLength))
                    shared.buffers[index].append(part, kind: .part)
                    rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(partLength))
                }
                shared.buffers[index].append(rest, kind: last)
            } else {
                shared.buffers[index].append(bytes, kind: last)
            }
            if isOnLoop { return (.accepted, false) }
            let mustSchedule = !shared.isDrainScheduled
            shared.isDrainScheduled = true
            return (.accepted, mustSchedule)
        }
        if channel == .lossy, case .dropped = outcome { onLossyDropped(1) }
        if mustSchedule {
            loop.execute { self.drainAll() }
        } else if isOnLoop, case .accepted = outcome {
            drain(index)
        }
        return outcome
    }

    /// Returns when the channel has credit again, or the link is gone, or the task is cancelled. `mayDrop`: or none is needed.
    nonisolated(nonsending) func waitForCredit(_ channel: RoomChannel, mayDrop: Bool = false) async {
        await wait { shared in
            shared.isGone || shared.buffers[channel.index].byteCount <= self.limits.send / 2
                || mayDrop && shared.mayDrop
        }
    }

    /// Returns when what was accepted before the call has arrived, the link is gone, or the task is cancelled. True when all arrived: the
    /// delivery protocol or, on channels without it, the transport has the other side's acknowledgement.
    nonisolated(nonsending) func flush() async -> Bool {
        let targets = shared.withLock { $0.buffers.map(\.lastSequence) }
        await wait { $0.isGone || $0.isReleased(upTo: targets) }
        guard shared.withLock({ $0.isReleased(upTo: targets) }) else { return false }
        // Transports do not tell when; there is seldom anything to wait for.
        while !Task.isCancelled {
            let isDone = await loop.runUnlessEnded { [self] in isAcknowledgedByTransport }
            if isDone ?? true { return true }
            try? await Task.sleep(for: .milliseconds(10))
        }
        return false
    }

    /// On the loop. What a connection that is no more had taken is not known any more.
    private var isAcknowledgedByTransport: Bool {
        guard let connection else { return true }
        for channel in [RoomChannel.reliable, .unordered] where channel != .reliable || !isDelivery {
            if let id = channels[channel.index], connection.bufferedAmount(of: id) > 0 { return false }
        }
        return true
    }

    private nonisolated(nonsending) func wait(until isDone: @escaping @Sendable (borrowing Shared) -> Bool) async {
        while !Task.isCancelled {
            let id = shared.withLock { shared -> UInt64? in isDone(shared) ? nil : shared.waiters.makeID() }
            guard let id else { return }
            await withTaskCancellationHandler {
                await withCheckedContinuation { continuation in
                    let resumeNow = shared.withLock { shared -> Bool in
                        if isDone(shared) || Task.isCancelled { return true }
                        shared.waiters.add(id, continuation)
                        return false
                    }
                    if resumeNow { continuation.resume() }
                }
            } onCancel: {
                shared.withLock { $0.waiters.remove(id) }?.resume()
            }
        }
    }

    var isGone: Bool { shared.withLock { $0.isGone } }

    /// Messages of the reliable and the unordered channel that were given up, since the last call.
    func takeGivenUpCount() -> Int {
        shared.withLock { shared in
            defer { shared.givenUpCount = 0 }
            return shared.givenUpCount
        }
    }

    // MARK: The connection, on the loop

    /// A new peer connection took the place of the last one. `opensChannels`: this side opens them (it is the offerer).
    func attach(_ connection: any PeerConnection, opensChannels: Bool) throws(TransportError) {
        detach()
        self.connection = connection
        self.opensChannels = opensChannels
        guard opensChannels else { return }
        for channel in RoomChannel.allCases {
            channels[channel.index] = try connection.openChannel(channel.parameters(isDelivery: isDelivery))
        }
    }

    /// The peer connection is no more. What was not acknowledged is kept for the next one.
    func detach() {
        guard connection != nil else { return }
        connection = nil
        channels = [nil, nil, nil]
        doubles = [:]
        isOpen = [false, false, false]
        isBlocked = [false, false, false]
        for timer in reopeningTimers { timer?.cancel() }
        reopeningTimers = [nil, nil, nil]
        delivery.channelLost()
        ackTimer?.cancel()
        ackTimer = nil
        watchTimer?.cancel()
        watchTimer = nil
        watches = [AcknowledgementWatch(), AcknowledgementWatch()]
        isUnacknowledged = false
        plainBytes = [0, 0, 0]
        disconnected()
        let dropped = shared.withLock { shared in
            // Lossy messages are for now or never: the next connection does not bring them.
            let lossy = RoomChannel.lossy.index
            defer { shared.buffers[lossy].release(upTo: shared.buffers[lossy].lastSequence) }
            return shared.buffers[lossy].messageCount
        }
        if dropped > 0 { onLossyDropped(dropped) }
    }

    /// The transport is connected, and the application hears of it. What it sends from now on is taken, on the lossy channel too: a
    /// channel that the other side opens follows by half a round trip.
    func connected() {
        guard let connection else { return }
        shared.withLock { shared in
            shared.isConnected = true
            shared.maximumMessageSize = connection.maximumMessageSize
        }
    }

    /// `isBroken`: the path is being replaced, which may take long.
    func setBroken(_ isBroken: Bool) {
        let waiters = shared.withLock { shared in
            shared.isBroken = isBroken
            return isBroken ? shared.waiters.removeAll() : []
        }
        for waiter in waiters { waiter.resume() }
    }

    private func disconnected() {
        let waiters = shared.withLock { shared in
            shared.isConnected = false
            return shared.waiters.removeAll()
        }
        for waiter in waiters { waiter.resume() }
    }

    /// The participant's session is no more: everything is given up. Returns how many messages that is, with those of before: of the
    /// reliable channel what was never acknowledged, of the unordered one what no transport had taken.
    func close() -> Int {
        detach()
        _ = shared.withLock { delivery.framesAccepted(upTo: $0.buffers[0].lastSequence) }
        let (lost, waiters) = shared.withLock { shared -> (Int, [CheckedContinuation<Void, Never>]) in
            var lost = shared.givenUpCount
            shared.givenUpCount = 0
            for channel in [RoomChannel.reliable, .unordered] { lost += shared.buffers[channel.index].messageCount }
            shared.isGone = true
            for index in shared.buffers.indices { shared.buffers[index].removeAll() }
            return (lost, shared.waiters.removeAll())
        }
        for waiter in waiters { waiter.resume() }
        return lost
    }

    /// The channel of `.reliable` can carry data, both ways.
    var isReady: Bool { isOpen[0] }

    func channelOpened(_ id: ChannelID, _ parameters: ChannelParameters) {
        guard let channel = RoomChannel(parameters, isDelivery: isDelivery) else { return }
        let index = channel.index
        if isOpen[index], channels[index] != id {
            guard index == 0, isDelivery else {
                if doubles.count < Self.maximumDoubles { doubles[id] = index }
                return
            }
            // Both sides begin anew on the newest; that the one before has ended may come later.
            delivery.channelLost()
        }
        open(index, on: id)
    }

    private func open(_ index: Int, on id: ChannelID) {
        guard let connection else { return }
        channels[index] = id
        isOpen[index] = true
        isBlocked[index] = false
        reopeningTimers[index]?.cancel()
        reopeningTimers[index] = nil
        connected()
        // Plain channels remember nothing: what the last connection had taken is gone, the rest goes out now.
        if index == 0, isDelivery {
            let frame = delivery.channelOpened().encoded
            frame.withUnsafeBytes { bytes in
                try? connection.send(bytes, isText: false, on: id)
            }
        }
        drain(index)
    }

    func channelWritable(_ id: ChannelID) {
        guard let index = channels.firstIndex(of: id) else { return }
        isBlocked[index] = false
        drain(index)
        // What was drained carries it.
        if index == 0, delivery.ackToSend != nil, ackTimer == nil { sendAck() }
    }

    func channelClosed(_ id: ChannelID) {
        if doubles.removeValue(forKey: id) != nil { return }
        guard let index = channels.firstIndex(of: id) else { return }
        isOpen[index] = false
        channels[index] = nil
        plainBytes[index] = 0
        if index == 0 { delivery.channelLost() }
        if let double = doubles.first(where: { $0.value == index })?.key {
            doubles[double] = nil
            open(index, on: double)
            return
        }
        if index == 0 { disconnected() }
        reopen(index)
    }

    /// The other side has closed a channel, and the connection lives. Who opened it opens it again; the other one does only where it makes
    /// no difference when both do.
    private func reopen(_ index: Int) {
        guard opensChannels || index != 0 || !isDelivery else { return }
        let delay = reopenings[index].delay(now: loop.turnTime) + (opensChannels ? .zero : Self.openersHeadStart)
        reopeningTimers[index] = loop.schedule(after: delay) { [weak self] in
            guard let self else { return }
            reopeningTimers[index] = nil
            guard channels[index] == nil, let connection else { return }
            channels[index] = try? connection.openChannel(
                RoomChannel.allCases[index].parameters(isDelivery: isDelivery))
            if channels[index] == nil { reopen(index) }
        }
    }
    private static let openersHeadStart = Duration.seconds(1)

    /// A channel that does not take what it should is over, though nothing was told of its end.
    private func unusable(_ index: Int) {
        isOpen[index] = false
        if let id = channels[index] { connection?.closeChannel(id) }
        if index == 0 { loop.execute { [weak self] in self?.onUnusable() } }
    }

    func setReceiving(_ isReceiving: Bool, channel: RoomChannel) {
        if let id = channels[channel.index] { connection?.setReceiving(isReceiving, on: id) }
    }

    // MARK: Transmitting, on the loop

    private func drainAll() {
        shared.withLock { $0.isDrainScheduled = false }
        for index in 0..<3 { drain(index) }
    }

    private func drain(_ index: Int) {
        guard isOpen[index], !isBlocked[index], let connection, let id = channels[index] else { return }
        if index == 0, isDelivery {
            drainDelivery(connection, id)
        } else {
            drainPlain(index, connection, id)
        }
        // Nobody waits for lossy messages.
        if watchTimer == nil, index != RoomChannel.lossy.index { watchAcknowledgements() }
    }

    // MARK: Acknowledgements that do not come

    private func watchAcknowledgements() {
        _ = look()
        armWatch()
    }

    private func armWatch() {
        watchTimer = loop.schedule(after: limits.acknowledgement / AcknowledgementWatch.patience) { [weak self] in
            self?.watchTimerFired()
        }
    }

    private func watchTimerFired() {
        watchTimer = nil
        if look() { armWatch() }
        let isMissing = watches.contains(where: \.isUnacknowledged)
        guard isMissing != isUnacknowledged else { return }
        isUnacknowledged = isMissing
        onAcknowledgement(isMissing)
    }

    /// Whether anything is outstanding.
    private func look() -> Bool {
        var isOutstanding = false
        for index in watches.indices {
            let acknowledged = acknowledged(on: index)
            watches[index].look(acknowledged: acknowledged)
            if acknowledged != nil { isOutstanding = true }
        }
        return isOutstanding
    }

    /// What of the channel's data was acknowledged, in frames or bytes; nil when nothing is outstanding.
    private func acknowledged(on index: Int) -> UInt64? {
        guard isOpen[index], let connection, let id = channels[index] else { return nil }
        if index == 0, isDelivery { return delivery.unacknowledged > 0 ? delivery.acknowledged : nil }
        let outstanding = connection.bufferedAmount(of: id)
        return outstanding > 0 ? plainBytes[index] &- UInt64(outstanding) : nil
    }

    private func drainDelivery(_ connection: any PeerConnection, _ id: ChannelID) {
        while true {
            // A handful of frames per lock; the memory stays where it is until this loop releases it.
            let batch = shared.withLock { shared -> FrameBatch in
                let next = delivery.framesAccepted(upTo: shared.buffers[0].lastSequence)
                return FrameBatch(shared.buffers[0], from: next)
            }
            guard batch.count > 0 else { return }
            for index in 0..<batch.count {
                let bytes = batch.frames[index]
                bytes.storeBytes(
                    of: UInt32(truncatingIfNeeded: delivery.received).bigEndian, toByteOffset: 5, as: UInt32.self)
                do throws(TransportError) {
                    try connection.send(UnsafeRawBufferPointer(bytes), isText: false, on: id)
                    delivery.frameTransmitted(batch.first + UInt64(index))
                } catch {
                    if error.code == .wouldBlock { isBlocked[0] = true } else { unusable(0) }
                    return
                }
            }
            // That was all: whoever has appended since makes the loop come again.
            if batch.count < FrameBatch.capacity { return }
        }
    }

    private func drainPlain(_ index: Int, _ connection: any PeerConnection, _ id: ChannelID) {
        var sent: UInt64 = 0
        sending: while true {
            let batch = shared.withLock { shared -> FrameBatch in
                if sent > 0 { shared.buffers[index].release(upTo: sent) }
                return FrameBatch(shared.buffers[index], from: shared.buffers[index].firstSequence)
            }
            guard batch.count > 0 else { break }
            for frame in 0..<batch.count {
                do throws(TransportError) {
                    try connection.send(
                        UnsafeRawBufferPointer(batch.frames[frame]), isText: batch.kinds[frame] == .text, on: id)
                    plainBytes[index] &+= UInt64(batch.frames[frame].count)
                } catch {
                    if error.code == .wouldBlock {
                        isBlocked[index] = true
                        break sending
                    }
                    guard error.code == .messageTooLarge else {
                        unusable(index)
                        break sending
                    }
                    // Accepted before the other side's limit was known.
                    if index == RoomChannel.lossy.index {
                        onLossyDropped(1)
                    } else {
                        shared.withLock { $0.givenUpCount += 1 }
                    }
                }
                sent = batch.first + UInt64(frame)
            }
        }
        if sent > 0 { release(index, upTo: sent) }
    }

    private func release(_ index: Int, upTo sequence: UInt64) {
        let waiters = shared.withLock { shared -> [CheckedContinuation<Void, Never>] in
            shared.buffers[index].release(upTo: sequence)
            return shared.waiters.isEmpty ? [] : shared.waiters.removeAll()
        }
        for waiter in waiters { waiter.resume() }
    }

    // MARK: Receiving, on the loop

    /// A whole message of the transport. False: the other side broke the delivery protocol.
    func received(_ bytes: UnsafeRawBufferPointer, isText: Bool, on id: ChannelID) -> Bool {
        guard let receiver, let index = channels.firstIndex(of: id) ?? doubles[id] else { return true }
        if isAwaited {
            isAwaited = false
            onData()
        }
        if index == 0, isDelivery { return receivedFrame(bytes, receiver) }
        receiver.deliver(
            BorrowedMessage(from: participant, channel: RoomChannel.allCases[index], isText: isText, bytes: bytes),
            link: self)
        return true
    }

    private func receivedFrame(_ bytes: UnsafeRawBufferPointer, _ receiver: any PeerLinkReceiver) -> Bool {
        guard let frame = DeliveryProtocol.decode(bytes) else { return false }
        let before = delivery.acknowledged
        switch frame {
        case .data(let kind, let sequence, let ack):
            let verdict = delivery.dataReceived(kind: kind, sequence: sequence, ack: ack)
            if delivery.acknowledged != before { release(0, upTo: delivery.acknowledged) }
            let body = UnsafeRawBufferPointer(rebasing: bytes.dropFirst(DeliveryProtocol.dataHeaderLength))
            switch verdict {
            case .deliver: deliver(body, kind, receiver)
            case .begin, .append:
                if verdict == .begin { assembled.removeAll(keepingCapacity: true) }
                guard assembled.count + body.count <= limits.message else { return false }
                assembled.append(contentsOf: body)
            case .complete:
                guard assembled.count + body.count <= limits.message else { return false }
                assembled.append(contentsOf: body)
                var whole: [UInt8] = []
                swap(&whole, &assembled)
                whole.withUnsafeBytes { deliver($0, kind, receiver) }
            case .duplicate: break
            case .violation: return false
            }
            switch delivery.ackUrgency(afterFrameOf: bytes.count) {
            case .none: break
            case .soon: scheduleAck()
            case .now: sendAck()
            }
        case .ack(let ack):
            guard delivery.ackReceived(ack) else { return false }
            if delivery.acknowledged != before { release(0, upTo: delivery.acknowledged) }
        case .hint(let hint):
            guard let hint else { break }
            if hint == .leaving { isLeaving = true }
            onHint(hint)
        case .resume(let resume):
            _ = shared.withLock { delivery.framesAccepted(upTo: $0.buffers[0].lastSequence) }
            guard delivery.resumeReceived(resume) else { return false }
            if delivery.acknowledged != before { release(0, upTo: delivery.acknowledged) }
            drain(0)
        }
        return true
    }

    // Not inlined: the optimizer of Swift 6.3 crashes on it ("forwardToInit").
    @inline(never)
    private func deliver(
        _ body: UnsafeRawBufferPointer, _ kind: DeliveryProtocol.Kind, _ receiver: any PeerLinkReceiver
    ) {
        receiver.deliver(
            BorrowedMessage(from: participant, channel: .reliable, isText: kind == .text, bytes: body), link: self)
    }

    private func scheduleAck() {
        guard ackTimer == nil else { return }
        ackTimer = loop.schedule(at: loop.turnTime + DeliveryMachine.ackDelay) { [weak self] in
            self?.ackTimer = nil
            self?.sendAck()
        }
    }

    /// Sends a hint if that is possible now.
    func send(_ hint: DeliveryProtocol.Hint) {
        guard isDelivery, delivery.isOpen, isOpen[0], !isBlocked[0], let connection, let id = channels[0] else {
            return
        }
        Payload(hint.encoded).withUnsafeBytes { bytes in
            do throws(TransportError) {
                try connection.send(bytes, isText: false, on: id)
            } catch {
                if error.code == .wouldBlock { isBlocked[0] = true }
            }
        }
    }

    /// Sends the acknowledgement that is due, if there is one.
    func sendAck() {
        guard !isBlocked[0], isOpen[0], let connection, let id = channels[0], let ack = delivery.ackToSend else {
            return
        }
        withUnsafeTemporaryAllocation(byteCount: 5, alignment: 1) { frame in
            frame[0] = DeliveryProtocol.Kind.ack.rawValue
            frame.storeBytes(of: ack.bigEndian, toByteOffset: 1, as: UInt32.self)
            do throws(TransportError) {
                try connection.send(UnsafeRawBufferPointer(frame), isText: false, on: id)
                delivery.ackTransmitted()
            } catch {
                // Full: sent when the channel takes messages again, unless a frame carries it before.
                if error.code == .wouldBlock { isBlocked[0] = true }
            }
        }
    }
}

/// Takes what a link delivers, on the loop.
protocol PeerLinkReceiver: AnyObject {
    func deliver(_ message: borrowing BorrowedMessage, link: PeerLink)
}
