internal import NIOCore

extension EventLoopPromise<Void> {
    /// Waits until the promise is settled. It succeeds after `limit` at the latest, and when the task is cancelled.
    func settled(within limit: TimeAmount) async {
        let timer = futureResult.eventLoop.scheduleTask(in: limit) { succeed() }
        await withTaskCancellationHandler {
            try? await futureResult.get()
        } onCancel: {
            succeed()
        }
        timer.cancel()
    }
}
