internal import CUsrsctp
internal import Logging
public import TransportPluginAPI

/// Data channels (RFC 8831, RFC 8832).
extension WebRTCConnection {
    public func openChannel(_ parameters: ChannelParameters) throws(TransportError) -> ChannelID {
        core.loop.preconditionIsCurrent()
        try checkOpen()
        let slot = try channels.open(parameters)
        if sctp != nil { openWaiting(slot) }
        return channels.slots[slot].id
    }

    public func send(
        _ bytes: UnsafeRawBufferPointer, isText: Bool, on channel: ChannelID
    ) throws(TransportError) {
        core.loop.preconditionIsCurrent()
        guard !isClosed, let sctp, let slot = channels.slot(of: channel) else { throw Self.notOpen(isClosed) }
        guard channels.slots[slot].phase == .open else { throw Self.notOpen(channels.slots[slot].phase == .closing) }
        guard bytes.count <= maximumMessageSize else {
            throw TransportError(
                .messageTooLarge,
                "a message of \(bytes.count) bytes is over the \(maximumMessageSize) that the other side and this one accept"
            )
        }
        if channels.slots[slot].buffered >= configuration.sendHighWaterMark || ledger.isFull {
            releaseSent()
            guard channels.slots[slot].buffered < configuration.sendHighWaterMark, !ledger.isFull else {
                throw blocked(slot)
            }
        }
        let kind: UInt32
        let count = bytes.count
        var bytes = bytes
        if bytes.isEmpty {
            // SCTP has no empty messages (RFC 8831 §6.6).
            kind = isText ? DCEP.PayloadProtocol.emptyText : DCEP.PayloadProtocol.emptyBinary
            bytes = UnsafeRawBufferPointer(core.zero)
        } else {
            kind = isText ? DCEP.PayloadProtocol.text : DCEP.PayloadProtocol.binary
        }
        var delivery = channels.slots[slot].delivery
        delivery.unordered = channels.slots[slot].mayOvertake && !channels.slots[slot].parameters.isOrdered ? 1 : 0
        if bytes.count <= Outbox.maximumMessage {
            guard gather(bytes, delivery, kind, slot) else { throw blocked(slot) }
        } else {
            // Nothing overtakes what was gathered before.
            if outbox != nil, !sendOutbox() { throw blocked(slot) }
            core.stack.touch()
            let result = sctp.send(bytes, &delivery, protocol: kind)
            guard result == 0 else {
                if result == EWOULDBLOCK { throw blocked(slot) }
                throw TransportError(.closed, "SCTP did not take the message: errno \(result)")
            }
            ledger.sent(bytes.count, slot: slot)
            noteSent()
        }
        channels[slot].buffered &+= bytes.count
        counters.messagesSent &+= 1
        counters.bytesSent &+= UInt64(count)
    }

    public func bufferedAmount(of channel: ChannelID) -> Int {
        core.loop.preconditionIsCurrent()
        guard let slot = channels.slot(of: channel), channels.slots[slot].buffered > 0 else { return 0 }
        releaseSent()
        return channels.slots[slot].buffered
    }

    public func setReceiving(_ isReceiving: Bool, on channel: ChannelID) {
        core.loop.preconditionIsCurrent()
        guard let slot = channels.slot(of: channel), channels.slots[slot].isReceiving != isReceiving else { return }
        channels[slot].isReceiving = isReceiving
        guard isReceiving else { return }
        core.loop.atEndOfTurn { [self] in
            deliverStash(of: channel)
            pump()
        }
    }

    public func closeChannel(_ channel: ChannelID) {
        core.loop.preconditionIsCurrent()
        guard !isClosed, let slot = channels.slot(of: channel) else { return }
        switch channels.slots[slot].phase {
        case .free, .closing: break
        case .waiting:
            // The open message may be on its way out; nothing was told yet.
            control.removeAll { $0.id == channel }
            channelEnded(slot)
        case .open: beginClosing(slot)
        }
    }

    // MARK: Opening

    /// The association is up: the channel's open message goes out and data may follow at once (RFC 8832 §6).
    func openWaiting(_ slot: Int) {
        guard let stream = channels.slots[slot].stream else { return }
        let channel = channels.slots[slot]
        if channel.isNegotiated {
            opened(slot, isRemote: false)
            for message in strays.take(stream: stream) { redeliver(message) }
        } else {
            send(
                ControlMessage(
                    slot: slot, id: channel.id, bytes: DCEP.encode(.open(channel.parameters)), isOpen: true))
        }
    }

    private func opened(_ slot: Int, isRemote: Bool) {
        channels[slot].phase = .open
        emit(.channelOpened(channels.slots[slot].id, channels.slots[slot].parameters, isRemote: isRemote))
    }

    /// A message of the establishment protocol came in on `stream`. What cannot be used costs the channel, not the connection.
    func takeControl(_ bytes: UnsafeRawBufferPointer, stream: UInt16) {
        let message: DCEP.Message
        do throws(TransportError) { message = try DCEP.decode(bytes) } catch {
            log.debug("a message of the channel protocol was refused", metadata: ["error": "\(error)"])
            refuse(stream)
            return
        }
        switch message {
        case .acknowledge:
            if let slot = channels.slot(ofStream: stream) { channels[slot].mayOvertake = true }
        case .open(let parameters):
            // The other side uses the stream again: for it, the channel before has ended.
            if let old = channels.slot(ofStream: stream), channels.slots[old].phase == .closing,
                channels.slots[old].hasResetIncoming, channels.slots[old].stash.isEmpty
            {
                channelEnded(old)
            }
            guard let slot = channels.opened(parameters, stream: stream) else {
                log.trace("an open message for a stream in use", metadata: ["stream": "\(stream)"])
                if channels.slot(ofStream: stream) == nil { refuse(stream) }
                return
            }
            send(
                ControlMessage(
                    slot: slot, id: channels.slots[slot].id, bytes: DCEP.encode(.acknowledge), isOpen: false))
            opened(slot, isRemote: true)
            for message in strays.take(stream: stream) { redeliver(message) }
        }
    }

    /// Closes the channel on `stream`, or, where there is none, tells the other side that there will be none (RFC 8832 §6).
    func refuse(_ stream: UInt16) {
        if let slot = channels.slot(ofStream: stream) {
            if channels.slots[slot].phase == .open { beginClosing(slot) }
        } else {
            _ = sctp?.resetStream(stream)
        }
    }

    private func redeliver(_ message: StrayMessages.Message) {
        guard let slot = channels.slot(ofStream: message.stream) else { return }
        let isText =
            message.protocol == DCEP.PayloadProtocol.text || message.protocol == DCEP.PayloadProtocol.emptyText
        channels[slot].stash.append(StashedMessage(payload: message.payload, isText: isText))
        stashedBytes += message.payload.count + 64
        counters.messagesReceived &+= 1
        counters.bytesReceived &+= UInt64(message.payload.count)
        let id = channels.slots[slot].id
        core.loop.atEndOfTurn { [self] in deliverStash(of: id) }
    }

    /// Open messages and acknowledgements go reliably and in order (RFC 8832 §6), whatever the channel promises.
    private func send(_ message: ControlMessage) {
        control.append(message)
        if control.count == 1 { sendControl() }
    }

    private func sendControl() {
        while let message = control.first, let sctp {
            guard channels.slot(of: message.id) == message.slot, let stream = channels.slots[message.slot].stream else {
                control.removeFirst()
                continue
            }
            core.stack.touch()
            var delivery = CUsrsctp_delivery()
            delivery.stream = stream
            delivery.policy = UInt16(SCTP_PR_SCTP_NONE)
            let result = message.bytes.withUnsafeBytes {
                sctp.send($0, &delivery, protocol: DCEP.PayloadProtocol.control)
            }
            if result == EWOULDBLOCK { return }
            control.removeFirst()
            guard result == 0 else {
                channelEnded(message.slot)
                continue
            }
            ledger.sent(message.bytes.count, slot: -1)
            noteSent()
            if message.isOpen { opened(message.slot, isRemote: false) }
        }
    }

    // MARK: Small messages

    /// Keeps a small message until the end of the turn. False when there is no room.
    @inline(__always)
    private func gather(_ bytes: UnsafeRawBufferPointer, _ delivery: CUsrsctp_delivery, _ kind: UInt32, _ slot: Int)
        -> Bool
    {
        let box: Outbox
        if let outbox {
            box = outbox
        } else {
            box = core.outboxes.take()
            outbox = box
            if !output.isFlushPromised { core.loop.atEndOfTurn(outboxWork) }
        }
        if box.append(bytes, delivery, protocol: kind, slot: slot) { return true }
        guard sendOutbox() else { return false }
        return gather(bytes, delivery, kind, slot)
    }

    /// Hands the gathered messages to SCTP, which fills packets with them. False when the send buffer is full; the rest waits.
    @discardableResult
    func sendOutbox() -> Bool {
        guard let box = outbox else { return true }
        guard let sctp, !isClosed else { return false }
        core.stack.touch()
        var isCorked = false
        isOutboxBlocked = false
        while let entry = box.peek() {
            // All but the last wait for a full packet.
            if box.count > 1, !isCorked {
                isCorked = true
                sctp.setCork(true)
            } else if box.count == 1, isCorked {
                isCorked = false
                sctp.setCork(false)
            }
            let result = sctp.send(box.payload(of: entry), &entry.pointee.delivery, protocol: entry.pointee.protocol)
            isOutboxBlocked = result == EWOULDBLOCK
            if isOutboxBlocked { break }
            // Any other failure means that the association is gone, which is told by itself.
            ledger.sent(Int(entry.pointee.count), slot: Int(entry.pointee.slot))
            box.removeFirst()
        }
        if isCorked { sctp.setCork(false) }
        noteSent()
        guard !isOutboxBlocked else { return false }
        outbox = nil
        core.outboxes.giveBack(box)
        if !closingAfterOutbox.isEmpty {
            let waiting = closingAfterOutbox
            closingAfterOutbox = []
            for id in waiting { if let slot = channels.slot(of: id) { reset(slot) } }
        }
        return true
    }

    // MARK: Back-pressure

    private func blocked(_ slot: Int) -> TransportError {
        if !channels.slots[slot].isBlocked {
            channels[slot].isBlocked = true
            blockedCount += 1
        }
        return Self.wouldBlock
    }

    private static let wouldBlock = TransportError(
        .wouldBlock, "the channel's send buffer is at its high-water mark: go on after channelWritable",
        isRetriable: true)

    /// Whether somebody waits for room in the send buffer.
    var isReleaseWaitedFor: Bool {
        blockedCount > 0 || !control.isEmpty || isOutboxBlocked || ledger.messageCount >= SendLedger.maximumMessages / 4
    }

    /// Acknowledgements may have come: brings the channels' amounts up to date and wakes who waits.
    func releaseSent() {
        guard let sctp else { return }
        if ledger.messageCount > 0 {
            let remaining = sctp.buffered
            while let entry = ledger.release(remaining: remaining) {
                let slot = Int(entry.slot)
                guard slot >= 0, channels.slots[slot].buffered >= Int(entry.count) else { continue }
                channels[slot].buffered -= Int(entry.count)
            }
        }
        if !control.isEmpty { sendControl() }
        if isOutboxBlocked, !sendOutbox() { return }
        guard blockedCount > 0, ledger.messageCount < SendLedger.maximumMessages / 2 else { return }
        for slot in channels.slots.indices where channels.slots[slot].isBlocked {
            guard channels.slots[slot].buffered <= configuration.sendHighWaterMark / 2 else { continue }
            channels[slot].isBlocked = false
            blockedCount -= 1
            if channels.slots[slot].phase == .open { emit(.channelWritable(channels.slots[slot].id)) }
        }
    }

    /// Hands out what waited while the channel was not read. Never called from inside a method of the API.
    private func deliverStash(of id: ChannelID) {
        drainEvents()
        while let handler, let slot = channels.slot(of: id), channels.slots[slot].isReceiving,
            !channels.slots[slot].stash.isEmpty
        {
            let messages = channels.slots[slot].stash
            var count = 0
            for message in messages {
                guard channels.slot(of: id) == slot, channels.slots[slot].isReceiving else { break }
                count += 1
                message.payload.withUnsafeBytes {
                    handler.peerConnection(didReceive: $0, isText: message.isText, on: id)
                }
            }
            guard channels.slot(of: id) == slot else { return }
            channels[slot].stash.removeFirst(count)
            stashedBytes -= messages.prefix(count).reduce(0) { $0 + $1.payload.count + 64 }
        }
        if let slot = channels.slot(of: id) { endIfDone(slot) }
    }

    // MARK: Closing (RFC 8831 §6.7)

    private func beginClosing(_ slot: Int) {
        channels[slot].phase = .closing
        if outbox != nil, !sendOutbox() {
            closingAfterOutbox.append(channels.slots[slot].id)
        } else {
            reset(slot)
        }
    }

    /// What was accepted for the channel is with SCTP, which resets the stream after it.
    private func reset(_ slot: Int) {
        guard let sctp, let stream = channels.slots[slot].stream else { return }
        if !sctp.resetStream(stream) {
            // The other side can't reset streams: the channel ends here and now.
            channels[slot].hasResetOutgoing = true
            channels[slot].hasResetIncoming = true
            let id = channels.slots[slot].id
            core.loop.atEndOfTurn { [self] in
                if let slot = channels.slot(of: id) { endIfDone(slot) }
            }
        }
    }

    /// One direction of these streams has ended; none named: of all.
    func streamsReset(_ streams: [UInt16], incoming: Bool) {
        // The rest of a message that came in part will not come.
        if incoming, let message = reassembly, streams.isEmpty || streams.contains(message.stream) { reassembly = nil }
        let slots = streams.isEmpty ? channels.used : streams.compactMap { channels.slot(ofStream: $0) }
        for slot in slots where channels.slots[slot].phase == .open || channels.slots[slot].phase == .closing {
            if incoming {
                channels[slot].hasResetIncoming = true
                if channels.slots[slot].phase == .open { beginClosing(slot) }
            } else {
                channels[slot].hasResetOutgoing = true
            }
            endIfDone(slot)
        }
    }

    /// What came before the end is handed out before the end is told.
    private func endIfDone(_ slot: Int) {
        let channel = channels.slots[slot]
        guard channel.phase == .closing, channel.hasResetIncoming, channel.hasResetOutgoing, channel.stash.isEmpty
        else {
            return
        }
        channelEnded(slot)
    }

    /// The channel is gone; its slot and stream are free for others.
    func channelEnded(_ slot: Int) {
        let id = channels.slots[slot].id
        if channels.slots[slot].isBlocked { blockedCount -= 1 }
        stashedBytes -= channels.slots[slot].stash.reduce(0) { $0 + $1.payload.count + 64 }
        channels.remove(slot)
        emit(.channelClosed(id))
    }

    private static func notOpen(_ hasEnded: Bool) -> TransportError {
        hasEnded
            ? TransportError(.closed, "the channel is closed")
            : TransportError(.invalidState, "the channel is not open: wait for channelOpened")
    }
}
