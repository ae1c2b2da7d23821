internal import RoomValues
package import TransportValues

/// When to try again: exponential backoff with full jitter, from the first retry on.
///
/// Counts until `stabilized()`: a connection that was lost again soon goes on where the outage was.
package struct Backoff: Sendable {
    private let configuration: BackoffConfiguration
    private var retries = 0
    private var outageStart: Timestamp?

    package init(_ configuration: BackoffConfiguration) { self.configuration = configuration }

    /// The delay before the next attempt; nil when there were enough of them.
    package mutating func nextDelay(now: Timestamp, using generator: inout SeededGenerator) -> Duration? {
        if let limit = configuration.reconnect.attemptLimit, retries >= limit { return nil }
        let start = outageStart ?? now
        outageStart = start
        let limit = min(cap(age: now - start), exponential(retries))
        retries += 1
        return generator.duration(upTo: limit)
    }

    /// The connection has held long enough: the next outage is a new one.
    package mutating func stabilized() {
        retries = 0
        outageStart = nil
    }

    private func cap(age: Duration) -> Duration {
        guard age > configuration.patience, configuration.patience > .zero else { return configuration.reconnect.cap }
        let grown = configuration.reconnect.cap.inSeconds * (age.inSeconds / configuration.patience.inSeconds)
        return min(configuration.reconnect.maximum, .nanoseconds(Int64(grown * 1e9, clampedTo: 0...86_400_000_000_000)))
    }

    private func exponential(_ retries: Int) -> Duration {
        var seconds = configuration.reconnect.base.inSeconds
        for _ in 0..<min(retries, 64) where seconds < configuration.reconnect.maximum.inSeconds {
            seconds *= configuration.factor
        }
        return .nanoseconds(Int64(seconds * 1e9, clampedTo: 0...86_400_000_000_000))
    }
}

extension Int64 {
    /// Converts without trapping.
    fileprivate init(_ value: Double, clampedTo range: ClosedRange<Int64>) {
        guard value > Double(range.lowerBound) else {
            self = range.lowerBound
            return
        }
        self = value < Double(range.upperBound) ? Int64(value) : range.upperBound
    }
}
