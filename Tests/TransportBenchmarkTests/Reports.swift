@testable import TransportBenchmark

/// A report of one machine.
func report(_ results: [BenchmarkReport.Result], build: String = "release", cores: Int = 2) -> BenchmarkReport {
    BenchmarkReport(
        machine: .init(
            cores: cores, memory: 8_000_000_000, system: "Test", busyLoopBeside: false, build: build, processor: "P",
            kernel: "6.1", loadBefore: 0),
        run: .init(seconds: 1, rounds: 3, began: "2026-01-01T00:00:00Z", version: "1"), results: results)
}

/// The rounds of one subject in one scenario.
func result(
    _ values: [String: [Double]], subject: String = "a + x", scenario: String = "rtt"
) -> BenchmarkReport.Result {
    var result = BenchmarkReport.Result(subject: subject, signaling: "a", peer: "x", scenario: scenario)
    result.values = values
    return result
}
