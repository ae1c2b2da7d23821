/// The work that other threads queue on a loop, and the state of the loop's end.
///
/// Accepted work runs: the queue is closed at the same moment at which the loop checks it for the last time.
struct LoopQueue: Sendable {
    enum Work {
        case job(UnownedJob)
        case task(UnownedJob, LoopTaskExecutor)
        case closure(@Sendable () -> Void)
    }

    /// The next step of a loop that has nothing to do.
    enum NextStep {
        /// The loop sleeps; `wake` reports new work.
        case sleep
        /// There is work: the loop takes another turn.
        case turn
        /// The loop ends.
        case stop
    }

    private struct State {
        var queue: [Work] = []
        var isSleeping = false
        var isStopping = false
        var isClosed = false
        var hasEnded = false
        var ended: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Locked(State())

    // MARK: From any thread

    /// Adds work. It is refused after the loop has ended. `wake` is true when the loop is asleep.
    func push(_ work: Work) -> (isTaken: Bool, wake: Bool) {
        state.withLock { state in
            guard !state.isClosed else { return (false, false) }
            state.queue.append(work)
            guard state.isSleeping else { return (true, false) }
            state.isSleeping = false
            return (true, true)
        }
    }

    /// Requests the loop's end, and resumes `continuation` when it has ended. Returns whether the loop must be woken.
    func stop(_ continuation: CheckedContinuation<Void, Never>) -> Bool {
        let (hasEnded, wake) = state.withLock { state -> (Bool, Bool) in
            if state.hasEnded { return (true, false) }
            state.ended.append(continuation)
            let wake = state.isSleeping && !state.isStopping
            state.isStopping = true
            return (false, wake)
        }
        if hasEnded { continuation.resume() }
        return wake
    }

    // MARK: On the loop's thread

    /// Exchanges the queued work for `work`, which is empty.
    func take(_ work: inout [Work]) { state.withLock { swap(&$0.queue, &work) } }

    /// Decides whether to sleep, after everything else is done.
    func nextStep() -> NextStep {
        state.withLock { state in
            let isEmpty = state.queue.isEmpty
            state.isSleeping = isEmpty && !state.isStopping
            state.isClosed = isEmpty && state.isStopping
            return !isEmpty ? .turn : state.isStopping ? .stop : .sleep
        }
    }

    /// Records that the loop is awake.
    func wokeUp() { state.withLock { $0.isSleeping = false } }

    /// Records that the loop has ended, and resumes the tasks that wait for it.
    func end() {
        let ended = state.withLock { state in
            state.hasEnded = true
            defer { state.ended = [] }
            return state.ended
        }
        for continuation in ended { continuation.resume() }
    }
}

/// The executor of tasks that prefer a loop's thread. Tasks keep their executor alive, and it keeps the loop alive.
final class LoopTaskExecutor: TaskExecutor {
    private let loop: TransportLoop

    init(_ loop: TransportLoop) { self.loop = loop }

    func enqueue(_ job: consuming ExecutorJob) { loop.enqueue(UnownedJob(job), on: self) }
}
