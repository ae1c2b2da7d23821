internal import CommandLineIO
internal import Foundation
internal import Logging
internal import Synchronization
internal import TransportPluginAPI

/// Loggers of this command: to standard error, quiet by default.
enum LogLevels {
    private static let queue = OutputQueue(descriptor: 2)
    private static let isUsed = Locked(false)

    static func logger(_ level: String?) throws -> Logger {
        guard let level else { return Logger(label: "room") { _ in SwiftLogNoOpLogHandler() } }
        use(try checked(level))
        isUsed.withLock { $0 = true }
        return Logger(label: "room") { QueuedLogHandler(label: $0, queue: queue) }
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
/// dropped.
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

    init(label: String, queue: OutputQueue) {
        self.label = label
        self.queue = queue
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        guard !queue.isFull else { return }
        var all = metadata
        if let provided = metadataProvider?.get() { all.merge(provided) { $1 } }
        if let more = event.metadata { all.merge(more) { $1 } }
        let pairs = all.sorted { $0.key < $1.key }.map { " \($0.key)=\($0.value)" }.joined()
        let time = Date.now.formatted(.iso8601)
        let line = "\(time) \(event.level) \(label):\(pairs) [\(event.source)] \(event.message)"
        queue.append(VisibleText.escaping(line) + "\n")
    }
}
