internal import CLinux
internal import Glibc
internal import TransportPluginAPI

/// A bounded queue in front of a descriptor, written by its own thread, so that a slow reader blocks nothing else.
///
/// `append` accepts everything. Over the limit `isFull` is true, and the producers of text should be held back.
package final class OutputQueue: Sendable {
    private struct State {
        var waiting: [UInt8] = []
        /// Bytes in `waiting`, plus those that are being written.
        var count = 0
        var isFull = false
        var isHoldingBack = true
        var isFinished = false
        /// Whether the thread has ended: everything is written, or the reader is gone.
        var hasEnded = false
        var isReaderGone = false
        var writers: [CheckedContinuation<Void, Never>] = []
        var finishers: [Int: CheckedContinuation<Void, Never>] = [:]
        var lastFinisher = 0
    }

    private let descriptor: Int32
    private let limit: Int
    /// The eventfd that wakes the thread.
    private let wake: Int32
    private let onPressureChange: @Sendable () -> Void
    private let onReaderGone: @Sendable () -> Void
    private let state = Locked(State())

    /// - Parameters:
    ///   - limit: Bytes at which the queue is full. It is open again at half of that.
    ///   - onPressureChange: Called on any thread when the queue has become full or open again: see `isFull`.
    ///   - onReaderGone: Called once, on the queue's thread, when nobody reads any more, even while nothing is written.
    package init(
        descriptor: Int32, limit: Int = 1 << 20, onPressureChange: @escaping @Sendable () -> Void = {},
        onReaderGone: @escaping @Sendable () -> Void = {}
    ) {
        self.descriptor = descriptor
        self.limit = limit
        self.onPressureChange = onPressureChange
        self.onReaderGone = onReaderGone
        wake = CLinux_eventfd()
        startThread()
    }

    deinit { if wake >= 0 { close(wake) } }

    /// Whether producers of text should be held back.
    package var isFull: Bool { state.withLock { $0.isFull } }
    /// Bytes that are not written yet.
    package var count: Int { state.withLock { $0.count } }
    package var isReaderGone: Bool { state.withLock { $0.isReaderGone } }

    /// Adds text without waiting. It is dropped when the reader is gone or the queue is finished.
    package func append(_ text: String) {
        var text = text
        let (mustWake, hasFilled) = text.withUTF8 { bytes in
            state.withLock { state -> (Bool, Bool) in
                guard !state.isReaderGone, !state.isFinished else { return (false, false) }
                let mustWake = state.waiting.isEmpty
                state.waiting.append(contentsOf: bytes)
                state.count += bytes.count
                guard !state.isFull, state.count >= limit, state.isHoldingBack else { return (mustWake, false) }
                state.isFull = true
                return (mustWake, true)
            }
        }
        if mustWake { wakeThread() }
        if hasFilled { onPressureChange() }
    }

    /// Returns when the queue is open. For producers that make text only when there is room for it.
    package nonisolated(nonsending) func waitUntilOpen() async {
        await withCheckedContinuation { continuation in
            let isOpen = state.withLock { state -> Bool in
                guard state.isFull else { return true }
                state.writers.append(continuation)
                return false
            }
            if isOpen { continuation.resume() }
        }
    }

    /// Reports the queue as open from now on: the program is ending, and the rest of its output is bounded.
    package func stopHoldingBack() { open { $0.isHoldingBack = false } }

    /// Returns when everything is written, the reader is gone, or `deadline` has passed. Nothing can be appended
    /// afterwards.
    package nonisolated(nonsending) func finish(within deadline: Duration? = nil) async {
        let id = state.withLock { state -> Int in
            state.isFinished = true
            state.lastFinisher += 1
            return state.lastFinisher
        }
        wakeThread()
        let alarm = deadline.map { deadline in
            Task {
                try await Task.sleep(for: deadline)
                state.withLock { $0.finishers.removeValue(forKey: id) }?.resume()
            }
        }
        await withCheckedContinuation { continuation in
            let isDone = state.withLock { state -> Bool in
                if !state.hasEnded { state.finishers[id] = continuation }
                return state.hasEnded
            }
            if isDone { continuation.resume() }
        }
        alarm?.cancel()
    }

    private func open(_ change: (inout State) -> Void) {
        let (wasFull, writers) = state.withLock { state -> (Bool, [CheckedContinuation<Void, Never>]) in
            change(&state)
            guard state.isFull, state.count <= limit / 2 || !state.isHoldingBack || state.isReaderGone else {
                return (false, [])
            }
            state.isFull = false
            defer { state.writers = [] }
            return (true, state.writers)
        }
        for writer in writers { writer.resume() }
        if wasFull { onPressureChange() }
    }

    // MARK: The thread

    private func startThread() {
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        var thread = pthread_t()
        // Ownership: retained here, released by the thread.
        let queue = Unmanaged.passRetained(self)
        let result = pthread_create(
            &thread, &attributes,
            { context in
                guard let context else { return nil }
                Unmanaged<OutputQueue>.fromOpaque(context).takeRetainedValue().run()
                return nil
            }, queue.toOpaque())
        if result != 0 {
            // A system that cannot start a thread cannot run a reader either.
            queue.release()
            end(isReaderGone: true)
        }
    }

    private func run() {
        while true {
            let (batch, isFinished) = state.withLock { state -> ([UInt8], Bool) in
                var batch: [UInt8] = []
                swap(&batch, &state.waiting)
                return (batch, state.isFinished)
            }
            if batch.isEmpty {
                if isFinished { return end(isReaderGone: false) }
                guard wait() else { return end(isReaderGone: true) }
            } else {
                guard write(batch) else { return end(isReaderGone: true) }
            }
        }
    }

    /// Waits for text. Returns false when the reader is gone.
    private func wait() -> Bool {
        // On pipes, sockets and terminals, poll() reports that the other end is gone without being asked to.
        var watched = [
            pollfd(fd: wake, events: Int16(POLLIN), revents: 0), pollfd(fd: descriptor, events: 0, revents: 0),
        ]
        _ = poll(&watched, nfds_t(watched.count), wake < 0 ? 50 : -1)
        var value: UInt64 = 0
        _ = read(wake, &value, 8)
        return watched[1].revents & Int16(POLLERR | POLLHUP | POLLNVAL) == 0
    }

    /// Writes the bytes. Returns false when the reader is gone.
    private func write(_ bytes: [UInt8]) -> Bool {
        var start = 0
        while start < bytes.count {
            let written = bytes.withUnsafeBytes { bytes in
                Glibc.write(descriptor, bytes.baseAddress.map { $0 + start }, min(bytes.count - start, 65_536))
            }
            if written > 0 {
                start += written
                open { $0.count -= written }
            } else if written < 0, errno == EAGAIN {
                var watched = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                _ = poll(&watched, 1, -1)
            } else if written == 0 || errno != EINTR {
                return false
            }
        }
        return true
    }

    private func end(isReaderGone: Bool) {
        open { state in
            state.isReaderGone = isReaderGone
            state.waiting = []
            state.count = 0
        }
        let finishers = state.withLock { state in
            state.hasEnded = true
            defer { state.finishers = [:] }
            return Array(state.finishers.values)
        }
        for finisher in finishers { finisher.resume() }
        if isReaderGone { onReaderGone() }
    }

    private func wakeThread() {
        var one: UInt64 = 1
        _ = Glibc.write(wake, &one, 8)
    }
}
