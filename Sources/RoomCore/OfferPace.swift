package import RoomProtocol
package import TransportValues

/// Decides when an offer of another participant is answered. Each one costs a new agent with sockets of its own, so
/// that their number per second is limited: of each participant, and of all together.
///
/// An offer that comes too soon waits. Of one participant only the newest does: the ones before it are dropped, and
/// nothing was made for them. Those who wait take their turns in the order in which they began to wait.
package struct OfferPace: Sendable {
    private struct Bucket: Sendable {
        let burst: Int
        let interval: Duration
        /// When as many offers as `burst` are allowed again.
        private var fullAt = Timestamp.zero

        init(burst: Int, interval: Duration) {
            self.burst = burst
            self.interval = interval
        }

        /// When the next one is allowed.
        var nextAt: Timestamp { fullAt - interval * (burst - 1) }

        mutating func take(now: Timestamp) { fullAt = max(fullAt, now) + interval }
    }

    private let configuration: RecoveryConfiguration
    private var all: Bucket
    private var buckets: [ParticipantID: Bucket] = [:]
    /// In the order in which they began to wait.
    private var waiting: [Signal] = []

    package init(_ configuration: RecoveryConfiguration) {
        self.configuration = configuration
        all = Bucket(burst: configuration.offerBurstOfAll, interval: configuration.offerIntervalOfAll)
    }

    /// When `next` has something to hand out; nil while nobody waits.
    package var nextDeadline: Timestamp? {
        waiting.lazy.map { nextAt($0.peer) }.min()
    }

    /// Whether the offer may be answered now. If not, it waits.
    package mutating func admits(_ offer: Signal, now: Timestamp) -> Bool {
        if let index = waiting.firstIndex(where: { $0.peer == offer.peer }) {
            let before = waiting[index]
            // What comes late of the same connection supersedes nothing.
            if before.connection != offer.connection || before.negotiation < offer.negotiation {
                waiting[index] = offer
            }
            return false
        }
        guard nextAt(offer.peer) <= now else {
            waiting.append(offer)
            return false
        }
        take(offer.peer, now: now)
        return true
    }

    /// The next of those who wait, when its time has come.
    package mutating func next(now: Timestamp) -> Signal? {
        guard let index = waiting.firstIndex(where: { nextAt($0.peer) <= now }) else { return nil }
        let offer = waiting.remove(at: index)
        take(offer.peer, now: now)
        return offer
    }

    /// The participant is gone.
    package mutating func forget(_ participant: ParticipantID) {
        buckets[participant] = nil
        waiting.removeAll { $0.peer == participant }
    }

    private func nextAt(_ participant: ParticipantID) -> Timestamp {
        max(all.nextAt, buckets[participant]?.nextAt ?? .zero)
    }

    private mutating func take(_ participant: ParticipantID, now: Timestamp) {
        all.take(now: now)
        let fresh = Bucket(burst: configuration.offerBurst, interval: configuration.offerInterval)
        buckets[participant, default: fresh].take(now: now)
    }
}
