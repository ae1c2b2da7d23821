internal import RoomProtocol
internal import RoomValues
internal import TransportValues

/// The record of one peer's recoveries: the incident that is open, and the one that has ended and waits for its first
/// message.
///
/// Can transition: none → open → waiting (recovered, and data is expected) or none → none (data, or too late).
struct RecoveryRecord: Sendable {
    private let participant: ParticipantID
    private let firstDataBudget: Duration
    private var incident: RoomIncident?
    /// Has ended, and waits for its first message.
    private var healed: RoomIncident?
    /// The connection was broken, and nothing has come since.
    private(set) var expectsData = false
    /// A sign of life was asked for before there was an incident.
    private var probedAt: Timestamp?

    init(_ participant: ParticipantID, firstDataBudget: Duration) {
        self.participant = participant
        self.firstDataBudget = firstDataBudget
    }

    /// When the open incident began.
    var startedAt: Timestamp? { incident?.startedAt }
    /// When the incident that waits for its first message is reported without it.
    var deadline: Timestamp? { healed.map { $0.endedAt + firstDataBudget } }

    /// Begins the record of an incident unless one is open, and notes how far it goes.
    mutating func open(_ cause: RoomIncident.Cause, now: Timestamp, rung: RecoveryRung = .wait) {
        if incident == nil {
            // Where it began with a probe, that is when it began.
            let start = probedAt ?? now
            incident = RoomIncident(
                participant: participant, cause: cause, startedAt: start, endedAt: now, rung: rung, outcome: .recovered,
                steps: [RoomIncident.Step(.detected, at: start, cause: cause)])
            if probedAt != nil { note(.probed, now: start) }
        } else if let known = incident?.rung, rung > known {
            incident?.rung = rung
        }
    }

    /// A sign of life is asked for.
    mutating func probed(now: Timestamp) { if incident == nil { probedAt = now } else { note(.probed, now: now) } }

    mutating func note(_ kind: RoomIncident.Step.Kind, now: Timestamp, _ cause: RoomIncident.Cause? = nil) {
        guard let count = incident?.steps.count, count < RoomIncident.stepLimit else { return }
        incident?.steps.append(RoomIncident.Step(kind, at: now, cause: cause))
    }

    /// The connection is broken as far as the application can see.
    mutating func broke() { expectsData = true }

    /// A message has come. Returns the incident that has waited for it.
    mutating func dataArrived(now: Timestamp) -> RoomIncident? {
        guard expectsData else { return nil }
        expectsData = false
        note(.firstData, now: now)
        healed?.steps.append(RoomIncident.Step(.firstData, at: now))
        return takeHealed()
    }

    /// Returns the incident that has waited for its first message for long enough.
    mutating func timePassed(now: Timestamp) -> RoomIncident? {
        guard let deadline, now >= deadline else { return nil }
        expectsData = incident != nil
        return takeHealed()
    }

    /// Ends the open incident. Returns the incidents to report now, nil where none was open. One that has ended well
    /// while data is expected waits for its first message.
    mutating func end(_ outcome: RoomIncident.Outcome, now: Timestamp) -> [RoomIncident]? {
        guard let ended = close(outcome, now: now) else { return nil }
        let earlier = takeHealed().map { [$0] } ?? []
        guard outcome == .recovered, expectsData else { return earlier + [ended] }
        healed = ended
        return earlier
    }

    private mutating func close(_ outcome: RoomIncident.Outcome, now: Timestamp) -> RoomIncident? {
        probedAt = nil
        if outcome == .recovered { note(.recovered, now: now) }
        guard var ended = incident else { return nil }
        incident = nil
        ended.endedAt = now
        ended.outcome = outcome
        return ended
    }

    /// Returns the incident that waits for its first message; it waits no longer.
    mutating func takeHealed() -> RoomIncident? {
        defer { healed = nil }
        return healed
    }
}
