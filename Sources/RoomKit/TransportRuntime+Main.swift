internal import Glibc
public import RoomConnection
public import TransportPluginAPI

extension TransportRuntime {
    /// Runs `body` as all of a program: as `withRunning`, but an error ends the process, with one sentence on standard
    /// error and status 1.
    ///
    /// ```swift
    /// await TransportRuntime.main(try RoomConfiguration(server: "ws://127.0.0.1:8080/")) { runtime in
    ///     let room = try await runtime.connect(toRoom: "lobby", as: "alice", host: true)
    ///     try await room.send("hello")
    /// }
    /// ```
    ///
    /// For small programs. Others call `withRunning`, which throws.
    ///
    /// - Parameters:
    ///   - configuration: The choices of the program; what making them throws ends the process, too.
    ///   - registry: The backends to choose from.
    ///   - body: The program.
    public nonisolated(nonsending) static func main(
        _ configuration: @autoclosure () throws -> RoomConfiguration, registry: TransportRegistry = .standard,
        _ body: nonisolated(nonsending) (TransportRuntime) async throws -> Void
    ) async {
        do {
            try await withRunning(try configuration(), registry: registry, body)
        } catch {
            StandardError.write("error: \((error as? RoomError)?.message ?? "\(error)")", mayWait: true)
            exit(1)
        }
    }
}
