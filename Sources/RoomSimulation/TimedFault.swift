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
