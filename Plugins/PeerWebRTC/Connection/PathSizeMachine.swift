internal import TransportPluginAPI

/// Decides how large packets may be (RFC 8899, with two sizes). Pure: time is an argument.
///
/// A message is cut into chunks when it is sent, and a chunk that was sent cannot be cut again: if the path drops
/// packets of its size, it never arrives. So chunks have half the size of a packet, and a packet holds two, until a
/// heartbeat of full size has been answered on this path, which takes a round trip. When three heartbeats of full size
/// stay unanswered, each sent together with one of half the size that was answered, packets become as small as the
/// chunks.
///
/// The path may shrink later, with chunks of full size on their way. If data makes no progress although the other side
/// answers, the path is probed again. If full-sized packets no longer arrive, the connection must be replaced.
struct PathSizeMachine: Equatable {
    enum Size: Equatable { case full, half }

    /// Heartbeats of full size that must be lost (RFC 8899 §5.1.2, MAX_PROBES).
    private static let attempts = 3
    /// The time that an answer may take, beyond three round trips.
    private static let answerTimeout = Duration.milliseconds(100)
    /// The time by which the answer to a heartbeat of full size may follow that to one of half the size.
    private static let grace = Duration.milliseconds(50)
    /// The longest pause between heartbeats while none is answered.
    private static let silentPause = Duration.seconds(5)
    /// The time without progress of data, at least eight round trips, after which the path is probed.
    private static let stall = Duration.seconds(1)
    /// The time after which a small path is probed again, since it may have grown (RFC 8899 §5.1.1,
    /// PMTU_RAISE_TIMER).
    private static let raiseInterval = Duration.seconds(600)
    /// The time after which a path may be probed again whose packet size was not the cause of a stall.
    private static let verifyInterval = Duration.seconds(10)

    enum Action: Equatable {
        /// Send a heartbeat of this size.
        case probe(Size)
        /// From now on messages are cut into `chunks`, and no packet is larger than `packets`.
        case use(chunks: Size, packets: Size)
        /// Replace the connection: data that was cut for the full size cannot arrive.
        case giveUp
    }

    private enum State: Equatable {
        /// Packets of full size arrive. Can transition to: probing.
        case full
        /// Only packets of half the size arrive. Can transition to: probing.
        case half
        /// Can transition to: full, half.
        case probing(Probe)
    }

    private struct Probe: Equatable {
        var reason: Reason
        var failures = 0
        /// Whether a heartbeat of half the size was sent with the one of full size, and was answered.
        var hasControl = false
        var isControlAnswered = false
        var pause: Duration
    }

    private enum Reason: Equatable {
        /// The path is new.
        case new
        /// Data makes no progress.
        case stall
        /// The path may have grown.
        case raise
    }

    private var state: State
    /// The time at which `timerFired` is due; nil while no answer is expected.
    private(set) var deadline: Timestamp?
    private var mayHoldFullChunks = false
    private var roundTrip = Duration.zero
    private var nextProbing: Timestamp
    private var progress: Progress?

    private struct Progress: Equatable {
        var acknowledged: UInt32
        var since: Timestamp
    }

    /// A connection came up at `now`; `pathChanged` comes next.
    init(at now: Timestamp, roundTrip: Duration?) {
        self.roundTrip = roundTrip ?? .zero
        nextProbing = now
        state = .full
    }

    /// The path has changed, or is the first one: its size is unknown.
    mutating func pathChanged(at now: Timestamp) -> [Action] {
        progress = nil
        return [.use(chunks: .half, packets: .full)] + startProbing(.new, at: now)
    }

    /// A heartbeat of this size has been answered.
    mutating func answered(_ size: Size, at now: Timestamp, roundTrip: Duration?) -> [Action] {
        self.roundTrip = roundTrip ?? self.roundTrip
        guard case .probing(var probe) = state else { return [] }
        switch size {
        case .half:
            probe.isControlAnswered = true
            deadline = now + Self.grace
            state = .probing(probe)
            return []
        case .full:
            state = .full
            deadline = nil
            mayHoldFullChunks = true
            progress = nil
            switch probe.reason {
            case .new, .raise: return [.use(chunks: .full, packets: .full)]
            case .stall:
                nextProbing = now + Self.verifyInterval
                return []
            }
        }
    }

    /// The deadline has passed.
    mutating func timerFired(at now: Timestamp) -> [Action] {
        guard case .probing(var probe) = state else {
            deadline = nil
            return []
        }
        if probe.isControlAnswered {
            probe.failures += 1
            probe.pause = pause
            guard probe.failures < (probe.reason == .raise ? 1 : Self.attempts) else {
                return foundSmall(probe.reason, at: now)
            }
        } else if probe.hasControl {
            probe.pause = min(probe.pause * 2, Self.silentPause)
        }
        probe.hasControl = true
        probe.isControlAnswered = false
        deadline = now + probe.pause
        state = .probing(probe)
        return [.probe(.full), .probe(.half)]
    }

    /// Data is outstanding. `acknowledged` is the last cumulative TSN (RFC 9260 §3.3.4), `lastEvidence` the time of the
    /// last packet from the other side.
    mutating func dataIsOutstanding(acknowledged: UInt32, lastEvidence: Timestamp, at now: Timestamp) -> [Action] {
        guard let last = progress, last.acknowledged == acknowledged else {
            progress = Progress(acknowledged: acknowledged, since: now)
            return raiseIfDue(at: now)
        }
        let isStalled = now - last.since >= max(Self.stall, roundTrip * 8)
        switch state {
        case .full:
            guard isStalled, lastEvidence > last.since, now >= nextProbing else { return [] }
            return startProbing(.stall, at: now)
        case .half:
            if isStalled, mayHoldFullChunks, lastEvidence > last.since { return [.giveUp] }
            return raiseIfDue(at: now)
        case .probing: return []
        }
    }

    /// Nothing is outstanding.
    mutating func dataIsAcknowledged() {
        progress = nil
        if case .half = state { mayHoldFullChunks = false }
    }

    /// Whether packets of full size do not arrive.
    var isSmall: Bool {
        switch state {
        case .full: false
        case .half: true
        case .probing(let probe): probe.reason == .raise
        }
    }

    private var pause: Duration { Self.answerTimeout + roundTrip * 3 }

    private mutating func startProbing(_ reason: Reason, at now: Timestamp) -> [Action] {
        deadline = now + pause
        state = .probing(Probe(reason: reason, pause: pause))
        return [.probe(.full)]
    }

    private mutating func raiseIfDue(at now: Timestamp) -> [Action] {
        guard case .half = state, now >= nextProbing else { return [] }
        return startProbing(.raise, at: now)
    }

    private mutating func foundSmall(_ reason: Reason, at now: Timestamp) -> [Action] {
        state = .half
        deadline = nil
        nextProbing = now + Self.raiseInterval
        // Progress since then shows whether a chunk of full size is on its way.
        progress = progress.map { Progress(acknowledged: $0.acknowledged, since: now) }
        return reason == .raise ? [] : [.use(chunks: .half, packets: .half)]
    }
}
