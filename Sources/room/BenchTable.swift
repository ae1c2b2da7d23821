internal import TransportBenchmark

/// A report as a table on the terminal.
enum BenchTable {
    static func print(_ report: BenchmarkReport) {
        for scenario in report.scenarios {
            let rows = report.results.filter { $0.scenario == scenario }
            let used = BenchmarkMetric.all.filter { metric in rows.contains { $0.median(metric.name) != nil } }
            let reference = rows.first(where: \.isReference)
            Output.line("")
            var header = pad(scenario, 34)
            for metric in used { header += pad(metric.label, width(metric), left: true) }
            Output.line(Output.coloured(header, Output.bold))
            for row in rows {
                var line = pad("  " + row.subject, 34)
                for metric in used { line += pad(cell(row, metric, reference), width(metric), left: true) }
                Output.line("\(line)")
            }
        }
        Output.line("")
        let rounds = report.run.map { "Medians of \($0.rounds) rounds" } ?? "Medians"
        Output.line("\(rounds); × is the ratio to the C reference of the same run.")
    }

    private static func width(_ metric: BenchmarkMetric) -> Int { metric.isCount ? 12 : 18 }

    private static func cell(
        _ row: BenchmarkReport.Result, _ metric: BenchmarkMetric, _ reference: BenchmarkReport.Result?
    ) -> String {
        guard let value = metric.value(in: row) else { return "" }
        var text = BenchmarkMetric.text(value)
        if let ratio = metric.ratio(of: row, to: reference) { text += " (×\(BenchmarkMetric.text(ratio)))" }
        return text
    }

    private static func pad(_ text: String, _ width: Int, left: Bool = false) -> String {
        let blanks = String(repeating: " ", count: max(1, width - text.count))
        return left ? blanks + text : text + blanks
    }
}
