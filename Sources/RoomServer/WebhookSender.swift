internal import Logging
internal import NIOCore
internal import RoomServerCore
internal import TransportPluginAPI
internal import WebSocketWire

/// Sends events to one webhook: HTTP requests with a deadline, as its queue says. Lives on the event loop of the hub.
final class WebhookSender {
    /// The time limit of a request.
    private static let requestLimit: Duration = .seconds(10)

    let url: HTTPURL
    private let eventLoop: any EventLoop
    private var secrets: [[UInt8]]
    private var tls: TLSClientContext?
    private let logger: Logger
    private let totals: WebhookTotals
    private var queue: WebhookQueue
    private var timer: Scheduled<Void>?
    private var isStopped = false
    /// Whether the last request has failed: logged once, and once more when it works again.
    private(set) var isFailing = false
    /// Called when `isFailing` or `isDisabled` may have changed.
    var whenChanged: () -> Void = {}
    private var whenDelivered: [EventLoopPromise<Void>] = []

    init(
        _ url: HTTPURL, _ settings: WebhookSettings, _ totals: WebhookTotals, logger: Logger,
        on eventLoop: any EventLoop
    ) {
        self.url = url
        secrets = settings.secrets
        tls = settings.tls(for: url)
        self.totals = totals
        self.logger = logger
        self.eventLoop = eventLoop
        queue = WebhookQueue(limits: settings.limits, random: SystemRandomNumberGenerator())
    }

    /// Signs, and verifies the receiver, in another way from the next request on.
    func reload(_ settings: WebhookSettings) {
        secrets = settings.secrets
        tls = settings.tls(for: url)
    }

    /// The URL without its query, which may hold a secret.
    var shownURL: String {
        var url = url
        url.target = String(url.target.prefix { $0 != "?" })
        return url.description
    }

    var waitingCount: Int { queue.count }
    var droppedCount: Int { queue.droppedCount }
    var isDisabled: Bool { queue.isDisabled }

    func add(_ event: WebhookEvent) { step { $0.add(event, at: $1) } }

    private func step(_ transition: (inout WebhookQueue, Timestamp) -> [WebhookEvent]) {
        guard !isStopped else { return }
        let (dropped, waiting) = (queue.droppedCount, queue.count)
        let events = transition(&queue, .now())
        totals.dropped.add(queue.droppedCount - dropped)
        totals.waiting.add(queue.count - waiting)
        for event in events { send(event) }
        if queue.count == 0 {
            for promise in whenDelivered { promise.succeed() }
            whenDelivered = []
        }
        schedule()
    }

    private func schedule() {
        timer?.cancel()
        guard !isStopped, let next = queue.nextDeadline else { return }
        let delay = max(next - .now(), .zero).saturatedNanoseconds
        timer = eventLoop.assumeIsolated().scheduleTask(in: .nanoseconds(delay)) {
            self.step { $0.timePassed(to: $1) }
        }
    }

    private func send(_ event: WebhookEvent) {
        guard !isStopped else { return }
        let body = event.json
        let time = Int(WallClock.now())
        let request = HTTPRequest(
            method: "POST", target: url.target, destination: .tcp(host: url.host, port: url.port),
            tls: tls.map { ($0, url.host) },
            headers: [
                ("Host", url.authority), ("User-Agent", "room"), ("Content-Type", "application/json"),
                ("webhook-id", event.id), ("webhook-timestamp", "\(time)"),
                ("webhook-signature", WebhookSecret.signatures(secrets, id: event.id, time: time, body: body)),
            ], body: body)
        HTTPExchange.perform(request, wantsBody: false, within: Self.requestLimit, on: eventLoop)
            .assumeIsolated().whenComplete { result in self.ended(event.id, result) }
    }

    private func ended(_ id: String, _ result: Result<HTTPAnswer, any Error>) {
        let outcome: WebhookOutcome
        let reason: String
        switch result {
        case .success(let answer):
            reason = "status \(answer.head.status)"
            switch answer.head.status {
            case 200...299: outcome = .delivered
            case 410: outcome = .gone
            default:
                let seconds = answer.head.fields.value("retry-after").flatMap { Int($0) }
                outcome = .failed(retryAfter: seconds.map { .seconds(min(max($0, 0), 86_400)) })
            }
        case .failure(let error):
            reason = "\(error)"
            outcome = .failed(retryAfter: nil)
        }
        report(outcome, reason)
        step { $0.ended(id, outcome, at: $1) }
        whenChanged()
    }

    private func report(_ outcome: WebhookOutcome, _ reason: String) {
        switch outcome {
        case .delivered:
            totals.delivered.add()
            if isFailing { logger.warning("a webhook takes events again", metadata: ["url": "\(shownURL)"]) }
            isFailing = false
        case .failed:
            totals.failed.add()
            if !isFailing {
                logger.warning(
                    "a webhook does not take events, which are sent again later",
                    metadata: ["url": "\(shownURL)", "reason": "\(reason)"])
            }
            isFailing = true
        case .gone:
            logger.warning(
                "a webhook has answered 410: it gets no more events until the settings are read again",
                metadata: ["url": "\(shownURL)"])
        }
    }

    /// Succeeds when no event waits.
    func delivered() -> EventLoopFuture<Void> {
        let promise = eventLoop.makePromise(of: Void.self)
        if queue.count == 0 || isStopped { promise.succeed() } else { whenDelivered.append(promise) }
        return promise.futureResult
    }

    /// Sends nothing more. What waits is given up.
    func stop() {
        guard !isStopped else { return }
        isStopped = true
        timer?.cancel()
        totals.waiting.add(-queue.count)
        for promise in whenDelivered { promise.succeed() }
        whenDelivered = []
    }
}
