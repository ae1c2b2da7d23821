public import RoomConnection
public import ServiceLifecycle
public import TransportPluginAPI

/// The runtime as a service of a `ServiceGroup`.
///
/// Other services ask for `runtime`, which waits until the backends run: rooms cannot be asked for before. Graceful
/// shutdown leaves all rooms and stops the backends. A group shuts its services down in reverse order, so list this one
/// before those that use it.
///
/// ```swift
/// let transports = TransportRuntimeService(configuration)
/// let group = ServiceGroup(
///     services: [transports, Chat(transports)], gracefulShutdownSignals: [.sigterm], logger: logger)
/// try await group.run()
/// ```
public final class TransportRuntimeService: Service {
    private enum State {
        /// Not running yet; the tasks that wait, each under its own id.
        case waiting(next: UInt64, [UInt64: CheckedContinuation<Void, Never>])
        case running(TransportRuntime)
        case ended(RoomError)
    }

    private let configuration: RoomConfiguration
    private let registry: TransportRegistry
    private let state = Locked(State.waiting(next: 0, [:]))

    /// Creates a service that runs the backends that the configuration names. Starts nothing.
    public init(_ configuration: RoomConfiguration, registry: TransportRegistry = .standard) {
        self.configuration = configuration
        self.registry = registry
    }

    /// Runs the backends until graceful shutdown, or until the task is cancelled; then leaves all rooms. Once.
    ///
    /// Throws `RoomError` `.configuration` or `.unavailable`, as `TransportRuntime.withRunning` does.
    public func run() async throws {
        do {
            try await TransportRuntime.withRunning(configuration, registry: registry) { runtime in
                settle(.running(runtime))
                // Cancellation ends the wait, too.
                try? await gracefulShutdown()
                settle(.ended(RoomError(.left, "the runtime is stopping: no more rooms can be joined")))
            }
        } catch {
            settle(.ended(error as? RoomError ?? RoomError(.unavailable, "\(error)")))
            throw error
        }
    }

    /// The running runtime. Waits until `run()` has started the backends.
    ///
    /// Throws the error with which they did not start, `.left` when the service is shutting down, or `.cancelled`.
    public var runtime: TransportRuntime {
        get async throws(RoomError) {
            let id = state.withLock { state -> UInt64 in
                guard case .waiting(let next, let waiting) = state else { return 0 }
                state = .waiting(next: next + 1, waiting)
                return next
            }
            await withTaskCancellationHandler {
                await withCheckedContinuation { continuation in
                    let isWaiting = state.withLock { state in
                        guard case .waiting(let next, var waiting) = state, !Task.isCancelled else { return false }
                        waiting[id] = continuation
                        state = .waiting(next: next, waiting)
                        return true
                    }
                    if !isWaiting { continuation.resume() }
                }
            } onCancel: {
                let continuation = state.withLock { state -> CheckedContinuation<Void, Never>? in
                    guard case .waiting(let next, var waiting) = state else { return nil }
                    defer { state = .waiting(next: next, waiting) }
                    return waiting.removeValue(forKey: id)
                }
                continuation?.resume()
            }
            switch state.withLock({ $0 }) {
            case .running(let runtime): return runtime
            case .ended(let error): throw error
            case .waiting: throw RoomError(.cancelled, "waiting for the runtime was cancelled")
            }
        }
    }

    private func settle(_ new: State) {
        let waiting = state.withLock { state -> [CheckedContinuation<Void, Never>] in
            defer { state = new }
            guard case .waiting(_, let waiting) = state else { return [] }
            return Array(waiting.values)
        }
        for continuation in waiting { continuation.resume() }
    }
}
