internal import TransportValues

// The bodies have the form of a browser's own values: `RTCSessionDescription.toJSON()`, `RTCIceCandidate.toJSON()`.
extension Signal {
    init(_ fields: FieldReader) throws(ProtocolError) {
        self.init(
            peer: ParticipantID(try fields.identifier("peer")),
            session: SessionID(try fields.identifier("session")),
            connection: PeerConnectionID(try fields.identifier("connection")),
            negotiation: try fields.integer("negotiation"),
            body: try Body(fields))
    }

    func write(to json: inout JSONWriter) {
        json.member("peer", peer.rawValue)
        json.member("session", session.rawValue)
        json.member("connection", connection.rawValue)
        json.member("negotiation", negotiation)
        switch body {
        case .description(let description):
            json.member("description") { json in
                json.member("type", description.kind.rawValue)
                json.member("sdp", description.text)
            }
        case .candidate(let candidate):
            json.member("candidate") { json in
                json.member("candidate", candidate.text)
                json.member("sdpMid", candidate.mediaID)
                json.member("sdpMLineIndex", candidate.mediaLineIndex)
                json.member("usernameFragment", candidate.usernameFragment)
            }
        case .endOfCandidates(let usernameFragment):
            json.member("endOfCandidates") { $0.member("usernameFragment", usernameFragment) }
        case .restartRequest(let reason): json.member("restartRequest") { $0.member("reason", reason) }
        case .rebuildRequest(let reason): json.member("rebuildRequest") { $0.member("reason", reason) }
        }
    }
}

extension Signal.Body {
    private static let kinds = ["description", "candidate", "endOfCandidates", "restartRequest", "rebuildRequest"]

    fileprivate init(_ fields: FieldReader) throws(ProtocolError) {
        var present: String?
        for kind in Self.kinds where fields.hasField(kind) {
            guard present == nil else { throw .malformed("The signal has more than one body.") }
            present = kind
        }
        guard let kind = present else { throw .unknownType("The signal has no body of a kind that is known.") }
        let body = try fields.object(kind)
        switch kind {
        case "description": self = .description(try SessionDescription(body))
        case "candidate": self = .candidate(try PeerCandidate(body))
        case "endOfCandidates":
            self = .endOfCandidates(
                usernameFragment: try body.string("usernameFragment", limit: Limits.usernameFragment, .token))
        case "restartRequest":
            self = .restartRequest(reason: try body.freeText("reason", limit: Limits.reason) ?? "")
        default: self = .rebuildRequest(reason: try body.freeText("reason", limit: Limits.reason) ?? "")
        }
    }
}

extension SessionDescription {
    fileprivate init(_ fields: FieldReader) throws(ProtocolError) {
        guard let kind = Kind(rawValue: try fields.string("type", limit: 16)) else {
            throw fields.wrong("type", "is neither offer nor answer")
        }
        self.init(kind: kind, text: try fields.string("sdp", limit: Limits.sdp, minimum: 1))
    }
}

extension PeerCandidate {
    fileprivate init(_ fields: FieldReader) throws(ProtocolError) {
        self.init(
            text: try fields.string("candidate", limit: Limits.candidate, .line),
            mediaID: try fields.optionalString("sdpMid", limit: Limits.mediaID, .line),
            mediaLineIndex: try fields.optionalInteger("sdpMLineIndex", limit: UInt64(Limits.mediaLineIndex))
                .map { Int($0) },
            usernameFragment: try fields.optionalString("usernameFragment", limit: Limits.usernameFragment, .token))
    }
}
