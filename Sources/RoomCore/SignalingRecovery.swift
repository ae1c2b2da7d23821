internal import RoomValues
internal import TransportValues

/// The record of one outage of signaling, from the loss of the connection until the room has us again.
///
/// Can transition: none → open (lost) → none (back, or the end).
struct SignalingRecovery: Sendable {
    private var incident: RoomIncident?
    private var attempts = 0

    /// A connection that had let us in is gone. Nothing where one is lost already, or was left in order.
    mutating func lost(_ failure: SignalingFailure?, now: Timestamp) {
        guard incident == nil, let failure else { return }
        attempts = 0
        incident = RoomIncident(
            participant: nil, cause: failure.cause, startedAt: now, endedAt: now, rung: nil, outcome: .recovered,
            steps: [RoomIncident.Step(.lost, at: now, cause: failure.cause, text: failure.description)])
    }

    /// A transport is being opened.
    mutating func attempted(now: Timestamp) {
        attempts += 1
        note(RoomIncident.Step(.attempt, at: now, number: attempts))
    }

    /// The transport is open; `hello` goes out.
    mutating func connected(now: Timestamp) { note(RoomIncident.Step(.connected, at: now)) }

    /// The server has let us in. The incident, where there was one.
    mutating func reconnected(isResumed: Bool, now: Timestamp) -> RoomIncident? {
        note(RoomIncident.Step(isResumed ? .resumed : .rejoined, at: now))
        return finish(.recovered, now: now)
    }

    /// The room has ended for us.
    mutating func ended(now: Timestamp) -> RoomIncident? { finish(.participantLeft, now: now) }

    private mutating func finish(_ outcome: RoomIncident.Outcome, now: Timestamp) -> RoomIncident? {
        guard var ended = incident else { return nil }
        incident = nil
        ended.endedAt = now
        ended.outcome = outcome
        return ended
    }

    /// Of a long outage, its beginning and its latest steps are kept.
    private mutating func note(_ step: RoomIncident.Step) {
        guard let count = incident?.steps.count else { return }
        if count >= RoomIncident.stepLimit { incident?.steps.remove(at: 1) }
        incident?.steps.append(step)
    }
}
