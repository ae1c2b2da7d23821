package import TransportValues

/// A kind of faults.
package protocol TimedFaultKind: RawRepresentable<String>, Sendable {
    /// The name of the things that `TimedFault.node` and `other` number, for traces.
    static var victims: String { get }
}

/// Something that goes wrong in a simulation, at a time and for a while.
package struct TimedFault<Kind: TimedFaultKind>: Sendable, CustomStringConvertible {
    package var kind: Kind
    package var at: Timestamp
    package var duration: Duration = .zero
    package var node = 0
    package var other = 1
    /// A number that decides the rest. Of a partition: the participants on the one side, by bits.
    package var chance: UInt64 = 0

    package var description: String {
        "\(kind.rawValue) at \(at.seconds) for \(duration.inSeconds) s, \(Kind.victims) \(node) and \(other)"
    }
}

package typealias Fault = TimedFault<FaultKind>
package typealias ClusterFault = TimedFault<ClusterFaultKind>

/// The faults of chance of one run, and the time after them.
package struct FaultPlan<Kind: TimedFaultKind>: Sendable {
    package var count = 6
    /// Which kinds may happen.
    package var kinds: [Kind]
    /// Faults begin after everybody had time to join and meet, and are all healed when they end.
    package var begin: Duration
    package var end: Duration
    package var longest: Duration
    /// Afterwards everything must be well again within this.
    package var calm: Duration
    /// And stay well for this long.
    package var wellFor: Duration = .seconds(8)

    /// When everything must have been well for long enough.
    var deadline: Timestamp { .zero + end + calm + wellFor }
}
