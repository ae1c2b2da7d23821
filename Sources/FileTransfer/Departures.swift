internal import RoomConnection

/// Judges by a room's events whether a participant that has left may come back.
struct Departures: Sendable {
    /// This side has just come back. The events name those that have left meanwhile, all with the reason `left`: one
    /// that was given up is told in the same way.
    private var isComparing = false

    mutating func note(_ event: RoomEvent) {
        switch event {
        case .joined(let membership): isComparing = membership.kind != .first
        // Of signaling: the return is over.
        case .incident(let incident) where incident.participant == nil: isComparing = false
        default: break
        }
    }

    /// Whether a participant that leaves now may come back.
    func mayReturn(_ reason: LeaveReason) -> Bool { reason == .timedOut || reason == .left && isComparing }
}
