internal import CGLib
internal import Glibc
internal import TransportPluginAPI

/// All GLib contexts of one loop: their descriptors in one set, and the list of contexts to run. The loop keeps it.
final class GLibContexts: LoopSource {
    unowned let loop: TransportLoop
    /// GLib's descriptors, in a separate set: GLib closes descriptors and reuses their numbers at any time, and
    /// libnice's descriptors may be watched elsewhere on the loop as well.
    private let epoll: Int32
    private var watch: LoopWatch?
    private var contexts: [GLibContext?] = []
    private var freeSlots: [Int] = []
    /// The slot of the context that owns a descriptor of the set.
    private var owners: [Int32: Int] = [:]
    /// The contexts to run.
    private var due: [GLibContext] = []
    private var running: [GLibContext] = []
    private var isRunning = false
    private var lastAsked = Timestamp.zero
    private var endHandlers: [ObjectIdentifier: () -> Void] = [:]
    /// The buffer that GLib fills in.
    var descriptors: UnsafeMutableBufferPointer<GPollFD> = .allocate(capacity: 32)

    /// Returns the contexts of `loop`. Throws `.resourceExhausted`.
    static func of(_ loop: TransportLoop) throws(TransportError) -> GLibContexts {
        if let contexts = loop.source(ofType: GLibContexts.self) { return contexts }
        let contexts = try GLibContexts(loop: loop)
        loop.attach(contexts)
        return contexts
    }

    private init(loop: TransportLoop) throws(TransportError) {
        let epoll = CGLib_epoll_create()
        guard epoll >= 0 else {
            throw TransportError(
                .resourceExhausted, "epoll for GLib on loop '\(loop.name)': \(String(cString: strerror(errno)))")
        }
        self.loop = loop
        self.epoll = epoll
        watch = try loop.watch(epoll, for: .readable) { [unowned self] _ in collect() }
    }

    deinit {
        close(epoll)
        descriptors.deallocate()
    }

    // MARK: For the contexts

    func add(_ context: GLibContext) -> Int {
        guard let slot = freeSlots.popLast() else {
            contexts.append(context)
            return contexts.count - 1
        }
        contexts[slot] = context
        return slot
    }

    func remove(_ context: GLibContext) {
        contexts[context.slot] = nil
        freeSlots.append(context.slot)
    }

    /// Marks `context` to run before the loop sleeps.
    func setDue(_ context: GLibContext) {
        due.append(context)
        // End-of-turn work may run after the loop has called its sources: request one more turn.
        if !isRunning, lastAsked == loop.turnTime { loop.schedule(at: .zero) {} }
    }

    /// Adds a descriptor to the set, also when it is there already: its number may belong to another file by now, and
    /// the kernel removed the old one when it was closed.
    func watch(_ descriptor: Int32, _ events: UInt32, for slot: Int) {
        owners[descriptor] = slot
        _ = CGLib_epoll_put(epoll, descriptor, events, UInt32(slot))
    }

    /// Removes a descriptor, unless its number belongs to another context by now.
    func forget(_ descriptor: Int32, of slot: Int) {
        guard owners[descriptor] == slot else { return }
        owners[descriptor] = nil
        CGLib_epoll_drop(epoll, descriptor)
    }

    func atEnd(of owner: AnyObject, _ handler: (() -> Void)?) { endHandlers[ObjectIdentifier(owner)] = handler }

    // MARK: For the loop

    /// Marks the contexts whose descriptors are ready. They stay ready until the contexts run.
    private func collect() {
        withUnsafeTemporaryAllocation(of: UInt32.self, capacity: 64) { slots in
            let count = Int(CGLib_epoll_ready(epoll, slots.baseAddress, 64))
            for slot in slots.prefix(max(0, count)) where Int(slot) < contexts.count {
                contexts[Int(slot)]?.setNeedsPass()
            }
        }
    }

    func loopWillSleep() -> Timestamp? {
        lastAsked = loop.turnTime
        guard !due.isEmpty else { return nil }
        isRunning = true
        swap(&due, &running)
        for context in running { context.run() }
        running.removeAll(keepingCapacity: true)
        isRunning = false
        // Those that are still busy, or were woken by others: the rest of the loop gets a turn first.
        return due.isEmpty ? nil : .zero
    }

    func loopWillEnd() {
        for handler in Array(endHandlers.values) { handler() }
        // Final messages are sent and, within limits, answered: a TURN server learns that its allocation is free.
        let deadline = Timestamp.now() + GLibContext.endTimeout
        for context in contexts { context?.runAtEnd() }
        while !endHandlers.isEmpty, case let rest = deadline - .now(), rest > .zero {
            let next = contexts.compactMap { $0?.deadline }.min() ?? .distantFuture
            let wait = min(rest, max(.zero, next == .distantFuture ? rest : next - .now()))
            var event = pollfd(fd: epoll, events: Int16(POLLIN), revents: 0)
            poll(&event, 1, Int32(clamping: wait.saturatedNanoseconds / 1_000_000 + 1))
            for context in contexts { context?.runAtEnd() }
        }
        endHandlers = [:]
        for context in contexts { context?.end() }
        due = []
        watch?.cancel()
        watch = nil
    }
}
