package import TransportValues

/// The wrong tokens that came from each address, which limit how many can be tried.
package struct TokenGuesses: Sendable {
    /// The wrong tokens that an address may send at once, and per second.
    package static let burst = 10
    package static let rate = 1
    /// The addresses that are remembered. The oldest are forgotten first.
    package static let addresses = 1024

    private var buckets = BoundedMap<String, TokenBucket>(limit: addresses)

    package init() {}

    /// Returns whether an address has sent too many wrong tokens, so that none from it is checked now.
    package func isBlocked(_ address: String, at now: Timestamp) -> Bool {
        guard var bucket = buckets[address] else { return false }
        return !bucket.take(rate: Self.rate, burst: Self.burst, now: now)
    }

    /// Records a wrong token.
    package mutating func failed(_ address: String, at now: Timestamp) {
        var bucket = buckets[address] ?? TokenBucket()
        _ = bucket.take(rate: Self.rate, burst: Self.burst, now: now)
        buckets.insert(bucket, for: address)
    }
}
