public import TransportValues

/// Another library's event loop, run inside a `TransportLoop`: GLib's main context, for one.
public protocol LoopSource: AnyObject {
    /// Called on the loop's thread before each sleep. Does the work that is due, brings the source's descriptor watches up
    /// to date, and returns the time at which it must be called again if nothing else wakes the loop (nil: never).
    func loopWillSleep() -> Timestamp?

    /// Called once on the loop's thread when the loop ends, before it forgets its watches and timers: gives back what must
    /// be given back on this thread. The default does nothing.
    func loopWillEnd()
}

extension LoopSource {
    public func loopWillEnd() {}
}
