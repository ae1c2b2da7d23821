internal import RoomCore
internal import RoomProtocol
internal import TransportValues

/// A `DeliveryLink` whose calls are recorded, if there is a tape. Its methods are those of the link.
struct RecordedLink: ~Copyable {
    private var link: DeliveryLink
    private let tape: VectorTape.Instance?

    /// `memory`: the name of the memory that `streams` come from.
    init(
        streams: NumberedStreams, level: DeliveryLevel, messageLimit: Int, memory: String, tape: VectorTape.Instance?
    ) {
        link = DeliveryLink(streams: streams, level: level, messageLimit: messageLimit)
        self.tape = tape
        tape?("init", [Streams(from: memory, streams), level, messageLimit, Duration.seconds(8)], state: state)
    }

    /// The streams of a session pair, as a memory hands them out.
    private struct Streams {
        var memory: String
        var session: SessionID
        var peerSession: SessionID

        init(from memory: String, _ streams: NumberedStreams) {
            self.memory = memory
            session = streams.session
            peerSession = streams.peerSession
        }
    }

    /// The outbox that belongs to this link.
    private static let outboxName = VectorJSON(text: "{\"$outbox\":true}")

    private var state: [(String, Any)] { [("isReady", link.isReady), ("isLeaving", link.isLeaving)] }

    var streams: NumberedStreams { link.streams }
    var level: DeliveryLevel { link.level }
    var machine: DeliveryMachine { link.machine }
    var isReady: Bool { link.isReady }
    var isLeaving: Bool { link.isLeaving }

    /// The memory of this name takes the streams, with `record`.
    func noteStored(in memory: String, _ record: StreamRecord) { tape?("$store", [memory, record]) }

    // MARK: Connections and their channels

    mutating func attached(isOpener: Bool) -> [DeliveryChannel] {
        let result = link.attached(isOpener: isOpener)
        tape?("attached", [isOpener], result, state: state)
        return result
    }

    mutating func detached() {
        link.detached()
        tape?("detached", state: state)
    }

    mutating func opening(_ channel: DeliveryChannel, as id: ChannelID) {
        link.opening(channel, as: id)
        tape?("opening", [channel, id], state: state)
    }

    mutating func channelOpened(_ id: ChannelID, _ parameters: ChannelParameters) -> [DeliveryLink.Action] {
        let result = link.channelOpened(id, parameters)
        tape?("channelOpened", [id, parameters], result, state: state)
        return result
    }

    mutating func channelClosed(_ id: ChannelID, now: Timestamp) -> [DeliveryLink.Action] {
        let result = link.channelClosed(id, now: now)
        tape?("channelClosed", [id, now], result, state: state)
        return result
    }

    func reopeningTimerFired(_ channel: DeliveryChannel) -> [DeliveryLink.Action] {
        let result = link.reopeningTimerFired(channel)
        tape?("reopeningTimerFired", [channel], result)
        return result
    }

    mutating func channelWritable(_ id: ChannelID) -> DeliveryChannel? {
        let result = link.channelWritable(id)
        tape?("channelWritable", [id], result as Any)
        return result
    }

    // MARK: Sending

    mutating func writable(_ channel: DeliveryChannel) -> ChannelID? {
        let result = link.writable(channel)
        tape?("writable", [channel], result as Any)
        return result
    }

    mutating func nextFrames(on channel: DeliveryChannel, in outbox: inout RecordedOutbox) -> FrameBatch {
        let batch = outbox.nextFrames(of: &link, on: channel)
        tape?("nextFrames", [channel, Self.outboxName], Frames(batch))
        return batch
    }

    mutating func stamp(_ frame: UnsafeMutableRawBufferPointer, on channel: DeliveryChannel) {
        let before = tape == nil ? [] : Frames.unstamped(frame)
        link.stamp(frame, on: channel)
        tape?("stamp", [before, channel], [UInt8](frame))
    }

    mutating func frameTaken(_ sequence: UInt64, count: Int, on channel: DeliveryChannel) {
        link.frameTaken(sequence, count: count, on: channel)
        tape?("frameTaken", [sequence, count, channel])
    }

    mutating func frameRefused(
        _ sequence: UInt64, _ code: TransportError.Code, on channel: DeliveryChannel
    ) -> DeliveryLink.Refusal {
        let result = link.frameRefused(sequence, code, on: channel)
        tape?("frameRefused", [sequence, code, channel], result, state: state)
        return result
    }

    mutating func takeReleasable(on channel: DeliveryChannel) -> UInt64? {
        let result = link.takeReleasable(on: channel)
        tape?("takeReleasable", [channel], result as Any)
        return result
    }

    // MARK: Receiving

    mutating func channel(of id: ChannelID) -> DeliveryChannel? {
        let result = link.channel(of: id)
        tape?("channel", [id], result as Any)
        return result
    }

    mutating func received(
        _ bytes: UnsafeRawBufferPointer, isText: Bool, on channel: DeliveryChannel
    ) -> DeliveryLink.Verdict {
        let result = link.received(bytes, isText: isText, on: channel)
        tape?("received", [[UInt8](bytes), isText, channel], result, state: state)
        return result
    }

    mutating func takeAssembled(on channel: DeliveryChannel = .reliable) -> [UInt8] {
        let result = link.takeAssembled(on: channel)
        tape?("takeAssembled", [channel], result)
        return result
    }

    mutating func statusChanged(_ status: PeerStatus, _ outbox: inout RecordedOutbox) -> Int {
        let result = outbox.statusChanged(status, of: &link)
        tape?("statusChanged", [status, Self.outboxName], result)
        return result
    }

    mutating func takeIsFirstSinceBreak() -> Bool {
        let result = link.takeIsFirstSinceBreak()
        tape?("takeIsFirstSinceBreak", [], result)
        return result
    }

    // MARK: Acknowledging

    mutating func acknowledgementUrgency(
        afterFrameOf count: Int, on channel: DeliveryChannel
    ) -> DeliveryMachine.AckUrgency {
        let result = link.acknowledgementUrgency(afterFrameOf: count, on: channel)
        tape?("acknowledgementUrgency", [count, channel], result)
        return result
    }

    mutating func acknowledgementTimerFired(_ channel: DeliveryChannel) {
        link.acknowledgementTimerFired(channel)
        tape?("acknowledgementTimerFired", [channel])
    }

    mutating func isAcknowledgementOverdue(_ channel: DeliveryChannel) -> Bool {
        let result = link.isAcknowledgementOverdue(channel)
        tape?("isAcknowledgementOverdue", [channel], result)
        return result
    }

    func acknowledgementFrame(_ channel: DeliveryChannel) -> (bytes: [5 of UInt8], id: ChannelID)? {
        let result = link.acknowledgementFrame(channel)
        if let tape {
            let frame = result.map { frame in
                (bytes: frame.bytes.indices.map { frame.bytes[$0] }, id: frame.id)
            }
            tape("acknowledgementFrame", [channel], frame as Any)
        }
        return result
    }

    mutating func acknowledgementTaken(_ channel: DeliveryChannel) {
        link.acknowledgementTaken(channel)
        tape?("acknowledgementTaken", [channel])
    }

    var hintChannel: ChannelID? {
        let result = link.hintChannel
        tape?("hintChannel", [], result as Any)
        return result
    }

    mutating func refused(_ code: TransportError.Code, on channel: DeliveryChannel) {
        link.refused(code, on: channel)
        tape?("refused", [code, channel])
    }

    // MARK: Acknowledgements that do not come

    mutating func watch(_ channel: DeliveryChannel, buffered: (ChannelID) -> Int) -> Duration? {
        var asked = Answers()
        let result = link.watch(channel) { asked.note($0, buffered($0)) }
        tape?("watch", [channel, asked], result as Any)
        return result
    }

    mutating func watchTimerFired(buffered: (ChannelID) -> Int) -> (after: Duration?, isMissing: Bool?) {
        var asked = Answers()
        let result = link.watchTimerFired { asked.note($0, buffered($0)) }
        tape?("watchTimerFired", [asked], result)
        return result
    }

    /// The answers of a function for each data channel.
    private struct Answers {
        var buffered: [String: Int] = [:]

        mutating func note(_ id: ChannelID, _ count: Int) -> Int {
            buffered["\(id.rawValue)"] = count
            return count
        }
    }

    // MARK: The end

    mutating func close(_ outbox: inout RecordedOutbox) -> Int {
        let result = outbox.close(&link)
        tape?("close", [Self.outboxName], result)
        return result
    }

    /// Gives the memory of the outbox back, without a record.
    mutating func free(_ outbox: inout RecordedOutbox) { _ = outbox.close(&link) }
}

/// Frames of a batch, without what a stamp writes into them.
private struct Frames {
    struct Frame {
        var bytes: [UInt8]
        var isText: Bool
    }
    var first: UInt64
    var hasHeaders: Bool
    var frames: [Frame]

    init(_ batch: FrameBatch) {
        var batch = batch
        first = batch.first
        hasHeaders = batch.hasHeaders
        frames = (0..<batch.count).map { index in
            Frame(
                bytes: batch.hasHeaders ? Self.unstamped(batch[index]) : [UInt8](batch[index]),
                isText: batch.isText(index))
        }
    }

    static func unstamped(_ frame: UnsafeMutableRawBufferPointer) -> [UInt8] {
        var bytes = [UInt8](frame)
        for index in 5..<min(DeliveryProtocol.dataHeaderLength, bytes.count) { bytes[index] = 0 }
        return bytes
    }
}

/// A `DeliveryOutbox` whose calls are recorded, if there is a tape. Its methods are those of the outbox.
struct RecordedOutbox: ~Copyable {
    private(set) var outbox: DeliveryOutbox
    private let tape: VectorTape.Instance?

    init(
        level: DeliveryLevel, streams: NumberedStreams, limits: DeliveryOutbox.Limits, tape: VectorTape.Instance?
    ) {
        outbox = DeliveryOutbox(level: level, streams: streams, limits: limits)
        self.tape = tape
        tape?("init", [level, VectorJSON(text: "{\"$streams\":true}"), limits])
    }

    // What the link does with it.
    fileprivate mutating func nextFrames(of link: inout DeliveryLink, on channel: DeliveryChannel) -> FrameBatch {
        link.nextFrames(on: channel, in: &outbox)
    }
    fileprivate mutating func statusChanged(_ status: PeerStatus, of link: inout DeliveryLink) -> Int {
        link.statusChanged(status, &outbox)
    }
    fileprivate mutating func close(_ link: inout DeliveryLink) -> Int { link.close(&outbox) }

    mutating func accept(
        _ bytes: UnsafeRawBufferPointer, isText: Bool, on channel: DeliveryChannel, mayDrop: Bool
    ) -> DeliveryOutbox.Outcome {
        let result = outbox.accept(bytes, isText: isText, on: channel, mayDrop: mayDrop)
        tape?("accept", [[UInt8](bytes), isText, channel, mayDrop], result)
        return result
    }

    mutating func accept(
        exchange head: UnsafeRawBufferPointer, _ body: UnsafeRawBufferPointer, on channel: DeliveryChannel,
        isUrgent: Bool = false, isCounted: Bool = false, mayDrop: Bool = false
    ) -> DeliveryOutbox.Outcome {
        let result = outbox.accept(
            exchange: head, body, on: channel, isUrgent: isUrgent, isCounted: isCounted, mayDrop: mayDrop)
        tape?("acceptExchange", [[UInt8](head), [UInt8](body), channel, isUrgent, isCounted, mayDrop], result)
        return result
    }

    func hasCredit(on channel: DeliveryChannel, mayDrop: Bool) -> Bool {
        let result = outbox.hasCredit(on: channel, mayDrop: mayDrop)
        tape?("hasCredit", [channel, mayDrop], result)
        return result
    }

    func messageCount(on channel: DeliveryChannel) -> Int { outbox.messageCount(on: channel) }

    mutating func giveUpMessage() {
        outbox.giveUpMessage()
        tape?("giveUpMessage")
    }

    mutating func release(upTo sequence: UInt64, on channel: DeliveryChannel, now: Timestamp) {
        outbox.release(upTo: sequence, on: channel, now: now)
        tape?("release", [sequence, channel, now], state: state)
    }

    mutating func bulkTaken(_ sequence: UInt64, now: Timestamp) {
        outbox.bulkTaken(sequence, now: now)
        tape?("bulkTaken", [sequence, now], state: state)
    }

    mutating func connected(maximumMessageSize: Int) {
        outbox.connected(maximumMessageSize: maximumMessageSize)
        tape?("connected", [maximumMessageSize], state: state)
    }

    mutating func disconnected() {
        outbox.disconnected()
        tape?("disconnected")
    }

    mutating func connectionEnded() -> Int {
        let result = outbox.connectionEnded()
        tape?("connectionEnded", [], result, state: state)
        return result
    }

    private var state: [(String, Any)] { [("bulkFrameLength", outbox.bulkFrameLength)] }
}
