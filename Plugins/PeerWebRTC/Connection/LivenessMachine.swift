internal import TransportPluginAPI

/// Decides when to probe the other side, and when to report its silence. Pure: time is an argument.
///
/// Evidence of life is any datagram that DTLS has authenticated. Silence counts only while something is outstanding:
/// data without an acknowledgement, or a probe. It counts from the last evidence, or from the time when that was sent,
/// whichever is later. So an idle peer does not look dead as soon as data is sent to it.
///
/// RFC 7675 would stop sending 30 s after the last consent. This machine continues with at most four probes a second,
/// so that a peer that was cut off for a minute is found again at once. Each probe is a datagram of some 80 bytes to an
/// address that had given consent. After minutes, probes become rarer, down to one in five seconds.
struct LivenessMachine: Equatable {
    /// Silence after which the first probe is sent, and the pause between probes.
    private static let probeInterval = Duration.milliseconds(250)
    /// The pause between probes of a suspect peer, and so the delay with which its return may be noticed.
    private static let suspectInterval = Duration.milliseconds(100)
    /// Silence after which the peer is suspect; at least three round trips.
    private static let suspectAfter = Duration.milliseconds(750)
    /// The time after the last evidence at which an idle peer is probed, or a little earlier: at a multiple of
    /// `idleGrid`, so that all connections of a loop probe at the same time, and the loop can sleep in between.
    private static let idleInterval = Duration.milliseconds(2500)
    private static let idleGrid = Duration.milliseconds(500)
    /// After this long without evidence probes are limited (RFC 7675's 30 s): the pause is `quietInterval`, then a
    /// thousandth of the silence, and `quietLimit` in the end.
    private static let quietAfter = Duration.seconds(30)
    private static let quietInterval = Duration.milliseconds(250)
    private static let quietLimit = Duration.seconds(5)
    /// A timer that fires later than this shows that this side was suspended: datagrams that arrived meanwhile must
    /// still be read.
    private static let tolerance = Duration.milliseconds(100)
    /// The time for reading them, and how often it is granted without evidence in between, so that a side that is
    /// always late still decides.
    private static let grace = Duration.milliseconds(20)
    private static let graceLimit = 3

    enum Action: Equatable {
        case probe
        case reportSuspect(since: Timestamp)
        case reportAlive
    }

    private(set) var lastEvidence: Timestamp
    private(set) var isSuspect = false
    /// The time at which `timerFired` is due.
    private(set) var deadline: Timestamp
    /// The time since which something has been outstanding; nil when nothing is.
    private var waitingSince: Timestamp?
    private var lastProbe: Timestamp?
    /// The time at which this side last noticed that it had been suspended. Silence before it does not count.
    private var resumedAt: Timestamp
    /// The number of suspensions since the last evidence.
    private var suspensions = 0
    /// Whether a probe was requested, whose answer is reported.
    private var isProbeRequested = false

    /// The connection came up at `now`, which is evidence.
    init(at now: Timestamp) {
        lastEvidence = now
        resumedAt = now
        deadline = now
        deadline = idleDeadline
    }

    private var idleDeadline: Timestamp {
        let latest = lastEvidence + Self.idleInterval
        let grid = (Timestamp.zero + Self.idleGrid).nanoseconds
        return Timestamp(nanoseconds: latest.nanoseconds - latest.nanoseconds % max(grid, 1))
    }

    /// Returns the time for which a suspect peer has been silent.
    func silence(at now: Timestamp) -> Duration? { isSuspect ? now - silentSince : nil }

    private var silentSince: Timestamp { max(lastEvidence, waitingSince ?? lastEvidence, resumedAt) }

    /// Whether `dataSent` changes anything.
    var isWaiting: Bool { waitingSince != nil }

    /// An authenticated datagram came in.
    @inline(__always)
    mutating func evidenceReceived(at now: Timestamp) -> Action? {
        lastEvidence = now
        guard isSuspect || isProbeRequested else { return nil }
        isSuspect = false
        isProbeRequested = false
        return .reportAlive
    }

    /// Data was sent while nothing was outstanding. The deadline moves.
    mutating func dataSent(at now: Timestamp) {
        guard waitingSince == nil else { return }
        waitingSince = now
        deadline = now + Self.probeInterval
    }

    /// A probe was requested: the next evidence is reported, with or without suspicion.
    mutating func probeRequested(at now: Timestamp) -> Action {
        isProbeRequested = true
        probed(at: now)
        deadline = min(deadline, now + Self.probeInterval)
        return .probe
    }

    /// The deadline has passed. `hasUnacknowledgedData` says whether data is outstanding now.
    mutating func timerFired(at now: Timestamp, hasUnacknowledgedData: Bool, roundTrip: Duration?) -> [Action] {
        if now > deadline + Self.tolerance, wasSuspended(at: now) { return [] }
        let isProbeOpen = lastProbe.map { $0 > lastEvidence } ?? false
        guard hasUnacknowledgedData || isProbeOpen else {
            waitingSince = nil
            deadline = idleDeadline
            guard deadline <= now else { return [] }
            probed(at: now)
            deadline = now + Self.probeInterval
            return [.probe]
        }
        if waitingSince == nil { waitingSince = now }
        let silentSince = silentSince
        let silence = now - silentSince
        let threshold = max(Self.suspectAfter, (roundTrip ?? .zero) * 3)

        var actions: [Action] = []
        if !isSuspect, silence >= threshold {
            isSuspect = true
            actions.append(.reportSuspect(since: silentSince))
        }
        // After a suspension of this side, the other side is probed before its silence counts.
        let mustProbe = suspensions > 0 && !isSuspect && (lastProbe ?? .zero) < resumedAt
        // Probes from before the silence do not count.
        let earliest =
            mustProbe
            ? now
            : max(
                silentSince + Self.probeInterval,
                lastProbe.map { $0 + pause(after: $0 - silentSince, roundTrip) } ?? silentSince)
        if earliest <= now {
            probed(at: now)
            actions.append(.probe)
            deadline = now + pause(after: silence, roundTrip)
        } else {
            deadline = earliest
        }
        if !isSuspect { deadline = min(deadline, silentSince + threshold) }
        if deadline <= now { deadline = now + .milliseconds(1) }
        return actions
    }

    /// Returns the time from a probe, after so long a silence, to the next one.
    private func pause(after silence: Duration, _ roundTrip: Duration?) -> Duration {
        if silence >= Self.quietAfter {
            return min(max(Self.quietInterval, silence / 1000), Self.quietLimit)
        }
        return isSuspect ? max(Self.suspectInterval, roundTrip ?? .zero) : Self.probeInterval
    }

    /// Returns whether this side was suspended, and gets time to read before it judges.
    private mutating func wasSuspended(at now: Timestamp) -> Bool {
        if lastEvidence > resumedAt { suspensions = 0 }
        guard suspensions < Self.graceLimit else { return false }
        suspensions += 1
        if !isSuspect { resumedAt = now }
        deadline = now + Self.grace
        return true
    }

    private mutating func probed(at now: Timestamp) {
        lastProbe = now
        if waitingSince == nil { waitingSince = now }
    }
}
