public import RoomConnection
internal import TransportPluginAPI

extension TransportRuntime {
    /// Starts the backends that the configuration names, out of those of this package, runs `body`, and stops the
    /// backends.
    ///
    /// Throws as `withRunning(_:registry:_:)`.
    public nonisolated(nonsending) static func withRunning<Result>(
        _ configuration: RoomConfiguration,
        _ body: nonisolated(nonsending) (TransportRuntime) async throws -> Result
    ) async throws -> Result {
        try await withRunning(configuration, registry: .standard, body)
    }
}
