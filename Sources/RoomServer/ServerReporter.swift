internal import Logging
internal import Metrics
internal import TransportPluginAPI

/// Passes on what all loops have counted: to swift-metrics, and refusals to the log. Lives on the first loop.
///
/// The loops only count. So neither a metrics system with locks nor a flood of refusals slows a message down.
final class ServerReporter {
    private static let interval: Duration = .seconds(1)

    private let report: ServerReport
    private let logger: Logger
    private var refusals = RepeatedEvents()
    private var publisher: MetricsPublisher?
    private var nextPublication = Timestamp.zero

    init(_ report: ServerReport, _ logger: Logger) {
        self.report = report
        self.logger = logger
    }

    func tick(_ now: Timestamp) {
        if logger.logLevel <= .info {
            for (event, count) in refusals.due(report.refusals, at: now) {
                logger.info("\(event.text)", metadata: [event.key: "\(event.value)", "count": "\(count)"])
            }
        }
        guard now >= nextPublication else { return }
        nextPublication = now + Self.interval
        publish()
    }

    /// Passes everything on to swift-metrics, if the process uses it.
    func publish() {
        let factory = MetricsSystem.factory
        if factory is NOOPMetricsHandler { return }
        publisher = publisher ?? MetricsPublisher(factory: factory)
        publisher?.publish(report.families())
    }
}

/// Something that may happen very often, and that is told at most once in a while, with its count.
struct RepeatedEvents {
    struct Event: Hashable {
        var text: String
        var key: String
        var value: String
    }

    static let interval: Duration = .seconds(10)

    private var told: [Event: (count: Int, next: Timestamp)] = [:]

    /// Returns the events to tell now, with the number since they were last told. `totals` has every event always, and
    /// the number of times that it has happened.
    mutating func due(_ totals: [(Event, Int)], at now: Timestamp) -> [(Event, Int)] {
        var due: [(Event, Int)] = []
        for (event, total) in totals {
            let (count, next) = told[event] ?? (0, .zero)
            guard total > count, now >= next else { continue }
            told[event] = (total, now + Self.interval)
            due.append((event, total - count))
        }
        return due
    }
}

/// Passes metrics on to swift-metrics: of counters what was added since the last time. Durations are recorded where
/// they are observed.
struct MetricsPublisher {
    private enum Instrument {
        case counter(Counter, last: Int)
        case number(FloatingPointCounter, last: Double)
        case gauge(Gauge)
    }

    private struct Key: Hashable {
        var name: String
        var labels: [MetricFamily.Label]
    }

    private let factory: any MetricsFactory
    private var instruments: [Key: Instrument] = [:]

    init(factory: any MetricsFactory) { self.factory = factory }

    mutating func publish(_ families: [MetricFamily]) {
        for family in families where family.kind != .histogram {
            for sample in family.samples { publish(sample, of: family) }
        }
    }

    private mutating func publish(_ sample: MetricFamily.Sample, of family: MetricFamily) {
        let key = Key(name: family.name, labels: sample.labels)
        let instrument = instruments[key] ?? make(sample, family)
        switch (instrument, sample.value) {
        case (.counter(let counter, let last), .integer(let value)):
            if value > last { counter.increment(by: value - last) }
            instruments[key] = .counter(counter, last: value)
        case (.number(let counter, let last), .number(let value)):
            if value > last { counter.increment(by: value - last) }
            instruments[key] = .number(counter, last: value)
        case (.gauge(let gauge), .integer(let value)):
            gauge.record(value)
            instruments[key] = instrument
        case (.gauge(let gauge), .number(let value)):
            gauge.record(value)
            instruments[key] = instrument
        case (.counter, _), (.number, _), (.gauge, _): break
        }
    }

    private func make(_ sample: MetricFamily.Sample, _ family: MetricFamily) -> Instrument {
        let dimensions = sample.labels.map { ($0.name, $0.value) }
        guard family.kind == .counter else {
            return .gauge(Gauge(label: family.name, dimensions: dimensions, factory: factory))
        }
        if case .number = sample.value {
            return .number(FloatingPointCounter(label: family.name, dimensions: dimensions, factory: factory), last: 0)
        }
        return .counter(Counter(label: family.name, dimensions: dimensions, factory: factory), last: 0)
    }
}
