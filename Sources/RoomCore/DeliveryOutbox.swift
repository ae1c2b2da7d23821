internal import RoomProtocol
package import TransportValues

/// The messages to one participant: the buffer of each channel, and which messages are accepted into it.
///
/// Senders append on any thread, so a shell keeps it behind a lock. Frames are read and released on the loop only.
package struct DeliveryOutbox {
    /// The result of sending one message.
    package enum Outcome: Sendable, Equatable {
        case accepted
        /// Nothing was taken: wait for credit.
        case full
        /// There is no connection and the channel keeps nothing (lossy), or the buffer of a broken participant is full.
        case dropped
        /// The participant's session has ended.
        case gone
        case tooLarge(limit: Int)
    }

    package struct Limits: Sendable {
        /// Bytes in the buffer of each channel; senders wait above it.
        package var buffer: Int
        /// The same for the channel of bulk, at first.
        package var bulk = BulkPace.initialLimit
        /// Bytes of one message to this participant: what both sides accept.
        package var message: Int
        /// Bytes of memory that a buffer allocates at once.
        package var block = 131_072
        /// Bytes of a message that a transport takes as long as no connection has told (RFC 8841 §6.1).
        package var frame = 65_536

        package init(buffer: Int, message: Int) {
            self.buffer = buffer
            self.message = message
        }
    }

    private let limits: Limits
    /// Long messages on the numbered channels are sent in parts.
    private let level: DeliveryLevel
    private var buffers: [SendBuffer]
    private var pace: BulkPace
    private var isConnected = false
    /// There is a connection, but no path: it is being replaced.
    private var isBroken = false
    package private(set) var isGone = false
    /// Messages of the reliable and the unordered channel that were given up.
    private var givenUpCount = 0
    /// Bytes of a message that the other side's transport takes.
    private var maximumFrameLength: Int

    /// `streams`: whose numbers the frames continue.
    package init(level: DeliveryLevel, streams: NumberedStreams, limits: Limits) {
        self.limits = limits
        maximumFrameLength = limits.frame
        self.level = level
        pace = BulkPace(limit: limits.bulk)
        buffers = DeliveryChannel.allCases.map { channel in
            guard level.isNumbered(channel) else { return SendBuffer(headerLength: 0, blockSize: limits.block) }
            return SendBuffer(
                headerLength: DeliveryProtocol.dataHeaderLength, lastSequence: streams[channel].machine.accepted,
                blockSize: limits.block)
        }
    }

    // MARK: Messages

    /// Bytes of urgent messages above the limit of a buffer: only one who acknowledges nothing causes more.
    private static let urgentLimit = 1_048_576

    /// Copies one message into the buffer of its channel, in parts where it is longer than a frame. `mayDrop`: the
    /// sender does not wait for a participant whose connection is broken.
    package mutating func accept(
        _ bytes: UnsafeRawBufferPointer, isText: Bool, on channel: DeliveryChannel, mayDrop: Bool
    ) -> Outcome {
        if let refusal = refusal(of: bytes.count, on: channel, mayDrop: mayDrop, isCounted: true) { return refusal }
        append(bytes, kind: isText ? .text : .binary, on: channel, isCounted: true)
        return .accepted
    }

    /// Copies one message of topics, requests or streams into the buffer of its channel.
    ///
    /// `head` are its first bytes. `isUrgent`: it is taken above the limit of the buffer, too; it is small, and there
    /// are only so many where the other side acknowledges. `isCounted`: the application is told when it is given up.
    package mutating func accept(
        exchange head: UnsafeRawBufferPointer, _ body: UnsafeRawBufferPointer, on channel: DeliveryChannel,
        isUrgent: Bool = false, isCounted: Bool = false, mayDrop: Bool = false
    ) -> Outcome {
        let count = head.count + body.count
        let isCounted = isCounted || channel.isLossy
        let refusal = refusal(of: count, on: channel, mayDrop: mayDrop, isCounted: isCounted)
        let isBounded = buffers[channel.rawValue].byteCount <= limit(of: channel) + Self.urgentLimit
        if let refusal, refusal != .full || !isUrgent || !isBounded { return refusal }
        if !isSplit(count, on: channel) {
            buffers[channel.rawValue].append(head: head, body, kind: .exchange, isCounted: isCounted)
            return .accepted
        }
        if head.isEmpty {
            append(body, kind: .exchange, on: channel, isCounted: isCounted)
            return .accepted
        }
        withUnsafeTemporaryAllocation(byteCount: count, alignment: 16) { bytes in
            bytes.copyMemory(from: head)
            UnsafeMutableRawBufferPointer(rebasing: bytes[head.count...]).copyMemory(from: body)
            append(UnsafeRawBufferPointer(bytes), kind: .exchange, on: channel, isCounted: isCounted)
        }
        return .accepted
    }

    /// The reason not to take a message of `count` bytes; nil: it is taken.
    @inline(__always)
    private mutating func refusal(
        of count: Int, on channel: DeliveryChannel, mayDrop: Bool, isCounted: Bool
    ) -> Outcome? {
        guard count <= limits.message else { return .tooLarge(limit: limits.message) }
        guard !isGone else { return .gone }
        if isConnected, count > maximumFrameLength, !level.isNumbered(channel) {
            return .tooLarge(limit: maximumFrameLength)
        }
        let buffered = buffers[channel.rawValue].byteCount
        let limit = limit(of: channel)
        if channel.isLossy, !isConnected || buffered > limit { return .dropped }
        guard buffered > 0, buffered + count > limit else { return nil }
        if channel == .bulk { pace.bufferWasFull() }
        guard mayDrop, isDroppable else { return .full }
        if isCounted, !channel.isLossy { givenUpCount += 1 }
        return .dropped
    }

    private func limit(of channel: DeliveryChannel) -> Int { channel == .bulk ? pace.limit : limits.buffer }

    /// The length of the frames into which streams are cut now.
    package var bulkFrameLength: Int { min(pace.frame, maximumFrameLength) }

    /// The bytes of a message, or of a part of one, that fit into a frame: no frame is longer than what the other
    /// side's transport takes.
    private var partLength: Int {
        min(DeliveryProtocol.maximumPartLength, maximumFrameLength - DeliveryProtocol.dataHeaderLength)
    }

    private func isSplit(_ count: Int, on channel: DeliveryChannel) -> Bool {
        level.isNumbered(channel) && partLength > 0 && count > partLength
    }

    @inline(__always)
    private mutating func append(
        _ bytes: UnsafeRawBufferPointer, kind: DeliveryProtocol.Kind, on channel: DeliveryChannel, isCounted: Bool
    ) {
        var rest = bytes
        let partLength = partLength
        while isSplit(rest.count, on: channel) {
            let part = UnsafeRawBufferPointer(rebasing: rest.prefix(partLength))
            buffers[channel.rawValue].append(part, kind: .part)
            rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(partLength))
        }
        buffers[channel.rawValue].append(rest, kind: kind, isCounted: isCounted)
    }

    /// A broadcast does not wait for this participant.
    package var isDroppable: Bool { !isConnected || isBroken }

    /// Whether a sender that was told `full` may try again.
    package func hasCredit(on channel: DeliveryChannel, mayDrop: Bool) -> Bool {
        let limit = limit(of: channel)
        // The path stands still when the buffer is empty before the sender has heard of it.
        let credit = channel == .bulk ? limit - limit / 4 : limit / 2
        return isGone || buffers[channel.rawValue].byteCount <= credit || mayDrop && isDroppable
    }

    /// The last number of each channel: what `isReleased(upTo:)` is asked about.
    package var lastSequences: [UInt64] { buffers.map(\.lastSequence) }

    /// Whether everything up to these numbers was released.
    package func isReleased(upTo sequences: [UInt64]) -> Bool {
        zip(buffers, sequences).allSatisfy { $0.firstSequence > $1 }
    }

    /// Messages that wait on a channel or are not acknowledged yet.
    package func messageCount(on channel: DeliveryChannel) -> Int { buffers[channel.rawValue].messageCount }

    /// An accepted message turned out to be too large for the other side.
    package mutating func giveUpMessage() { givenUpCount += 1 }

    /// Messages of the reliable and the unordered channel that were given up, since the last call.
    package mutating func takeGivenUpCount() -> Int {
        defer { givenUpCount = 0 }
        return givenUpCount
    }

    // MARK: Frames, on the loop

    package func lastSequence(on channel: DeliveryChannel) -> UInt64 { buffers[channel.rawValue].lastSequence }
    package func firstSequence(on channel: DeliveryChannel) -> UInt64 { buffers[channel.rawValue].firstSequence }

    /// The frames from `sequence` on, as many as a batch holds. `mutating`: the buffer would be copied otherwise.
    package mutating func frames(on channel: DeliveryChannel, from sequence: UInt64?) -> FrameBatch {
        FrameBatch(&buffers[channel.rawValue], from: sequence)
    }

    /// Frees the frames up to and including `sequence`: they were acknowledged or, on a plain channel, taken.
    package mutating func release(upTo sequence: UInt64, on channel: DeliveryChannel, now: Timestamp = .zero) {
        let before = buffers[channel.rawValue].byteCount
        buffers[channel.rawValue].release(upTo: sequence)
        guard channel == .bulk else { return }
        pace.acknowledged(upTo: sequence, bytes: before - buffers[channel.rawValue].byteCount, now: now)
    }

    /// The transport has taken the frame of bulk `sequence`.
    package mutating func bulkTaken(_ sequence: UInt64, now: Timestamp) {
        pace.frameTaken(sequence, buffered: buffers[DeliveryChannel.bulk.rawValue].byteCount, now: now)
    }

    // MARK: The connection, on the loop

    /// The transport is connected, or a channel of it is open. Lossy messages are accepted from now on.
    package mutating func connected(maximumMessageSize: Int) {
        isConnected = true
        maximumFrameLength = maximumMessageSize
    }

    /// The reliable channel is closed.
    package mutating func disconnected() { isConnected = false }

    /// The connection has ended: lossy messages do not wait for the next one. Returns how many were dropped.
    package mutating func connectionEnded() -> Int {
        isConnected = false
        pace.connectionEnded()
        var dropped = 0
        for channel in DeliveryChannel.allCases where channel.isLossy {
            dropped += messageCount(on: channel)
            release(upTo: lastSequence(on: channel), on: channel)
        }
        return dropped
    }

    /// At first a path that recovers may only be slow; from the second rung on it counts as broken, and broadcasts do
    /// not wait for it.
    mutating func statusChanged(_ status: PeerStatus) {
        switch status {
        case .connected: isBroken = false
        case .recovering(let rung, _, _): isBroken = rung != .wait
        case .waiting, .connecting: break
        }
    }

    /// The participant's session has ended: everything is given up, and nothing is accepted any more. Returns how many
    /// messages that is, with those of before: of the reliable channel what was never acknowledged, of the unordered
    /// one what no transport had taken.
    mutating func close() -> Int {
        isGone = true
        let lost = takeGivenUpCount() + messageCount(on: .reliable) + messageCount(on: .unordered)
        for index in buffers.indices { buffers[index].removeAll() }
        return lost
    }
}
