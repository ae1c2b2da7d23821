internal import TransportPluginAPI

/// Decides how large packets may be (RFC 8899, with two sizes). Pure: time is handed in.
///
/// A message is cut into chunks when it is sent, and a chunk that was sent cannot be cut again: if the path drops
/// packets of its size, it never arrives. So chunks are of half a packet until a heartbeat of the full size was
/// answered on this path, which takes a round trip; a packet holds two of them meanwhile. When three heartbeats of full
/// size stay unanswered, each beside one of half the size that was answered, packets become as small as the chunks.
///
/// The path may shrink later, with chunks of full size on their way. Data without any progress while the other side
/// answers leads to the same question, and when the answer is that they don't come through, the connection must be made
/// anew.
struct PathSizeMachine: Equatable {
    enum Size: Equatable { case full, half }

    struct Settings: Equatable {
        /// Heartbeats of full size that must be lost (RFC 8899 §5.1.2, MAX_PROBES).
        var attempts = 3
        /// How long an answer may take, beyond three round trips.
        var patience = Duration.milliseconds(100)
        /// How much later than one of half its size a heartbeat of full size may be answered.
        var grace = Duration.milliseconds(50)
        /// The longest pause between heartbeats while none is answered.
        var silentPause = Duration.seconds(5)
        /// Data without progress for this long, and for eight round trips, leads to the question.
        var stall = Duration.seconds(1)
        /// The question is asked again this long after an answer: of a path that is small, whether it still is (RFC
        /// 8899 §5.1.1, PMTU_RAISE_TIMER), and of one whose packets are not the reason of a stall.
        var raiseInterval = Duration.seconds(600)
        var verifyInterval = Duration.seconds(10)
    }

    enum Action: Equatable {
        /// Send a heartbeat of this size.
        case probe(Size)
        /// From now on messages are cut into `chunks`, and no packet is larger than `packets`.
        case use(chunks: Size, packets: Size)
        /// Data that was cut for the full size cannot arrive.
        case giveUp
    }

    private enum State: Equatable {
        /// Packets of the full size come through. Can transition to: asking.
        case full
        /// Only smaller ones do. Can transition to: asking.
        case half
        /// Can transition to: full, half.
        case asking(Question)
    }

    private struct Question: Equatable {
        var reason: Reason
        var failures = 0
        /// A heartbeat of half the size went with the one of full size, and whether it was answered.
        var hasControl = false
        var isControlAnswered = false
        var pause: Duration
    }

    private enum Reason: Equatable {
        /// A path of which nothing is known.
        case new
        /// Data makes no progress.
        case stall
        /// It may have grown.
        case raise
    }

    let settings: Settings
    private var state: State
    /// The time at which `timerFired` is due; nil while no answer is waited for.
    private(set) var deadline: Timestamp?
    private var mayHoldFullChunks = false
    private var roundTrip = Duration.zero
    private var nextQuestion: Timestamp
    private var progress: Progress?

    private struct Progress: Equatable {
        var acknowledged: UInt32
        var since: Timestamp
    }

    /// A connection came up at `now`; `pathChanged` comes next.
    init(settings: Settings = Settings(), at now: Timestamp, roundTrip: Duration?) {
        self.settings = settings
        self.roundTrip = roundTrip ?? .zero
        nextQuestion = now
        state = .full
    }

    /// Asks for the size of a path of which nothing is known: the first one, or a new one.
    mutating func pathChanged(at now: Timestamp) -> [Action] {
        progress = nil
        return [.use(chunks: .half, packets: .full)] + ask(.new, at: now)
    }

    /// A heartbeat of this size was answered.
    mutating func answered(_ size: Size, at now: Timestamp, roundTrip: Duration?) -> [Action] {
        self.roundTrip = roundTrip ?? self.roundTrip
        guard case .asking(var question) = state else { return [] }
        switch size {
        case .half:
            question.isControlAnswered = true
            deadline = now + settings.grace
            state = .asking(question)
            return []
        case .full:
            state = .full
            deadline = nil
            mayHoldFullChunks = true
            progress = nil
            switch question.reason {
            case .new, .raise: return [.use(chunks: .full, packets: .full)]
            case .stall:
                nextQuestion = now + settings.verifyInterval
                return []
            }
        }
    }

    /// The deadline has come.
    mutating func timerFired(at now: Timestamp) -> [Action] {
        guard case .asking(var question) = state else {
            deadline = nil
            return []
        }
        if question.isControlAnswered {
            question.failures += 1
            question.pause = pause
            guard question.failures < (question.reason == .raise ? 1 : settings.attempts) else {
                return foundSmall(question.reason, at: now)
            }
        } else if question.hasControl {
            question.pause = min(question.pause * 2, settings.silentPause)
        }
        question.hasControl = true
        question.isControlAnswered = false
        deadline = now + question.pause
        state = .asking(question)
        return [.probe(.full), .probe(.half)]
    }

    /// Data is outstanding. `acknowledged`: the last cumulative TSN (RFC 9260 §3.3.4); `lastEvidence`:
    /// when something last came from the other side.
    mutating func dataIsOutstanding(acknowledged: UInt32, lastEvidence: Timestamp, at now: Timestamp) -> [Action] {
        guard let last = progress, last.acknowledged == acknowledged else {
            progress = Progress(acknowledged: acknowledged, since: now)
            return raiseIfDue(at: now)
        }
        let isStalled = now - last.since >= max(settings.stall, roundTrip * 8)
        switch state {
        case .full:
            guard isStalled, lastEvidence > last.since, now >= nextQuestion else { return [] }
            return ask(.stall, at: now)
        case .half:
            if isStalled, mayHoldFullChunks, lastEvidence > last.since { return [.giveUp] }
            return raiseIfDue(at: now)
        case .asking: return []
        }
    }

    /// Nothing is outstanding.
    mutating func dataIsAcknowledged() {
        progress = nil
        if case .half = state { mayHoldFullChunks = false }
    }

    /// Packets of full size were found not to come through.
    var isSmall: Bool {
        switch state {
        case .full: false
        case .half: true
        case .asking(let question): question.reason == .raise
        }
    }

    private var pause: Duration { settings.patience + roundTrip * 3 }

    private mutating func ask(_ reason: Reason, at now: Timestamp) -> [Action] {
        deadline = now + pause
        state = .asking(Question(reason: reason, pause: pause))
        return [.probe(.full)]
    }

    private mutating func raiseIfDue(at now: Timestamp) -> [Action] {
        guard case .half = state, now >= nextQuestion else { return [] }
        return ask(.raise, at: now)
    }

    private mutating func foundSmall(_ reason: Reason, at now: Timestamp) -> [Action] {
        state = .half
        deadline = nil
        nextQuestion = now + settings.raiseInterval
        // Progress since then shows whether a chunk of full size is on its way.
        progress = progress.map { Progress(acknowledged: $0.acknowledged, since: now) }
        return reason == .raise ? [] : [.use(chunks: .half, packets: .half)]
    }
}
