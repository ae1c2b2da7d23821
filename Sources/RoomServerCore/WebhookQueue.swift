internal import DequeModule
internal import HeapModule
internal import RoomProtocol
package import TransportValues

/// The limits of the delivery to one webhook.
package struct WebhookLimits: Sendable, Hashable {
    /// The events that wait or are being sent. Over it, new ones are dropped and counted.
    package var events = 1000
    /// The requests at the same time; each for another room.
    package var requests = 8
    /// The wait after the first failure. It doubles with each further one.
    package var firstDelay: Duration = .seconds(1)
    /// The longest wait.
    package var longestDelay: Duration = .seconds(300)
    /// The age at which an event that fails is dropped and counted.
    package var lifetime: Duration = .seconds(86_400)

    package init() {}
}

/// The outcome of one request to a webhook.
package enum WebhookOutcome: Sendable, Hashable {
    /// A status of 200 to 299.
    case delivered
    /// Any other status, or none. The receiver may say how long to wait.
    case failed(retryAfter: Duration?)
    /// 410: nobody wants these events any more.
    case gone
}

/// An event with its place in the order of all.
package struct WebhookEvent: Sendable, Hashable {
    /// The identifier, which is the same for every attempt.
    package var id: String
    package var event: RoomLifeEvent
    /// Seconds since 1970.
    package var time: Double
    /// The number of events that were dropped before this one.
    package var dropped: Int

    package init(id: String, event: RoomLifeEvent, time: Double, dropped: Int = 0) {
        self.id = id
        self.event = event
        self.time = time
        self.dropped = dropped
    }
}

/// The events that wait for one webhook: which is sent when, which is sent again, and which is dropped.
///
/// At least once: an event is sent until it is delivered, or too old. In order for each room: the next event of a room
/// waits for the one before it. A pure value: events, outcomes and the time go in, events to send come out.
///
/// A room can transition: idle → ready (an event) → sending → ready (delivered) or waiting (failed) → ready (time) →
/// idle (no more events). The queue can transition: open → disabled (gone).
package struct WebhookQueue: Sendable {
    private struct Entry: Sendable {
        var event: WebhookEvent
        var addedAt: Timestamp
        var failures = 0
    }

    private let limits: WebhookLimits
    private var random: any RandomNumberGenerator & Sendable
    private var entries: [RoomName: Deque<Entry>] = [:]
    /// The rooms whose next event can be sent, in the order in which that became so.
    private var ready: Deque<RoomName> = []
    /// The rooms whose next event is being sent, by its id.
    private var sending: [String: RoomName] = [:]
    private var waiting = Heap<Wait>()
    /// The number of events that were dropped since the last one that was added.
    private var dropped = 0

    /// The number of events that wait or are being sent.
    package private(set) var count = 0
    /// The number of events that were dropped in all.
    package private(set) var droppedCount = 0
    package private(set) var isDisabled = false

    private struct Wait: Comparable {
        var time: Timestamp
        var room: RoomName
        static func < (left: Self, right: Self) -> Bool { left.time < right.time }
    }

    package init(limits: WebhookLimits = WebhookLimits(), random: any RandomNumberGenerator & Sendable) {
        self.limits = limits
        self.random = random
    }

    /// The time at which `timePassed` must be called; nil if not before the next event.
    package var nextDeadline: Timestamp? { waiting.min?.time }

    /// Adds an event. Returns those to send now.
    package mutating func add(_ event: WebhookEvent, at now: Timestamp) -> [WebhookEvent] {
        guard !isDisabled else { return [] }
        guard count < limits.events else {
            drop(1 + event.dropped)
            return []
        }
        var event = event
        event.dropped += dropped
        dropped = 0
        count += 1
        let room = event.event.room
        if entries[room] == nil { ready.append(room) }
        entries[room, default: []].append(Entry(event: event, addedAt: now))
        return start()
    }

    /// Records the outcome of a request. Returns the events to send now.
    package mutating func ended(_ id: String, _ outcome: WebhookOutcome, at now: Timestamp) -> [WebhookEvent] {
        guard let room = sending.removeValue(forKey: id) else { return [] }
        switch outcome {
        case .delivered: removeFirst(of: room)
        case .failed(let retryAfter): failed(room, retryAfter, now)
        case .gone:
            drop(count)
            isDisabled = true
            count = 0
            entries = [:]
            ready = []
            waiting = Heap()
            sending = [:]
        }
        return start()
    }

    /// Returns the events to send now.
    package mutating func timePassed(to now: Timestamp) -> [WebhookEvent] {
        while let first = waiting.min, first.time <= now {
            waiting.removeMin()
            ready.append(first.room)
        }
        return start()
    }

    private mutating func start() -> [WebhookEvent] {
        var events: [WebhookEvent] = []
        while sending.count < limits.requests, let room = ready.popFirst() {
            guard let event = entries[room]?.first?.event else { continue }
            sending[event.id] = room
            events.append(event)
        }
        return events
    }

    private mutating func removeFirst(of room: RoomName) {
        _ = entries[room]?.popFirst()
        count -= 1
        if entries[room]?.isEmpty == true { entries[room] = nil } else { ready.append(room) }
    }

    private mutating func failed(_ room: RoomName, _ retryAfter: Duration?, _ now: Timestamp) {
        guard var entry = entries[room]?.first else { return }
        guard now - entry.addedAt < limits.lifetime else {
            drop(1 + entry.event.dropped)
            removeFirst(of: room)
            return
        }
        entry.failures += 1
        entries[room]?[0] = entry
        let requested = min(retryAfter ?? .zero, limits.longestDelay)
        waiting.insert(Wait(time: now + max(requested, delay(after: entry.failures)), room: room))
    }

    /// Between half of the wait and all of it, so that many events do not come back at once.
    private mutating func delay(after failures: Int) -> Duration {
        let doubled = limits.firstDelay * (1 << min(failures - 1, 16))
        let longest = min(doubled, limits.longestDelay)
        let half = (longest / 2).saturatedNanoseconds
        return .nanoseconds(Int64.random(in: half...max(half, longest.saturatedNanoseconds), using: &random))
    }

    private mutating func drop(_ events: Int) {
        dropped += events
        droppedCount += events
    }
}
