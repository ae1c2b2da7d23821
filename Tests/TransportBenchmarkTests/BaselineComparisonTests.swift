import Testing

@testable import TransportBenchmark

struct BaselineComparisonTests {
    private func compare(
        _ before: [String: [Double]], _ after: [String: [Double]], tolerance: Double = 0.05
    ) -> BaselineComparison {
        BaselineComparison(
            baseline: report([result(before)]), current: report([result(after)]), tolerance: tolerance)
    }

    @Test("worse is a median that is off by more than both spreads and the tolerance, in the bad direction")
    func worse() {
        let comparison = compare(["p50_us": [90, 100, 95]], ["p50_us": [140, 150, 145]])
        #expect(comparison.worse.map(\.metric) == ["p50_us"])
        #expect(!comparison.passes)
        #expect(
            comparison.worse.first?.text == "rtt of a + x: p50_us 95 → 145 µs (+53 %); rounds 90 to 100, now 140 to 150"
        )
    }

    @Test("a change within the two spreads, or within the tolerance, is none")
    func noise() {
        #expect(compare(["p50_us": [90, 100, 95]], ["p50_us": [100, 114, 110]]).passes)
        #expect(compare(["p50_us": [100, 100, 100]], ["p50_us": [104, 104, 104]]).passes)
        #expect(!compare(["p50_us": [100, 100, 100]], ["p50_us": [104, 104, 104]], tolerance: 0.03).passes)
    }

    @Test("of a rate, less is worse")
    func direction() {
        let down = compare(["msg_s": [1000, 1010, 990]], ["msg_s": [700, 710, 690]])
        #expect(down.worse.map(\.metric) == ["msg_s"])
        let up = compare(["msg_s": [1000, 1010, 990]], ["msg_s": [1700, 1710, 1690]])
        #expect(up.passes)
        #expect(up.better.map(\.metric) == ["msg_s"])
    }

    @Test("one lost message in one round is worse than none, and not hidden by the median")
    func lost() {
        #expect(!compare(["lost": [0, 0, 0]], ["lost": [0, 0, 1]]).passes)
        #expect(compare(["lost": [0, 2, 0]], ["lost": [0, 0, 1]]).passes)
        // Even in a single round.
        #expect(!compare(["duplicated": [0]], ["duplicated": [3]]).passes)
    }

    @Test("a figure of a single round has no spread: it is not judged, and that is said")
    func singleRound() {
        let comparison = compare(["p50_us": [90], "msg_s": [1, 1]], ["p50_us": [500], "msg_s": [1, 1]])
        #expect(comparison.notJudged == ["rtt of a + x: p50_us"])
        #expect(comparison.passes)
        #expect(comparison.judged == 1)
    }

    @Test("the longest of all latencies is shown, not judged")
    func extremes() {
        let comparison = compare(["max_us": [9, 9], "p50_us": [1, 1]], ["max_us": [900, 900], "p50_us": [1, 1]])
        #expect(comparison.passes)
        #expect(comparison.judged == 1)
    }

    @Test("a metric that is not measured any more fails; a combination that was not run does not, and both are said")
    func missing() {
        let baseline = report([
            result(["p50_us": [1, 1], "p99_us": [2, 2]]), result(["msg_s": [1, 1]], scenario: "small 64 B"),
        ])
        let current = report([result(["p50_us": [1, 1]]), result(["open_ms": [1, 1]], scenario: "connect")])
        let comparison = BaselineComparison(baseline: baseline, current: current)
        #expect(comparison.missing == ["rtt of a + x: p99_us"])
        #expect(comparison.notRun == ["small 64 B of a + x"])
        #expect(comparison.unknown == ["connect of a + x"])
        #expect(!comparison.passes)
    }

    @Test("with nothing to compare, the check fails")
    func nothing() {
        let comparison = BaselineComparison(
            baseline: report([result(["p50_us": [1, 1]])]),
            current: report([result(["p50_us": [1, 1]], subject: "b + x")]))
        #expect(comparison.judged == 0)
        #expect(!comparison.passes)
    }

    @Test("another machine, build or duration is said")
    func machines() {
        var current = report([result(["p50_us": [1, 1]])], build: "debug", cores: 4)
        current.run?.seconds = 5
        let comparison = BaselineComparison(baseline: report([result(["p50_us": [1, 1]])]), current: current)
        #expect(comparison.differences.count == 3)
        #expect(comparison.differences.contains { $0.contains("debug") })
        #expect(comparison.differences.contains { $0.contains("cores") })
        #expect(compare(["p50_us": [1, 1]], ["p50_us": [1, 1]]).differences.isEmpty)
    }
}
