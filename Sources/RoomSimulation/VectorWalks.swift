internal import RoomCore

/// The recorded walks of the machines that a room's machine consists of, and of those that no simulation drives.
enum VectorWalks {
    static func record(seed: UInt64, steps: Int, on tape: VectorTape) {
        PeerWalks.ladder(seed: seed, steps: steps * 3, on: tape)
        PeerWalks.negotiation(seed: seed, steps: steps * 3, on: tape)
        PeerWalks.stall(seed: seed, steps: steps * 3, on: tape)
        PeerWalks.offers(seed: seed, steps: steps * 3, on: tape)
        signaling(seed: seed, steps: steps * 5, on: tape)
        session(seed: seed, steps: steps * 5, on: tape)
        outgoingRequests(seed: seed, steps: steps * 6, on: tape)
        incomingRequests(seed: seed, steps: steps * 4, on: tape)
        topics(seed: seed, steps: steps, on: tape)
        joinDeadline(seed: seed, steps: steps / 4, on: tape)
        pace(seed: seed, steps: steps * 4, on: tape)
        outgoingStreams(seed: seed, steps: steps * 4, on: tape)
        incomingStreams(seed: seed, steps: steps * 4, on: tape)
        for level in DeliveryLevel.allCases { delivery(seed: seed, level, steps: steps * 3, on: tape) }
    }
}
