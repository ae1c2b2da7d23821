/// Counts of durations in log-linear buckets, like HdrHistogram (hdrhistogram.org): constant memory for any number of
/// durations, and a relative error that does not depend on the magnitude.
///
/// Up to 255 ns a bucket is 1 ns wide. Above, every power of two has 128 buckets, so that a bucket is at most 1/128 of
/// its values wide and its middle is off by at most 1/256 (0.4 %). Durations over 2^40 ns (18 min) share the last
/// bucket. The smallest and the largest duration are kept exactly.
package struct LatencyHistogram: Sendable, Equatable {
    /// The largest relative difference between a percentile and the recorded duration at that rank, below 2^40 ns.
    package static let relativeError = 1.0 / 256

    private static let precisionBits = 7
    private static let highestBit = 40
    private static let bucketCount = (highestBit - precisionBits + 1) << precisionBits

    private var buckets = [Int](repeating: 0, count: bucketCount)
    /// The number of recorded durations.
    package private(set) var count = 0
    private var smallest = Int64.max
    private var largest: Int64 = 0

    package init() {}

    /// The shortest recorded duration; nil when there is none.
    package var minimum: Int64? { count > 0 ? smallest : nil }
    /// The longest recorded duration; nil when there is none.
    package var maximum: Int64? { count > 0 ? largest : nil }

    /// Records one duration. A negative one counts as 0.
    package mutating func record(nanoseconds: Int64) {
        let value = max(0, nanoseconds)
        buckets[Self.index(of: value)] += 1
        count += 1
        smallest = min(smallest, value)
        largest = max(largest, value)
    }

    /// Adds the recorded durations of `other`.
    package mutating func merge(_ other: LatencyHistogram) {
        for index in buckets.indices { buckets[index] += other.buckets[index] }
        count += other.count
        smallest = min(smallest, other.smallest)
        largest = max(largest, other.largest)
    }

    /// Returns the duration that at least `share` (0...1) of the recorded ones do not exceed, in nanoseconds; nil when
    /// there is none.
    package func percentile(_ share: Double) -> Double? {
        guard count > 0 else { return nil }
        let rank = max(1, min(count, Int((Double(count) * share).rounded(.up))))
        if rank == count { return Double(largest) }
        var seen = 0
        for (index, bucket) in buckets.enumerated() where bucket > 0 {
            seen += bucket
            guard seen >= rank else { continue }
            let (low, high) = Self.bounds(of: index)
            return min(max(Double(low + high) / 2, Double(smallest)), Double(largest))
        }
        return Double(largest)
    }

    private static func index(of value: Int64) -> Int {
        let shift = 63 - precisionBits - UInt64(value).leadingZeroBitCount
        guard shift > 0 else { return Int(value) }
        return min((shift << precisionBits) + Int(value >> shift), bucketCount - 1)
    }

    /// Returns the smallest and the largest duration of a bucket.
    private static func bounds(of index: Int) -> (low: Int64, high: Int64) {
        let shift = max(0, index >> precisionBits - 1)
        let low = Int64(index - shift << precisionBits) << shift
        return (low, low + (1 << shift) - 1)
    }
}

extension LatencyHistogram: Codable {
    private enum Key: String, CodingKey { case unit, precisionBits, count, min, max, buckets }

    /// Encodes the histogram. `buckets` alternates the number of a bucket and its count; empty ones are left out.
    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Key.self)
        try container.encode("ns", forKey: .unit)
        try container.encode(Self.precisionBits, forKey: .precisionBits)
        try container.encode(count, forKey: .count)
        try container.encode(minimum ?? 0, forKey: .min)
        try container.encode(maximum ?? 0, forKey: .max)
        try container.encode(
            buckets.enumerated().flatMap { $1 > 0 ? [$0, $1] : [] }, forKey: .buckets)
    }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Key.self)
        func refuse(_ key: Key, _ reason: String) -> DecodingError {
            .dataCorruptedError(forKey: key, in: container, debugDescription: reason)
        }
        guard try container.decode(Int.self, forKey: .precisionBits) == Self.precisionBits else {
            throw refuse(.precisionBits, "only histograms with \(Self.precisionBits) bits of precision can be read")
        }
        let pairs = try container.decode([Int].self, forKey: .buckets)
        guard pairs.count.isMultiple(of: 2) else {
            throw refuse(.buckets, "buckets must be pairs of a number and a count")
        }
        for pair in stride(from: 0, to: pairs.count, by: 2) {
            let (index, bucket) = (pairs[pair], pairs[pair + 1])
            guard buckets.indices.contains(index), (1...Int(UInt32.max)).contains(bucket) else {
                throw refuse(.buckets, "there is no bucket \(index) with \(bucket) durations")
            }
            buckets[index] += bucket
            count += bucket
        }
        guard try container.decode(Int.self, forKey: .count) == count else {
            throw refuse(.count, "the sum of the buckets is not the count")
        }
        guard count > 0 else { return }
        smallest = try container.decode(Int64.self, forKey: .min)
        largest = try container.decode(Int64.self, forKey: .max)
    }
}

extension LatencyHistogram {
    /// The percentiles of a report, by metric, in microseconds.
    package var metrics: [String: Double] {
        var metrics: [String: Double] = [:]
        for (name, share) in [("p50_us", 0.5), ("p90_us", 0.9), ("p99_us", 0.99), ("p999_us", 0.999), ("max_us", 1)] {
            metrics[name] = percentile(share).map { $0 / 1000 }
        }
        return metrics
    }
}
