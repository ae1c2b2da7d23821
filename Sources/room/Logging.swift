internal import CommandLineIO
internal import Foundation
internal import Logging
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
        return Logger(label: "room") { QueuedLogHandler(label: $0, queue: queue, format: format) }
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
    fileprivate static var level: Logger.Level { Logger.Level.allCases[current.load(ordering: .relaxed)] }

    /// Writes the rest of the queue.
    static func finish() async { if isUsed.withLock({ $0 }) { await queue.finish(within: .seconds(1)) } }
}

/// Writes to a queue, since a loop must not wait for a paused terminal. Lines that do not fit into the queue are
/// dropped; a line says how many.
private struct QueuedLogHandler: LogHandler {
    var metadata: Logger.Metadata = [:]
    var metadataProvider: Logger.MetadataProvider?
    /// That of the command; a logger has no level of its own.
    var logLevel: Logger.Level {
        get { LogLevels.level }
        set {}
    }
    private let label: String
    private let queue: OutputQueue
    private let format: LogLine.Format
    private static let dropped = Locked(0)

    init(label: String, queue: OutputQueue, format: LogLine.Format) {
        self.label = label
        self.queue = queue
        self.format = format
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        guard !queue.isFull else { return Self.dropped.withLock { $0 += 1 } }
        let dropped = Self.dropped.withLock { dropped in
            defer { dropped = 0 }
            return dropped
        }
        if dropped > 0 {
            write(
                LogEvent(
                    level: .warning, message: "lines of the log were dropped: they came faster than they were read",
                    metadata: ["count": "\(dropped)"], source: "room", file: #fileID, function: #function, line: #line))
        }
        write(event)
    }

    private func write(_ event: LogEvent) {
        var all = metadata
        if let provided = metadataProvider?.get() { all.merge(provided) { $1 } }
        queue.append(LogLine.make(format, event, label: label, metadata: all, at: .now) + "\n")
    }
}
