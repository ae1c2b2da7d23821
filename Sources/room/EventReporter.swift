internal import CommandLineIO
internal import Foundation
internal import RoomConnection
internal import RoomProtocol
internal import TransportPluginAPI

/// Prints the events of a room: JSON Lines for programs, a timeline for people.
///
/// It never waits: everything goes into the queue of standard output.
struct EventReporter: Sendable {
    private struct Known {
        /// The names of the participants in the room.
        var names: [ParticipantID: String] = [:]
        /// The participants whose verification code was shown.
        var isVerified: Set<ParticipantID> = []
        /// When an attempt of the present outage was last shown.
        var attemptShownAt: Timestamp?
    }

    let json: Bool
    /// Where somebody sits at a terminal.
    let terminal: TerminalView?
    private let output: OutputQueue
    private let start = Timestamp.now()
    private let known = Locked(Known())

    init(json: Bool, terminal: TerminalView? = nil, output: OutputQueue) {
        self.json = json
        self.terminal = terminal
        self.output = output
    }

    func ready() {
        if json { print(JSONLine(event: "ready")) } else if terminal == nil { note("ready", Output.grey) }
    }

    func event(_ event: RoomEvent, in room: Room) {
        if case .peerJoined(let participant) = event {
            known.withLock { $0.names[participant.id] = participant.name }
        }
        if let terminal {
            terminal.event(event, in: room)
        } else if json {
            printJSON(event, room)
        } else {
            printTimeline(event, room)
        }
        if case .peerLeft(let participant, _) = event {
            known.withLock { known in
                known.names[participant.id] = nil
                known.isVerified.remove(participant.id)
            }
        }
    }

    /// Prints the last event. `error` is the reason why the room has ended; nil when it was left.
    func left(_ error: RoomError?) {
        if let error { problem(error) }
        if json { print(JSONLine(event: "left")) } else { note("left", Output.grey) }
    }

    func message(_ message: borrowing BorrowedMessage) {
        let from = message.from
        let text = message.withUnsafeBytes { String(validating: $0, as: UTF8.self) }
        if json {
            var line = JSONLine(event: "message")
            line.add("from", from.rawValue)
            line.add("channel", message.channel.rawValue)
            if let text {
                line.add("text", text)
            } else {
                line.add("data", message.withUnsafeBytes { Data($0) }.base64EncodedString())
            }
            print(line)
        } else if let terminal {
            terminal.message(text ?? "\(message.count) bytes", from: from)
        } else {
            note("\(name(of: from)): \(text ?? "\(message.count) bytes")", nil)
        }
    }

    /// Reports an accepted message. `receivers` is the number of participants for which it was accepted.
    func sent(_ count: Int, to receivers: Int) {
        guard json else { return }
        var line = JSONLine(event: "sent")
        line.add("count", count)
        line.add("to", receivers)
        print(line)
    }

    func problem(_ error: RoomError) {
        problem(error.protocolCode?.rawValue ?? error.code.description, error.message, isRetryable: error.isRetryable)
    }

    func problem(_ code: String, _ message: String, isRetryable: Bool) {
        if json {
            var line = JSONLine(event: "error")
            line.add("code", code)
            line.add("message", message)
            line.add("retryable", isRetryable)
            print(line)
        } else {
            note("\(code): \(message)", Output.red)
        }
    }

    func statistics(_ statistics: [ParticipantID: PeerConnectionStatistics]) {
        var line = JSONLine(event: "stats")
        line.add(
            "peers",
            statistics.sorted { $0.key < $1.key }.map { participant, counters in
                var peer = JSONLine()
                peer.add("id", participant.rawValue)
                peer.add("messagesSent", counters.messagesSent)
                peer.add("messagesReceived", counters.messagesReceived)
                peer.add("bytesSent", counters.bytesSent)
                peer.add("bytesReceived", counters.bytesReceived)
                if let roundTrip = counters.roundTrip { peer.add("roundTrip", roundTrip.inSeconds) }
                return peer
            })
        if json { print(line) } else { note(line.finished, Output.grey) }
    }

    // MARK: For programs

    private func printJSON(_ event: RoomEvent, _ room: Room) {
        switch event {
        case .signaling(let status): print(status.line)
        case .joined(let membership):
            var line = JSONLine(event: "joined")
            line.add("room", room.name)
            line.add("self", membership.participant.rawValue)
            line.add("host", membership.isHost)
            line.add("epoch", membership.epoch)
            line.add("resumed", membership.isResumed)
            print(line)
        case .peerJoined(let participant): print(line(participant, "joined"))
        case .peerLeft(let participant, let reason):
            var line = line(participant, "left")
            line.add("reason", reason.rawValue)
            print(line)
        case .peerChanged(let participant, let changes):
            var line = line(participant, "changed")
            if !changes.metadata.isEmpty { line.add("metadata", participant.metadata) }
            print(line)
        case .attributesChanged(let attributes, _):
            var line = JSONLine(event: "attributes")
            line.add("attributes", attributes)
            print(line)
        case .hostChanged(let host, _):
            var line = JSONLine(event: "host")
            line.add("id", host.rawValue)
            print(line)
        case .peer(let id, let status):
            var line = JSONLine(event: "peer")
            line.add("id", id.rawValue)
            line.add("name", name(of: id))
            switch status {
            case .waiting, .connecting: line.add("state", "connecting")
            case .connected(let path):
                line.add("state", "connected")
                line.add("path", (path?.local ?? .none).rawValue)
                if let security = room.security(of: id) {
                    line.add("verification", security.verificationCode)
                    line.add("localFingerprint", security.localFingerprint)
                    line.add("remoteFingerprint", security.remoteFingerprint)
                }
            case .recovering(let rung, _, _):
                line.add("state", "recovering")
                line.add("rung", rung.description)
            }
            print(line)
        case .stalled(let id, let stall):
            var line = JSONLine(event: "error")
            line.add("peer", id.rawValue)
            line.add("code", stall.code.rawValue)
            line.add("message", stall.message)
            line.add("cure", stall.cure)
            line.add("retryable", true)
            print(line)
        case .resolved(let id, let stall):
            var line = JSONLine(event: "resolved")
            line.add("peer", id.rawValue)
            line.add("code", stall.code.rawValue)
            print(line)
        case .incident(let incident):
            var line = JSONLine(event: "incident")
            if let participant = incident.participant { line.add("peer", participant.rawValue) }
            line.add("kind", incident.participant == nil ? "signaling" : "path")
            line.add("cause", incident.cause.rawValue)
            line.add("outcome", incident.outcome.rawValue)
            line.add(
                "steps",
                incident.steps.map { step in
                    var line = JSONLine()
                    line.add("at", step.at.seconds)
                    line.add("step", step.kind.rawValue)
                    if let reason = step.reason { line.add("cause", reason) }
                    if let number = step.number { line.add("number", number) }
                    return line
                })
            if incident.hasRecovered { line.add("recoveredIn", incident.duration.inSeconds) }
            print(line)
        case .undelivered(let participant, let count):
            var line = JSONLine(event: "undelivered")
            line.add("id", participant.rawValue)
            line.add("count", count)
            print(line)
        case .error(let error): problem(error)
        case .left: break
        }
    }

    private func line(_ participant: RoomParticipant, _ state: String) -> JSONLine {
        var line = JSONLine(event: "peer")
        line.add("id", participant.id.rawValue)
        line.add("name", participant.name)
        line.add("state", state)
        line.add("host", participant.isHost)
        return line
    }

    /// Returns the name, or the id of a participant that has left.
    private func name(of id: ParticipantID) -> String { known.withLock { $0.names[id] } ?? id.rawValue }

    private func print(_ line: JSONLine) { output.append(line.finished + "\n") }

    // MARK: For people

    private func printTimeline(_ event: RoomEvent, _ room: Room) {
        switch event {
        case .signaling(let status): show(status)
        case .joined(let membership):
            let how = membership.isResumed ? "back in" : "joined"
            note("\(how) \(room.name)" + (membership.isHost ? " as host" : ""), Output.green)
        case .peerJoined(let participant):
            note("\(participant.name) joined" + (participant.isHost ? " (host)" : ""), Output.bold)
        case .peerLeft(let participant, let reason):
            note("\(participant.name) left (\(reason.rawValue))", Output.yellow)
        case .peerChanged, .hostChanged, .attributesChanged: break
        case .peer(let id, .connected(let path)):
            let isFirst = known.withLock { $0.isVerified.insert(id).inserted }
            var text = "\(name(of: id)) connected" + (path.map { " over \($0.local.rawValue)" } ?? "")
            if isFirst, let code = room.security(of: id)?.verificationCode { text += ", verification code \(code)" }
            note(text, Output.green)
        case .peer(let id, .recovering(let rung, _, _)): note("\(name(of: id)) recovering: \(rung)", Output.yellow)
        case .peer(_, .waiting), .peer(_, .connecting): break
        case .stalled(let id, let stall):
            note("\(name(of: id)): \(stall.message) (\(stall.code)); \(stall.cure)", Output.red)
        case .resolved: break
        case .incident(let incident): show(incident)
        case .undelivered(let id, let count):
            note("\(count) messages to \(name(of: id)) were not delivered", Output.red)
        case .error(let error): problem(error)
        case .left: break
        }
    }

    private func show(_ incident: RoomIncident) {
        let who = incident.participant.map(name) ?? "signaling"
        let time = String(format: "%.2f s", incident.duration.inSeconds)
        if incident.hasRecovered {
            note("\(who) recovered in \(time) (\(incident.cause))", Output.green)
        } else {
            note("\(who) was not recovered in \(time) (\(incident.cause))", Output.yellow)
        }
    }

    /// An outage is a line when it begins, one every ten seconds, and one when it is over.
    private func show(_ status: SignalingStatus) {
        let now = Timestamp.now()
        let isNews = known.withLock { known -> Bool in
            switch status {
            case .connected:
                known.attemptShownAt = nil
                return true
            case .connecting(_, nil, _):
                if let shownAt = known.attemptShownAt, now - shownAt < .seconds(10) { return false }
                known.attemptShownAt = now
                return true
            case .disconnected: return known.attemptShownAt == nil
            case .connecting, .closed: return false
            }
        }
        guard isNews else { return }
        switch status {
        case .connected: note("connected to the room server", Output.green)
        case .connecting(let attempt, _, let cause):
            let text = attempt > 1 ? "connecting (attempt \(attempt))" : "connecting"
            note(text + (cause.map { ": \($0)" } ?? ""), Output.yellow)
        case .disconnected(let cause): note("disconnected" + (cause.map { ": \($0)" } ?? ""), Output.red)
        case .closed: break
        }
    }

    func note(_ text: String, _ colour: Int?) {
        if let terminal { return terminal.note(text, colour) }
        let time = Output.coloured(String(format: "%8.3f", (Timestamp.now() - start).inSeconds), Output.grey)
        let line: StyledText = "\(time)  \(StyledText(text, colour: colour))\n"
        output.append(line.rendered)
    }
}

extension SignalingStatus {
    fileprivate var line: JSONLine {
        var line = JSONLine(event: "signaling")
        switch self {
        case .connecting(let attempt, let nextAttemptAt, let cause):
            line.add("status", "connecting")
            line.add("attempt", attempt)
            if let cause { line.add("cause", cause.description) }
            if let nextAttemptAt { line.add("nextAttemptIn", max(0, (nextAttemptAt - .now()).inSeconds)) }
        case .connected: line.add("status", "connected")
        case .disconnected(let cause):
            line.add("status", "disconnected")
            if let cause { line.add("cause", cause.description) }
        case .closed(let reason):
            line.add("status", "closed")
            line.add("cause", reason.description)
        }
        return line
    }
}
