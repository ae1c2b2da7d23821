extension BenchmarkReport {
    /// Returns the report as one self-contained HTML page: no script, no network, no other file. Light or dark like the
    /// reader's system.
    package func html() -> String {
        HTMLReport(report: self).page
    }
}

/// Lays out a report, with the most wanted results first and the complete figures last.
struct HTMLReport {
    let report: BenchmarkReport

    /// A section of the page: its scenarios, and the drawn metrics.
    private struct Section {
        var title: String
        var introduction: String
        var metrics: [String]
        /// The scenarios whose names begin so.
        var scenarios: [String]
    }

    private static let sections = [
        Section(
            title: "Connecting", introduction: "From both being in the room until the channel between them is open.",
            metrics: ["open_ms"], scenarios: ["connect"]),
        Section(
            title: "Latency",
            introduction:
                "64-byte round trips, one at a time: received in the handler on the loop, from the async "
                + "sequence by a task of the pool, and by one that prefers the loop.",
            metrics: ["p50_us", "p99_us", "cpu_us_msg"], scenarios: ["rtt"]),
        Section(
            title: "Throughput", introduction: "One direction, as fast as it goes, on a reliable channel.",
            metrics: ["MB_s", "cpu_s_GB", "process_MB", "lost"], scenarios: ["throughput"]),
        Section(
            title: "Small messages", introduction: "The same with messages of 64 bytes.",
            metrics: ["msg_s", "cpu_us_msg", "process_MB", "lost"], scenarios: ["small"]),
        Section(
            title: "Signaling",
            introduction:
                "One WebSocket against an echo server: round trips one at a time, and the rate with 100 "
                + "messages in flight.",
            metrics: ["p50_us", "p99_us", "msg_s", "cpu_us_msg"], scenarios: ["signaling"]),
        Section(
            title: "Outages",
            introduction:
                "The lost part comes back, and the clock starts then. Each dot is one outage. Messages flow in "
                + "both directions all the time, and each has to arrive once.",
            metrics: ["data_ms", "rejoin_ms", "gap_ms", "lost", "duplicated"], scenarios: ["recovery", "reconnect"]),
        Section(
            title: "Many connections",
            introduction: "Further connections of one process, opened one after the other, then left alone.",
            metrics: ["connections", "each_ms", "memory_MB", "idle_percent"], scenarios: ["many"]),
    ]

    var page: String {
        """
        <!doctype html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <title>room bench</title>
        <style>
        \(style)
        </style>
        </head>
        <body>
        <header>
        <h1>room bench</h1>
        \(circumstances)
        </header>
        <main>
        \(failures)
        \(highlights)
        \(legend)
        \(Self.sections.map(section).joined())
        \(figures)
        </main>
        <footer>
        <p>Bars are medians of the rounds, the line over a bar goes from the smallest round to the largest, dots are the
        rounds. × is the ratio to the C reference of the same run: a latency of this machine says little by itself, but
        its ratio shows the cost of the package. The curves show all rounds together, from log-linear
        histograms whose buckets are at most 0.8 % wide.</p>
        </footer>
        </body>
        </html>

        """
    }

    // MARK: Head

    private var circumstances: String {
        let machine = report.machine
        var facts: [(String, String)] = []
        if let processor = machine.processor { facts.append(("Processor", processor)) }
        facts.append(("Cores", "\(machine.cores)"))
        facts.append(("Memory", "\(BenchmarkMetric.text(Double(machine.memory >> 20) / 1024)) GiB"))
        facts.append(("System", machine.system + (machine.kernel.map { ", kernel \($0)" } ?? "")))
        facts.append(("Build", machine.build))
        if let run = report.run {
            facts.append(("Measured", run.began.replacing("T", with: " ").replacing("Z", with: " UTC")))
            facts.append(("Rounds", "\(run.rounds), interleaved; \(BenchmarkMetric.text(run.seconds)) s at a time"))
        }
        if let load = machine.loadBefore { facts.append(("Load before", BenchmarkMetric.text(load))) }
        if machine.busyLoopBeside { facts.append(("Beside", "a busy loop that keeps a core awake")) }
        var list = facts.map { "<div><dt>\($0)</dt><dd>\(Self.escape($1))</dd></div>" }.joined()
        list = "<dl class=\"facts\">\(list)</dl>"
        if machine.build == "debug" {
            list += "<p class=\"warning\">A debug build: these figures say nothing about a release build.</p>"
        }
        return list
    }

    private var failures: String {
        guard let failures = report.failures, !failures.isEmpty else { return "" }
        let items = failures.map { "<li><b>\(Self.escape($0.subject))</b>: \(Self.escape($0.reason))</li>" }
        return "<section class=\"warning\"><h2>Not measured</h2><ul>\(items.joined())</ul></section>"
    }

    /// The best results, in large type.
    private var highlights: String {
        let wanted = [
            ("connect", "open_ms", "to a direct channel"), ("rtt", "p50_us", "round trip, 64 B"),
            ("small 64 B", "msg_s", "64 B messages"), ("throughput 64 KiB", "MB_s", "in 64 KiB messages"),
            ("signaling rtt", "p50_us", "signaling round trip"),
            ("signaling 100 in flight", "msg_s", "signaling messages"),
            ("recovery, path silent 3 s", "data_ms", "to data after a silent path"),
            ("recovery, server down 2 s", "rejoin_ms", "to the room after a restart"),
            ("reconnect, down 2.0 s", "rejoin_ms", "to the room after a restart"),
        ]
        var seen: Set<String> = []
        let tiles = wanted.compactMap { scenario, name, what -> String? in
            guard let metric = BenchmarkMetric.all.first(where: { $0.name == name }) else { return nil }
            let rows = report.results.filter {
                $0.scenario == scenario && !$0.isReference && metric.value(in: $0) != nil
            }
            let order = rows.sorted { metric.value(in: $0) ?? 0 < metric.value(in: $1) ?? 0 }
            guard let best = metric.isHigherBetter ? order.last : order.first, let value = metric.value(in: best),
                seen.insert(what).inserted
            else { return nil }
            let ratio = metric.ratio(of: best, to: report.result(BenchmarkReport.reference, scenario))
            return """
                <div class="tile"><div class="value">\(BenchmarkMetric.text(value))<small> \(metric.unit)</small></div>
                <div>\(what)</div><div class="muted">\(Self.escape(best.subject))\
                \(ratio.map { " · ×\(BenchmarkMetric.text($0)) of C" } ?? "")</div></div>
                """
        }
        return tiles.isEmpty ? "" : "<section class=\"tiles\">\(tiles.joined(separator: "\n"))</section>"
    }

    private var legend: String {
        let items = report.subjects.map { "<span><i class=\"\(colour($0))\"></i>\(Self.escape($0))</span>" }
        return "<p class=\"legend\">\(items.joined())</p>"
    }

    // MARK: Chapters

    private func section(_ section: Section) -> String {
        let scenarios = report.scenarios.filter { name in
            section.scenarios.contains { name.prefix { $0.isLetter } == $0 }
        }
        guard !scenarios.isEmpty else { return "" }
        var parts = ""
        for scenario in scenarios {
            let rows = report.results.filter { $0.scenario == scenario }
            let curves = rows.compactMap { row in
                row.histogram.map { LatencyChart.Curve(colour: colour(row.subject), histogram: $0) }
            }
            var panels: [String] = []
            if !curves.isEmpty {
                panels.append(
                    "<figure class=\"wide\"><figcaption>Latency by percentile <span class=\"muted\">µs, both axes "
                        + "logarithmic</span></figcaption>\(LatencyChart(curves: curves).svg)</figure>")
            }
            var none: [String] = []
            for name in section.metrics {
                guard let metric = BenchmarkMetric.all.first(where: { $0.name == name }) else { continue }
                let values = rows.compactMap(metric.value(in:))
                if metric.isCount, !values.isEmpty, values.allSatisfy({ $0 == 0 }) {
                    none.append(metric.label)
                } else {
                    panels += panel(metric, rows).map { [$0] } ?? []
                }
            }
            if !none.isEmpty {
                panels.append(
                    "<figure class=\"good\"><figcaption>Messages \(none.joined(separator: " or "))</figcaption>"
                        + "<p>none</p></figure>")
            }
            parts += "<h3>\(Self.escape(scenario))</h3><div class=\"panels\">\(panels.joined(separator: "\n"))</div>"
        }
        return "<section><h2>\(section.title)</h2><p>\(section.introduction)</p>\(parts)</section>\n"
    }

    private func panel(_ metric: BenchmarkMetric, _ rows: [BenchmarkReport.Result]) -> String? {
        let reference = rows.first(where: \.isReference)
        let bars = rows.compactMap { row -> BarChart.Bar? in
            guard let value = metric.value(in: row) else { return nil }
            return BarChart.Bar(
                label: row.subject, colour: colour(row.subject), value: value, rounds: row.values[metric.name] ?? [],
                note: metric.ratio(of: row, to: reference).map { "×\(BenchmarkMetric.text($0))" } ?? "")
        }
        guard !bars.isEmpty else { return nil }
        let direction = metric.isHigherBetter ? "more is better" : "less is better"
        return """
            <figure><figcaption>\(metric.title) <span class="muted">\(metric.unit.isEmpty ? "" : metric.unit + ", ")\
            \(direction)</span></figcaption>\(BarChart(bars: bars).svg)</figure>
            """
    }

    /// All figures, as a table.
    private var figures: String {
        var tables = ""
        for scenario in report.scenarios {
            let rows = report.results.filter { $0.scenario == scenario }
            let used = BenchmarkMetric.all.filter { metric in rows.contains { metric.value(in: $0) != nil } }
            let head = used.map { "<th title=\"\($0.title)\">\($0.label)</th>" }.joined()
            let body = rows.map { row in
                let cells = used.map { metric -> String in
                    guard let value = metric.value(in: row), let range = row.range(metric.name) else {
                        return "<td></td>"
                    }
                    let spread =
                        "\(BenchmarkMetric.text(range.lowerBound)) to \(BenchmarkMetric.text(range.upperBound))"
                    return "<td title=\"\(spread)\">\(BenchmarkMetric.text(value))</td>"
                }
                return "<tr><th>\(Self.escape(row.subject))</th>\(cells.joined())</tr>"
            }
            tables += """
                <h3>\(Self.escape(scenario))</h3><div class="scroll"><table><thead><tr><th></th>\(head)</tr></thead>\
                <tbody>\(body.joined())</tbody></table></div>
                """
        }
        return "<details><summary>All figures</summary>\(tables)</details>"
    }

    // MARK: Colours and text

    /// Returns a subject's colour, the same everywhere. The reference has none.
    private func colour(_ subject: String) -> String {
        if subject == BenchmarkReport.reference { return "ref" }
        let others = report.subjects.filter { $0 != BenchmarkReport.reference }
        return "c\((others.firstIndex(of: subject) ?? 0) % Self.colours)"
    }

    static func escape(_ text: String) -> String {
        text.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;")
            .replacing("\"", with: "&quot;")
    }
}
