internal import RoomValues
internal import TransportValues

/// Where the recovery of one peer connection stands.
enum RecoveryState: Sendable, Hashable {
    /// Nothing was begun. Can transition to: connecting.
    case idle
    /// A connection is being made. Can transition to: healthy, restarting, connecting (rebuild), delayed, held.
    case connecting(since: Timestamp, deadline: Timestamp)
    /// Evidence of life is there. Can transition to: planned, watching, restarting, delayed, connecting, held.
    case healthy
    /// As `healthy`, with a restart to come. Can transition to: healthy, watching, restarting, delayed, connecting,
    /// held.
    case planned(at: Timestamp, RoomIncident.Cause)
    /// Evidence is late, or was asked for. Can transition to: healthy, restarting, delayed, connecting, held.
    case watching(deadline: Timestamp, RoomIncident.Cause)
    /// A new path was asked for. Can transition to: healthy, restarting (again), connecting (rebuild), delayed, held.
    case restarting(RestartAttempts)
    /// A rebuild waits, for its turn or for a channel that is opened again. Can transition to: connecting, held,
    /// healthy.
    case delayed(until: Timestamp, RoomIncident.Cause)
    /// The step waits for signaling. Can transition to: restarting, connecting, delayed, healthy.
    case held(RecoveryRung, RoomIncident.Cause)

    /// When the state has had its time.
    var deadline: Timestamp? {
        switch self {
        case .idle, .healthy, .held: nil
        case .connecting(_, let deadline): deadline
        case .planned(let at, _): at
        case .watching(let deadline, _): deadline
        case .restarting(let restarting): restarting.deadline
        case .delayed(let until, _): until
        }
    }

    /// The restarts of which the next one is about to be made. `isAlive`: the path carries data.
    func attempts(_ cause: RoomIncident.Cause, isAlive: Bool, now: Timestamp) -> RestartAttempts {
        switch self {
        case .restarting(let attempts): return attempts
        case .healthy, .planned:
            var attempts = RestartAttempts(cause, now: now)
            attempts.isOptional = isAlive
            return attempts
        case .idle, .connecting, .watching, .delayed, .held: return RestartAttempts(cause, now: now)
        }
    }

    /// The status of a connection that was up before. `isAlive`: its path carries data as far as is known.
    func status(isAlive: Bool, path: PeerPath?, rebuilds: Int, since: Timestamp) -> PeerStatus {
        switch self {
        case .idle: .waiting
        case .connecting, .delayed: .recovering(.rebuild, attempt: rebuilds, since: since)
        case .healthy, .planned: .connected(path)
        case .watching: isAlive ? .connected(path) : .recovering(.wait, attempt: 1, since: since)
        case .restarting(let restarting):
            isAlive ? .connected(path) : .recovering(.restart, attempt: restarting.attempt, since: since)
        case .held(let rung, _): isAlive ? .connected(path) : .recovering(rung, attempt: 1, since: since)
        }
    }
}
