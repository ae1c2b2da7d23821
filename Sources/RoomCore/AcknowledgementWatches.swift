/// Detects that what was sent to a participant is not acknowledged, on whichever channel.
struct AcknowledgementWatches: Sendable {
    private let interval: Duration
    private var watches: [3 of AcknowledgementWatch] = .init(repeating: AcknowledgementWatch())
    private var isUnacknowledged = false
    /// The timer runs: something is outstanding.
    private(set) var isRunning = false

    /// `patience`: how long data may go unacknowledged until it is told.
    init(patience: Duration) { interval = patience / AcknowledgementWatch.patience }

    /// The connection has ended, and the timer is void.
    mutating func detached() { self = AcknowledgementWatches(interval: interval) }

    private init(interval: Duration) { self.interval = interval }

    /// Something was sent. `acknowledged`: of each channel, as for a sample. Returns after how long to look.
    mutating func begin(acknowledged: [3 of UInt64?]) -> Duration {
        isRunning = true
        sample(acknowledged)
        return interval
    }

    /// Returns after how long to look again (nil: nothing is outstanding), and whether acknowledgements are missing,
    /// where that has changed.
    mutating func timerFired(acknowledged: [3 of UInt64?]) -> (after: Duration?, isMissing: Bool?) {
        sample(acknowledged)
        isRunning = acknowledged.indices.contains { acknowledged[$0] != nil }
        let delay = isRunning ? interval : nil
        let isMissing = watches.indices.contains { watches[$0].isUnacknowledged }
        guard isMissing != isUnacknowledged else { return (delay, nil) }
        isUnacknowledged = isMissing
        return (delay, isMissing)
    }

    private mutating func sample(_ acknowledged: [3 of UInt64?]) {
        for index in watches.indices { watches[index].sample(acknowledged: acknowledged[index]) }
    }
}
