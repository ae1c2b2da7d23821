internal import CGLib
internal import Glibc
public import TransportPluginAPI

/// A GLib main context that runs inside a `TransportLoop`: libnice's sources on the thread of the transports.
///
/// Each user makes its own context: GLib examines every source of a context whenever one of them is ready, so a
/// thousand agents in one context would pay for each other. The loop's thread owns it permanently. It is the
/// thread-default context while it runs and within `asDefault`, so that asynchronous GIO calls answer on the loop. The
/// loop keeps it until `end()`, or until the loop ends.
///
/// **Isolation.** Everything is for the loop's thread. GLib's own functions may be called from any thread
/// (`g_source_attach`, `g_main_context_invoke`): GLib's wake-up descriptor is watched like every other.
///
/// **Cost.** A turn of the loop without any GLib event costs a comparison. GLib runs only when one of the context's
/// descriptors is ready, its next timeout has passed, or `setNeedsPass()` was called.
public final class GLibContext {
    /// The loop in which the context runs.
    public unowned let loop: TransportLoop
    /// The `GMainContext`. Borrowed: take your own reference (`g_main_context_ref`) to keep it beyond `end()`.
    public let mainContext: OpaquePointer

    private let contexts: GLibContexts
    private(set) var slot = 0
    private var registered: [(descriptor: Int32, events: UInt32)] = []
    private var wanted: [(descriptor: Int32, events: UInt32)] = []
    private var needsPass = false
    private var isInPass = false
    private var isEnding = false
    private var hasEnded = false
    /// The time at which GLib must run again if nothing else happens.
    private(set) var deadline = Timestamp.zero
    private var timer: LoopTimer?
    private var timerDeadline = Timestamp.distantFuture

    /// The number of GLib's passes. For tests: steady data flow must not raise it.
    public private(set) var passCount = 0

    /// How long the end of a loop waits for its users to release their resources.
    public static let endTimeout = Duration.milliseconds(250)

    /// The number of dispatches in one pass, after which the rest of the loop gets its turn.
    private static let maximumDispatches = 32

    /// Creates a context on `loop`, on which it is called. Throws `.resourceExhausted`.
    public init(on loop: TransportLoop) throws(TransportError) {
        let contexts = try GLibContexts.of(loop)
        let error = CGLib_try_wakeup()
        guard error == 0 else {
            throw TransportError(
                .resourceExhausted, "no descriptor for GLib on loop '\(loop.name)': \(String(cString: strerror(error)))"
            )
        }
        guard let mainContext = g_main_context_new() else {
            throw TransportError(.resourceExhausted, "GLib gave no main context for loop '\(loop.name)'")
        }
        self.loop = loop
        self.contexts = contexts
        self.mainContext = mainContext
        // Owned from now on: sources that other threads attach wake the loop only while there is an owner.
        g_main_context_acquire(mainContext)
        slot = contexts.add(self)
        setNeedsPass()
    }

    // MARK: For users of the C API

    /// Call this after every use of GLib or libnice outside of their own callbacks that may have added or changed a
    /// source: GLib does not notify the owner thread of its own changes.
    public func setNeedsPass() {
        loop.preconditionIsCurrent()
        // A running pass continues until nothing is left to do.
        guard !needsPass, !isInPass, !hasEnded else { return }
        needsPass = true
        contexts.setDue(self)
    }

    /// Runs `body` with this context as the thread's default, for calls that start something asynchronous.
    public func asDefault<Result>(_ body: () -> Result) -> Result {
        g_main_context_push_thread_default(mainContext)
        defer { g_main_context_pop_thread_default(mainContext) }
        return body()
    }

    /// Runs `handler` when the loop ends, to start releasing the resources of `owner`. `owner` calls `removeAtEnd` when
    /// that is done; the end waits for it, but no longer than `endTimeout`. The closure keeps its captures alive.
    public func atEnd(of owner: AnyObject, _ handler: @escaping () -> Void) {
        loop.preconditionIsCurrent()
        contexts.atEnd(of: owner, handler)
    }

    /// Removes the `atEnd` handler of the same object.
    public func removeAtEnd(of owner: AnyObject) {
        loop.preconditionIsCurrent()
        contexts.atEnd(of: owner, nil)
    }

    /// Releases the context. Remaining work in it is completed without waiting. May be called from inside a callback of
    /// a source. Idempotent.
    public func end() {
        loop.preconditionIsCurrent()
        guard !hasEnded else { return }
        if isInPass { isEnding = true } else { release() }
    }

    // MARK: For the contexts of the loop

    func run() {
        guard needsPass, !hasEnded else { return }
        pass()
    }

    func runAtEnd() {
        guard !hasEnded else { return }
        pass()
    }

    /// Runs GLib's own iteration, split up to keep the result of its last, empty round: what to wait for.
    private func pass() {
        passCount += 1
        isInPass = true
        g_main_context_push_thread_default(mainContext)
        let isDone = iterate()
        g_main_context_pop_thread_default(mainContext)
        isInPass = false
        guard !isEnding else { return release() }
        guard !isDone else { return }
        // Still busy: the rest of the loop gets a turn first.
        deadline = .zero
        needsPass = true
        contexts.setDue(self)
    }

    private func iterate() -> Bool {
        for _ in 0..<Self.maximumDispatches {
            needsPass = false
            var priority: gint = 0
            g_main_context_prepare(mainContext, &priority)
            var timeout: gint = -1
            let count = query(priority, &timeout)
            let descriptors = contexts.descriptors
            _ = g_poll(descriptors.baseAddress, guint(count), 0)
            if g_main_context_check(mainContext, priority, descriptors.baseAddress, gint(count)) == 0 {
                watchDescriptors(count)
                wait(until: timeout < 0 ? .distantFuture : .now() + .milliseconds(Int64(timeout)))
                return true
            }
            g_main_context_dispatch(mainContext)
            if isEnding { return true }
        }
        return false
    }

    private func query(_ priority: gint, _ timeout: inout gint) -> Int {
        while true {
            let descriptors = contexts.descriptors
            let count = Int(
                g_main_context_query(
                    mainContext, priority, &timeout, descriptors.baseAddress, gint(descriptors.count)))
            guard count > descriptors.count else { return max(0, count) }
            descriptors.deallocate()
            contexts.descriptors = .allocate(capacity: count * 2)
        }
    }

    /// Updates the set of descriptors.
    private func watchDescriptors(_ count: Int) {
        wanted.removeAll(keepingCapacity: true)
        for descriptor in contexts.descriptors.prefix(count) where descriptor.fd >= 0 {
            // GPollFD's events have the values of poll(2), and these have those of epoll.
            let events = UInt32(descriptor.events)
            if let index = wanted.firstIndex(where: { $0.descriptor == descriptor.fd }) {
                wanted[index].events |= events
            } else {
                wanted.append((descriptor.fd, events))
            }
        }
        for (descriptor, _) in registered where !wanted.contains(where: { $0.descriptor == descriptor }) {
            contexts.forget(descriptor, of: slot)
        }
        for (descriptor, events) in wanted { contexts.watch(descriptor, events, for: slot) }
        swap(&registered, &wanted)
    }

    /// Schedules the next pass. A timer that is too early is kept: it queries GLib, which mostly has another deadline
    /// by then.
    private func wait(until deadline: Timestamp) {
        self.deadline = deadline
        if let timer, timer.isPending, timerDeadline <= deadline { return }
        timer?.cancel()
        timer = nil
        guard deadline != .distantFuture else { return }
        timerDeadline = deadline
        timer = loop.schedule(at: deadline) { [unowned self] in
            timer = nil
            setNeedsPass()
        }
    }

    private func release() {
        guard !hasEnded else { return }
        hasEnded = true
        timer?.cancel()
        timer = nil
        for (descriptor, _) in registered { contexts.forget(descriptor, of: slot) }
        registered = []
        // Answers to cancelled calls.
        for _ in 0..<Self.maximumDispatches where g_main_context_iteration(mainContext, 0) == 0 { break }
        g_main_context_release(mainContext)
        g_main_context_unref(mainContext)
        contexts.remove(self)
    }
}
