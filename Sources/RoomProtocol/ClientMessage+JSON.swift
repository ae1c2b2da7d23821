extension ClientMessage {
    init(type: String, fields: FieldReader) throws(ProtocolError) {
        switch type {
        case "hello": self = .hello(try Hello(fields))
        case "signal": self = .signal(try Signal(fields))
        case "kick":
            self = .kick(
                ParticipantID(try fields.identifier("participant")),
                reason: try fields.freeText("reason", limit: Limits.reason) ?? "")
        case "update": self = .update(metadata: try fields.metadata())
        case "updateRoom": self = .updateRoom(try RoomAttributes(fields))
        case "ack": self = .ack(received: try fields.integer("received"))
        case "ping": self = .ping(id: try fields.integer("id"))
        case "pong": self = .pong(id: try fields.integer("id"))
        case "leave": self = .leave
        case "closeRoom":
            self = .closeRoom(reason: try fields.freeText("reason", limit: Limits.reason) ?? "")
        default: throw .unknownType("The server does not know messages of the type \(type).")
        }
    }

    func write(to json: inout JSONWriter) {
        switch self {
        case .hello(let hello): json.message("hello") { hello.write(to: &$0) }
        case .signal(let signal): json.message("signal") { signal.write(to: &$0) }
        case .kick(let participant, let reason):
            json.message("kick") { json in
                json.member("participant", participant.rawValue)
                json.member("reason", reason)
            }
        case .update(let metadata): json.message("update") { $0.member("metadata", metadata) }
        case .updateRoom(let attributes): json.message("updateRoom") { attributes.write(to: &$0) }
        case .ack(let received): json.message("ack") { $0.member("received", received) }
        case .ping(let id): json.message("ping") { $0.member("id", id) }
        case .pong(let id): json.message("pong") { $0.member("id", id) }
        case .leave: json.message("leave")
        case .closeRoom(let reason): json.message("closeRoom") { $0.member("reason", reason) }
        }
    }
}

extension Hello {
    fileprivate init(_ fields: FieldReader) throws(ProtocolError) {
        // Read first, since any other field may look different in another version.
        let highest = try fields.integer("version")
        let lowest = try fields.optionalInteger("minimumVersion") ?? highest
        guard lowest <= highest else { throw fields.wrong("minimumVersion", "is above version") }
        guard lowest <= UInt64(protocolVersion), highest >= UInt64(protocolVersion) else {
            throw .versionMismatch(from: lowest, to: highest)
        }
        guard let role = Role(rawValue: try fields.string("role", limit: 16)) else {
            throw fields.wrong("role", "is none of host, guest and first")
        }
        self.init(
            room: RoomName(try fields.name("room", limit: Limits.roomName)), role: role,
            waitsForRoom: try fields.boolean("wait", default: false),
            name: try fields.name("name", limit: Limits.participantName),
            metadata: try fields.metadata(),
            token: try fields.optionalString("token", limit: Limits.token, .token, minimum: 1),
            resume: try fields.optionalObject("resume").map { resume throws(ProtocolError) in try Resume(resume) },
            capabilities: try fields.capabilities())
        version = Int(clamping: highest)
        minimumVersion = Int(clamping: lowest)
    }

    fileprivate func write(to json: inout JSONWriter) {
        json.member("version", version)
        json.member("minimumVersion", minimumVersion)
        json.member("room", room.rawValue)
        json.member("role", role.rawValue)
        if waitsForRoom { json.member("wait", true) }
        json.member("name", name)
        json.member("metadata", metadata)
        json.member("token", token)
        if let resume {
            json.member("resume") { json in
                json.member("sessionToken", resume.sessionToken)
                json.member("received", resume.received)
                json.member("mustRejoin", resume.mustRejoin)
                if resume.attempt > 0 { json.member("attempt", resume.attempt) }
            }
        }
        json.member("capabilities", capabilities)
    }
}

extension Resume {
    fileprivate init(_ fields: FieldReader) throws(ProtocolError) {
        self.init(
            sessionToken: try fields.string("sessionToken", limit: Limits.sessionToken, .token, minimum: 1),
            received: try fields.optionalInteger("received") ?? 0,
            mustRejoin: try fields.boolean("mustRejoin", default: false),
            attempt: try fields.optionalInteger("attempt") ?? 0)
    }
}
