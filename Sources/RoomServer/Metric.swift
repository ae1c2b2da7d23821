/// A `Count` with its description in a scrape.
struct Metric: ~Copyable, Sendable {
    private let name: String
    private let kind: MetricFamily.Kind
    private let help: String
    private let count = Count()

    init(_ name: String, _ kind: MetricFamily.Kind, _ help: String) {
        self.name = name
        self.kind = kind
        self.help = help
    }

    var value: Int { count.value }
    var family: MetricFamily { MetricFamily(name, kind, help, value) }

    /// Adds to the number. Only its own loop does.
    func add(_ more: Int = 1) { count.add(more) }

    /// Replaces the number. Only its own loop does.
    func set(_ value: Int) { count.set(value) }
}
