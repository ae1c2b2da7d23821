internal import Logging

/// The record of what was done through the admin API, in the log of the server.
///
/// Its lines are there at every level of the log. Their source is `source`: a log that drops lines when it is full
/// keeps these.
package struct AuditLog: Sendable {
    package static let source = "audit"

    private let logger: Logger

    init(_ logger: Logger) { self.logger = logger }

    /// Records what somebody has done or tried.
    ///
    /// - Parameters:
    ///   - action: The name of the change.
    ///   - actor: The address or the user that it came from.
    ///   - outcome: `done`, or the code of an error.
    ///   - details: What it was done to. Empty values are left out.
    func record(_ action: String, by actor: String, outcome: String, _ details: [String: String] = [:]) {
        var metadata: Logger.Metadata = ["action": "\(action)", "from": "\(actor)", "outcome": "\(outcome)"]
        for (name, value) in details where !value.isEmpty { metadata[name] = "\(value)" }
        logger.log(level: max(.notice, logger.logLevel), "admin", metadata: metadata, source: Self.source)
    }
}
