internal import Logging

/// Loggers of this command: to standard error, quiet unless asked.
enum LogLevels {
    static func logger(_ level: String?) throws -> Logger {
        guard let level else { return Logger(label: "room") { _ in SwiftLogNoOpLogHandler() } }
        guard let level = Logger.Level(rawValue: level.lowercased()) else {
            let all = Logger.Level.allCases.map(\.rawValue).joined(separator: ", ")
            throw CommandError(.usage, "'\(level)' is no log level: write \(all)")
        }
        var logger = Logger(label: "room") { StreamLogHandler.standardError(label: $0) }
        logger.logLevel = level
        return logger
    }
}
