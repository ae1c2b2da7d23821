/// The times of HTTP (RFC 9110 §5.6.7), in seconds since 1970.
public enum HTTPDate {
    private static let weekdays = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
    private static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

    /// Writes a time as `Sun, 06 Nov 1994 08:49:37 GMT`.
    public static func text(_ time: Int) -> String {
        func padded(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        let today = time / 86_400
        let year = year(of: today)
        let month = (1...12).last { days(year, $0, 1) <= today } ?? 1
        let date = "\(padded(today - days(year, month, 1) + 1)) \(months[month - 1]) \(year)"
        let clock = [time / 3600 % 24, time / 60 % 60, time % 60].map(padded).joined(separator: ":")
        // 1970 began with a Thursday.
        return "\(weekdays[today % 7]), \(date) \(clock) GMT"
    }

    /// Reads a time. Returns nil when the text is in none of the three formats.
    /// - Parameters:
    ///   - text: the value of a field.
    ///   - now: decides the century of a year with two digits.
    public static func parse(_ text: String, now: Int) -> Int? {
        // No valid text is longer or contains other characters. Splitting any other text would be costly.
        guard text.utf8.count <= 40, text.utf8.allSatisfy({ $0 < 0x80 }) else { return nil }
        let parts = text.split(separator: " ")
        switch parts.count {
        case 6:
            // Sun, 06 Nov 1994 08:49:37 GMT
            guard parts[0].hasSuffix(","), parts[5] == "GMT", let year = number(parts[3], digits: 4...4) else {
                return nil
            }
            return seconds(parts[1], parts[2], year, parts[4])
        case 4:
            // Sunday, 06-Nov-94 08:49:37 GMT
            let date = parts[1].split(separator: "-")
            guard parts[0].hasSuffix(","), parts[3] == "GMT", date.count == 3,
                let short = number(date[2], digits: 2...2)
            else { return nil }
            // More than 50 years ahead means the past (RFC 9110 §5.6.7).
            let year = year(of: now / 86_400)
            var full = year / 100 * 100 + short
            if full > year + 50 { full -= 100 }
            return seconds(date[0], date[1], full, parts[2])
        case 5:
            // Sun Nov  6 08:49:37 1994
            guard let year = number(parts[4], digits: 4...4) else { return nil }
            return seconds(parts[2], parts[1], year, parts[3])
        default: return nil
        }
    }

    private static func seconds(_ day: Substring, _ month: Substring, _ year: Int, _ time: Substring) -> Int? {
        let clock = time.split(separator: ":", omittingEmptySubsequences: false)
        guard clock.count == 3, let hour = number(clock[0], digits: 2...2),
            let minute = number(clock[1], digits: 2...2),
            let second = number(clock[2], digits: 2...2), hour < 24, minute < 60, second <= 60,
            let day = number(day, digits: 1...2), (1...31).contains(day),
            let month = months.firstIndex(of: String(month)), year >= 1970
        else { return nil }
        return days(year, month + 1, day) * 86_400 + hour * 3600 + minute * 60 + second
    }

    private static func number(_ text: Substring, digits: ClosedRange<Int>) -> Int? {
        guard digits.contains(text.utf8.count), text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        return Int(text)
    }

    /// Returns the days since 1970 of a date of the Gregorian calendar. Years begin in March, so that a leap day is the
    /// last.
    private static func days(_ year: Int, _ month: Int, _ day: Int) -> Int {
        let shifted = month <= 2 ? year - 1 : year
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        return 365 * shifted + shifted / 4 - shifted / 100 + shifted / 400 + dayOfYear - 719_468
    }

    private static func year(of day: Int) -> Int {
        var year = 1970 + day / 366
        while days(year + 1, 1, 1) <= day { year += 1 }
        return year
    }
}
