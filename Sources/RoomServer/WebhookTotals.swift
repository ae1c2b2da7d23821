/// The numbers of all webhooks of a server together, since its start. The event loop of the webhooks changes them, and
/// a scrape reads them on another thread.
final class WebhookTotals: Sendable {
    /// Events that were delivered.
    let delivered = Count()
    /// Requests that had no answer, or one that is no success.
    let failed = Count()
    /// Events that were dropped.
    let dropped = Count()
    /// Events that wait or are being sent.
    let waiting = Count()
    /// The number of webhooks in each state.
    let working = Count()
    let failing = Count()
    let disabled = Count()

    var families: [MetricFamily] {
        [
            MetricFamily(
                "room_server_webhooks", .gauge,
                "Webhooks: those that take events, those whose last request has failed, those that want none (410).",
                by: "state",
                [("ok", working.value), ("failing", failing.value), ("disabled", disabled.value)]),
            MetricFamily(
                "room_server_webhooks_waiting", .gauge, "Events that wait for webhooks, or are being sent.",
                waiting.value),
            MetricFamily(
                "room_server_webhooks_delivered", .counter, "Events that webhooks have taken.", delivered.value),
            MetricFamily(
                "room_server_webhooks_failed", .counter, "Requests to webhooks without success.", failed.value),
            MetricFamily(
                "room_server_webhooks_dropped", .counter, "Events that webhooks will never get.", dropped.value),
        ]
    }
}
