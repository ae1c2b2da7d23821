import TransportValues

/// Allows `burst` at once and `rate` per second. Full at first.
struct TokenBucket: Sendable {
    private var tokens = Double.infinity
    private var updated = Timestamp.zero

    /// Takes `amount`, or all that the bucket can hold where that is less. False: there is not enough yet.
    mutating func take(_ amount: Int = 1, rate: Int, burst: Int, now: Timestamp) -> Bool {
        tokens = min(Double(burst), tokens + max(0, (now - updated).inSeconds) * Double(rate))
        updated = now
        let amount = Double(min(amount, burst))
        guard tokens >= amount else { return false }
        tokens -= amount
        return true
    }

    /// How long it takes until `amount` can be taken, as of the last call of `take`.
    func delay(of amount: Int, rate: Int, burst: Int) -> Duration {
        let missing = Double(min(amount, burst)) - tokens
        return missing > 0 ? .milliseconds(Int64((missing * 1000 / Double(max(rate, 1))).rounded(.up))) : .zero
    }
}

/// A participant's right to cost the server and the others something: of the session, over all of its connections. The
/// next participant under the same name goes on with it.
struct Allowance: Sendable {
    /// Messages.
    var messages = TokenBucket()
    /// Returns: hellos that resume, rejoin or take the name over.
    var returns = TokenBucket()
    /// Bytes that are sent again after resumes.
    var replays = TokenBucket()
    /// Bytes that tell the others of new metadata: of each update, for each receiver.
    var updates = TokenBucket()

    mutating func takeMessages(_ count: Int, _ effects: Effects) -> Bool {
        messages.take(
            count, rate: effects.limits.messagesPerSecond, burst: effects.limits.messageBurst, now: effects.now)
    }

    mutating func takeReturn(_ effects: Effects) -> Bool {
        returns.take(rate: effects.limits.returnsPerSecond, burst: effects.limits.returnBurst, now: effects.now)
    }

    mutating func takeReplay(_ bytes: Int, _ effects: Effects) -> Bool {
        replays.take(
            bytes, rate: effects.limits.replayBytesPerSecond, burst: effects.limits.replayBurst, now: effects.now)
    }

    /// Nil: it is paid for. Otherwise when it can be.
    mutating func takeUpdate(_ bytes: Int, _ effects: Effects) -> Timestamp? {
        let (rate, burst) = (effects.limits.updateBytesPerSecond, effects.limits.updateBurst)
        if updates.take(bytes, rate: rate, burst: burst, now: effects.now) { return nil }
        return effects.now + updates.delay(of: bytes, rate: rate, burst: burst)
    }
}
