/// The meaning of a metric in a report: its name and unit, and which direction is better.
package struct BenchmarkMetric: Sendable {
    /// The name in the JSON file.
    package var name: String
    /// The label for the head of a column.
    package var label: String
    /// The title for first-time readers.
    package var title: String
    package var unit: String
    package var isHigherBetter = false
    /// Whether it counts failed messages: the worst round matters, and should be 0.
    package var isCount = false
    /// Whether it is compared with a baseline. A figure that depends on a single sample is shown, not compared.
    package var isJudged = true

    /// All metrics, in the order in which they are shown.
    package static let all: [BenchmarkMetric] = [
        .milliseconds("open_ms", "open ms", "Both in the room → channel open"),
        .milliseconds("max_ms", "slowest ms", "The slowest of five", isJudged: false),
        .milliseconds("data_ms", "data ms", "Outage over → data both ways"),
        .milliseconds("rejoin_ms", "back ms", "Server listens → both in the room"),
        .milliseconds("rejoin_max_ms", "worst ms", "The slowest return to the room", isJudged: false),
        .milliseconds("gap_ms", "silence ms", "Longest silence between messages"),
        .microseconds("p50_us", "p50 µs", "Latency, median"),
        .microseconds("p90_us", "p90 µs", "Latency, 90th percentile"),
        .microseconds("p99_us", "p99 µs", "Latency, 99th percentile"),
        .microseconds("p999_us", "p99.9 µs", "Latency, 99.9th percentile", isJudged: false),
        .microseconds("max_us", "max µs", "Latency, the longest", isJudged: false),
        .init("MB_s", "MB/s", "Data", "MB/s", isHigherBetter: true),
        .init("msg_s", "msg/s", "Messages", "/s", isHigherBetter: true),
        .init("cpu_s_GB", "CPU s/GB", "CPU per GB, both processes", "s"),
        .microseconds("cpu_us_msg", "CPU µs/msg", "CPU per message, both processes"),
        .microseconds("cpu_us_sender", "sender µs/msg", "CPU per message, the sender's part"),
        .init("connections", "connections", "Connections that opened", "", isHigherBetter: true),
        .milliseconds("each_ms", "ms each", "Opening one after the other, each"),
        .init("memory_MB", "MB more", "Memory that they add to a process", "MB"),
        .init("process_MB", "MB process", "Memory of the larger process", "MB"),
        .init("idle_percent", "idle % of core", "CPU of a process that just keeps them", "% of a core"),
        .init("lost", "lost", "Messages lost", "", isCount: true),
        .init("duplicated", "duplicated", "Messages that came twice", "", isCount: true),
    ]

    private static func milliseconds(
        _ name: String, _ label: String, _ title: String, isJudged: Bool = true
    ) -> BenchmarkMetric { .init(name, label, title, "ms", isJudged: isJudged) }

    private static func microseconds(
        _ name: String, _ label: String, _ title: String, isJudged: Bool = true
    ) -> BenchmarkMetric { .init(name, label, title, "µs", isJudged: isJudged) }

    private init(
        _ name: String, _ label: String, _ title: String, _ unit: String, isHigherBetter: Bool = false,
        isCount: Bool = false, isJudged: Bool = true
    ) {
        self.name = name
        self.label = label
        self.title = title
        self.unit = unit
        self.isHigherBetter = isHigherBetter
        self.isCount = isCount
        self.isJudged = isJudged
    }

    /// Returns the displayed value of a result: the median of its rounds, or for counts the worst round.
    package func value(in result: BenchmarkReport.Result) -> Double? {
        isCount ? result.range(name)?.upperBound : result.median(name)
    }

    /// Returns the ratio of a result's value to the reference's. Nil for the reference itself, and where a ratio has no
    /// meaning.
    package func ratio(of result: BenchmarkReport.Result, to reference: BenchmarkReport.Result?) -> Double? {
        guard !result.isReference, !isCount, let value = value(in: result), let base = reference.flatMap(value(in:)),
            base > 0
        else { return nil }
        return value / base
    }

    /// Formats a value for people: about three digits, grouped thousands, no unit.
    package static func text(_ value: Double) -> String {
        let magnitude = abs(value)
        if magnitude >= 100 || value == value.rounded() {
            let digits = String(Int(magnitude.rounded()))
            var grouped = ""
            for (index, digit) in digits.enumerated() {
                if index > 0, (digits.count - index).isMultiple(of: 3) { grouped += "," }
                grouped.append(digit)
            }
            return (value < 0 ? "-" : "") + grouped
        }
        let places = magnitude >= 10 ? 10.0 : 100.0
        let scaled = Int((magnitude * places).rounded())
        var fraction = String(scaled % Int(places))
        while fraction.count < (places == 10 ? 1 : 2) { fraction = "0" + fraction }
        return (value < 0 ? "-" : "") + "\(scaled / Int(places)).\(fraction)"
    }
}
