internal import TransportPluginAPI

/// The decisions about the data channels of one connection: what opens and closes them, what they may send, and which
/// messages wait for a reader (RFC 8831, RFC 8832). Pure. Facts that open, close or reset a channel return actions.
/// Messages do not: the shell queries small values, by the channel's slot, and reports counts.
struct ChannelMachine {
    enum Action: Equatable {
        /// Pass the messages of the establishment protocol to SCTP: `nextControl()`.
        case sendControl
        /// Reset the channel's stream as soon as SCTP has accepted all of its messages: `streamToReset(of:)`.
        case resetStream(of: ChannelID)
        /// Reset a stream without a channel, to tell the other side that it will have none (RFC 8832 §6).
        case refuse(stream: UInt16)
        /// At the end of the turn, hand out the channel's unread messages: `unread(of:)`, then `handedOutAll(of:)`.
        case handOut(ChannelID)
        case reportOpened(ChannelID, ChannelParameters, isRemote: Bool)
        case reportClosed(ChannelID)
        case reportWritable(ChannelID)
    }

    /// The ledger's slot of control messages.
    private static let controlSlot = -1

    private(set) var table: ChannelTable
    /// The messages of the establishment protocol that SCTP has not accepted yet.
    private var control: [ControlMessage] = []
    private var strays = StrayMessages()
    private var ledger = SendLedger()
    private let highWaterMark: Int
    private var blockedCount = 0
    private var flushingCount = 0
    private var unsentResets = 0
    private var isAssociationBegun = false
    /// Memory of all unread messages, in bytes.
    private(set) var unreadSize = 0
    /// The largest message that both sides accept, in bytes.
    var maximumMessageSize: Int
    private(set) var counters = PeerConnectionStatistics()

    init(streamCount: Int, highWaterMark: Int, maximumMessageSize: Int) {
        table = ChannelTable(streamCount: streamCount)
        self.highWaterMark = highWaterMark
        self.maximumMessageSize = maximumMessageSize
    }

    // MARK: Opening

    /// Adds a channel that this side opens. Throws `.resourceExhausted`, `.invalidArgument`.
    mutating func openRequested(_ parameters: ChannelParameters) throws(TransportError) -> (ChannelID, [Action]) {
        let slot = try table.open(parameters)
        return (table[slot].id, isAssociationBegun ? begin(slot) : [])
    }

    /// The DTLS roles are settled, and with them the parity of channel ids (RFC 8832 §6).
    mutating func rolesSettled(isClient: Bool) -> [Action] {
        table.rolesSettled(isClient: isClient).map { end($0) }
    }

    /// The association accepts messages: open messages are sent, and data may follow at once (RFC 8832 §6).
    mutating func associationBegan() -> [Action] {
        isAssociationBegun = true
        return beginWaiting()
    }

    /// The association is up, with this many streams that can be sent on.
    mutating func associationEstablished(streams: Int) -> [Action] {
        table.limitStreams(to: streams).map { end($0) } + beginWaiting()
    }

    private mutating func beginWaiting() -> [Action] {
        table.used.filter { table[$0].state == .waiting }.flatMap { begin($0) }
    }

    private mutating func begin(_ slot: Int) -> [Action] {
        guard let stream = table[slot].stream else { return [] }
        if table[slot].isNegotiated { return opened(slot, isRemote: false) }
        table[slot].state = .opening
        return enqueue(.open(table[slot].parameters), of: table[slot].id, on: stream)
    }

    private mutating func opened(_ slot: Int, isRemote: Bool) -> [Action] {
        table[slot].state = .open
        let id = table[slot].id
        let report = Action.reportOpened(id, table[slot].parameters, isRemote: isRemote)
        guard let stream = table[slot].stream, case let early = strays.take(stream: stream), !early.isEmpty else {
            return [report]
        }
        for message in early {
            counters.messagesReceived &+= 1
            counters.bytesReceived &+= UInt64(message.payload.count)
            keep(message, of: slot)
        }
        return [report, .handOut(id)]
    }

    // MARK: The establishment protocol

    /// A message of the establishment protocol has arrived on `stream`. An open message for a stream in use is ignored.
    mutating func controlReceived(_ message: DCEP.Message, on stream: UInt16) -> [Action] {
        switch message {
        case .acknowledge:
            if let slot = table.slot(ofStream: stream) { table[slot].mayOvertake = true }
            return []
        case .open(let parameters):
            var actions: [Action] = []
            // The other side uses the stream again: for it, the channel before has ended.
            if let old = table.slot(ofStream: stream), case .closing(let closing) = table[old].state,
                closing.isIncomingEnded, table[old].unread.isEmpty
            {
                actions.append(end(old))
            }
            guard let slot = table.opened(parameters, stream: stream) else {
                if table.slot(ofStream: stream) == nil { actions.append(.refuse(stream: stream)) }
                return actions
            }
            actions += enqueue(.acknowledge, of: table[slot].id, on: stream)
            return actions + opened(slot, isRemote: true)
        }
    }

    /// An unusable message has arrived on `stream`. It ends the channel, not the connection.
    mutating func unusableReceived(on stream: UInt16) -> [Action] {
        guard let slot = table.slot(ofStream: stream) else { return [.refuse(stream: stream)] }
        return table[slot].isOpen ? [beginClosing(slot)] : []
    }

    private mutating func enqueue(_ message: DCEP.Message, of id: ChannelID, on stream: UInt16) -> [Action] {
        control.append(ControlMessage(channel: id, stream: stream, bytes: DCEP.encode(message)))
        // Otherwise the first one waits for room.
        return control.count == 1 ? [.sendControl] : []
    }

    /// The oldest message of the establishment protocol whose channel has not ended.
    mutating func nextControl() -> ControlMessage? {
        while let message = control.first {
            if table.slot(of: message.channel) != nil { return message }
            control.removeFirst()
        }
        return nil
    }

    /// SCTP has accepted the message that `nextControl()` returned.
    mutating func controlSent() -> [Action] {
        let message = control.removeFirst()
        ledger.sent(message.bytes.count, slot: Self.controlSlot)
        guard let slot = table.slot(of: message.channel), table[slot].state == .opening else { return [] }
        return opened(slot, isRemote: false)
    }

    /// SCTP refused the message that `nextControl()` returned.
    mutating func controlFailed() -> [Action] {
        table.slot(of: control.removeFirst().channel).map { [end($0)] } ?? []
    }

    // MARK: Closing (RFC 8831 §6.7)

    mutating func closeRequested(_ id: ChannelID) -> [Action] {
        guard let slot = table.slot(of: id) else { return [] }
        switch table[slot].state {
        case .free, .closing: return []
        case .waiting, .opening:
            // Its open message may wait for room.
            control.removeAll { $0.channel == id }
            return [end(slot)]
        case .open: return [beginClosing(slot)]
        }
    }

    private mutating func beginClosing(_ slot: Int) -> Action {
        table[slot].state = .closing(Channel.Closing())
        unsentResets += 1
        return .resetStream(of: table[slot].id)
    }

    /// Whether `channelsToReset` has any.
    var hasUnsentResets: Bool { unsentResets > 0 }

    /// Closing channels whose stream was not reset yet.
    var channelsToReset: [ChannelID] { table.slots.filter { Self.hasUnsentReset($0) }.map(\.id) }

    /// Returns the stream to reset now; nil when it was reset, or the channel has ended.
    func streamToReset(of id: ChannelID) -> UInt16? {
        guard let slot = table.slot(of: id), Self.hasUnsentReset(table[slot]) else { return nil }
        return table[slot].stream
    }

    private static func hasUnsentReset(_ channel: Channel) -> Bool {
        if case .closing(let closing) = channel.state { closing.outgoing == .unsent } else { false }
    }

    /// SCTP was asked to reset the channel's stream. It refuses if the other side cannot reset streams; then the
    /// channel ends at once.
    mutating func resetRequested(of id: ChannelID, isAccepted: Bool) -> [Action] {
        guard let slot = table.slot(of: id), case .closing(var closing) = table[slot].state else { return [] }
        if closing.outgoing == .unsent { unsentResets -= 1 }
        closing.outgoing = isAccepted ? .requested : .ended
        if !isAccepted { closing.isIncomingEnded = true }
        table[slot].state = .closing(closing)
        return isAccepted ? [] : [.handOut(id)]
    }

    /// The other side has reset its direction of these streams, or of all if none is named.
    mutating func incomingReset(_ streams: [UInt16]) -> [Action] {
        var actions: [Action] = []
        for slot in slots(of: streams) {
            if table[slot].isOpen { actions.append(beginClosing(slot)) }
            guard case .closing(var closing) = table[slot].state else { continue }
            closing.isIncomingEnded = true
            table[slot].state = .closing(closing)
            actions += endIfOver(slot)
        }
        return actions
    }

    /// This side's direction of these streams (of all if none is named) was reset, or the other side has refused that.
    mutating func outgoingReset(_ streams: [UInt16]) -> [Action] {
        var actions: [Action] = []
        for slot in slots(of: streams) {
            // If nothing was requested, this is the end of an earlier channel on the stream.
            guard case .closing(var closing) = table[slot].state, closing.outgoing == .requested else { continue }
            closing.outgoing = .ended
            table[slot].state = .closing(closing)
            actions += endIfOver(slot)
        }
        return actions
    }

    private func slots(of streams: [UInt16]) -> [Int] {
        streams.isEmpty ? table.used : streams.compactMap { table.slot(ofStream: $0) }
    }

    /// Ends a channel, if both directions have ended. Earlier messages are delivered before the end is reported.
    private mutating func endIfOver(_ slot: Int) -> [Action] {
        guard case .closing(let closing) = table[slot].state, closing.isOver, table[slot].unread.isEmpty else {
            return []
        }
        return [end(slot)]
    }

    /// Frees the channel's slot and stream for others.
    private mutating func end(_ slot: Int) -> Action {
        let id = table[slot].id
        if table[slot].isBlocked { blockedCount -= 1 }
        if table[slot].isFlushing { flushingCount -= 1 }
        if Self.hasUnsentReset(table[slot]) { unsentResets -= 1 }
        unreadSize -= table[slot].unreadSize
        table.remove(slot)
        return .reportClosed(id)
    }

    /// The connection has ended, and all channels with it. Only the end of the connection is reported.
    mutating func connectionEnded() {
        control = []
        strays = StrayMessages()
        for slot in table.used { _ = end(slot) }
    }

    // MARK: Messages out

    /// How messages of a channel are sent now.
    @inline(__always)
    func delivery(of slot: Int) -> SCTPDelivery {
        var delivery = table.slots[slot].delivery
        delivery.isUnordered = table.slots[slot].mayOvertake && !table.slots[slot].parameters.isOrdered
        return delivery
    }

    /// Whether another message may go into the send buffer.
    @inline(__always)
    func hasRoom(_ slot: Int) -> Bool { table.slots[slot].buffered < highWaterMark && !ledger.isFull }

    /// A message of `size` bytes was accepted, `count` of which are the application's.
    @inline(__always)
    mutating func accepted(_ size: Int, of slot: Int, count: Int) {
        table[slot].buffered &+= size
        counters.messagesSent &+= 1
        counters.bytesSent &+= UInt64(count)
    }

    /// SCTP has accepted a message.
    @inline(__always)
    mutating func sent(_ size: Int, of slot: Int) { ledger.sent(size, slot: slot) }

    /// A message was refused for lack of room: the application waits for `channelWritable`.
    mutating func blocked(_ slot: Int) {
        guard !table[slot].isBlocked else { return }
        table[slot].isBlocked = true
        blockedCount += 1
    }

    /// The application wants to know when nothing of the channel is buffered any more.
    mutating func flushRequested(_ id: ChannelID) -> [Action] {
        guard let slot = table.slot(of: id), table[slot].isOpen else { return [] }
        guard table[slot].buffered > 0 else { return [.reportWritable(id)] }
        if !table[slot].isFlushing { flushingCount += 1 }
        table[slot].isFlushing = true
        return []
    }

    /// Whether something here waits for room in the send buffer, or for its acknowledgement.
    var waitsForRoom: Bool {
        blockedCount > 0 || flushingCount > 0 || !control.isEmpty
            || ledger.messageCount >= SendLedger.maximumMessages / 4
    }

    /// Updates the channels' amounts; `remaining` bytes are in the send buffer.
    @inline(__always)
    mutating func acknowledged(remaining: Int) {
        while let entry = ledger.release(remaining: remaining) {
            let slot = Int(entry.slot)
            guard slot >= 0, table.slots[slot].buffered >= Int(entry.count) else { continue }
            table[slot].buffered -= Int(entry.count)
        }
    }

    @inline(__always)
    var hasUnacknowledged: Bool { ledger.messageCount > 0 }

    @inline(__always)
    var hasWaitingControl: Bool { !control.isEmpty }

    /// Reports the channels that waited for room and have it, and those that waited until nothing is buffered.
    mutating func wakeBlocked() -> [Action] {
        flushingCount > 0 ? wakeFlushing() + wakeForRoom() : wakeForRoom()
    }

    private mutating func wakeFlushing() -> [Action] {
        var actions: [Action] = []
        for slot in table.slots.indices where table[slot].isFlushing && table[slot].buffered == 0 {
            table[slot].isFlushing = false
            flushingCount -= 1
            if table[slot].isOpen { actions.append(.reportWritable(table[slot].id)) }
        }
        return actions
    }

    private mutating func wakeForRoom() -> [Action] {
        guard blockedCount > 0, ledger.messageCount < SendLedger.maximumMessages / 2 else { return [] }
        var actions: [Action] = []
        for slot in table.slots.indices where table[slot].isBlocked && table[slot].buffered <= highWaterMark / 2 {
            table[slot].isBlocked = false
            blockedCount -= 1
            if table[slot].isOpen { actions.append(.reportWritable(table[slot].id)) }
        }
        return actions
    }

    // MARK: Messages in

    /// Returns the slot of the channel that reads messages on `stream`.
    @inline(__always)
    func readerSlot(ofStream stream: UInt16) -> Int? {
        guard let slot = table.slot(ofStream: stream), table.slots[slot].canReceive else { return nil }
        return slot
    }

    /// A whole message has arrived on `stream`, before its channel was opened. It is kept for a while.
    mutating func strayReceived(_ message: UnreadMessage, on stream: UInt16) { strays.add(message, stream: stream) }

    var strayCount: Int { strays.count }

    @inline(__always)
    mutating func received(_ count: Int) {
        counters.messagesReceived &+= 1
        counters.bytesReceived &+= UInt64(count)
    }

    /// Returns whether the channel's next message is delivered at once.
    @inline(__always)
    func isReading(_ slot: Int) -> Bool { table.slots[slot].isReceiving && table.slots[slot].unread.isEmpty }

    /// Keeps a message until it is read.
    mutating func keep(_ message: UnreadMessage, of slot: Int) {
        table[slot].unread.append(message)
        unreadSize += message.size
    }

    mutating func receivingChanged(_ isReceiving: Bool, of id: ChannelID) -> [Action] {
        guard let slot = table.slot(of: id), table[slot].isReceiving != isReceiving else { return [] }
        table[slot].isReceiving = isReceiving
        return isReceiving ? [.handOut(id)] : []
    }

    /// The messages that can be handed out now.
    func unread(of id: ChannelID) -> [UnreadMessage] {
        guard let slot = table.slot(of: id), table[slot].isReceiving else { return [] }
        return table[slot].unread
    }

    /// The first `count` messages that `unread(of:)` returned were handed out.
    mutating func handedOut(_ count: Int, of id: ChannelID) {
        guard let slot = table.slot(of: id) else { return }
        unreadSize -= table[slot].unread.prefix(count).reduce(0) { $0 + $1.size }
        table[slot].unread.removeFirst(count)
    }

    /// All unread messages were delivered. A channel that waited for that may end.
    mutating func handedOutAll(of id: ChannelID) -> [Action] { table.slot(of: id).map { endIfOver($0) } ?? [] }
}
