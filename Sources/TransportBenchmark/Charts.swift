internal import Glibc

/// Horizontal bars of medians, one row each, with the spread of the rounds over them. Lengths are percentages, so that
/// the text keeps its size at any width.
struct BarChart {
    struct Bar {
        var label: String
        var colour: String
        var value: Double
        var rounds: [Double]
        /// The text after the value.
        var note: String
    }

    let bars: [Bar]

    var svg: String {
        let rowHeight = 37
        let largest = max(bars.flatMap { $0.rounds + [$0.value] }.max() ?? 0, .leastNormalMagnitude)
        func percent(_ value: Double) -> String { "\((max(0, value) / largest * 1000).rounded() / 10)%" }
        var rows = ""
        for (index, bar) in bars.enumerated() {
            let top = index * rowHeight
            let label = HTMLReport.escape(bar.label)
            let note = bar.note.isEmpty ? "" : "<tspan class=\"dim\">\(bar.note)  </tspan>"
            rows += """
                <text x="0" y="\(top + 13)" class="dim">\(label)</text>\
                <text x="100%" y="\(top + 13)" text-anchor="end">\(note)<tspan font-weight="600">\
                \(BenchmarkMetric.text(bar.value))</tspan></text>\
                <rect class="track" x="0" y="\(top + 18)" width="100%" height="13" rx="2"/>\
                <rect class="bar \(bar.colour)" x="0" y="\(top + 18)" width="\(percent(bar.value))" height="13" rx="2"/>
                """
            guard bar.rounds.count > 1, let low = bar.rounds.min(), let high = bar.rounds.max() else { continue }
            let middle = Double(top) + 24.5
            rows +=
                "<line class=\"spread\" x1=\"\(percent(low))\" x2=\"\(percent(high))\" y1=\"\(middle)\" "
                + "y2=\"\(middle)\"/>"
            for round in bar.rounds {
                rows += "<circle class=\"round\" cx=\"\(percent(round))\" cy=\"\(middle)\" r=\"2.6\"/>"
            }
        }
        let accessibleText = bars.map { "\(HTMLReport.escape($0.label)): \(BenchmarkMetric.text($0.value))" }
        return """
            <svg height="\(bars.count * rowHeight)" role="img" \
            aria-label="\(accessibleText.joined(separator: "; "))">\(rows)</svg>
            """
    }
}

/// Latencies by percentile: most messages on the left, the slowest on the right.
struct LatencyChart {
    struct Curve {
        var colour: String
        var histogram: LatencyHistogram
    }

    let curves: [Curve]
    private let size = (width: 1080.0, height: 300.0)
    private let margin = (left: 58.0, right: 14.0, top: 8.0, bottom: 26.0)

    private static let percentiles: [(share: Double, name: String)] = [
        (0, "0"), (0.5, "50"), (0.9, "90"), (0.99, "99"), (0.999, "99.9"), (0.9999, "99.99"),
    ]

    var svg: String {
        // A percentile that less than one message exceeds is no more than the maximum.
        let nines = curves.map { log10(Double(max(2, $0.histogram.count))) }.max() ?? 1
        let lines = curves.map { (colour: $0.colour, points: points(of: $0.histogram)) }
        let values: [Double] = lines.flatMap { line in line.points.map { $0.microseconds } }.filter { $0 > 0 }
        guard let smallest = values.min(), let largest = values.max() else { return "" }
        let low = log10(smallest) - 0.04
        let high = max(log10(largest) + 0.04, low + 0.3)
        let (width, height) = size
        let (left, right) = (margin.left, width - margin.right)
        let (top, bottom) = (margin.top, height - margin.bottom)
        func x(_ nine: Double) -> Double { left + nine / nines * (right - left) }
        func y(_ value: Double) -> Double {
            let share: Double = (log10(max(value, 1e-3)) - low) / (high - low)
            return bottom - share * (bottom - top)
        }
        func number(_ value: Double) -> String { "\((value * 10).rounded() / 10)" }
        var drawing = ""
        for tick in ticks(low, high) {
            drawing += "<line class=\"grid\" x1=\"\(left)\" x2=\"\(right)\" y1=\"\(number(y(tick)))\" "
            drawing += "y2=\"\(number(y(tick)))\"/><text class=\"dim\" x=\"\(left - 8)\" y=\"\(number(y(tick) + 4))\" "
            drawing += "text-anchor=\"end\">\(BenchmarkMetric.text(tick))</text>"
        }
        for (share, name) in Self.percentiles where -log10(1 - share) <= nines {
            let position = number(x(-log10(1 - share)))
            drawing +=
                "<line class=\"grid\" x1=\"\(position)\" x2=\"\(position)\" y1=\"\(top)\" y2=\"\(bottom)\"/>"
            drawing += "<text class=\"dim\" x=\"\(position)\" y=\"\(height - 8)\" text-anchor=\"middle\">"
            drawing += name == "0" ? "fastest</text>" : "\(name) %</text>"
        }
        // The reference is drawn below the others.
        for (colour, points) in lines.sorted(by: { $0.colour == "ref" && $1.colour != "ref" }) {
            let line = points.map { "\(number(x($0.nines))),\(number(y($0.microseconds)))" }.joined(separator: " ")
            drawing += "<polyline class=\"curve \(colour)\" points=\"\(line)\"/>"
        }
        return
            "<svg viewBox=\"0 0 \(width) \(height)\" role=\"img\" aria-label=\"latency by percentile\">\(drawing)</svg>"
    }

    private func points(of histogram: LatencyHistogram) -> [(nines: Double, microseconds: Double)] {
        let last = log10(Double(max(2, histogram.count)))
        return stride(from: 0, through: last, by: 0.02).compactMap { nines in
            histogram.percentile(1 - pow(10, -nines)).map { (nines, $0 / 1000) }
        }
    }

    /// Returns the values 1, 2 and 5 of each power of ten in between.
    private func ticks(_ low: Double, _ high: Double) -> [Double] {
        var ticks: [Double] = []
        for power in Int(low.rounded(.down))...Int(high.rounded(.up)) {
            for step in [1.0, 2, 5] { ticks.append(step * pow(10, Double(power))) }
        }
        return ticks.filter { (low...high).contains(log10($0)) }
    }
}
