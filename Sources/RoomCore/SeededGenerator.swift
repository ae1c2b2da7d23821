internal import TransportValues

/// A small, fast generator of random numbers (SplitMix64) whose whole state is its seed: the same seed gives the same
/// numbers.
///
/// Machines draw from one that is handed in, never from the system, so that every run can be replayed.
// `@usableFromInline`: without it, other modules cannot inline the methods of a type that is `package`.
@usableFromInline
package struct SeededGenerator: RandomNumberGenerator, Sendable, Hashable {
    @usableFromInline var state: UInt64

    @inlinable
    package init(seed: UInt64) { state = seed }

    @inlinable
    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// A duration between nothing and `limit`, both included.
    package mutating func duration(upTo limit: Duration) -> Duration {
        let nanoseconds = limit.saturatedNanoseconds
        return nanoseconds <= 0 ? .zero : .nanoseconds(Int64.random(in: 0...nanoseconds, using: &self))
    }
}
