internal import CGLib
internal import Glibc
public import TransportPluginAPI

/// A GLib main context that runs inside a `TransportLoop`: libnice's and libwebsockets' sources on the thread of the transports.
///
/// There is one per loop, made by the first `on(_:)`, kept by the loop, and given back when the loop ends. The context is owned
/// by the loop's thread for good and is its thread-default context, so that asynchronous GIO calls answer on the loop.
///
/// **Isolation.** Everything is for the loop's thread. GLib's own functions may be called from any thread
/// (`g_source_attach`, `g_main_context_invoke`): GLib's wake-up descriptor is watched like every other.
///
/// **Cost.** A turn of the loop in which nothing happened to GLib costs two comparisons. GLib is run only when one of its
/// descriptors is ready, its next timeout has passed, or `setNeedsPass()` was called.
public final class GLibContext: LoopSource {
    /// The loop that the context runs in.
    public unowned let loop: TransportLoop
    /// The `GMainContext`. Borrowed: take a reference of your own (`g_main_context_ref`) to keep it beyond the loop.
    public let mainContext: OpaquePointer
    /// A `GMainLoop` of the context, for libraries that ask for one (libwebsockets' `foreign_loops`). Never run it.
    public let mainLoop: OpaquePointer

    /// GLib's descriptors, in a set of their own: GLib closes descriptors and reuses their numbers as it likes, and what
    /// libwebsockets or libnice watch may be watched elsewhere on the loop as well.
    private let epoll: Int32
    private var watch: LoopWatch?
    private var registered: [Int32: UInt32] = [:]
    private var wanted: [Int32: UInt32] = [:]
    private var descriptors: UnsafeMutableBufferPointer<GPollFD> = .allocate(capacity: 32)

    private var needsPass = true
    private var isInPass = false
    private var deadline = Timestamp.zero
    private var lastAsked = Timestamp.zero
    private var endHandlers: [ObjectIdentifier: () -> Void] = [:]
    private var hasEnded = false

    /// How often GLib was run. For tests: steady data flow must not raise it.
    public private(set) var passCount = 0

    /// How long the end of a loop waits for its users to give back what they have.
    public static let endPatience = Duration.milliseconds(250)

    /// Dispatches of one pass, after which the rest of the loop gets its turn.
    private static let maximumDispatches = 32

    /// The context of `loop`, made if there is none yet. Throws `.resourceExhausted`.
    public static func on(_ loop: TransportLoop) throws(TransportError) -> GLibContext {
        if let context = loop.source(ofType: GLibContext.self) { return context }
        let context = try GLibContext(loop: loop)
        loop.attach(context)
        return context
    }

    private init(loop: TransportLoop) throws(TransportError) {
        let epoll = CGLib_epoll_create()
        guard epoll >= 0 else {
            throw TransportError(.resourceExhausted, "epoll for GLib on loop '\(loop.name)': \(errorText(errno))")
        }
        let error = CGLib_try_wakeup()
        guard error == 0 else {
            close(epoll)
            throw TransportError(
                .resourceExhausted, "no descriptor for GLib on loop '\(loop.name)': \(errorText(error))")
        }
        guard let mainContext = g_main_context_new(), let mainLoop = g_main_loop_new(mainContext, 0) else {
            close(epoll)
            throw TransportError(.resourceExhausted, "GLib gave no main context for loop '\(loop.name)'")
        }
        self.loop = loop
        self.epoll = epoll
        self.mainContext = mainContext
        self.mainLoop = mainLoop
        // Owned from now on: sources that other threads attach wake the loop only while there is an owner.
        g_main_context_acquire(mainContext)
        g_main_context_push_thread_default(mainContext)
        watch = try loop.watch(epoll, for: .readable) { [unowned self] _ in needsPass = true }
    }

    deinit {
        // Only where the loop never had it (`init` threw): otherwise `loopWillEnd` came first.
        release()
        descriptors.deallocate()
    }

    // MARK: For users of the C API

    /// To be called after every use of GLib, libnice or libwebsockets outside of their own callbacks that may have added or
    /// changed a source: GLib does not tell the thread that owns a context about what that thread itself does.
    public func setNeedsPass() {
        loop.preconditionIsCurrent()
        // A running pass goes on until nothing is left to do.
        guard !needsPass, !isInPass else { return }
        needsPass = true
        // End-of-turn work may run after the loop has asked its sources: ask for one more turn.
        if lastAsked == loop.turnTime { loop.schedule(at: .zero) {} }
    }

    /// Runs `handler` when the loop ends: it starts to give back what `owner` has. `owner` calls `removeAtEnd` when that is
    /// done; the end waits for it, but no longer than `endPatience`. The closure keeps alive what it captures.
    public func atEnd(of owner: AnyObject, _ handler: @escaping () -> Void) {
        loop.preconditionIsCurrent()
        endHandlers[ObjectIdentifier(owner)] = handler
    }

    /// Takes back `atEnd` of the same object.
    public func removeAtEnd(of owner: AnyObject) {
        loop.preconditionIsCurrent()
        endHandlers[ObjectIdentifier(owner)] = nil
    }

    // MARK: For the loop

    public func loopWillSleep() -> Timestamp? {
        lastAsked = loop.turnTime
        if needsPass || deadline <= lastAsked {
            pass()
        }
        return deadline == .distantFuture ? nil : deadline
    }

    public func loopWillEnd() {
        for handler in Array(endHandlers.values) { handler() }
        // Farewells are sent and, within limits, answered: a TURN server is told that its allocation is free.
        let patience = Timestamp.now() + Self.endPatience
        pass()
        while !endHandlers.isEmpty, case let rest = patience - .now(), rest > .zero {
            let wait = min(rest, max(.zero, deadline - .now()))
            var event = pollfd(fd: epoll, events: Int16(POLLIN), revents: 0)
            poll(&event, 1, Int32(clamping: wait.saturatedNanoseconds / 1_000_000 + 1))
            pass()
        }
        endHandlers = [:]
        release()
    }

    /// GLib's own iteration, taken apart to keep the result of its last, fruitless round: what to wait for.
    private func pass() {
        guard !hasEnded else { return }
        passCount += 1
        isInPass = true
        defer { isInPass = false }
        for _ in 0..<Self.maximumDispatches {
            needsPass = false
            var priority: gint = 0
            g_main_context_prepare(mainContext, &priority)
            var timeout: gint = -1
            let count = query(priority, &timeout)
            _ = g_poll(descriptors.baseAddress, guint(count), 0)
            if g_main_context_check(mainContext, priority, descriptors.baseAddress, gint(count)) == 0 {
                watchDescriptors(count)
                deadline = timeout < 0 ? .distantFuture : .now() + .milliseconds(Int64(timeout))
                return
            }
            g_main_context_dispatch(mainContext)
        }
        // Still busy: the rest of the loop gets a turn first.
        needsPass = true
        deadline = .zero
    }

    private func query(_ priority: gint, _ timeout: inout gint) -> Int {
        while true {
            let count = Int(
                g_main_context_query(
                    mainContext, priority, &timeout, descriptors.baseAddress, gint(descriptors.count)))
            guard count > descriptors.count else { return max(0, count) }
            descriptors.deallocate()
            descriptors = .allocate(capacity: count * 2)
        }
    }

    /// Brings the epoll set up to date. Every descriptor is put anew, even one that was there before: its number may belong
    /// to another file by now, and the kernel forgot the old one when it was closed.
    private func watchDescriptors(_ count: Int) {
        wanted.removeAll(keepingCapacity: true)
        for descriptor in descriptors.prefix(count) where descriptor.fd >= 0 {
            // GPollFD's events have the values of poll(2), and these have those of epoll.
            wanted[descriptor.fd, default: 0] |= UInt32(descriptor.events)
        }
        for descriptor in registered.keys where wanted[descriptor] == nil { CGLib_epoll_drop(epoll, descriptor) }
        for (descriptor, events) in wanted { _ = CGLib_epoll_put(epoll, descriptor, events) }
        swap(&registered, &wanted)
    }

    private func release() {
        guard !hasEnded else { return }
        hasEnded = true
        watch?.cancel()
        watch = nil
        close(epoll)
        g_main_loop_unref(mainLoop)
        g_main_context_pop_thread_default(mainContext)
        g_main_context_release(mainContext)
        g_main_context_unref(mainContext)
    }
}

private func errorText(_ code: Int32) -> String { String(cString: strerror(code)) }
