@preconcurrency internal import Dispatch
internal import TransportPluginAPI

/// A thread for work that blocks: reading, hashing and writing files, one piece after the other, away from the
/// transport's loop and from the pool of Swift's tasks.
final class BlockingWorker: Sendable {
    private struct State {
        var jobs: [@Sendable () -> Void] = []
        var hasEnded = false
    }

    private let state = Locked(State())
    private let wake = DispatchSemaphore(value: 0)

    /// Throws when the system has no thread left.
    init() throws(TransferError) {
        let (state, wake) = (state, wake)
        let hasStarted = DetachedThread.start {
            while true {
                wake.wait()
                let (job, hasEnded) = state.withLock { state in
                    (state.jobs.isEmpty ? nil : state.jobs.removeFirst(), state.hasEnded)
                }
                if let job {
                    job()
                } else if hasEnded {
                    return
                }
            }
        }
        guard hasStarted else { throw TransferError(.file, "the system has no thread left for reading files") }
    }

    deinit {
        state.withLock { $0.hasEnded = true }
        wake.signal()
    }

    /// Runs `job` on the thread, behind those that wait already. It is not cancelled: a job is short.
    func run<Result: Sendable>(_ job: @escaping @Sendable () throws -> Result) async throws -> Result {
        try await begin(job).value
    }

    /// Runs `job` as `run` does. A job that takes long calls its argument now and then, which throws
    /// `CancellationError` once the task is cancelled.
    func runLong<Result: Sendable>(
        _ job: @escaping @Sendable (_ checkCancellation: () throws -> Void) throws -> Result
    ) async throws -> Result {
        let isCancelled = Locked(false)
        return try await withTaskCancellationHandler {
            try await run {
                try job { if isCancelled.withLock({ $0 }) { throw CancellationError() } }
            }
        } onCancel: {
            isCancelled.withLock { $0 = true }
        }
    }

    /// Begins `job` as `run` does, and returns at once.
    func begin<Result: Sendable>(_ job: @escaping @Sendable () throws -> Result) -> Job<Result> {
        let outcome = PendingOutcome<Swift.Result<Result, any Error>>()
        state.withLock { state in
            state.jobs.append { outcome.settle(.success(Swift.Result { try job() })) }
        }
        wake.signal()
        return Job(outcome: outcome)
    }

    /// A job that has begun.
    struct Job<Result: Sendable>: Sendable {
        fileprivate let outcome: PendingOutcome<Swift.Result<Result, any Error>>

        /// The job's result, or its error. At most one task waits for it, once.
        var value: Result {
            get async throws { try await outcome.value {}.get() }
        }
    }
}
