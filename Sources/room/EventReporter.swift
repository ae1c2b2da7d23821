internal import Foundation
internal import RoomConnection
internal import RoomProtocol
internal import TransportBenchmark
internal import TransportPluginAPI

/// Prints what happens to a room: JSON Lines for programs, a timeline for people.
struct EventReporter: Sendable {
    let json: Bool
    private let start = Timestamp.now()

    init(json: Bool) { self.json = json }

    func ready() {
        if json { Output.line(JSONLine(event: "ready")) } else { note("ready", Output.grey) }
    }

    func event(_ event: RoomEvent, in room: Room) {
        if json { report(event, room) } else { tell(event, room) }
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
            Output.line(line)
        } else {
            note("\(from): \(text ?? "\(message.count) bytes")", nil)
        }
    }

    func sent(_ count: Int) {
        guard json else { return }
        var line = JSONLine(event: "sent")
        line.add("count", count)
        Output.line(line)
    }

    func problem(_ error: RoomError) {
        problem(error.protocolCode ?? error.code.description, error.message, isRetryable: error.isRetryable)
    }

    func problem(_ code: String, _ message: String, isRetryable: Bool) {
        if json {
            var line = JSONLine(event: "error")
            line.add("code", code)
            line.add("message", message)
            line.add("retryable", isRetryable)
            Output.line(line)
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
        if json { Output.line(line) } else { note(line.finished, Output.grey) }
    }

    // MARK: For programs

    private func report(_ event: RoomEvent, _ room: Room) {
        switch event {
        case .signaling(let status): Output.line(status.line)
        case .joined(let membership):
            var line = JSONLine(event: "joined")
            line.add("room", room.name)
            line.add("self", membership.participant.rawValue)
            line.add("host", membership.isHost)
            line.add("epoch", membership.epoch)
            line.add("resumed", membership.isResumed)
            Output.line(line)
        case .peerJoined(let participant): Output.line(line(participant, "joined"))
        case .peerLeft(let participant, let reason):
            var line = line(participant, "left")
            line.add("reason", reason.rawValue)
            Output.line(line)
        case .peerChanged(let participant):
            Output.line(line(participant, "changed"))
        case .hostChanged(let host):
            var line = JSONLine(event: "host")
            line.add("id", host.rawValue)
            Output.line(line)
        case .peer(let id, let status):
            var line = JSONLine(event: "peer")
            line.add("id", id.rawValue)
            line.add("name", name(of: id, room))
            switch status {
            case .connecting: line.add("state", "connecting")
            case .connected(let path):
                line.add("state", "connected")
                line.add("path", (path?.local ?? .none).rawValue)
            case .recovering(let rung):
                line.add("state", "recovering")
                line.add("rung", rung)
            }
            Output.line(line)
        case .stalled(let id, let stall):
            var line = JSONLine(event: "error")
            line.add("peer", id.rawValue)
            line.add("code", stall.code.rawValue)
            line.add("message", stall.message)
            line.add("cure", stall.cure)
            line.add("retryable", true)
            Output.line(line)
        case .resolved(let id, let stall):
            var line = JSONLine(event: "resolved")
            line.add("peer", id.rawValue)
            line.add("code", stall.code.rawValue)
            Output.line(line)
        case .incident(let incident):
            var line = JSONLine(event: "incident")
            if let participant = incident.participant { line.add("peer", participant.rawValue) }
            line.add("kind", incident.participant == nil ? "signaling" : "path")
            line.add("cause", incident.cause)
            line.add(
                "steps",
                incident.steps.map { step in
                    var line = JSONLine()
                    line.add("at", step.at.seconds)
                    line.add("step", step.name)
                    if let cause = step.cause { line.add("cause", cause) }
                    if let number = step.number { line.add("number", number) }
                    return line
                })
            line.add("recoveredIn", incident.duration.inSeconds)
            Output.line(line)
        case .undelivered(let participant, let count):
            var line = JSONLine(event: "undelivered")
            line.add("id", participant.rawValue)
            line.add("count", count)
            Output.line(line)
        case .error(let error): problem(error)
        case .left(let error):
            if let error { problem(error) }
            Output.line(JSONLine(event: "left"))
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

    private func name(of id: ParticipantID, _ room: Room) -> String {
        room.participants.first { $0.id == id }?.name ?? ""
    }

    // MARK: For people

    private func tell(_ event: RoomEvent, _ room: Room) {
        switch event {
        case .signaling(.connecting(let attempt, let nextAttemptAt, let cause)):
            var text = "connecting"
            if attempt > 1 { text += " (attempt \(attempt)" + (nextAttemptAt == nil ? "" : ", waiting") + ")" }
            note(text + (cause.map { ": \($0)" } ?? ""), Output.yellow)
        case .signaling(.connected): note("connected to the room server", Output.green)
        case .signaling(.disconnected(let cause)):
            note("disconnected" + (cause.map { ": \($0)" } ?? ""), Output.red)
        case .signaling(.closed): break
        case .joined(let membership):
            let how = membership.isResumed ? "back in" : "joined"
            note("\(how) \(room.name)" + (membership.isHost ? " as host" : ""), Output.green)
        case .peerJoined(let participant):
            note("\(participant.name) joined" + (participant.isHost ? " (host)" : ""), Output.bold)
        case .peerLeft(let participant, let reason):
            note("\(participant.name) left (\(reason.rawValue))", Output.yellow)
        case .peerChanged, .hostChanged: break
        case .peer(let id, .connected(let path)):
            note("\(name(of: id, room)) connected" + (path.map { " over \($0.local.rawValue)" } ?? ""), Output.green)
        case .peer(let id, .recovering(let rung)): note("\(name(of: id, room)) recovering: \(rung)", Output.yellow)
        case .peer(_, .connecting): break
        case .stalled(let id, let stall):
            note("\(name(of: id, room)) not connected (\(stall.code)): \(stall.message); \(stall.cure)", Output.red)
        case .resolved: break
        case .incident(let incident):
            note(String(format: "recovered in %.2f s (\(incident.cause))", incident.duration.inSeconds), Output.green)
        case .undelivered(let id, let count):
            note("\(count) messages to \(name(of: id, room)) were not delivered", Output.red)
        case .error(let error): problem(error)
        case .left(let error):
            if let error { problem(error) }
            note("left", Output.grey)
        }
    }

    private func note(_ text: String, _ colour: Int?) {
        let time = String(format: "%8.3f", (Timestamp.now() - start).inSeconds)
        Output.line(Output.coloured(time, Output.grey) + "  " + (colour.map { Output.coloured(text, $0) } ?? text))
    }
}

extension SignalingStatus {
    fileprivate var line: JSONLine {
        var line = JSONLine(event: "signaling")
        switch self {
        case .connecting(let attempt, let nextAttemptAt, let cause):
            line.add("status", "connecting")
            line.add("attempt", attempt)
            if let cause { line.add("cause", cause) }
            if let nextAttemptAt { line.add("nextAttemptIn", max(0, (nextAttemptAt - .now()).inSeconds)) }
        case .connected: line.add("status", "connected")
        case .disconnected(let cause):
            line.add("status", "disconnected")
            if let cause { line.add("cause", cause) }
        case .closed(let reason):
            line.add("status", "closed")
            line.add("cause", reason)
        }
        return line
    }
}
