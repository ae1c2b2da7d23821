internal import RoomProtocol
internal import RoomServerCore

extension RoomLifeEvent {
    /// The type, as receivers see it.
    var type: String {
        switch kind {
        case .roomOpened: "room.opened"
        case .roomClosed: "room.closed"
        case .participantJoined: "participant.joined"
        case .participantLeft(_, .kicked, _, _): "participant.kicked"
        case .participantLeft(_, .timedOut, _, _): "participant.lapsed"
        case .participantLeft: "participant.left"
        case .hostChanged: "host.changed"
        }
    }

    fileprivate func write(to json: inout JSONWriter) {
        json.member("room", room.rawValue)
        switch kind {
        case .roomOpened: break
        case .roomClosed(let author, let reason): json.member(author, reason)
        case .participantJoined(let subject, let isReturn):
            json.member(subject)
            json.member("returned", isReturn)
        case .participantLeft(let subject, let leave, let author, let reason):
            json.member(subject)
            json.member("cause", leave.rawValue)
            json.member(author, reason)
        case .hostChanged(let subject, let term):
            json.member(subject)
            json.member("term", term)
        }
    }
}

extension JSONWriter {
    fileprivate mutating func member(_ subject: RoomLifeEvent.Subject) {
        member("participant") { json in
            json.member("id", subject.id.rawValue)
            json.member("session", subject.session.rawValue)
            json.member("name", subject.name)
            json.member("host", subject.isHost)
        }
    }

    fileprivate mutating func member(_ author: RoomLifeEvent.Author?, _ reason: String) {
        member("by", author?.rawValue)
        member("reason", reason.isEmpty ? nil : reason)
    }
}

extension WebhookEvent {
    /// The event as JSON.
    var json: [UInt8] {
        var json = JSONWriter()
        json.object { json in
            json.member("id", id)
            json.member("type", event.type)
            json.member("timestamp", WallClock.text(time))
            json.member("dropped", dropped == 0 ? nil : dropped)
            json.member("data") { event.write(to: &$0) }
        }
        return json.bytes
    }
}
