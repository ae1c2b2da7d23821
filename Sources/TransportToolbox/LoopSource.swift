public import TransportValues

/// Another library's event loop that runs inside a `TransportLoop`, such as GLib's main context.
public protocol LoopSource: AnyObject {
    /// Called on the loop's thread before each sleep. Does the work that is due, updates the source's descriptor
    /// watches, and returns the time of the next call if nothing else wakes the loop (nil: never).
    func loopWillSleep() -> Timestamp?

    /// Called once on the loop's thread when the loop ends, before it drops its watches and timers. Releases everything
    /// that must be released on this thread. Does nothing by default.
    func loopWillEnd()
}

extension LoopSource {
    public func loopWillEnd() {}
}
