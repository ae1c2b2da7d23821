internal import CLinux
internal import Glibc
internal import Synchronization
public import TransportValues

/// One thread that owns C objects: an executor for actors (`taskExecutor`: for tasks), timers, and a watch on
/// descriptors.
///
/// A transport puts everything that belongs to one connection on one loop, so that a payload gets from the socket to
/// its receiver without a thread hop. The thread starts in `init` and ends in `shutdown()`.
///
/// **Isolation.** `enqueue`, `execute`, `run`, `isCurrent` and `shutdown` may be called from anywhere. Everything else
/// is for the loop's own thread and traps elsewhere: `schedule`, `watch`, `atEndOfTurn`, `attach`. Closures given to
/// the loop run on its thread, one at a time, and must not block.
///
/// **A turn** consists of ready descriptors, jobs, due timers, end-of-turn work, and the jobs that these queue. Then
/// the loop sleeps until the next of these.
///
/// SAFETY of `@unchecked Sendable`: `queue` has its own lock; all other state is touched only on the loop's thread.
public final class TransportLoop: SerialExecutor, @unchecked Sendable {
    /// The operations that a descriptor is ready for.
    public struct Readiness: OptionSet, Sendable {
        public let rawValue: UInt32
        public init(rawValue: UInt32) { self.rawValue = rawValue }
        /// `read` will not block.
        public static let readable = Readiness(rawValue: 1)
        /// `write` will not block.
        public static let writable = Readiness(rawValue: 2)
        /// Error or hang-up; reported whether requested or not.
        public static let failed = Readiness(rawValue: 4)
    }

    /// The thread's name, as shown by `top -H` (at most 15 bytes).
    public let name: String

    /// The maximum number of rounds, within one turn, of jobs that queue further jobs.
    private static let passes = 8

    private let queue = LoopQueue()
    private let epoll: Int32
    private let wakeup: Int32
    /// The thread's `pthread_t`; 0 once it has left the loop, since the system gives the number to another thread then.
    private let thread = Atomic<pthread_t>(0)
    @exclusivity(unchecked) private var working: [LoopQueue.Work] = []
    private var timers = TimerHeap()
    private var watches: WatchSet
    @exclusivity(unchecked) private var endOfTurn: [() -> Void] = []
    @exclusivity(unchecked) private var endOfTurnRunning: [() -> Void] = []
    private var sources: [any LoopSource] = []
    @exclusivity(unchecked) private var turnStart = Timestamp.zero

    /// Starts the thread. Throws `.resourceExhausted` when the system has no descriptor or thread left.
    public init(name: String) throws(TransportError) {
        self.name = name
        let epoll = CLinux_epoll_create()
        guard epoll >= 0 else {
            throw TransportError(.resourceExhausted, "epoll for loop '\(name)': \(String(cString: strerror(errno)))")
        }
        let wakeup = CLinux_eventfd()
        guard wakeup >= 0 else {
            close(epoll)
            throw TransportError(.resourceExhausted, "eventfd for loop '\(name)': \(String(cString: strerror(errno)))")
        }
        self.epoll = epoll
        self.wakeup = wakeup
        watches = WatchSet(epoll: epoll)
        // Edge-triggered: every write wakes the loop once, and the counter need not be read.
        _ = CLinux_epoll_ctl(epoll, EPOLL_CTL_ADD, wakeup, EPOLLIN.rawValue | EPOLLET.rawValue, UInt64.max)

        let start = ThreadStart(loop: self)
        var thread = pthread_t()
        let status = pthread_create(
            &thread, nil,
            { raw in
                // Ownership: retained by `passRetained` below, released here, once.
                let start = Unmanaged<ThreadStart>.fromOpaque(raw!).takeRetainedValue()
                let loop = start.loop
                loop.thread.store(pthread_self(), ordering: .relaxed)
                CLinux_set_thread_name(String(loop.name.utf8.prefix(15)) ?? "loop")
                sem_post(start.ready)
                loop.runUntilStopped()
                return nil
            }, Unmanaged.passRetained(start).toOpaque())
        guard status == 0 else {
            Unmanaged.passUnretained(start).release()
            close(epoll)
            close(wakeup)
            throw TransportError(.resourceExhausted, "thread for loop '\(name)': \(String(cString: strerror(status)))")
        }
        while sem_wait(start.ready) != 0 {}
        pthread_detach(thread)
    }

    deinit {
        close(epoll)
        close(wakeup)
    }

    // MARK: From any thread

    /// Whether the caller runs on the loop's thread.
    @inline(__always)
    public var isCurrent: Bool { thread.load(ordering: .relaxed) == pthread_self() }

    /// Traps unless the caller runs on the loop's thread.
    @inline(__always)
    public func preconditionIsCurrent() {
        precondition(isCurrent, "called on another thread than the transport loop that owns the object")
    }

    /// Runs `work` on the loop's thread in its next turn, in the order of the calls. Returns whether it was accepted:
    /// accepted work runs. After the loop has ended nothing is accepted, and `work` is dropped. Check the result when
    /// the work must wake a waiting task.
    @discardableResult
    public func execute(_ work: @escaping @Sendable () -> Void) -> Bool { push(.closure(work)) }

    /// Runs `work` on the loop's thread and returns its result. Do not call it on a loop that may have ended: the call
    /// would wait for ever. Use `runUnlessEnded(_:)` there.
    public func run<Result: Sendable>(_ work: @escaping @Sendable () -> Result) async -> Result {
        if isCurrent { return work() }
        return await withCheckedContinuation { continuation in
            execute { continuation.resume(returning: work()) }
        }
    }

    /// Runs `work` like `run(_:)`. When the loop has ended, returns nil and drops `work`.
    public func runUnlessEnded<Result: Sendable>(_ work: @escaping @Sendable () -> Result) async -> Result? {
        if isCurrent { return work() }
        return await withCheckedContinuation { continuation in
            let isTaken = execute { continuation.resume(returning: work()) }
            if !isTaken { continuation.resume(returning: nil) }
        }
    }

    /// Runs throwing `work` like `run(_:)`.
    public func runThrowing<Result: Sendable>(
        _ work: @escaping @Sendable () throws(TransportError) -> Result
    ) async throws(TransportError) -> Result {
        let outcome: Swift.Result<Result, TransportError> = await run {
            do throws(TransportError) { return .success(try work()) } catch { return .failure(error) }
        }
        return try outcome.get()
    }

    /// Ends the loop after the work that is queued now, and returns when its thread has left the loop. Idempotent.
    /// Close everything that lives on the loop first: pending timers and watches are dropped.
    public func shutdown() async {
        precondition(!isCurrent, "a transport loop cannot wait for itself")
        await withCheckedContinuation { continuation in
            if queue.stop(continuation) { wake() }
        }
    }

    public func enqueue(_ job: consuming ExecutorJob) { push(.job(UnownedJob(job))) }

    /// The loop as the executor of tasks: the nonisolated work of such a task runs on the loop's thread.
    ///
    /// It is a separate object, because the loop runs its own jobs isolated to itself: a task that merely prefers the
    /// thread would leave that isolation at each `await`, by way of the loop's queue.
    public var taskExecutor: any TaskExecutor { LoopTaskExecutor(self) }

    public func asUnownedSerialExecutor() -> UnownedSerialExecutor { UnownedSerialExecutor(ordinary: self) }

    public func checkIsolated() { preconditionIsCurrent() }

    // MARK: On the loop's thread

    /// The time at which this turn started; cheaper than `Timestamp.now()`, and precise enough for timers.
    public var turnTime: Timestamp { turnStart }

    /// Calls `handler` once at `deadline` or soon after, unless the timer is cancelled. Resolution: 1 ms.
    @discardableResult
    public func schedule(at deadline: Timestamp, _ handler: @escaping () -> Void) -> LoopTimer {
        preconditionIsCurrent()
        let timer = LoopTimer(deadline: deadline, handler: handler)
        timers.insert(timer)
        return timer
    }

    /// Schedules `handler` like `schedule(at:_:)`, `delay` from now.
    @discardableResult
    public func schedule(after delay: Duration, _ handler: @escaping () -> Void) -> LoopTimer {
        schedule(at: .now() + delay, handler)
    }

    /// Calls `handler` whenever `descriptor` is ready for `interest` (level-triggered), until the watch is cancelled.
    /// Cancel the watch before closing the descriptor. Throws `.invalidArgument` for a descriptor that epoll refuses.
    public func watch(
        _ descriptor: Int32, for interest: Readiness, _ handler: @escaping (Readiness) -> Void
    ) throws(TransportError) -> LoopWatch {
        preconditionIsCurrent()
        return try watches.add(descriptor, for: interest, on: self, handler)
    }

    /// Runs `work` once at the end of the current turn, such as flushing the output that the turn has gathered.
    public func atEndOfTurn(_ work: @escaping () -> Void) {
        preconditionIsCurrent()
        endOfTurn.append(work)
    }

    /// Embeds another library's event loop. The source is called before every sleep, until it is detached.
    public func attach(_ source: any LoopSource) {
        preconditionIsCurrent()
        sources.append(source)
    }

    /// Detaches a source. Unknown ones are ignored.
    public func detach(_ source: any LoopSource) {
        preconditionIsCurrent()
        sources.removeAll { $0 === source }
    }

    /// Returns the attached source of this type, if there is one, so that several backends on one loop can share it.
    public func source<Source: LoopSource>(ofType type: Source.Type) -> Source? {
        preconditionIsCurrent()
        for source in sources { if let source = source as? Source { return source } }
        return nil
    }

    // MARK: The thread

    func enqueue(_ job: UnownedJob, on executor: LoopTaskExecutor) { push(.task(job, executor)) }

    @discardableResult
    private func push(_ work: LoopQueue.Work) -> Bool {
        let (isTaken, mustWake) = queue.push(work)
        if mustWake { wake() }
        return isTaken
    }

    private func wake() {
        var one: UInt64 = 1
        _ = write(wakeup, &one, 8)
    }

    private func runUntilStopped() {
        let capacity = 64
        let events = UnsafeMutablePointer<CLinux_event>.allocate(capacity: capacity)
        defer { events.deallocate() }
        while true {
            turnStart = .now()
            runJobs()
            fireTimers()
            runEndOfTurn()
            // The jobs queued by these belong to the turn, within bounds: descriptors must get their turn too.
            for _ in 0..<Self.passes where runJobs() { runEndOfTurn() }
            var deadline = timers.next ?? .distantFuture
            for source in sources { deadline = min(deadline, source.loopWillSleep() ?? .distantFuture) }
            if !endOfTurn.isEmpty { runEndOfTurn() }
            deadline = min(deadline, timers.next ?? .distantFuture)

            let rest = queue.nextStep()
            if rest == .stop { break }
            let timeout = rest == .turn ? 0 : milliseconds(until: deadline)
            let count = CLinux_epoll_wait(epoll, events, Int32(capacity), timeout)
            if rest == .sleep { queue.wokeUp() }
            turnStart = .now()
            for index in 0..<max(0, Int(count)) { dispatch(events[index]) }
        }
        end()
    }

    /// Runs the work that is queued now. Returns false when there was none.
    @discardableResult
    private func runJobs() -> Bool {
        queue.take(&working)
        guard !working.isEmpty else { return false }
        for work in working {
            switch work {
            case .job(let job): job.runSynchronously(on: asUnownedSerialExecutor())
            case .task(let job, let executor): job.runSynchronously(on: executor.asUnownedTaskExecutor())
            case .closure(let closure): closure()
            }
        }
        working.removeAll(keepingCapacity: true)
        return true
    }

    private func fireTimers() {
        for timer in timers.removeDue(at: turnStart) {
            let handler = timer.handler
            timer.handler = nil
            handler?()
        }
    }

    private func runEndOfTurn() {
        while !endOfTurn.isEmpty {
            swap(&endOfTurn, &endOfTurnRunning)
            for work in endOfTurnRunning { work() }
            endOfTurnRunning.removeAll(keepingCapacity: true)
        }
    }

    private func dispatch(_ event: CLinux_event) {
        guard event.key != UInt64.max else { return }
        watches.handler(of: event)?(Readiness(epollEvents: event.events))
    }

    private func milliseconds(until deadline: Timestamp) -> Int32 {
        if deadline == .distantFuture { return -1 }
        let now = Timestamp.now().nanoseconds
        guard deadline.nanoseconds > now else { return 0 }
        return Int32(min((deadline.nanoseconds &- now &+ 999_999) / 1_000_000, 3_600_000))
    }

    private func end() {
        for source in sources { source.loopWillEnd() }
        timers.removeAll()
        watches.removeAll()
        sources.removeAll()
        thread.store(0, ordering: .relaxed)
        queue.end()
    }

    // MARK: For LoopWatch

    func update(_ watch: LoopWatch) {
        preconditionIsCurrent()
        watches.update(watch)
    }

    func remove(_ watch: LoopWatch) {
        preconditionIsCurrent()
        watches.remove(watch)
    }

    private final class ThreadStart {
        let loop: TransportLoop
        let ready = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)
        init(loop: TransportLoop) {
            self.loop = loop
            sem_init(ready, 0, 0)
        }
        deinit {
            sem_destroy(ready)
            ready.deallocate()
        }
    }
}
