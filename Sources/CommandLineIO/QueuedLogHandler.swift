internal import Foundation
package import Logging
internal import TransportPluginAPI

/// Writes to a queue, since a loop must not wait for a paused terminal. Lines that do not fit into the queue are
/// dropped; a line says how many. Those of one source, such as what an operator has done, have room of their own.
package struct QueuedLogHandler: LogHandler {
    package var metadata: Logger.Metadata = [:]
    package var metadataProvider: Logger.MetadataProvider?
    /// That of the command; a logger has no level of its own.
    package var logLevel: Logger.Level {
        get { level() }
        set {}
    }
    private let label: String
    private let queue: OutputQueue
    private let format: LogLine.Format
    private let level: @Sendable () -> Logger.Level
    private let keptSource: String
    /// Bytes in the queue over which lines of the kept source are dropped, too.
    private static let keptLimit = 16 << 20
    private static let dropped = Locked(0)

    /// - Parameters:
    ///   - level: Returns the level of the command.
    ///   - keptSource: The source of lines that a full queue takes.
    package init(
        label: String, queue: OutputQueue, format: LogLine.Format, level: @escaping @Sendable () -> Logger.Level,
        keptSource: String
    ) {
        self.label = label
        self.queue = queue
        self.format = format
        self.level = level
        self.keptSource = keptSource
    }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        let isKept = event.source == keptSource
        guard isKept ? queue.count < Self.keptLimit : !queue.isFull else { return Self.dropped.withLock { $0 += 1 } }
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
