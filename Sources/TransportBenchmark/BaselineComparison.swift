/// A comparison of a run with an earlier one: the figures that are worse by more than chance explains. Pure.
///
/// A figure is worse when its median is worse than the baseline's by more than the sum of both spreads (a spread: from
/// the smallest to the largest round), and by more than a tolerance. With three rounds of purely normally distributed
/// noise, 0.7 % of the figures exceed the spreads (five rounds: 0.006 %). A figure of a single round has no spread and
/// is not compared, except counts of lost or duplicated messages: there the worst rounds are compared.
package struct BaselineComparison: Sendable, Equatable {
    package struct Change: Sendable, Equatable {
        package var subject: String
        package var scenario: String
        package var metric: String
        package var before: Double
        package var after: Double
        package var rangeBefore: ClosedRange<Double>
        package var rangeAfter: ClosedRange<Double>

        /// The text: `rtt of nio + webrtc-libnice: p50_us 91 → 140 µs (+54 %); rounds 75.5 to 91.7, now 138 to 142`.
        package var text: String {
            let unit = BenchmarkMetric.all.first { $0.name == metric }?.unit ?? ""
            var text = "\(scenario) of \(subject): \(metric) \(number(before)) → \(number(after))"
            if !unit.isEmpty { text += " \(unit)" }
            if before != 0 {
                let percent = Int(((after / before - 1) * 100).rounded())
                text += " (\(percent > 0 ? "+" : "")\(percent) %)"
            }
            return text + "; rounds \(range(rangeBefore)), now \(range(rangeAfter))"
        }

        private func number(_ value: Double) -> String { BenchmarkMetric.text(value) }
        private func range(_ range: ClosedRange<Double>) -> String {
            "\(number(range.lowerBound)) to \(number(range.upperBound))"
        }
    }

    /// The figures that are worse. They fail the check.
    package private(set) var worse: [Change] = []
    package private(set) var better: [Change] = []
    /// The metrics, as `scenario of subject: metric`, that the baseline has and this run of the same scenario does not.
    /// They fail the check.
    package private(set) var missing: [String] = []
    /// The `scenario of subject` pairs of the baseline that were not run now.
    package private(set) var notRun: [String] = []
    /// The `scenario of subject` pairs of this run that the baseline does not have.
    package private(set) var unknown: [String] = []
    /// The metrics, as `scenario of subject: metric`, without a spread in one of the runs.
    package private(set) var notJudged: [String] = []
    /// The differences between the machines or the runs, one sentence each. They alone may explain different figures.
    package private(set) var differences: [String] = []
    /// The number of compared figures.
    package private(set) var judged = 0

    package var passes: Bool { worse.isEmpty && missing.isEmpty && judged > 0 }

    /// - Parameter tolerance: The share of the baseline below which a change does not count; at least 0.
    package init(baseline: BenchmarkReport, current: BenchmarkReport, tolerance: Double = 0.05) {
        differences = Self.differences(baseline, current)
        for before in baseline.results {
            let name = "\(before.scenario) of \(before.subject)"
            guard let after = current.result(before.subject, before.scenario) else {
                notRun.append(name)
                continue
            }
            for metric in BenchmarkMetric.all where metric.isJudged {
                compare(metric, before, after, tolerance, name)
            }
        }
        unknown = current.results.filter { baseline.result($0.subject, $0.scenario) == nil }
            .map { "\($0.scenario) of \($0.subject)" }
    }

    private mutating func compare(
        _ metric: BenchmarkMetric, _ before: BenchmarkReport.Result, _ after: BenchmarkReport.Result,
        _ tolerance: Double, _ name: String
    ) {
        guard let rangeBefore = before.range(metric.name), let old = before.median(metric.name) else { return }
        guard let rangeAfter = after.range(metric.name), let new = after.median(metric.name) else {
            missing.append("\(name): \(metric.name)")
            return
        }
        var change = Change(
            subject: before.subject, scenario: before.scenario, metric: metric.name, before: old, after: new,
            rangeBefore: rangeBefore, rangeAfter: rangeAfter)
        if metric.isCount {
            judged += 1
            change.before = rangeBefore.upperBound
            change.after = rangeAfter.upperBound
            if change.after > change.before { worse.append(change) }
            return
        }
        guard before.values[metric.name]?.count ?? 0 > 1, after.values[metric.name]?.count ?? 0 > 1 else {
            notJudged.append("\(name): \(metric.name)")
            return
        }
        judged += 1
        let spreads = rangeBefore.upperBound - rangeBefore.lowerBound + rangeAfter.upperBound - rangeAfter.lowerBound
        let decline = metric.isHigherBetter ? old - new : new - old
        guard abs(decline) > max(spreads, tolerance * abs(old)) else { return }
        if decline > 0 { worse.append(change) } else { better.append(change) }
    }

    private static func differences(_ baseline: BenchmarkReport, _ current: BenchmarkReport) -> [String] {
        let (before, after) = (baseline.machine, current.machine)
        var differences: [String] = []
        func compare(_ property: String, _ old: String?, _ new: String?) {
            if let old, let new, old != new {
                differences.append("the baseline is from \(property) \(old), this run from \(new)")
            }
        }
        compare("a machine whose number of cores is", "\(before.cores)", "\(after.cores)")
        compare("a machine whose processor is", before.processor, after.processor)
        compare("a machine that runs", before.system, after.system)
        compare("a build for", before.build, after.build)
        compare("kernel", before.kernel, after.kernel)
        if abs(Double(before.memory) - Double(after.memory)) > 0.1 * Double(before.memory) {
            compare("a machine whose memory in MB is", "\(before.memory / 1_000_000)", "\(after.memory / 1_000_000)")
        }
        if before.busyLoopBeside != after.busyLoopBeside {
            differences.append("only one of the two was measured beside a busy loop")
        }
        if let old = baseline.run, let new = current.run, old.seconds != new.seconds {
            differences.append("the baseline measured \(old.seconds) s at a time, this run \(new.seconds) s")
        }
        return differences
    }
}
