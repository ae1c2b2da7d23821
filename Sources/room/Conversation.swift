internal import CommandLineIO
internal import RoomConnection
internal import RoomProtocol
internal import TransportPluginAPI

/// A room as people see it on a terminal: who says what, who comes and goes, and one line for what is being repaired.
///
/// Pure: events and the time go in, lines and the status come out. Participants have names here; what heals by itself
/// within a moment is never mentioned.
struct Conversation: Sendable {
    private struct Person: Sendable {
        var name: String
        var isHost: Bool
        var status = PeerStatus.waiting
        /// Whether it was ever connected, and so its verification code shown.
        var hasConnected = false
        var stall: PeerStall?

        var isRecovering: Bool { if case .recovering = status { true } else { false } }
    }

    private let room: String
    private let name: String
    private var people: [ParticipantID: Person] = [:]
    private var signaling = SignalingStatus.disconnected(cause: nil)
    private var hasJoined = false
    private var isHost = false
    /// When the connection to the room server was lost, and why.
    private var outage: (since: Timestamp, cause: SignalingFailure?)?

    /// An outage that is shorter than this is not worth a line.
    private static let patience = Duration.seconds(1)

    init(room: String, name: String) {
        self.room = room
        self.name = name
    }

    // MARK: What happens

    /// Returns the lines to print.
    mutating func take(
        _ event: RoomEvent, verificationCode: (ParticipantID) -> String?, now: Timestamp
    ) -> [StyledText] {
        switch event {
        case .signaling(let status): return take(status, now)
        case .joined(let membership):
            isHost = membership.isHost
            guard !hasJoined else { return [] }
            hasJoined = true
            return [
                StyledText(
                    "You are in \(room) as \(name)\(isHost ? ", its host" : ""). /help lists what you can do.",
                    colour: Output.green)
            ]
        case .peerJoined(let participant):
            people[participant.id] = Person(name: participant.name, isHost: participant.isHost)
            return [StyledText("\(participant.name) joined", colour: Output.green)]
        case .peerLeft(let participant, let reason):
            people[participant.id] = nil
            return [StyledText("\(participant.name) \(Self.text(of: reason))", colour: Output.yellow)]
        case .peerChanged(let participant, _):
            people[participant.id]?.isHost = participant.isHost
            return []
        case .hostChanged(let id, _):
            for other in people.keys { people[other]?.isHost = other == id }
            isHost = people[id] == nil
            return [StyledText("\(isHost ? "You are" : "\(name(of: id)) is") the host now", colour: Output.grey)]
        case .peer(let id, let status): return take(status, of: id, verificationCode)
        case .stalled(let id, let stall):
            people[id]?.stall = stall
            return [StyledText("\(name(of: id)): \(stall.message); \(stall.cure)", colour: Output.red)]
        case .resolved(let id, _):
            people[id]?.stall = nil
            return []
        case .undelivered(let id, let count):
            let what = count == 1 ? "1 message" : "\(count) messages"
            return [StyledText("\(what) to \(name(of: id)) did not arrive", colour: Output.red)]
        case .error(let error): return [StyledText(error.message, colour: Output.red)]
        case .attributesChanged, .incident, .left: return []
        }
    }

    private mutating func take(_ status: SignalingStatus, _ now: Timestamp) -> [StyledText] {
        signaling = status
        switch status {
        case .connected:
            defer { outage = nil }
            guard let outage, now - outage.since >= Self.patience else { return [] }
            return [
                StyledText("back at the room server after \(Self.text(of: now - outage.since))", colour: Output.green)
            ]
        case .disconnected(let cause), .connecting(_, _, let cause):
            if hasJoined { outage = (outage?.since ?? now, cause ?? outage?.cause) }
            return []
        case .closed: return []
        }
    }

    private mutating func take(
        _ status: PeerStatus, of id: ParticipantID, _ verificationCode: (ParticipantID) -> String?
    ) -> [StyledText] {
        people[id]?.status = status
        guard case .connected(let path) = status, people[id]?.hasConnected == false else { return [] }
        people[id]?.hasConnected = true
        var text = "\(name(of: id)) is connected" + (path.map { " (\(Self.text(of: $0.local)))" } ?? "")
        if let code = verificationCode(id) { text += ", verification code \(code)" }
        return [StyledText(text, colour: Output.grey)]
    }

    /// A message of a participant, or of this one.
    func line(from id: ParticipantID?, _ text: String, to receiver: ParticipantID? = nil) -> StyledText {
        let sender = StyledText(id.map { name(of: $0) } ?? "you", colour: id == nil ? Output.grey : Output.bold)
        guard let receiver else { return "\(sender): \(text)" }
        return "\(sender) to \(name(of: receiver)): \(text)"
    }

    // MARK: The status

    /// The repairs in progress, in one line; nil when there are none.
    func status(now: Timestamp) -> String? {
        var parts: [String] = []
        if let text = signalingStatus(now: now) { parts.append(text) }
        let recovering = people.values.filter(\.isRecovering).sorted { $0.name < $1.name }
        for person in recovering.prefix(3) {
            guard case .recovering(_, _, let since) = person.status, now - since >= Self.patience else { continue }
            parts.append("\(person.name): reconnecting for \(Self.text(of: now - since))")
        }
        let connecting = people.values.filter { !$0.hasConnected && $0.stall == nil }.map(\.name).sorted()
        if !connecting.isEmpty {
            parts.append("connecting to \(connecting.prefix(3).joined(separator: ", "))")
        }
        return parts.isEmpty ? nil : VisibleText.escaping(parts.joined(separator: " · "))
    }

    private func signalingStatus(now: Timestamp) -> String? {
        guard case .connecting(let attempt, let nextAttemptAt, let cause) = signaling else {
            return outage.map { "the room server is gone for \(Self.text(of: now - $0.since))" }
        }
        if cause?.cause == .waitingForRoom { return "waiting for the host of \(room)" }
        var text = hasJoined ? "looking for the room server" : "connecting to the room server"
        if attempt > 1 { text += ", attempt \(attempt)" }
        if let outage { text += ", for \(Self.text(of: now - outage.since))" }
        if let nextAttemptAt, nextAttemptAt > now { text += ", next in \(Self.text(of: nextAttemptAt - now))" }
        return text + (cause.map { " (\($0))" } ?? "")
    }

    // MARK: People

    /// A line for each participant.
    func people(roundTrip: (ParticipantID) -> Duration?) -> [StyledText] {
        var lines: [StyledText] = [StyledText("\(name) (you)\(isHost ? ", host" : "")")]
        for (id, person) in people.sorted(by: { $0.value.name < $1.value.name }) {
            var text = person.name + (person.isHost ? ", host" : "")
            switch person.status {
            case .waiting, .connecting: text += ": connecting"
            case .connected(let path):
                text += ": connected" + (path.map { " (\(Self.text(of: $0.local)))" } ?? "")
                if let time = roundTrip(id) { text += ", \(Int((time.inSeconds * 1000).rounded())) ms" }
            case .recovering: text += ": reconnecting"
            }
            lines.append(StyledText(text))
        }
        return lines
    }

    /// The participant of this name, or the only one whose name begins like this.
    func participant(named name: String) -> ParticipantID? {
        if let exact = people.first(where: { $0.value.name == name }) { return exact.key }
        let matches = people.filter { $0.value.name.lowercased().hasPrefix(name.lowercased()) }
        return matches.count == 1 ? matches.first?.key : nil
    }

    /// The names of the others, longest first: names may contain spaces.
    var names: [String] { people.values.map(\.name).sorted { $0.utf8.count > $1.utf8.count } }

    private func name(of id: ParticipantID) -> String { people[id]?.name ?? "somebody who has left" }

    // MARK: Words

    private static func text(of reason: LeaveReason) -> String {
        switch reason {
        case .left: "left"
        case .timedOut: "did not come back"
        case .kicked: "was removed by the host"
        case .roomClosed: "left: the room was closed"
        }
    }

    private static func text(of kind: PeerPath.Kind) -> String {
        switch kind {
        case .host, .srflx, .prflx, .none: "directly"
        case .relay: "over a relay"
        }
    }

    private static func text(of duration: Duration) -> String {
        let seconds = Int(duration.inSeconds.rounded())
        if seconds < 60 { return "\(max(seconds, 0)) s" }
        return "\(seconds / 60) min \(seconds % 60) s"
    }
}
