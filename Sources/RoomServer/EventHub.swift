internal import Logging
internal import NIOCore
internal import RoomServerCore

/// The events of all loops: their numbers, the latest ones, and everybody that gets them. Lives on the event loop of
/// the admin API.
final class EventHub {
    /// The latest events, for consumers that come back.
    static let kept = 1000

    let eventLoop: any EventLoop
    /// A part of all identifiers, which is another one for each run of the server.
    private let run: String
    private var number: UInt64 = 0
    private var latest = CircularBuffer<(id: String, type: String, json: [UInt8])>()
    private var consumers: [ObjectIdentifier: any EventConsumer] = [:]
    private(set) var webhooks: [WebhookSender] = []
    private let totals: WebhookTotals
    private let logger: Logger

    init(eventLoop: any EventLoop, run: String, totals: WebhookTotals, logger: Logger) {
        self.eventLoop = eventLoop
        self.run = run
        self.totals = totals
        self.logger = logger
    }

    var consumerCount: Int { consumers.count }

    /// Uses these webhooks from now on. Those that are there already go on with what waits for them; one that wanted no
    /// more events begins anew.
    func use(_ settings: WebhookSettings) {
        let old = webhooks
        webhooks = settings.urls.map { url in
            if let known = old.first(where: { $0.url == url && !$0.isDisabled }) {
                known.reload(settings)
                return known
            }
            let new = WebhookSender(url, settings, totals, logger: logger, on: eventLoop)
            new.whenChanged = { [weak self] in self?.countStates() }
            return new
        }
        for webhook in old where !webhooks.contains(where: { $0 === webhook }) { webhook.stop() }
        countStates()
    }

    private func countStates() {
        let disabled = webhooks.count { $0.isDisabled }
        let failing = webhooks.count { $0.isFailing && !$0.isDisabled }
        totals.disabled.set(disabled)
        totals.failing.set(failing)
        totals.working.set(webhooks.count - disabled - failing)
    }

    /// Records the events of one loop, in their order. `dropped` more were lost before them.
    func record(_ events: [StampedEvent], dropped: Int) {
        var dropped = dropped
        for stamped in events {
            number += 1
            let event = WebhookEvent(
                id: "\(run)-\(number)", event: stamped.event, time: stamped.time, dropped: dropped)
            dropped = 0
            for webhook in webhooks { webhook.add(event) }
            let entry = (id: event.id, type: event.event.type, json: event.json)
            if latest.count == Self.kept { latest.removeFirst() }
            latest.append(entry)
            for consumer in consumers.values { consumer.receive(entry.id, entry.type, entry.json) }
        }
    }

    /// Adds a consumer, which first gets the events after `id`. Returns false when they are not known any longer: then
    /// it gets those from now on.
    func add(_ consumer: any EventConsumer, after id: String?) -> Bool {
        var isComplete = true
        if let id {
            if let index = latest.firstIndex(where: { $0.id == id }) {
                for entry in latest[latest.index(after: index)...] {
                    consumer.receive(entry.id, entry.type, entry.json)
                }
            } else {
                isComplete = id == "\(run)-\(number)"
            }
        }
        consumers[ObjectIdentifier(consumer)] = consumer
        return isComplete
    }

    func remove(_ consumer: any EventConsumer) { consumers[ObjectIdentifier(consumer)] = nil }

    /// Succeeds when no event waits for a webhook.
    func delivered() -> EventLoopFuture<Void> {
        EventLoopFuture.andAllComplete(webhooks.map { $0.delivered() }, on: eventLoop)
    }

    func stop() { for webhook in webhooks { webhook.stop() } }
}

/// A receiver of events over a connection of its own.
protocol EventConsumer: AnyObject {
    func receive(_ id: String, _ type: String, _ json: [UInt8])
}

/// An event with its time, in seconds since 1970.
struct StampedEvent: Sendable {
    var event: RoomLifeEvent
    var time: Double
}

/// The events of one loop on their way to the hub: one batch at a time, and the next ones wait here.
final class EventOutbox {
    /// The events that wait. Over it, new ones are dropped and counted.
    private static let limit = 4096

    private let eventLoop: any EventLoop
    private let hub: NIOLoopBound<EventHub>
    private var waiting: [StampedEvent] = []
    /// The number of events that were sent.
    private var sent = 0
    private var holds = Holds()
    private var dropped = 0
    private var isUnderWay = false

    init(eventLoop: any EventLoop, hub: NIOLoopBound<EventHub>) {
        self.eventLoop = eventLoop
        self.hub = hub
    }

    /// Sends events behind earlier ones, and once the decision that they are about is kept.
    func record(_ events: [RoomLifeEvent], after decision: Decision?) {
        guard !events.isEmpty else { return }
        let time = WallClock.now()
        for event in events {
            if waiting.count < Self.limit {
                waiting.append(StampedEvent(event: event, time: time))
            } else {
                dropped += 1
            }
        }
        if let decision {
            holds.add(decision, upTo: sent + waiting.count)
            decision.outcome.assumeIsolated().whenComplete { _ in
                self.holds.release(decision)
                self.send()
            }
        }
        send()
    }

    private func send() {
        let count = min(waiting.count, (holds.end ?? .max) - sent)
        guard !isUnderWay, count > 0 else { return }
        isUnderWay = true
        let (batch, lost, hub) = (Array(waiting.prefix(count)), dropped, hub)
        waiting.removeFirst(count)
        sent += count
        dropped = 0
        let own = NIOLoopBound(self, eventLoop: eventLoop)
        hub.eventLoop.execute {
            hub.value.record(batch, dropped: lost)
            own.eventLoop.execute {
                own.value.isUnderWay = false
                own.value.send()
            }
        }
    }
}
