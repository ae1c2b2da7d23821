internal import RoomValues
internal import TransportValues

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
    mutating func bringForward(to time: Timestamp) { deadline = min(deadline, time) }

    /// Whether the next rung has its turn.
    func hasHadItsTime(_ configuration: RecoveryConfiguration, now: Timestamp) -> Bool {
        let budgets = configuration.budgets
        return now - startedAt >= (isWorthRebuilding ? budgets.rebuild : budgets.rebuildWithoutPath)
    }
}
