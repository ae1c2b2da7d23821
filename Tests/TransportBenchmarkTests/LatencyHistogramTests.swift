import Foundation
import Testing
import TransportBenchmark

struct LatencyHistogramTests {
    private func histogram(of values: [Int64]) -> LatencyHistogram {
        var histogram = LatencyHistogram()
        for value in values { histogram.record(nanoseconds: value) }
        return histogram
    }

    @Test("every percentile is within the stated relative error of the duration at that rank", arguments: 1...20)
    func percentiles(seed: UInt64) throws {
        var state = seed
        // From nanoseconds to minutes, every magnitude as likely as the others.
        let values = (0..<3000).map { _ -> Int64 in
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int64(exp(Double(state >> 11) / Double(1 << 53) * log(1e12)))
        }
        let histogram = histogram(of: values)
        let sorted = values.sorted()
        for share in [0.001, 0.1, 0.25, 0.5, 0.9, 0.99, 0.999, 1] {
            let exact = Double(sorted[max(1, Int((Double(sorted.count) * share).rounded(.up))) - 1])
            let told = try #require(histogram.percentile(share))
            #expect(abs(told - exact) <= exact * LatencyHistogram.relativeError, "seed \(seed), \(share): \(exact)")
        }
        #expect(histogram.minimum == sorted.first)
        #expect(histogram.maximum == sorted.last)
        #expect(histogram.count == values.count)
    }

    @Test("durations below 256 ns are exact")
    func small() {
        for value in Int64(0)..<256 { #expect(histogram(of: [value, value, 1000]).percentile(0.5) == Double(value)) }
    }

    @Test("a bucket's bounds meet the next one's: no duration has a percentile of another magnitude")
    func powersOfTwo() throws {
        for bit in 0..<40 {
            let power = Int64(1) << bit
            for value in [power - 1, power, power + 1] {
                // The middle one of three, so that neither the minimum nor the maximum hides its bucket.
                let told = try #require(histogram(of: [0, value, 1 << 45]).percentile(0.5))
                #expect(abs(told - Double(value)) <= Double(value) * LatencyHistogram.relativeError)
            }
        }
    }

    @Test("what is out of range is kept: negative as 0, too long in the last bucket and exactly as the maximum")
    func extremes() {
        let histogram = histogram(of: [-5, 1 << 41, .max])
        #expect(histogram.minimum == 0)
        #expect(histogram.maximum == .max)
        #expect(histogram.percentile(1) == Double(Int64.max))
        #expect(histogram.count == 3)
        #expect(LatencyHistogram().percentile(0.5) == nil)
        #expect(LatencyHistogram().metrics.isEmpty)
    }

    @Test("merging is recording all in one")
    func merge() {
        var left = histogram(of: [1, 500, 90_000])
        left.merge(histogram(of: [7, 500, 3_000_000]))
        #expect(left == histogram(of: [1, 500, 90_000, 7, 500, 3_000_000]))
        left.merge(LatencyHistogram())
        #expect(left.minimum == 1)
    }

    @Test("JSON holds the buckets that are not empty, and reads back to the same")
    func json() throws {
        let histogram = histogram(of: [100, 100, 91_000, 5_000_000])
        let text = try JSONEncoder().encode(histogram)
        #expect(try JSONDecoder().decode(LatencyHistogram.self, from: text) == histogram)
        let object = try #require(try JSONSerialization.jsonObject(with: text) as? [String: Any])
        #expect((object["buckets"] as? [Int])?.prefix(2) == [100, 2])
        #expect((object["buckets"] as? [Int])?.count == 6)
        let empty = try JSONEncoder().encode(LatencyHistogram())
        #expect(try JSONDecoder().decode(LatencyHistogram.self, from: empty) == LatencyHistogram())
    }

    @Test(
        "a histogram from elsewhere is refused when it cannot be right",
        arguments: [
            #"{"precisionBits":7,"count":1,"min":1,"max":1,"buckets":[99999,1]}"#,
            #"{"precisionBits":7,"count":1,"min":1,"max":1,"buckets":[-1,1]}"#,
            #"{"precisionBits":7,"count":1,"min":1,"max":1,"buckets":[5,-1]}"#,
            #"{"precisionBits":7,"count":2,"min":1,"max":1,"buckets":[5,1]}"#,
            #"{"precisionBits":7,"count":1,"min":1,"max":1,"buckets":[5]}"#,
            #"{"precisionBits":5,"count":1,"min":1,"max":1,"buckets":[5,1]}"#,
        ])
    func malformed(text: String) {
        #expect(throws: DecodingError.self) { try JSONDecoder().decode(LatencyHistogram.self, from: Data(text.utf8)) }
    }
}
