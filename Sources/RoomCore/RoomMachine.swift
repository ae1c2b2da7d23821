package import RoomProtocol
package import TransportPluginAPI

/// Every decision of one participant's stay in a room: signaling, session, negotiation and recovery of all peers.
///
/// A value without clock, I/O or randomness of its own: facts and the time go in, actions come out.
package struct RoomMachine: Sendable {
    /// `seed` from the system's randomness in production, fixed in tests.
    package init(_ configuration: RoomConfiguration, seed: UInt64) {
    }

    /// Takes in what has happened and says what to do, in order.
    package mutating func handle(_ event: Event, now: Timestamp) -> [Action] {
        []
    }

    /// The room has ended; nothing will come of any further event.
    package var isEnded: Bool { false }
    package var signalingStatus: SignalingStatus { .disconnected(cause: nil) }
    /// Nil before the first join.
    package var membership: Membership? { nil }
    /// Everybody else, in the order of their ids.
    package var participants: [Participant] { [] }
    package func peerStatus(of participant: ParticipantID) -> PeerStatus? { nil }
}
