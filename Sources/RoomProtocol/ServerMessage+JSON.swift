internal import TransportValues

extension ServerMessage {
    init(type: String, fields: FieldReader) throws(ProtocolError) {
        switch type {
        case "joined": self = .joined(try Joined(fields))
        case "peerJoined": self = .peerJoined(try Participant(fields.object("participant")))
        case "peerLeft":
            guard let reason = LeaveReason(rawValue: try fields.string("reason", limit: Limits.reason)) else {
                throw fields.wrong("reason", "is no reason that is known")
            }
            self = .peerLeft(
                ParticipantID(try fields.identifier("participant")), SessionID(try fields.identifier("session")),
                reason: reason)
        case "peerChanged": self = .peerChanged(try Participant(fields.object("participant")))
        case "hostChanged":
            self = .hostChanged(
                ParticipantID(try fields.identifier("participant")), term: try fields.integer("hostTerm"),
                sessionToken: try fields.string("sessionToken", limit: Limits.sessionToken, .token, minimum: 1))
        case "waiting":
            self = .waiting(
                pingInterval: try fields.duration("pingInterval"), pingDeadline: try fields.duration("pingDeadline"))
        case "roomChanged": self = .roomChanged(try RoomAttributes(fields))
        case "signal": self = .signal(try Signal(fields))
        case "iceServers": self = .iceServers(try ICEServerList(fields))
        case "ack": self = .ack(received: try fields.integer("received"))
        case "ping": self = .ping(id: try fields.integer("id"))
        case "pong": self = .pong(id: try fields.integer("id"))
        case "goingAway":
            self = .goingAway(retryAfter: try RetryWindow(fields.object("retryAfter")))
        case "error": self = .error(try ProtocolError(fields))
        default: throw .unknownType("This client does not know messages of the type \(type).")
        }
    }

    func write(to json: inout JSONWriter) {
        switch self {
        case .joined(let joined): json.message("joined") { joined.write(to: &$0) }
        case .peerJoined(let participant):
            json.message("peerJoined") { json in json.member("participant") { participant.write(to: &$0) } }
        case .peerLeft(let participant, let session, let reason):
            json.message("peerLeft") { json in
                json.member("participant", participant.rawValue)
                json.member("session", session.rawValue)
                json.member("reason", reason.rawValue)
            }
        case .peerChanged(let participant):
            json.message("peerChanged") { json in json.member("participant") { participant.write(to: &$0) } }
        case .hostChanged(let participant, let term, let sessionToken):
            json.message("hostChanged") { json in
                json.member("participant", participant.rawValue)
                json.member("hostTerm", term)
                json.member("sessionToken", sessionToken)
            }
        case .waiting(let pingInterval, let pingDeadline):
            json.message("waiting") { json in
                json.member("pingInterval", pingInterval)
                json.member("pingDeadline", pingDeadline)
            }
        case .roomChanged(let attributes): json.message("roomChanged") { attributes.write(to: &$0) }
        case .signal(let signal): json.message("signal") { signal.write(to: &$0) }
        case .iceServers(let list): json.message("iceServers") { list.write(to: &$0) }
        case .ack(let received): json.message("ack") { $0.member("received", received) }
        case .ping(let id): json.message("ping") { $0.member("id", id) }
        case .pong(let id): json.message("pong") { $0.member("id", id) }
        case .goingAway(let window):
            json.message("goingAway") { json in json.member("retryAfter") { window.write(to: &$0) } }
        case .error(let error): json.message("error") { error.write(to: &$0) }
        }
    }
}

extension Joined {
    fileprivate init(_ fields: FieldReader) throws(ProtocolError) {
        let version = try fields.integer("version")
        guard version == UInt64(protocolVersion) else { throw .versionMismatch(from: version, to: version) }
        var roster: [Participant] = []
        for entry in try fields.objects("roster", count: Limits.participants) { roster.append(try Participant(entry)) }
        self.init(
            version: protocolVersion,
            participant: ParticipantID(try fields.identifier("participant")),
            session: SessionID(try fields.identifier("session")),
            epoch: try fields.integer("epoch"), isHost: try fields.boolean("host"),
            hostTerm: try fields.integer("hostTerm"), isResumed: try fields.boolean("resumed"),
            received: try fields.optionalInteger("received") ?? 0, sent: try fields.optionalInteger("sent"),
            sessionToken: try fields.string("sessionToken", limit: Limits.sessionToken, .token, minimum: 1),
            roster: roster, attributes: try fields.hasField("attributes") ? RoomAttributes(fields) : RoomAttributes(),
            iceServers: try ICEServerList(fields.object("iceServers")),
            pingInterval: try fields.duration("pingInterval"), pingDeadline: try fields.duration("pingDeadline"),
            grace: try fields.duration("grace"))
    }

    fileprivate func write(to json: inout JSONWriter) {
        json.member("version", version)
        json.member("participant", participant.rawValue)
        json.member("session", session.rawValue)
        json.member("epoch", epoch)
        json.member("host", isHost)
        json.member("hostTerm", hostTerm)
        json.member("resumed", isResumed)
        json.member("received", received)
        json.member("sent", sent)
        json.member("sessionToken", sessionToken)
        json.array("roster", roster) { json, entry in json.object { entry.write(to: &$0) } }
        if attributes.version > 0 { attributes.write(to: &json) }
        json.member("iceServers") { iceServers.write(to: &$0) }
        json.member("pingInterval", pingInterval)
        json.member("pingDeadline", pingDeadline)
        json.member("grace", grace)
    }
}

extension Participant {
    fileprivate init(_ fields: FieldReader) throws(ProtocolError) {
        self.init(
            id: ParticipantID(try fields.identifier("id")), session: SessionID(try fields.identifier("session")),
            epoch: try fields.integer("epoch"),
            name: try fields.string("name", limit: Limits.participantName, .line, minimum: 1),
            isHost: try fields.boolean("host", default: false), metadata: try fields.metadata(),
            capabilities: try fields.capabilities())
    }

    fileprivate func write(to json: inout JSONWriter) {
        json.member("id", id.rawValue)
        json.member("session", session.rawValue)
        json.member("epoch", epoch)
        json.member("name", name)
        json.member("host", isHost)
        json.member("metadata", metadata)
        json.member("capabilities", capabilities)
    }
}

extension ICEServerList {
    fileprivate init(_ fields: FieldReader) throws(ProtocolError) {
        var servers: [ICEServer] = []
        for entry in try fields.objects("servers", count: Limits.iceServers) {
            servers.append(
                ICEServer(
                    urls: try entry.strings(
                        "urls", count: Limits.iceServerURLs, limit: Limits.iceServerURL, .token),
                    username: try entry.optionalString("username", limit: Limits.iceUsername, .line),
                    credential: try entry.optionalString("credential", limit: Limits.iceCredential, .line)))
        }
        self.init(servers: servers, ttl: try fields.optionalDuration("ttl"))
    }

    fileprivate func write(to json: inout JSONWriter) {
        json.array("servers", servers) { json, server in
            json.object { json in
                json.member("urls", server.urls)
                json.member("username", server.username)
                json.member("credential", server.credential)
            }
        }
        json.member("ttl", ttl)
    }
}

extension RetryWindow {
    fileprivate init(_ fields: FieldReader) throws(ProtocolError) {
        let (earliest, latest) = (try fields.duration("earliest"), try fields.duration("latest"))
        guard earliest <= latest else { throw fields.wrong("earliest", "is after latest") }
        self = earliest...latest
    }

    fileprivate func write(to json: inout JSONWriter) {
        json.member("earliest", lowerBound)
        json.member("latest", upperBound)
    }
}

extension ProtocolError {
    fileprivate init(_ fields: FieldReader) throws(ProtocolError) {
        self.init(
            code: Code(rawValue: try fields.string("code", limit: Limits.errorCode, .token, minimum: 1)),
            message: try fields.freeText("message", limit: Limits.errorMessage) ?? "",
            isRetryable: try fields.boolean("retryable", default: false),
            isFatal: try fields.boolean("fatal", default: false),
            retryAfter: try fields.optionalObject("retryAfter")
                .map { window throws(ProtocolError) in try RetryWindow(window) },
            sequence: try fields.optionalInteger("inReplyTo"),
            replacedBy: try fields.optionalString("replacedBy", limit: Limits.errorCode, .token)
                .map(Replacement.init))
    }

    fileprivate func write(to json: inout JSONWriter) {
        json.member("code", code.rawValue)
        json.member("message", message)
        json.member("retryable", isRetryable)
        json.member("fatal", isFatal)
        if let retryAfter { json.member("retryAfter") { retryAfter.write(to: &$0) } }
        json.member("inReplyTo", sequence)
        json.member("replacedBy", replacedBy?.rawValue)
    }
}
