import Logging
import RoomProtocol
import RoomServer
import Testing

/// Runs `body` beside a server on a free port, with several threads: most connections move between them. The server is
/// stopped afterwards, and must leave nothing in memory.
func withServer(
    _ configure: (inout RoomServerConfiguration) -> Void = { _ in },
    logger: Logger? = nil, isolation: isolated (any Actor)? = #isolation,
    _ body: (RoomServer) async throws -> Void
) async throws {
    var configuration = RoomServerConfiguration()
    configuration.threads = 3
    configure(&configuration)
    var quiet = Logger(label: "test")
    quiet.logLevel = .error
    try await expectNothingRemains(logger ?? quiet) { try await withServer(configuration, $0, body) }
}

private func withServer(
    _ configuration: RoomServerConfiguration, _ logger: Logger, isolation: isolated (any Actor)? = #isolation,
    _ body: (RoomServer) async throws -> Void
) async throws {
    let server = RoomServer(configuration: configuration, logger: logger)
    let running = Task { try await server.run() }
    do {
        _ = try await server.address
        try await body(server)
    } catch {
        running.cancel()
        _ = await running.result
        throw error
    }
    running.cancel()
    try await running.value
}

/// Starts a server that gives its clients 20 s to close, and joins its first participant.
func closingServer() async throws -> (RoomServer, running: Task<Void, any Error>, ann: TestClient) {
    var configuration = RoomServerConfiguration()
    configuration.limits.closeTimeout = .seconds(20)
    let server = RoomServer(configuration: configuration, logger: Logger(label: "test"))
    let running = Task { try await server.run() }
    return (server, running, try await TestClient.join(server, "ann", .host))
}
