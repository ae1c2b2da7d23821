/// The work that other threads bring to a loop, and the loop's way to its end.
///
/// What is taken runs: the queue is closed in the same moment in which the loop looks at it for the last time.
struct LoopQueue: Sendable {
    enum Work {
        case job(UnownedJob)
        case task(UnownedJob, LoopTaskExecutor)
        case closure(@Sendable () -> Void)
    }

    /// How the loop goes on when it has nothing to do.
    enum Rest {
        /// It sleeps; `wake` tells when work comes.
        case sleep
        /// There is work: another turn.
        case turn
        /// It ends.
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

    /// Adds work. It is not taken once the loop has ended. `wake`: the loop sleeps.
    func push(_ work: Work) -> (isTaken: Bool, wake: Bool) {
        state.withLock { state in
            guard !state.isClosed else { return (false, false) }
            state.queue.append(work)
            guard state.isSleeping else { return (true, false) }
            state.isSleeping = false
            return (true, true)
        }
    }

    /// Asks the loop to end, and resumes `continuation` when it has. Returns whether the loop must be woken.
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

    /// Exchanges the work that is queued with `work`, which is empty.
    func take(_ work: inout [Work]) { state.withLock { swap(&$0.queue, &work) } }

    /// Decides about sleep, after everything else was done.
    func rest() -> Rest {
        state.withLock { state in
            let isEmpty = state.queue.isEmpty
            state.isSleeping = isEmpty && !state.isStopping
            state.isClosed = isEmpty && state.isStopping
            return !isEmpty ? .turn : state.isStopping ? .stop : .sleep
        }
    }

    /// The loop is awake.
    func wokeUp() { state.withLock { $0.isSleeping = false } }

    /// The loop has ended: whoever waits for that goes on.
    func end() {
        let ended = state.withLock { state in
            state.hasEnded = true
            defer { state.ended = [] }
            return state.ended
        }
        for continuation in ended { continuation.resume() }
    }
}

/// The executor of tasks that prefer a loop's thread. A task that runs on it keeps it, and it keeps the loop.
final class LoopTaskExecutor: TaskExecutor {
    private let loop: TransportLoop

    init(_ loop: TransportLoop) { self.loop = loop }

    func enqueue(_ job: consuming ExecutorJob) { loop.enqueue(UnownedJob(job), on: self) }
}
