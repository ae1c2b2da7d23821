internal import TransportPluginAPI

/// Decides when to ask the other side for a sign of life, and when its silence is worth telling. Pure: time is handed in.
///
/// Evidence is any datagram that DTLS authenticated. Silence counts only while something is outstanding: data without an
/// acknowledgement, or a probe. It counts from the last evidence or from when that something went out, whichever is later, so
/// that an idle peer that is written to does not look dead.
///
/// RFC 7675 would stop sending 30 s after the last consent. We go on with four probes a second instead, so that a peer that was
/// cut off for a minute is found again at once; each is a datagram of some 80 bytes to an address that had given consent.
struct LivenessMachine: Equatable {
    struct Settings: Equatable {
        /// Silence after which the first probe is sent, and the pause between probes.
        var probeInterval = Duration.milliseconds(250)
        /// The pause between probes of a suspect peer: how late its return may be noticed.
        var suspectInterval = Duration.milliseconds(100)
        /// Silence after which the peer is suspect; at least three round trips.
        var suspectAfter = Duration.milliseconds(750)
        /// An idle peer is asked this long after the last evidence.
        var idleInterval = Duration.seconds(5)
        /// After this long without evidence probes become rare (RFC 7675's 30 s).
        var quietAfter = Duration.seconds(30)
        var quietInterval = Duration.milliseconds(250)
        /// A timer that comes later than this shows that this side stood still: what came meanwhile is still to be read.
        var tolerance = Duration.milliseconds(100)
    }

    enum Action: Equatable {
        case probe
        case reportSuspect(since: Timestamp)
        case reportAlive
    }

    let settings: Settings
    private(set) var lastEvidence: Timestamp
    private(set) var isSuspect = false
    /// When the next call of `timerFired` is due.
    private(set) var deadline: Timestamp
    /// Since when something has been outstanding.
    private var waitingSince: Timestamp?
    private var lastProbe: Timestamp?
    /// Somebody asked, and waits for the answer.
    private var isAsked = false

    /// The connection came up at `now`, which is evidence.
    init(settings: Settings = Settings(), at now: Timestamp) {
        self.settings = settings
        lastEvidence = now
        deadline = now + settings.idleInterval
    }

    /// How long a suspect peer has been silent.
    func silence(at now: Timestamp) -> Duration? { isSuspect ? now - silentSince : nil }

    private var silentSince: Timestamp { max(lastEvidence, waitingSince ?? lastEvidence) }

    /// Whether `dataSent` changes anything.
    var isWaiting: Bool { waitingSince != nil }

    /// An authenticated datagram came in.
    @inline(__always)
    mutating func evidenceReceived(at now: Timestamp) -> Action? {
        lastEvidence = now
        guard isSuspect || isAsked else { return nil }
        isSuspect = false
        isAsked = false
        return .reportAlive
    }

    /// Data was sent while nothing was outstanding. The deadline moves.
    mutating func dataSent(at now: Timestamp) {
        guard waitingSince == nil else { return }
        waitingSince = now
        deadline = now + settings.probeInterval
    }

    /// Somebody wants to know now: the next evidence is reported, suspicion or not.
    mutating func probeRequested(at now: Timestamp) -> Action {
        isAsked = true
        probed(at: now)
        deadline = min(deadline, now + settings.probeInterval)
        return .probe
    }

    /// The deadline has come. `hasUnacknowledgedData`: whether data is outstanding now.
    mutating func timerFired(at now: Timestamp, hasUnacknowledgedData: Bool, roundTrip: Duration?) -> [Action] {
        if now > deadline + settings.tolerance {
            deadline = now + .milliseconds(20)
            return []
        }
        let isProbeOpen = lastProbe.map { $0 > lastEvidence } ?? false
        guard hasUnacknowledgedData || isProbeOpen else {
            waitingSince = nil
            deadline = lastEvidence + settings.idleInterval
            guard deadline <= now else { return [] }
            probed(at: now)
            deadline = now + settings.probeInterval
            return [.probe]
        }
        if waitingSince == nil { waitingSince = now }
        let silentSince = silentSince
        let silence = now - silentSince
        let patience = max(settings.suspectAfter, (roundTrip ?? .zero) * 3)

        var actions: [Action] = []
        if !isSuspect, silence >= patience {
            isSuspect = true
            actions.append(.reportSuspect(since: silentSince))
        }
        let interval =
            silence >= settings.quietAfter
            ? settings.quietInterval
            : isSuspect ? max(settings.suspectInterval, roundTrip ?? .zero) : settings.probeInterval
        // Probes of before the silence don't count.
        let earliest = max(silentSince + settings.probeInterval, (lastProbe ?? silentSince) + interval)
        if earliest <= now {
            probed(at: now)
            actions.append(.probe)
            deadline = now + interval
        } else {
            deadline = earliest
        }
        if !isSuspect { deadline = min(deadline, silentSince + patience) }
        if deadline <= now { deadline = now + .milliseconds(1) }
        return actions
    }

    private mutating func probed(at now: Timestamp) {
        lastProbe = now
        if waitingSince == nil { waitingSince = now }
    }
}
