internal import CLinux
internal import Glibc
internal import TransportValues

/// A watch on a descriptor. It belongs to the loop's thread.
public final class LoopWatch {
    private unowned let loop: TransportLoop
    /// The watched descriptor. Its owner closes it, after cancelling the watch.
    public let descriptor: Int32
    fileprivate let index: Int
    fileprivate let key: UInt64
    fileprivate var handler: ((TransportLoop.Readiness) -> Void)?

    /// The readiness for which the handler is called. `failed` is always reported.
    public var interest: TransportLoop.Readiness {
        didSet { if interest != oldValue, handler != nil { loop.update(self) } }
    }

    fileprivate init(
        loop: TransportLoop, descriptor: Int32, index: Int, generation: UInt32, interest: TransportLoop.Readiness,
        handler: @escaping (TransportLoop.Readiness) -> Void
    ) {
        self.loop = loop
        self.descriptor = descriptor
        self.index = index
        self.key = UInt64(generation & 0x7FFF_FFFF) << 32 | UInt64(index)
        self.interest = interest
        self.handler = handler
    }

    /// Ends the watch: its handler no longer runs. Idempotent, also from inside the handler.
    public func cancel() {
        guard handler != nil else { return }
        handler = nil
        loop.remove(self)
    }
}

/// The epoll set of a loop, with the watches in it.
///
/// A watch is found by its slot. The slot's generation distinguishes it from earlier watches in the same slot: events
/// of a cancelled watch may still be among those that were read.
struct WatchSet {
    private struct Slot {
        var watch: LoopWatch?
        var generation: UInt32 = 0
    }

    private let epoll: Int32
    private var slots: [Slot] = []
    private var freeSlots: [Int] = []

    init(epoll: Int32) { self.epoll = epoll }

    /// Adds a watch. Throws `.invalidArgument` for a descriptor that epoll refuses.
    mutating func add(
        _ descriptor: Int32, for interest: TransportLoop.Readiness, on loop: TransportLoop,
        _ handler: @escaping (TransportLoop.Readiness) -> Void
    ) throws(TransportError) -> LoopWatch {
        let index: Int
        if let free = freeSlots.popLast() {
            index = free
        } else {
            index = slots.count
            slots.append(Slot())
        }
        let watch = LoopWatch(
            loop: loop, descriptor: descriptor, index: index, generation: slots[index].generation, interest: interest,
            handler: handler)
        guard CLinux_epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, interest.epollEvents, watch.key) == 0 else {
            freeSlots.append(index)
            throw TransportError(
                .invalidArgument, "cannot watch descriptor \(descriptor): \(String(cString: strerror(errno)))")
        }
        slots[index].watch = watch
        return watch
    }

    /// Updates the system's set with the watch's current interest.
    func update(_ watch: LoopWatch) {
        _ = CLinux_epoll_ctl(epoll, EPOLL_CTL_MOD, watch.descriptor, watch.interest.epollEvents, watch.key)
    }

    mutating func remove(_ watch: LoopWatch) {
        guard watch.index < slots.count, slots[watch.index].watch === watch else { return }
        _ = CLinux_epoll_ctl(epoll, EPOLL_CTL_DEL, watch.descriptor, 0, 0)
        slots[watch.index].watch = nil
        slots[watch.index].generation &+= 1
        freeSlots.append(watch.index)
    }

    /// Removes all watches. The descriptors stay in the epoll set, which is about to be closed.
    mutating func removeAll() { slots.removeAll() }

    /// Returns the handler of the watch for an event, or nil when the watch has been cancelled since.
    func handler(of event: CLinux_event) -> ((TransportLoop.Readiness) -> Void)? {
        let index = Int(event.key & 0xFFFF_FFFF)
        guard index < slots.count, let watch = slots[index].watch, watch.key == event.key else { return nil }
        return watch.handler
    }
}

extension TransportLoop.Readiness {
    fileprivate var epollEvents: UInt32 {
        (contains(.readable) ? EPOLLIN.rawValue : 0) | (contains(.writable) ? EPOLLOUT.rawValue : 0)
    }

    init(epollEvents: UInt32) {
        var readiness: Self = []
        if epollEvents & (EPOLLIN.rawValue | EPOLLHUP.rawValue) != 0 { readiness.insert(.readable) }
        if epollEvents & EPOLLOUT.rawValue != 0 { readiness.insert(.writable) }
        if epollEvents & (EPOLLERR.rawValue | EPOLLHUP.rawValue) != 0 { readiness.insert(.failed) }
        self = readiness
    }
}
