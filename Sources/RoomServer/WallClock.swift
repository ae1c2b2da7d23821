internal import Glibc

/// The time of day, for people and other machines.
enum WallClock {
    /// Seconds since 1970.
    static func now() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    /// Returns a time as `2026-11-30T06:20:27.125Z` (RFC 3339).
    static func text(_ seconds: Double) -> String {
        let milliseconds = Int(min(max(seconds, 0), 253_402_300_799) * 1000)
        var whole = time_t(milliseconds / 1000)
        var parts = tm()
        gmtime_r(&whole, &parts)
        func padded(_ number: some BinaryInteger, _ width: Int = 2) -> String {
            let digits = String(number)
            return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
        }
        let date = [padded(parts.tm_year + 1900, 4), padded(parts.tm_mon + 1), padded(parts.tm_mday)]
        let clock = [parts.tm_hour, parts.tm_min, parts.tm_sec].map { padded($0) }
        return "\(date.joined(separator: "-"))T\(clock.joined(separator: ":")).\(padded(milliseconds % 1000, 3))Z"
    }
}
