internal import CommandLineIO
internal import Logging
internal import RoomServer
internal import Synchronization
internal import TransportPluginAPI

/// Loggers of this command: to standard error, quiet by default.
enum LogLevels {
    private static let queue = OutputQueue(descriptor: 2)
    private static let isUsed = Locked(false)

    static func logger(_ level: String?, _ format: LogLine.Format = .text) throws -> Logger {
        guard let level else { return Logger(label: "room") { _ in SwiftLogNoOpLogHandler() } }
        use(try checked(level))
        isUsed.withLock { $0 = true }
        return Logger(label: "room") { label in
            QueuedLogHandler(
                label: label, queue: queue, format: format, level: { LogLevels.level }, keptSource: AuditLog.source)
        }
    }

    static func checked(_ level: String) throws -> Logger.Level {
        guard let level = Logger.Level(rawValue: level.lowercased()) else {
            let all = Logger.Level.allCases.map(\.rawValue).joined(separator: ", ")
            throw CommandError(.usage, "'\(level)' is not a log level: write \(all)")
        }
        return level
    }

    /// Sets the level of all loggers of this command.
    static func use(_ level: Logger.Level) {
        current.store(Logger.Level.allCases.firstIndex(of: level) ?? 0, ordering: .relaxed)
    }

    /// The index of the level.
    private static let current = Atomic(0)
    private static var level: Logger.Level { Logger.Level.allCases[current.load(ordering: .relaxed)] }

    /// Writes the rest of the queue.
    static func finish() async { if isUsed.withLock({ $0 }) { await queue.finish(within: .seconds(1)) } }
}
