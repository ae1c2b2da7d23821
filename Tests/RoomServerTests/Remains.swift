import Logging
import Testing

/// Runs `body` with a logger for a server, and fails unless everything that holds the logger is freed when `body` has
/// returned: the server, its event loops with their rooms, its node of a cluster.
func expectNothingRemains(
    _ logger: Logger, isolation: isolated (any Actor)? = #isolation,
    sourceLocation: SourceLocation = #_sourceLocation, _ body: (Logger) async throws -> Void
) async throws {
    let (end, feed) = AsyncStream<Never>.makeStream()
    try await body(logger.with(Witness(feed)))
    let isFreed = await withTaskGroup { group in
        group.addTask {
            for await _ in end {}
            return !Task.isCancelled
        }
        group.addTask {
            try? await Task.sleep(for: .seconds(10))
            return false
        }
        defer { group.cancelAll() }
        return await group.next() == true
    }
    if !isFreed { Issue.record("a part of a server that has ended is still in memory", sourceLocation: sourceLocation) }
}

/// Finishes a stream when nothing holds it any more.
private final class Witness: Sendable {
    private let feed: AsyncStream<Never>.Continuation
    init(_ feed: AsyncStream<Never>.Continuation) { self.feed = feed }
    deinit { feed.finish() }
}

extension Logger {
    /// Returns a logger that does the same and holds the witness.
    fileprivate func with(_ witness: Witness) -> Logger {
        var logger = self
        logger.handler = WitnessHandler(witness: witness, handler: handler)
        return logger
    }
}

private struct WitnessHandler: LogHandler {
    let witness: Witness
    var handler: any LogHandler

    var metadata: Logger.Metadata {
        get { handler.metadata }
        set { handler.metadata = newValue }
    }
    var logLevel: Logger.Level {
        get { handler.logLevel }
        set { handler.logLevel = newValue }
    }
    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { handler[metadataKey: key] }
        set { handler[metadataKey: key] = newValue }
    }

    func log(event: LogEvent) { handler.log(event: event) }
}
