internal import TransportPluginAPI

/// The events of a room and the state that they lead to, for any number of consumers.
///
/// Events come from the loop, one after the other; consumers come from anywhere.
final class EventFeed: Sendable {
    private struct State: Awaited {
        var present: RoomSnapshot
        /// Counts the changes of `present`, from 1.
        var version: UInt64 = 1
        /// Gets every event from the beginning, until the first consumer takes it.
        var first: Mailbox<RoomEvent>? = Mailbox(limit: EventFeed.limit)
        var mailboxes: [UInt64: Mailbox<RoomEvent>] = [:]
        var lastID: UInt64 = 0
        /// Those that wait for another version.
        var waiters = Waiters()
    }

    private static let limit = 4096
    private let state: Locked<State>

    init(room: String) { state = Locked(State(present: RoomSnapshot(room: room))) }

    var present: RoomSnapshot { state.withLock { $0.present } }

    func emit(_ event: RoomEvent) {
        let (mailboxes, waiters) = state.withLock { state in
            let mailboxes = Array(state.mailboxes.values) + (state.first.map { [$0] } ?? [])
            switch event {
            case .incident, .undelivered, .error: return (mailboxes, [CheckedContinuation<Void, Never>]())
            default: break
            }
            state.present.apply(event)
            state.version += 1
            if case .left = event { state.mailboxes = [:] }
            return (mailboxes, state.waiters.removeAll())
        }
        for mailbox in mailboxes {
            // Most events are kept each: a full queue is not searched for one that they replace.
            if event.isStatus { mailbox.coalesce(event) { event.replaces($0) } } else { mailbox.coalesce(event) }
        }
        if case .left = event { for mailbox in mailboxes { mailbox.finish() } }
        for waiter in waiters { waiter.resume() }
    }

    /// The first consumer gets everything from the beginning, each further one the present state first.
    func subscribe() -> EventSubscription {
        let (id, mailbox) = state.withLock { state -> (UInt64, Mailbox<RoomEvent>) in
            state.lastID += 1
            let mailbox: Mailbox<RoomEvent>
            if let first = state.first.take() {
                mailbox = first
            } else {
                mailbox = Mailbox(limit: Self.limit)
                for event in state.present.events { mailbox.coalesce(event) }
            }
            if state.present.endReason == nil { state.mailboxes[state.lastID] = mailbox } else { mailbox.finish() }
            return (state.lastID, mailbox)
        }
        return EventSubscription(id, mailbox, of: self)
    }

    fileprivate func unsubscribe(_ id: UInt64) { state.withLock { _ = $0.mailboxes.removeValue(forKey: id) } }

    /// Returns the present state when it is another one than that of `version`, or else waits for it. Nil after the
    /// last one, and when the task is cancelled.
    nonisolated(nonsending) func snapshot(after version: UInt64) async -> (RoomSnapshot, UInt64)? {
        while !Task.isCancelled {
            let (snapshot, newest) = state.withLock { ($0.present, $0.version) }
            if newest != version { return (snapshot, newest) }
            if snapshot.endReason != nil { return nil }
            await state.wait { $0.version != version }
        }
        return nil
    }
}

/// One consumer's queue. It is removed from the feed when nobody holds it any more.
final class EventSubscription: Sendable {
    let mailbox: Mailbox<RoomEvent>
    private let id: UInt64
    private let feed: EventFeed

    fileprivate init(_ id: UInt64, _ mailbox: Mailbox<RoomEvent>, of feed: EventFeed) {
        self.id = id
        self.mailbox = mailbox
        self.feed = feed
    }

    deinit { feed.unsubscribe(id) }
}

extension RoomEvent {
    /// Whether only the latest of its kind counts.
    fileprivate var isStatus: Bool {
        switch self {
        case .signaling, .peer, .stalled: true
        default: false
        }
    }

    /// Whether an older event of the same kind is not worth reading any more.
    fileprivate func replaces(_ older: RoomEvent) -> Bool {
        switch (self, older) {
        // A return stays a return: what is told behind it is understood by the loss before it.
        case (.signaling(let status), .signaling(let other)): status.isConnected == other.isConnected
        case (.peer(let participant, _), .peer(let other, _)): participant == other
        case (.stalled(let participant, _), .stalled(let other, _)): participant == other
        default: false
        }
    }
}

extension SignalingStatus {
    fileprivate var isConnected: Bool { self == .connected }
}
