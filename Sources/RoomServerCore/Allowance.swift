package import TransportValues

/// A token bucket: allows `burst` at once, then `rate` per second. It is full at first.
struct TokenBucket: Sendable {
    private var tokens = Double.infinity
    private var updated = Timestamp.zero

    /// Takes `amount`, or the bucket's capacity if that is less. Returns false, and takes nothing, when there is not
    /// enough yet.
    mutating func take(_ amount: Int = 1, rate: Int, burst: Int, now: Timestamp) -> Bool {
        tokens = min(Double(burst), tokens + max(0, (now - updated).inSeconds) * Double(rate))
        updated = now
        let amount = Double(min(amount, burst))
        guard tokens >= amount else { return false }
        tokens -= amount
        return true
    }

    /// Returns the time until `amount` can be taken, as of the last call of `take`.
    func delay(of amount: Int, rate: Int, burst: Int) -> Duration {
        let missing = Double(min(amount, burst)) - tokens
        return missing > 0 ? .milliseconds(Int64((missing * 1000 / Double(max(rate, 1))).rounded(.up))) : .zero
    }
}

/// The budgets of a participant for costs to the server and to the others. They belong to the session, over all of its
/// connections; the next participant under the same name inherits them.
struct Allowance: Sendable {
    /// The budget of messages.
    var messages = TokenBucket()
    /// The budget of returns: hellos that resume, rejoin or take over the name.
    var returns = TokenBucket()
    /// The budget of bytes that are sent again after resumes.
    var replays = TokenBucket()
    /// The budget of bytes of new metadata: those of each update, times its receivers.
    var updates = TokenBucket()

    mutating func takeReturn(_ effects: Effects) -> Bool {
        returns.take(rate: effects.limits.returnsPerSecond, burst: effects.limits.returnBurst, now: effects.now)
    }

    mutating func takeReplay(_ bytes: Int, _ effects: Effects) -> Bool {
        replays.take(
            bytes, rate: effects.limits.replayBytesPerSecond, burst: effects.limits.replayBurst, now: effects.now)
    }

    /// Returns nil when the update may be sent now, otherwise the time when it may be.
    mutating func takeUpdate(_ bytes: Int, _ effects: Effects) -> Timestamp? {
        let (rate, burst) = (effects.limits.updateBytesPerSecond, effects.limits.updateBurst)
        if updates.take(bytes, rate: rate, burst: burst, now: effects.now) { return nil }
        return effects.now + updates.delay(of: bytes, rate: rate, burst: burst)
    }
}

/// A token bucket that may be overdrawn: it takes what has come already, and says how long to wait for more.
package struct OverdrawableBudget: Sendable {
    private var tokens = Double.infinity
    private var updated = Timestamp.zero
    private let rate: Double
    private let burst: Double

    package init(rate: Int, burst: Int) {
        self.rate = Double(max(rate, 1))
        self.burst = Double(max(burst, 1))
    }

    /// Takes `amount`, and returns the time until the budget is positive again.
    package mutating func charge(_ amount: Int, at now: Timestamp) -> Duration {
        tokens = min(burst, tokens + max(0, (now - updated).inSeconds) * rate) - Double(amount)
        updated = now
        return tokens < 0 ? .milliseconds(Int64((-tokens * 1000 / rate).rounded(.up))) : .zero
    }

    /// Whether nothing is missing.
    package mutating func isFull(at now: Timestamp) -> Bool {
        _ = charge(0, at: now)
        return tokens >= burst
    }
}
