/// The numbers of all webhooks of a server together, since its start. The event loop of the webhooks changes them, and
/// a scrape reads them on another thread.
final class WebhookTotals: Sendable {
    let delivered = Metric("room_server_webhooks_delivered", .counter, "Events that webhooks have taken.")
    let failed = Metric("room_server_webhooks_failed", .counter, "Requests to webhooks without success.")
    let dropped = Metric("room_server_webhooks_dropped", .counter, "Events that webhooks will never get.")
    let waiting = Metric("room_server_webhooks_waiting", .gauge, "Events that wait for webhooks, or are being sent.")
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
            waiting.family,
            delivered.family,
            failed.family,
            dropped.family,
        ]
    }
}
