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

/// Restarts of one path, one behind the other, until it is up.
struct RestartAttempts: Sendable, Hashable {
    let cause: RoomIncident.Cause
    private(set) var attempt = 0
    var deadline: Timestamp
    let startedAt: Timestamp
    private(set) var lastAt: Timestamp
    var isAnswered = false
    /// The path worked when the restart was begun, and nothing was asked of it: it goes on where no better one is
    /// found.
    var isOptional = false
    /// A fresh path was found: what is silent now is the connection over it.
    var hasPath = false

    /// Before the first attempt.
    init(_ cause: RoomIncident.Cause, now: Timestamp) {
        self.cause = cause
        deadline = now
        startedAt = now
        lastAt = now
    }

    /// Only a path that carries nothing speaks for a new connection. Where none is found, a new connection would find
    /// none either, and the old one goes on at once when its path is back.
    var isWorthRebuilding: Bool { isAnswered && hasPath }

    /// The other side has begun a round, which is the first attempt.
    mutating func joined(_ configuration: RecoveryConfiguration, now: Timestamp) {
        attempt = 1
        isAnswered = true
        deadline = now + configuration.budgets.restart
    }

    /// Another attempt. Each one has more time than the one before.
    mutating func begin(_ configuration: RecoveryConfiguration, now: Timestamp) {
        let wait = configuration.budgets.restart + configuration.restartBackoff * attempt
        attempt += 1
        lastAt = now
        deadline = now + min(wait, configuration.restartMaximum)
        guard isWorthRebuilding else { return }
        // Not beyond the time of the next rung.
        deadline = min(deadline, max(startedAt + configuration.budgets.rebuild, now + configuration.budgets.restart))
    }

    /// The next attempt is made at `time` at the latest.
    mutating func hurry(_ time: Timestamp) { deadline = min(deadline, time) }

    /// Whether the next rung has its turn.
    func hasHadItsTime(_ configuration: RecoveryConfiguration, now: Timestamp) -> Bool {
        let budgets = configuration.budgets
        return now - startedAt >= (isWorthRebuilding ? budgets.rebuild : budgets.rebuildWithoutPath)
    }
}
