internal import Glibc

/// A point on this machine's monotonic clock, in nanoseconds.
///
/// The clock is `CLOCK_MONOTONIC`: it never jumps, and it stops while the machine is suspended. `bootTime()` reads
/// `CLOCK_BOOTTIME`, which continues during a suspend. A growing difference between the two means that the machine
/// slept. Pure machines never read a clock; they receive a `Timestamp`.
public struct Timestamp: Sendable, Hashable, Comparable {
    /// Nanoseconds since an arbitrary, fixed point (on Linux: boot, without suspends).
    public var nanoseconds: Int64

    /// Creates the point this many nanoseconds after the clock's origin.
    @inlinable
    public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    /// The origin of virtual time in tests and simulations.
    public static let zero = Timestamp(nanoseconds: 0)
    /// A point later than every other.
    public static let distantFuture = Timestamp(nanoseconds: .max)

    /// Reads `CLOCK_MONOTONIC`. Never called by a pure machine.
    public static func now() -> Timestamp { read(CLOCK_MONOTONIC) }

    /// Reads `CLOCK_BOOTTIME`: the time of `now()`, plus the time spent suspended.
    public static func bootTime() -> Timestamp { read(CLOCK_BOOTTIME) }

    /// The seconds since the clock's origin, for output.
    public var seconds: Double { Double(nanoseconds) / 1e9 }

    @inlinable
    public static func < (left: Timestamp, right: Timestamp) -> Bool { left.nanoseconds < right.nanoseconds }

    /// Adds a duration. Saturates at `distantFuture` instead of trapping.
    @inlinable
    public static func + (left: Timestamp, right: Duration) -> Timestamp {
        let (sum, overflow) = left.nanoseconds.addingReportingOverflow(right.saturatedNanoseconds)
        return overflow ? (right < .zero ? .init(nanoseconds: .min) : .distantFuture) : .init(nanoseconds: sum)
    }

    /// Subtracts a duration. Saturates instead of trapping.
    @inlinable
    public static func - (left: Timestamp, right: Duration) -> Timestamp { left + (.zero - right) }

    /// Returns the time from `right` to `left`; negative when `left` is earlier.
    @inlinable
    public static func - (left: Timestamp, right: Timestamp) -> Duration {
        .nanoseconds(left.nanoseconds.subtractingReportingOverflow(right.nanoseconds).partialValue)
    }

    private static func read(_ clock: clockid_t) -> Timestamp {
        var time = timespec()
        clock_gettime(clock, &time)
        return Timestamp(nanoseconds: Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec))
    }
}

extension Duration {
    /// The duration in nanoseconds, saturated to 64 bits (292 years).
    @inlinable
    public var saturatedNanoseconds: Int64 {
        let attoseconds = attoseconds
        // Up to 18 s, as nearly all are: 64 bits, which divide in a fraction of the time of 128.
        if attoseconds >= 0, attoseconds <= Int128(UInt64.max) {
            return Int64(UInt64(truncatingIfNeeded: attoseconds) / 1_000_000_000)
        }
        return Int64(clamping: attoseconds / 1_000_000_000)
    }

    /// The duration in seconds, for output and for ratios.
    public var inSeconds: Double { Double(saturatedNanoseconds) / 1e9 }
}
