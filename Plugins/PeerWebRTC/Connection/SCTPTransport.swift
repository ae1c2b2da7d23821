internal import Logging
internal import TransportPluginAPI

/// The channels of one connection over SCTP (RFC 8831): the shell of `ChannelMachine`.
///
/// Used on the transport's loop only. Members that every message touches are exempt from the run-time check of
/// exclusive access: none is passed `inout` to a call that leaves this class.
final class SCTPTransport {
    /// Bytes of unread messages at which reading stops, and the association's window closes.
    private static let maximumUnread = 1 << 18

    private let core: TransportCore
    private let configuration: PeerConnectionConfiguration
    private let events: ConnectionEvents
    private let output: DatagramOutput
    private let log: Logger
    let monitor: AssociationMonitor
    /// Strong until `end`, which breaks the cycle.
    private var connection: WebRTCConnection?
    @exclusivity(unchecked) private(set) var isEnded = false

    @exclusivity(unchecked) private(set) var association: SCTPAssociation?
    @exclusivity(unchecked) private(set) var channels: ChannelMachine
    /// Whether the other side has taken part in SCTP's handshake, so that sent data arrives.
    @exclusivity(unchecked) private(set) var canCarryData = false

    /// The small messages of this turn, or those that found the send buffer full.
    @exclusivity(unchecked) private var outbox: Outbox?
    /// The closure for the end of a turn, kept so that none is made for each turn. `end` breaks the cycle.
    private lazy var outboxWork: () -> Void = { [self] in sendOutbox() }
    /// Whether the outbox waits for room in the send buffer, not for the end of the turn.
    @exclusivity(unchecked) private var isOutboxBlocked = false
    @exclusivity(unchecked) private var assembly: MessageAssembly
    @exclusivity(unchecked) private var isPumping = false

    init(
        _ core: TransportCore, _ configuration: PeerConnectionConfiguration, events: ConnectionEvents,
        output: DatagramOutput, log: Logger
    ) {
        self.core = core
        self.configuration = configuration
        self.events = events
        self.output = output
        self.log = log
        monitor = AssociationMonitor(core, events: events, log: log)
        channels = ChannelMachine(
            streamCount: core.options.streams, highWaterMark: configuration.sendHighWaterMark,
            maximumMessageSize: min(DataDescription.defaultMaximumMessageSize, configuration.maximumMessageSize))
        assembly = MessageAssembly(limit: configuration.maximumMessageSize)
    }

    // MARK: Life

    /// `connection` is kept until `end`.
    func attach(to connection: WebRTCConnection) { self.connection = connection }

    func rolesSettled(isClient: Bool) { perform(channels.rolesSettled(isClient: isClient)) }

    /// The other side accepts messages up to this size.
    func remoteAccepts(messageSize: Int) {
        channels.maximumMessageSize = min(messageSize, configuration.maximumMessageSize)
    }

    /// Begins the association over an established session. Throws `.resourceExhausted`, `.io`.
    func begin(over session: DTLSSession, from localPort: UInt16, to remotePort: UInt16) throws(TransportError) {
        guard association == nil else { return }
        let settings = SCTPAssociation.Settings(configuration, core.options, localPort: localPort)
        let association = try SCTPAssociation(core.stack, session: session, settings: settings)
        self.association = association
        try association.connect(toPort: remotePort)
        // From here on, data is sent with the third packet of the handshake (RFC 9260 §5.1), a round trip before its
        // end.
        perform(channels.associationBegan())
    }

    /// Ends the association and all channels, after the accepted messages are sent.
    func end() {
        guard !isEnded else { return }
        sendOutbox()
        isEnded = true
        core.stack.noteActivity()
        association?.close()
        association = nil
        if let outbox { core.outboxes.recycle(outbox) }
        outbox = nil
        outboxWork = {}
        assembly.aborted()
        monitor.end()
        connection = nil
        channels.connectionEnded()
    }

    private func perform(_ actions: [ChannelMachine.Action]) {
        for action in actions {
            switch action {
            case .sendControl: sendControl()
            case .resetStream(let id): reset(id)
            case .refuse(let stream): _ = association?.resetStream(stream)
            case .handOut(let id): core.loop.atEndOfTurn { [self] in handOut(id) }
            case .reportOpened(let id, let parameters, let isRemote):
                events.emit(.channelOpened(id, parameters, isRemote: isRemote))
            case .reportClosed(let id): events.emit(.channelClosed(id))
            case .reportWritable(let id): events.emit(.channelWritable(id))
            }
        }
    }

    // MARK: Channels

    /// Throws `.resourceExhausted`, `.invalidArgument`.
    func openChannel(_ parameters: ChannelParameters) throws(TransportError) -> ChannelID {
        let (id, actions) = try channels.openRequested(parameters)
        perform(actions)
        return id
    }

    func closeChannel(_ id: ChannelID) { perform(channels.closeRequested(id)) }

    func bufferedAmount(of id: ChannelID) -> Int {
        guard let slot = channels.table.slot(of: id), channels.table.slots[slot].buffered > 0 else { return 0 }
        releaseSent()
        return channels.table.slots[slot].buffered
    }

    func notifyWhenAcknowledged(_ id: ChannelID) { perform(channels.flushRequested(id)) }

    func setReceiving(_ isReceiving: Bool, on id: ChannelID) {
        let actions = channels.receivingChanged(isReceiving, of: id)
        perform(actions)
        // Reading may have stopped because of this channel.
        if !actions.isEmpty { core.loop.atEndOfTurn { [self] in pump() } }
    }

    private func sendControl() {
        while let message = channels.nextControl(), let association {
            core.stack.noteActivity()
            var delivery = SCTPDelivery(stream: message.stream)
            let result = message.bytes.withUnsafeBytes {
                association.send($0, &delivery, protocol: DCEP.PayloadProtocol.control)
            }
            switch result {
            case .full: return
            case .failed: perform(channels.controlFailed())
            case .sent:
                monitor.noteSent()
                perform(channels.controlSent())
            }
        }
    }

    /// Resets the channel's stream after its accepted messages.
    private func reset(_ id: ChannelID) {
        if outbox != nil, !sendOutbox() { return }
        // Sending the outbox has reset the streams that waited for it.
        guard let association, let stream = channels.streamToReset(of: id) else { return }
        perform(channels.resetRequested(of: id, isAccepted: association.resetStream(stream)))
    }

    // MARK: Messages out

    /// Throws `.closed`, `.invalidState`, `.messageTooLarge`, `.wouldBlock`.
    @inline(__always)
    func send(_ bytes: UnsafeRawBufferPointer, isText: Bool, on channel: ChannelID) throws(TransportError) {
        guard association != nil, let slot = channels.table.slot(of: channel) else {
            throw ChannelError.notOpen(hasEnded: isEnded)
        }
        guard channels.table.slots[slot].isOpen else {
            throw ChannelError.notOpen(hasEnded: channels.table.slots[slot].canReceive)
        }
        guard bytes.count <= channels.maximumMessageSize else {
            throw ChannelError.tooLarge(bytes.count, limit: channels.maximumMessageSize)
        }
        if !channels.hasRoom(slot) {
            releaseSent()
            guard channels.hasRoom(slot) else { throw blocked(slot) }
        }
        let count = bytes.count
        let kind = DCEP.PayloadProtocol.of(isText: isText, isEmpty: bytes.isEmpty)
        // SCTP has no empty messages (RFC 8831 §6.6).
        let bytes = bytes.isEmpty ? UnsafeRawBufferPointer(core.zero) : bytes
        var delivery = channels.delivery(of: slot)
        if bytes.count <= Outbox.maximumMessage {
            guard gather(bytes, delivery, kind, slot) else { throw blocked(slot) }
        } else {
            // Nothing may overtake the gathered messages.
            if outbox != nil, !sendOutbox() { throw blocked(slot) }
            guard let association else { throw ChannelError.notOpen(hasEnded: isEnded) }
            core.stack.noteActivity()
            switch association.send(bytes, &delivery, protocol: kind) {
            case .sent: break
            case .full: throw blocked(slot)
            case .failed(let errno):
                throw TransportError(.closed, "SCTP did not accept the message: errno \(errno)")
            }
            channels.sent(bytes.count, of: slot)
            monitor.noteSent()
        }
        channels.accepted(bytes.count, of: slot, count: count)
    }

    /// Keeps a small message until the end of the turn. Returns false when there is no room.
    @inline(__always)
    private func gather(
        _ bytes: UnsafeRawBufferPointer, _ delivery: SCTPDelivery, _ kind: UInt32, _ slot: Int
    ) -> Bool {
        if outbox == nil {
            outbox = core.outboxes.take()
            if !output.isFlushScheduled { core.loop.atEndOfTurn(outboxWork) }
        }
        if let outbox, outbox.append(bytes, delivery, protocol: kind, slot: slot) { return true }
        return sendOutboxAndGather(bytes, delivery, kind, slot)
    }

    private func sendOutboxAndGather(
        _ bytes: UnsafeRawBufferPointer, _ delivery: SCTPDelivery, _ kind: UInt32, _ slot: Int
    ) -> Bool {
        sendOutbox() && gather(bytes, delivery, kind, slot)
    }

    /// Passes the gathered messages to SCTP, which fills packets with them. Returns false when the send buffer is full;
    /// the rest waits.
    @discardableResult
    func sendOutbox() -> Bool {
        guard let box = outbox else { return true }
        guard let association, !isEnded else { return false }
        core.stack.noteActivity()
        isOutboxBlocked = !box.drain(into: association) { count, slot in channels.sent(count, of: slot) }
        monitor.noteSent()
        guard !isOutboxBlocked else { return false }
        outbox = nil
        core.outboxes.recycle(box)
        if channels.hasUnsentResets { for id in channels.channelsToReset { reset(id) } }
        return true
    }

    private func blocked(_ slot: Int) -> TransportError {
        channels.blocked(slot)
        return ChannelError.wouldBlock
    }

    /// Updates the channels' amounts, since acknowledgements may have arrived, and sends messages that waited for room.
    func releaseSent() {
        guard let association else { return }
        if channels.hasUnacknowledged { channels.acknowledged(remaining: association.buffered) }
        if channels.hasWaitingControl { sendControl() }
        if isOutboxBlocked, !sendOutbox() { return }
        perform(channels.wakeBlocked())
    }

    // MARK: Messages in

    /// The association got packets: reads their messages.
    @inline(__always)
    func packetsReceived() {
        if !canCarryData, let association, association.isAnswered { associationIsUp() }
        pump()
    }

    /// Reads messages and notifications from SCTP, and delivers them. Never called inside a method of the API.
    func pump() {
        guard !isPumping, let association, let handler = events.handler else { return }
        isPumping = true
        let buffer = core.message
        reading: while !isEnded, channels.unreadSize < Self.maximumUnread {
            switch association.receive(into: buffer) {
            case .data(let count, let stream, let protocolID, let isEnd):
                let bytes = UnsafeRawBufferPointer(rebasing: buffer[..<count])
                if isEnd, assembly.isEmpty {
                    guard count <= configuration.maximumMessageSize else {
                        dropTooLarge(on: stream)
                        continue
                    }
                    deliver(bytes, stream: stream, protocol: protocolID, to: handler)
                } else {
                    assemble(bytes, stream: stream, protocol: protocolID, isEnd: isEnd, handler)
                }
            case .notification(let notification): take(notification)
            case .empty: break reading
            case .ended:
                connection?.finish(nil)
                break reading
            }
        }
        isPumping = false
        if !isEnded, isOutboxBlocked || channels.waitsForRoom { releaseSent() }
        if !events.isEmpty { events.drain() }
    }

    @inline(__always)
    private func deliver(
        _ bytes: UnsafeRawBufferPointer, stream: UInt16, protocol protocolID: UInt32,
        to handler: any PeerConnectionHandler
    ) {
        guard let (isText, isEmpty) = DCEP.PayloadProtocol.content(of: protocolID) else {
            if protocolID == DCEP.PayloadProtocol.control { takeControl(bytes, stream: stream) }
            return
        }
        // Empty messages carry one byte, which is ignored (RFC 8831 §6.6).
        let bytes = isEmpty ? UnsafeRawBufferPointer(rebasing: bytes[..<0]) : bytes
        guard let slot = channels.readerSlot(ofStream: stream) else {
            channels.strayReceived(UnreadMessage(payload: Payload(copying: bytes), isText: isText), on: stream)
            return
        }
        channels.received(bytes.count)
        // A channel's opening is reported before its first message; the handler may stop reading it then.
        if !events.isEmpty {
            events.drain()
            guard !isEnded, channels.table.slot(ofStream: stream) == slot else { return }
        }
        guard channels.isReading(slot) else {
            channels.keep(UnreadMessage(payload: Payload(copying: bytes), isText: isText), of: slot)
            return
        }
        handler.peerConnection(didReceive: bytes, isText: isText, on: channels.table.slots[slot].id)
    }

    private func assemble(
        _ bytes: UnsafeRawBufferPointer, stream: UInt16, protocol protocolID: UInt32, isEnd: Bool,
        _ handler: any PeerConnectionHandler
    ) {
        switch assembly.add(bytes, stream: stream, protocol: protocolID, isEnd: isEnd) {
        case .incomplete: break
        case .tooLarge(let stream): dropTooLarge(on: stream)
        case .complete(let message):
            message.bytes.withUnsafeBytes {
                deliver($0, stream: message.stream, protocol: message.protocol, to: handler)
            }
        }
    }

    /// Drops a message that is too large, and ends its channel, which has lost a message. The other channels continue.
    private func dropTooLarge(on stream: UInt16) {
        log.debug(
            "a message over the announced size was dropped, and its channel is closed",
            metadata: ["stream": "\(stream)", "limit": "\(configuration.maximumMessageSize)"])
        perform(channels.unusableReceived(on: stream))
    }

    private func takeControl(_ bytes: UnsafeRawBufferPointer, stream: UInt16) {
        do throws(TransportError) {
            perform(channels.controlReceived(try DCEP.decode(bytes), on: stream))
        } catch {
            log.debug("a message of the channel protocol was refused", metadata: ["error": "\(error)"])
            perform(channels.unusableReceived(on: stream))
        }
    }

    /// Delivers the messages that waited while the channel was not read. Never called inside a method of the API.
    private func handOut(_ id: ChannelID) {
        events.drain()
        while let handler = events.handler, case let messages = channels.unread(of: id), !messages.isEmpty {
            var count = 0
            for message in messages {
                guard let slot = channels.table.slot(of: id), channels.table.slots[slot].isReceiving else { break }
                count += 1
                message.payload.withUnsafeBytes {
                    handler.peerConnection(didReceive: $0, isText: message.isText, on: id)
                }
            }
            channels.handedOut(count, of: id)
        }
        perform(channels.handedOutAll(of: id))
    }

    private func take(_ notification: SCTPNotification) {
        switch notification {
        case .up:
            associationIsUp()
            monitor.beginPathSize()
        case .closedByPeer: connection?.finish(nil)
        case .lost(let cause): connection?.finish(AssociationError.aborted(cause))
        case .restarted: connection?.finish(AssociationError.restarted)
        case .incomingReset(let streams):
            assembly.incomingReset(streams)
            perform(channels.incomingReset(streams))
        case .outgoingReset(let streams), .resetFailed(let streams): perform(channels.outgoingReset(streams))
        case .partialDeliveryAborted: assembly.aborted()
        case .other: break
        }
    }

    /// The other side has answered, or has finished the handshake: from here on, data arrives.
    private func associationIsUp() {
        guard let association, let connection, !canCarryData else { return }
        canCarryData = true
        let actions = channels.associationEstablished(streams: Int(association.outgoingStreams))
        monitor.begin(association, of: self)
        connection.associationIsUp()
        perform(actions)
    }

    func peerIsSuspect() { connection?.peerIsSuspect() }

    func fail(_ error: TransportError) { connection?.finish(error) }
}
