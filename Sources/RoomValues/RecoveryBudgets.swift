/// The patience of each rung of the recovery ladder. The defaults suit almost everybody.
public struct RecoveryBudgets: Sendable, Hashable {
    /// Silence after which a path is replaced by a fresh one (an ICE restart). 250 ms to 60 s.
    public var silence: Duration = .seconds(2)
    /// As `silence`, after a change of this machine's network, a suspend, or `Room.reconnectNow()`, from the probe on;
    /// never more than `silence`. 100 ms to 60 s.
    public var probe: Duration = .milliseconds(500)
    /// A fresh path that is not up after this is tried again; one second more with every try. 250 ms to 60 s.
    public var restart: Duration = .milliseconds(2500)
    /// Once restarts brought a path over which nothing came for this long, the connection is rebuilt. 1 s to 10 min.
    public var rebuild: Duration = .seconds(15)
    /// The same where restarts find no path: a new connection would find none either, and the old one goes on at once
    /// when its path is back. `rebuild` to 1 h.
    public var rebuildWithoutPath: Duration = .seconds(60)
    /// How long a new connection may take before it is made anew. 1 s to 5 min.
    public var connect: Duration = .seconds(10)
    /// How long a participant is waited for that the room server does not know after its restart, if its connection
    /// does not work; not longer than the server's grace period. 0 to 1 h.
    public var absence: Duration = .seconds(60)
    /// Healthy paths that are renewed after a rejoin (``RejoinPolicy/all``), or before relay credentials end, are
    /// spread over this time. 0 to 60 s.
    public var spread: Duration = .seconds(1)
    /// How long a participant may be without a connection, or data to it without an acknowledgement, until the event
    /// ``RoomEvent/stalled(_:_:)`` tells why. 250 ms to 10 min.
    public var stall: Duration = .seconds(8)

    /// The defaults.
    public init() {}

    package func validate() throws(RoomError) {
        try check("recovery.silence", silence, .milliseconds(250), .seconds(60))
        try check("recovery.probe", probe, .milliseconds(100), .seconds(60))
        try check("recovery.restart", restart, .milliseconds(250), .seconds(60))
        try check("recovery.rebuild", rebuild, .seconds(1), .seconds(600))
        try check("recovery.rebuildWithoutPath", rebuildWithoutPath, rebuild, .seconds(3600))
        try check("recovery.connect", connect, .seconds(1), .seconds(300))
        try check("recovery.absence", absence, .zero, .seconds(3600))
        try check("recovery.spread", spread, .zero, .seconds(60))
        try check("recovery.stall", stall, .milliseconds(250), .seconds(600))
    }
}

/// The treatment of peer connections after a rejoin, when the room server has lost its state.
public enum RejoinPolicy: String, Sendable, CaseIterable {
    /// All paths are renewed, broken ones first, healthy ones spread over time and without a gap.
    case all
    /// Only those that are broken.
    case broken
    /// None; the recovery ladder alone decides.
    case none
}

/// The delays between attempts to reach the room server: exponential with full jitter, each delay random between zero
/// and the step.
public struct ReconnectBackoff: Sendable, Hashable {
    /// The first step; it doubles with every attempt. 1 ms to 60 s.
    public var base: Duration = .milliseconds(100)
    /// The longest step in the first half minute of an outage. `base` to 60 s.
    public var cap: Duration = .seconds(1)
    /// The longest step of all, reached as an outage grows old. `cap` to 10 min.
    public var maximum: Duration = .seconds(10)
    /// Attempts of one outage after which the room is given up. Nil: never. At least 1.
    public var attemptLimit: Int?

    /// The defaults.
    public init() {}

    package func validate() throws(RoomError) {
        try check("reconnect.base", base, .milliseconds(1), .seconds(60))
        try check("reconnect.cap", cap, base, .seconds(60))
        try check("reconnect.maximum", maximum, cap, .seconds(600))
        if let attemptLimit, attemptLimit < 1 {
            throw RoomError(.configuration, "reconnect.attemptLimit is \(attemptLimit); it must be at least 1, or nil")
        }
    }
}

private func check(
    _ name: String, _ value: Duration, _ least: Duration, _ most: Duration
) throws(RoomError) {
    guard value >= least, value <= most else {
        throw RoomError(.configuration, "\(name) is \(value); it must be from \(least) to \(most)")
    }
}
