internal import TransportValues

/// Whether the other side of a signaling connection is there: silence is answered by a ping, and no answer to it is
/// death.
///
/// A check that comes far too late says more about this process than about the connection (it was suspended or starved,
/// and what came meanwhile is still unread): it leads to a new ping, never to a death.
struct Liveness: Sendable {
    enum Verdict: Sendable, Hashable {
        case checkAt(Timestamp)
        case ping(id: UInt64, checkAt: Timestamp)
        case dead
    }
    private let interval: Duration
    private let deadline: Duration
    private let probeDeadline: Duration
    private let tolerance: Duration
    private var lastEvidence: Timestamp
    private var answerDue: Timestamp?
    private var wasLate = false
    private var lastPing: UInt64 = 0
    /// The ping whose answer comes behind everything that waited while this process did not run.
    private var catchUp: UInt64?

    /// Interval and deadline come from the server and are brought into a sane range.
    init(interval: Duration, deadline: Duration, probeDeadline: Duration, tolerance: Duration, now: Timestamp) {
        self.interval = min(max(interval, .milliseconds(100)), .seconds(300))
        self.deadline = min(max(deadline, .milliseconds(100)), .seconds(300))
        self.probeDeadline = probeDeadline
        self.tolerance = tolerance
        lastEvidence = now
    }

    /// When to check if nothing happens.
    var nextCheck: Timestamp { answerDue ?? lastEvidence + interval }

    /// A message has come. True when a ping was unanswered: the check moves.
    ///
    /// Single bytes would be evidence too, but transports tell of whole messages only: one that takes longer than
    /// `interval` and
    /// `deadline` together is taken for silence. The article Wire protocol says what that means for metadata.
    mutating func evidence(now: Timestamp) -> Bool {
        lastEvidence = now
        wasLate = false
        guard answerDue != nil else { return false }
        answerDue = nil
        return true
    }

    mutating func check(now: Timestamp) -> Verdict {
        let due = nextCheck
        guard now >= due else { return .checkAt(due) }
        return answerDue == nil ? ping(answerWithin: deadline, now: now) : .dead
    }

    /// To be asked first whatever has happened. Not nil when a check is far overdue, once in a row.
    mutating func checkLateness(now: Timestamp) -> Verdict? {
        guard now - nextCheck > tolerance, answerDue == nil || !wasLate else { return nil }
        if answerDue != nil { wasLate = true }
        return woke(now: now)
    }

    /// Whether what the other side has said lately may still be unread.
    var isCatchingUp: Bool { catchUp != nil }

    mutating func pong(id: UInt64) {
        if let ping = catchUp, id >= ping { catchUp = nil }
    }

    /// Asks now.
    mutating func probe(now: Timestamp) -> Verdict {
        if let answerDue, answerDue <= now + probeDeadline { return .checkAt(answerDue) }
        return ping(answerWithin: probeDeadline, now: now)
    }

    /// This machine has slept: an answer to an older ping may have come and gone. Asks anew.
    mutating func woke(now: Timestamp) -> Verdict {
        catchUp = lastPing + 1
        return ping(answerWithin: probeDeadline, now: now)
    }

    private mutating func ping(answerWithin limit: Duration, now: Timestamp) -> Verdict {
        lastPing += 1
        answerDue = now + limit
        return .ping(id: lastPing, checkAt: now + limit)
    }
}
