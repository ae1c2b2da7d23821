internal import TransportPluginAPI

/// The loop as a task executor only.
///
/// `TransportLoop` is a serial executor too and runs its jobs isolated to itself: a task that merely prefers it would leave that
/// isolation at each `await` by way of the loop's queue.
final class LoopTaskExecutor: TaskExecutor {
    private let loop: TransportLoop

    init(_ loop: TransportLoop) { self.loop = loop }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        loop.execute { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}
