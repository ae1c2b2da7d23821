internal import Metrics
internal import RoomCore
internal import RoomValues
internal import TransportPluginAPI

/// The metrics of a room: its recoveries, whose names begin with `room_incident` (`kind` is `path` or `signaling`), and
/// the lossy messages that were not sent.
struct RoomMetrics: Sendable {
    private let factory: any MetricsFactory
    /// Counts messages of a lossy channel that were not sent because nobody was connected or the buffer was full.
    let lossyDropped: @Sendable (Int) -> Void

    init(factory: any MetricsFactory = MetricsSystem.factory) {
        self.factory = factory
        let counter = Counter(label: "room_lossy_dropped", dimensions: [], factory: factory)
        lossyDropped = { counter.increment(by: $0) }
    }

    func record(_ incident: RoomIncident) {
        let kind = ("kind", incident.participant == nil ? "signaling" : "path")
        let cause = ("cause", incident.cause.rawValue)
        Counter(
            label: "room_incidents", dimensions: [kind, cause, ("outcome", incident.outcome.rawValue)],
            factory: factory
        ).increment()
        guard incident.outcome == .recovered else { return }
        record(incident.endedAt - incident.startedAt, "room_incident_duration", [kind, cause])
        // When a step was repeated, the last time counts: it is the one that led on.
        var times: [RoomIncident.Step.Kind: Timestamp] = [:]
        for step in incident.steps { times[step.kind] = step.at }
        for (step, time) in times {
            record(time - incident.startedAt, "room_incident_step", [kind, ("step", step.rawValue)])
        }
    }

    private func record(_ duration: Duration, _ label: String, _ dimensions: [(String, String)]) {
        Timer(label: label, dimensions: dimensions, factory: factory).recordNanoseconds(duration.saturatedNanoseconds)
    }
}

/// The counters of topics, requests and streams: `room_exchange_ignored`, messages that are malformed or of an unknown
/// kind, or that break a limit; `room_topic_unsubscribed`, messages of topics to which nobody subscribes.
struct ExchangeMetrics: Sendable {
    private let ignoredCounter: Counter
    private let unsubscribedCounter: Counter

    init(factory: any MetricsFactory = MetricsSystem.factory) {
        ignoredCounter = Counter(label: "room_exchange_ignored", dimensions: [], factory: factory)
        unsubscribedCounter = Counter(label: "room_topic_unsubscribed", dimensions: [], factory: factory)
    }

    func ignored() { ignoredCounter.increment() }
    func unsubscribed() { unsubscribedCounter.increment() }
}
