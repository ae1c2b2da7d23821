internal import CommandLineIO
internal import Foundation
internal import Logging
internal import TransportPluginAPI

/// Loggers of this command: to standard error, quiet by default.
enum LogLevels {
    private static let queue = OutputQueue(descriptor: 2)
    private static let isUsed = Locked(false)

    static func logger(_ level: String?) throws -> Logger {
        guard let level else { return Logger(label: "room") { _ in SwiftLogNoOpLogHandler() } }
        guard let level = Logger.Level(rawValue: level.lowercased()) else {
            let all = Logger.Level.allCases.map(\.rawValue).joined(separator: ", ")
            throw CommandError(.usage, "'\(level)' is not a log level: write \(all)")
        }
        isUsed.withLock { $0 = true }
        var logger = Logger(label: "room") { QueuedLogHandler(label: $0, queue: queue) }
        logger.logLevel = level
        return logger
    }

    /// Writes the rest of the queue.
    static func finish() async { if isUsed.withLock({ $0 }) { await queue.finish(within: .seconds(1)) } }
}

/// Writes to a queue, since a loop must not wait for a paused terminal. Lines that do not fit into the queue are
/// dropped.
private struct QueuedLogHandler: LogHandler {
    var metadata: Logger.Metadata = [:]
    var metadataProvider: Logger.MetadataProvider?
    var logLevel = Logger.Level.info
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
