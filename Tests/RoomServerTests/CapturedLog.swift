import Logging
import TransportPluginAPI

/// The lines that a logger would have written.
final class CapturedLog: Sendable {
    private let captured = Locked<[String]>([])
    private let level: Logger.Level

    init(_ level: Logger.Level = .trace) { self.level = level }

    var lines: [String] { captured.withLock { $0 } }

    var logger: Logger {
        var logger = Logger(label: "test") { [captured] _ in Handler(captured: captured) }
        logger.logLevel = level
        return logger
    }

    private struct Handler: LogHandler {
        let captured: Locked<[String]>
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.trace

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            let all = metadata.merging(event.metadata ?? [:]) { $1 }
            let pairs = all.sorted { $0.key < $1.key }.map { " \($0.key)=\($0.value)" }.joined()
            captured.withLock { $0.append("\(event.level) \(event.message)\(pairs)") }
        }
    }
}
