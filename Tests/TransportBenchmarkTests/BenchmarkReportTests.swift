import Foundation
import Testing

@testable import TransportBenchmark

struct BenchmarkReportTests {
    private func file(_ text: String) throws -> String {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("report-\(UUID().uuidString).json")
            .path
        try text.write(toFile: path, atomically: true, encoding: .utf8)
        return path
    }

    @Test func scenariosAreChosenByName() throws {
        #expect(try BenchmarkRunner.Scenario.chosen(by: "small,rtt") == [.small, .rtt])
        #expect(try BenchmarkRunner.Scenario.chosen(by: "all") == BenchmarkRunner.Scenario.allCases)
        #expect(
            try BenchmarkRunner.Scenario.chosen(by: nil)
                == [.connect, .rtt, .request, .throughput, .small, .send, .stream, .signaling])
        let error = #expect(throws: BenchmarkError.self) { try BenchmarkRunner.Scenario.chosen(by: "fast") }
        #expect(error?.isUsage == true)
    }

    @Test("what was written reads back to the same, to a thousandth")
    func roundTrip() throws {
        var histogram = LatencyHistogram()
        histogram.record(nanoseconds: 91_000)
        var result = BenchmarkReport.Result(subject: "a + x", signaling: "a", peer: "x", scenario: "rtt")
        result.add(Measured("rtt", ["p50_us": 91.0004, "lost": 0, "broken": .nan], histogram))
        result.add(Measured("rtt", ["p50_us": 80, "lost": 0], histogram))
        #expect(result.values["broken"] == nil)
        #expect(result.histogram?.count == 2)
        let path = try file(report([result]).json())
        defer { try? FileManager.default.removeItem(atPath: path) }
        let read = try BenchmarkReport(contentsOf: path)
        #expect(read.results.first?.values == ["p50_us": [91, 80], "lost": [0, 0]])
        #expect(read.results.first?.histogram == result.histogram)
        #expect(read.run == report([]).run)
    }

    @Test("a report of the first version, without machine details, run and histograms, is read")
    func firstVersion() throws {
        let path = try file(
            """
            {"machine":{"cores":2,"memory":25276514304,"system":"Debian","busyLoopBeside":false,"build":"release"},
            "results":[{"subject":"C reference","signaling":"","peer":"","scenario":"rtt","metrics":{"p50_us":72.760},
            "rounds":[{"p50_us":72.760,"p99_us":null},{"p50_us":71.780}]}]}
            """)
        defer { try? FileManager.default.removeItem(atPath: path) }
        let read = try BenchmarkReport(contentsOf: path)
        #expect(read.results.first?.values == ["p50_us": [72.76, 71.78]])
        #expect(read.results.first?.isReference == true)
        #expect(read.run == nil)
    }

    @Test(
        "a file that is no report is refused with the file and the reason",
        arguments: [
            ("{}", "'machine' is missing"), ("no", "not valid JSON"),
            (#"{"machine":{"cores":"two"},"results":[]}"#, "'machine.cores' has a value of another type"),
        ])
    func refused(text: String, reason: String) throws {
        let path = try file(text)
        defer { try? FileManager.default.removeItem(atPath: path) }
        let error = #expect(throws: BenchmarkError.self) { try BenchmarkReport(contentsOf: path) }
        #expect(error?.description.contains(path) == true)
        #expect(error?.description.contains(reason) == true, "\(error?.description ?? "")")
        #expect(error?.isUsage == true)
    }

    @Test("numbers are written as people read them")
    func numbers() {
        let texts: [(Double, String)] = [
            (0, "0"), (0.004, "0.00"), (0.68, "0.68"), (9.994, "9.99"), (12.35, "12.4"), (20, "20"), (99.96, "100.0"),
            (138.4, "138"),
            (1000, "1,000"), (643_862.4, "643,862"), (-1234, "-1,234"), (5, "5"),
        ]
        for (value, text) in texts { #expect(BenchmarkMetric.text(value) == text) }
    }

    @Test("the page holds every subject and figure, needs nothing from elsewhere, runs no script and escapes names")
    func page() throws {
        var histogram = LatencyHistogram()
        for value in 1...1000 { histogram.record(nanoseconds: Int64(value) * 1000) }
        var latency = result(["p50_us": [500, 510, 490], "p99_us": [990, 991, 992]], subject: "a<b> + x")
        latency.histogram = histogram
        var page = report([
            latency, result(["p50_us": [100, 100, 100]], subject: "C reference"),
            result(["lost": [0, 0], "data_ms": [120, 300]], scenario: "recovery, path silent 3 s"),
        ])
        page.failures = [.init(subject: "z", reason: "it & it")]
        let html = page.html()
        #expect(html.contains("a&lt;b&gt; + x"))
        #expect(!html.contains("<b> + x"))
        #expect(html.contains("it &amp; it"))
        #expect(html.contains("×5 "))
        #expect(html.contains("prefers-color-scheme:dark"))
        for word in ["<script", "http:", "https:", "@import", "url(", "<link", "<img"] {
            #expect(!html.contains(word), "\(word)")
        }
        for element in ["svg", "figure", "section", "div", "table", "p", "details"] {
            let opened = html.ranges(of: try Regex("<\(element)[ >]")).count
            #expect(opened == html.ranges(of: "</\(element)>").count, "\(element)")
        }
        #expect(html.contains("<polyline"))
        #expect(!report([]).html().contains("nan"))
    }

    @Test("numbered messages: each comes once, or is lost, or came twice")
    func sequence() {
        var book = SequenceRecord()
        for number in [1, 2, 3] { book.received(number) }
        #expect(book.lost(of: 3) == 0)
        #expect(book.lost(of: 5) == 2)
        book.received(6)
        book.received(6)
        #expect(book.lost(of: 6) == 2)
        #expect(book.duplicated == 1)
        #expect(book.highest == 6)
    }
}
