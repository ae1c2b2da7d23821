internal import RoomProtocol

/// The rest of the topics and requests between two sessions when one side has given up the other: the windows of topics
/// go on, and the other side, which may never have noticed, is told what was dropped and which requests have ended.
package struct ExchangeRecord: Sendable {
    package private(set) var topicSender: TopicSender
    package private(set) var topicReceiver: TopicReceiver
    /// The newest request of the other side.
    package private(set) var lastRequest: UInt64 = 0
    private var hasRequests = false

    /// `window`: the first one of each topic.
    package init(window: UInt64 = ReceiveWindow.initialSize) {
        topicSender = TopicSender(window: window)
        topicReceiver = TopicReceiver(window: window)
    }

    package init(
        _ topicSender: TopicSender, _ topicReceiver: TopicReceiver, _ outgoing: OutgoingRequests,
        _ incoming: IncomingRequests
    ) {
        self.topicSender = topicSender
        self.topicReceiver = topicReceiver
        lastRequest = incoming.newestID
        hasRequests = outgoing.newestID > 0 || lastRequest > 0
    }

    /// The first messages to a participant that comes back with the session that it had, on the reliable channel.
    ///
    /// `first`: the lowest id of a request from now on.
    package mutating func restart(firstRequest first: UInt64, _ budget: inout ReceiveWindow.Budget) -> [[UInt8]] {
        // What was sent and has not arrived is dropped: it counts as consumed.
        var messages = topicSender.positions.map { ExchangeHead.topicPosition($0.name.text, sent: $0.sent) }
        messages += topicReceiver.restart(&budget).map { ExchangeHead.topicWindow($0.name.text, limit: $0.limit) }
        if hasRequests { messages.append(ExchangeHead.requestRestart(first: first, last: lastRequest)) }
        return messages
    }
}
