internal import ArgumentParser
internal import CommandLineIO
internal import Logging

/// The metrics and the log of a room server.
struct MonitoringOptions: ParsableArguments {
    @Flag(help: "Serve GET /metrics on the public port, too: to everybody, in the text format of Prometheus.")
    var metrics = false

    @Option(help: "The form of the log: text, or json for one JSON object a line. Default: text.")
    var logFormat: String?

    /// Whether the public port has the metrics.
    func servesMetrics(_ settings: Settings) throws -> Bool { try metrics || settings.boolean("metrics") ?? false }

    /// The form of the log.
    func logFormat(_ settings: Settings) throws -> LogLine.Format {
        let text = try settings.string("logFormat")
        switch (logFormat.map(LogLine.Format.init), text.map(LogLine.Format.init)) {
        case (.some(let format?), _), (nil, .some(let format?)): return format
        case (.some(nil), _): throw CommandError(.usage, "--log-format must be text or json")
        case (nil, .some(nil)): throw settings.invalid("logFormat", "must be text or json")
        case (nil, nil): return .text
        }
    }

    /// Warns people, whatever the level of the log; a log for machines gets a record.
    func warn(_ text: String, _ settings: Settings, _ logger: Logger) throws {
        if try logFormat(settings) == .json {
            logger.warning("\(text)")
        } else {
            Output.printError("room: warning: \(text)")
        }
    }
}
