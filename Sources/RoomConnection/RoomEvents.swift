public import RoomValues
internal import TransportPluginAPI

/// The events of a room, for one consumer.
///
/// Each access to ``Room/events`` makes a sequence with a queue of its own, from that time on. Iterating over the same
/// sequence again begins with the present state, as a new consumer does.
public struct RoomEvents: AsyncSequence, Sendable {
    public typealias Element = RoomEvent
    public typealias Failure = Never
    private let feed: EventFeed
    /// For the first iterator.
    private let subscription: Locked<EventSubscription?>

    init(_ feed: EventFeed) {
        self.feed = feed
        subscription = Locked(feed.subscribe())
    }

    /// The position of one consumer. Ends after `.left`, and when the task is cancelled.
    public struct AsyncIterator: AsyncIteratorProtocol {
        let subscription: EventSubscription
        var rest: ArraySlice<RoomEvent> = []

        public mutating func next() async -> RoomEvent? { await next(isolation: nil) }

        public mutating func next(isolation actor: isolated (any Actor)?) async -> RoomEvent? {
            if let event = rest.popFirst() { return event }
            guard let batch = await subscription.mailbox.takeAll() else { return nil }
            rest = batch[...]
            return rest.popFirst()
        }
    }

    public func makeAsyncIterator() -> AsyncIterator {
        AsyncIterator(subscription: subscription.withLock { $0.take() } ?? feed.subscribe())
    }
}

/// The states of a room, newest first: for user interfaces.
///
/// Each iterator begins with the present state. A consumer that is slow gets the newest state and none of those before
/// it, so no queue grows. Any number of consumers.
public struct RoomSnapshots: AsyncSequence, Sendable {
    public typealias Element = RoomSnapshot
    public typealias Failure = Never
    let feed: EventFeed

    /// The position of one consumer. Ends after the state that has an `endReason`, and when the task is cancelled.
    public struct AsyncIterator: AsyncIteratorProtocol {
        let feed: EventFeed
        var version: UInt64 = 0

        public mutating func next() async -> RoomSnapshot? { await next(isolation: nil) }

        public mutating func next(isolation actor: isolated (any Actor)?) async -> RoomSnapshot? {
            guard let (snapshot, newest) = await feed.snapshot(after: version) else { return nil }
            version = newest
            return snapshot
        }
    }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(feed: feed) }
}
