internal import Logging

/// The handler of the default logger: what is worth a person's attention, as plain lines on standard error.
struct NoticeLogHandler: LogHandler {
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.notice

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let metadata = metadata.merging(event.metadata ?? [:]) { $1 }
        let pairs = metadata.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }
        let facts = pairs.isEmpty ? "" : " (\(pairs.joined(separator: ", ")))"
        StandardError.write("room: \(event.message)\(facts)", mayWait: false)
    }
}
