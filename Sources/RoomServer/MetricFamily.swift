/// The samples of one metric at one moment.
struct MetricFamily: Sendable, Equatable {
    enum Kind: String, Sendable {
        case counter
        case gauge
        case histogram
    }

    enum Value: Sendable, Equatable {
        case integer(Int)
        case number(Double)
        /// The number of observations in each bucket, of which the last has no limit, and their sum.
        case histogram(limits: [Double], buckets: [Int], sum: Double)
    }

    struct Sample: Sendable, Equatable {
        var labels: [Label] = []
        var value: Value
    }

    struct Label: Sendable, Hashable {
        var name: String
        var value: String
    }

    /// The name, for a counter without `_total`.
    var name: String
    var kind: Kind
    /// One sentence.
    var help: String
    var samples: [Sample]

    init(_ name: String, _ kind: Kind, _ help: String, _ samples: [Sample]) {
        self.name = name
        self.kind = kind
        self.help = help
        self.samples = samples
    }

    init(_ name: String, _ kind: Kind, _ help: String, _ value: Int) {
        self.init(name, kind, help, [Sample(value: .integer(value))])
    }

    init(_ name: String, _ kind: Kind, _ help: String, _ value: Double) {
        self.init(name, kind, help, [Sample(value: .number(value))])
    }

    /// Creates a family with one sample for each value of a label.
    init(_ name: String, _ kind: Kind, _ help: String, by label: String, _ values: [(String, Int)]) {
        self.init(
            name, kind, help,
            values.map { Sample(labels: [Label(name: label, value: $0)], value: .integer($1)) })
    }
}

/// The text formats of metrics.
enum MetricsText {
    enum Format: Sendable {
        /// The format of Prometheus, version 0.0.4.
        case prometheus
        /// OpenMetrics 1.0.
        case openMetrics

        var contentType: String {
            switch self {
            case .prometheus: "text/plain; version=0.0.4; charset=utf-8"
            case .openMetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8"
            }
        }

        /// The format for the values of `Accept`.
        init(accepting media: [String]) {
            let isWanted = media.contains { media in
                let parts = media.lowercased().split(separator: ";").map { $0.filter { $0 != " " } }
                return parts.first == "application/openmetrics-text"
                    && !parts.contains { $0.hasPrefix("q=") && Double($0.dropFirst(2)) == 0 }
                    && !parts.contains { $0.hasPrefix("version=") && $0 != "version=1.0.0" }
            }
            self = isWanted ? .openMetrics : .prometheus
        }
    }

    /// Returns the families as text.
    static func text(_ families: [MetricFamily], _ format: Format) -> String {
        var text = ""
        for family in families {
            let sampleName = family.kind == .counter ? family.name + "_total" : family.name
            let name = format == .openMetrics ? family.name : sampleName
            text += "# HELP \(name) \(escaped(family.help, quotes: format == .openMetrics))\n"
            text += "# TYPE \(name) \(family.kind.rawValue)\n"
            for sample in family.samples { add(sample, sampleName, to: &text) }
        }
        if format == .openMetrics { text += "# EOF\n" }
        return text
    }

    private static func add(_ sample: MetricFamily.Sample, _ name: String, to text: inout String) {
        switch sample.value {
        case .integer(let value): text += "\(name)\(labels(sample.labels)) \(value)\n"
        case .number(let value): text += "\(name)\(labels(sample.labels)) \(number(value))\n"
        case .histogram(let limits, let buckets, let sum):
            var count = 0
            for (index, bucket) in buckets.enumerated() {
                count += bucket
                let limit = index < limits.count ? number(limits[index]) : "+Inf"
                text += "\(name)_bucket\(labels(sample.labels + [.init(name: "le", value: limit)])) \(count)\n"
            }
            text += "\(name)_sum\(labels(sample.labels)) \(number(sum))\n"
            text += "\(name)_count\(labels(sample.labels)) \(count)\n"
        }
    }

    private static func labels(_ labels: [MetricFamily.Label]) -> String {
        guard !labels.isEmpty else { return "" }
        return "{" + labels.map { "\($0.name)=\"\(escaped($0.value, quotes: true))\"" }.joined(separator: ",") + "}"
    }

    private static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        return "\(value)"
    }

    private static func escaped(_ text: String, quotes: Bool) -> String {
        guard text.utf8.contains(where: { $0 == 0x5C || $0 == 0x0A || $0 == 0x22 }) else { return text }
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\"" where quotes: result += "\\\""
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
