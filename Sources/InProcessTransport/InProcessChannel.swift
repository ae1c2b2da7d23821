internal import DequeModule
internal import TransportPluginAPI

/// One end of a channel.
final class InProcessChannel {
    /// Bytes counted for each message in addition to its payload, so that empty messages are bounded too.
    static let overhead = 64

    let id: ChannelID
    let parameters: ChannelParameters
    weak var partner: InProcessChannel?
    var isOpen = false
    /// Whether either side has requested to close the channel.
    var isEnded = false
    var isReceiving = true
    var mustReportWritable = false
    /// Whether `channelWritable` is emitted when nothing is buffered any more.
    var isFlushing = false
    var isPumpScheduled = false
    var queue: Deque<(Payload, isText: Bool)> = []
    var buffered = 0

    init(id: ChannelID, parameters: ChannelParameters) {
        self.id = id
        self.parameters = parameters
    }

    func next() -> (Payload, isText: Bool)? {
        guard let message = queue.popFirst() else { return nil }
        buffered -= message.0.count + Self.overhead
        return message
    }
}
