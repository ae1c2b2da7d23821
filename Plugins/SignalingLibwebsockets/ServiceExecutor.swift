#if Libwebsockets
    internal import TransportPluginAPI

    /// The thread that runs libwebsockets, for tasks that prefer it.
    final class ServiceExecutor: TaskExecutor {
        private let service: Service

        init(_ service: Service) { self.service = service }

        func enqueue(_ job: consuming ExecutorJob) {
            let job = UnownedJob(job)
            if !service.post(.job(job, self)) { runElsewhere(job) }
        }

        /// Runs a job on the pool when the thread has ended, since tasks that prefer it must continue.
        func runElsewhere(_ job: UnownedJob) { globalConcurrentExecutor.enqueue(job) }
    }
#endif
