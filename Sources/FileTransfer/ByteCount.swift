/// A number of bytes for people: `1.2 GB`.
package struct ByteCount: CustomStringConvertible {
    private let count: UInt64
    package init(_ count: UInt64) { self.count = count }

    package var description: String {
        if count < 1000 { return count == 1 ? "1 byte" : "\(count) bytes" }
        var (value, unit) = (Double(count) / 1000, 0)
        let units = ["kB", "MB", "GB", "TB", "PB", "EB"]
        // 999.95 would be shown as 1000.0.
        while value >= 999.95, unit < units.count - 1 { (value, unit) = (value / 1000, unit + 1) }
        let tenths = Int((value * 10).rounded())
        return "\(tenths / 10).\(tenths % 10) \(units[unit])"
    }
}

/// The rate of a transfer over the last seconds, and the time that is left.
package struct TransferRate: Sendable {
    /// Seconds over which the rate is measured.
    private static let window = 5.0
    private var samples: [(at: Double, count: UInt64)] = []

    package init() {}

    /// Records how many bytes are done at a time in seconds.
    package mutating func record(_ count: UInt64, at time: Double) {
        if let last = samples.last, count < last.count { samples = [] }
        samples.append((time, count))
        // The first sample from before the window is its beginning.
        while samples.count > 2, time - samples[1].at >= Self.window { samples.removeFirst() }
    }

    /// Forgets what was before: a transfer that continues does not count what was there already.
    package mutating func restart() { samples = [] }

    /// Bytes a second; nil before there are two samples.
    package var bytesPerSecond: Double? {
        guard let first = samples.first, let last = samples.last, last.at - first.at >= 0.2 else { return nil }
        return Double(last.count - first.count) / (last.at - first.at)
    }

    /// Seconds until `total` bytes are done; nil while nothing moves.
    package func secondsLeft(of total: UInt64) -> Double? {
        guard let rate = bytesPerSecond, rate > 0, let done = samples.last?.count else { return nil }
        return Double(total - min(done, total)) / rate
    }

    /// `1:02:03`, `2:03`.
    package static func clock(_ seconds: Double) -> String {
        let all = Int(min(seconds.rounded(.up), 359_999))
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        let (hours, minutes) = (all / 3600, all / 60 % 60)
        return hours > 0 ? "\(hours):\(two(minutes)):\(two(all % 60))" : "\(minutes):\(two(all % 60))"
    }
}

extension TransferProgress {
    /// The progress for people: `45 %  1.2 MB of 2.7 MB  1.1 MB/s  0:03 left`.
    package func text(_ rate: TransferRate) -> String {
        let percent = total > 0 ? Int(Double(count) / Double(total) * 100) : 100
        var text = "\(percent) %  \(ByteCount(count)) of \(ByteCount(total))"
        if let speed = rate.bytesPerSecond { text += "  \(ByteCount(UInt64(speed)))/s" }
        if let left = rate.secondsLeft(of: total) { text += "  \(TransferRate.clock(left)) left" }
        return text
    }
}
