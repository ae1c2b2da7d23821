package import RoomProtocol

/// What a session token says. The server believes it, since only the server could sign it.
package struct SessionClaims: Sendable, Hashable {
    package var participant: ParticipantID
    package var room: RoomName
    package var name: String
    package var session: SessionID
    package var epoch: Epoch
    /// The highest host term that the room had known when the token was signed; the holder's own if `isHost`.
    package var hostTerm: HostTerm
    package var isHost: Bool
    /// The life of the server that has signed it. Two servers with the same key may both have begun an epoch of the same number; only the
    /// one that the holder was in can be resumed.
    package var server: String

    package init(
        participant: ParticipantID, room: RoomName, name: String, session: SessionID, epoch: Epoch, hostTerm: HostTerm,
        isHost: Bool, server: String
    ) {
        self.participant = participant
        self.room = room
        self.name = name
        self.session = session
        self.epoch = epoch
        self.hostTerm = hostTerm
        self.isHost = isHost
        self.server = server
    }

    /// The claims as JSON.
    package var encoded: [UInt8] {
        var json = JSONWriter()
        json.object { json in
            json.member("participant", participant.rawValue)
            json.member("room", room.rawValue)
            json.member("name", name)
            json.member("session", session.rawValue)
            json.member("epoch", epoch)
            json.member("hostTerm", hostTerm)
            json.member("host", isHost)
            json.member("server", server)
        }
        return json.bytes
    }

    /// Reads what `encoded` wrote; nil for anything else.
    package init?(encoded: UnsafeRawBufferPointer) {
        guard case .object(let members)? = try? JSONReader.read(encoded) else { return nil }
        let fields = FieldReader(members)
        do throws(ProtocolError) {
            self.init(
                participant: ParticipantID(try fields.identifier("participant")),
                room: RoomName(try fields.string("room", limit: Limits.roomName, .line, minimum: 1)),
                name: try fields.string("name", limit: Limits.participantName, .line, minimum: 1),
                session: SessionID(try fields.identifier("session")),
                // Never so high that counting on could overflow.
                epoch: try fields.integer("epoch", limit: .max / 2),
                hostTerm: try fields.integer("hostTerm", limit: .max / 2), isHost: try fields.boolean("host"),
                // Not there in tokens of earlier versions: nothing can be resumed with them.
                server: try fields.optionalString("server", limit: Limits.identifier, .line) ?? "")
        } catch {
            return nil
        }
    }
}

/// Whom and what the server believes, and which ICE servers it hands out. Signing and clocks live behind it.
///
/// Calls are synchronous and come from the machine's own thread. A simulation hands in one that is deterministic.
package protocol RoomAuthority: Sendable {
    /// A token of `Limits.sessionToken` bytes at most, of printable ASCII.
    func sessionToken(for claims: SessionClaims) -> String
    /// The claims of a token that this authority has signed, else nil.
    func claims(ofSessionToken token: String) -> SessionClaims?
    /// Whether a first join is allowed. Throws `.unauthorized` or `.tokenExpired`. The answer: whether the name is the newcomer's
    /// own, as far as anybody is asked, so that another participant of this name must be an older self of it.
    func authorize(_ hello: Hello) throws(ProtocolError) -> Bool
    /// Fresh ICE servers.
    func iceServers(for participant: ParticipantID) -> ICEServerList
}

/// Signs nothing and lets everybody in: for tests and simulations.
package struct TrustingAuthority: RoomAuthority {
    package var iceServers = ICEServerList()

    package init() {}

    package func sessionToken(for claims: SessionClaims) -> String {
        claims.encoded.map { $0 < 16 ? "0" + String($0, radix: 16) : String($0, radix: 16) }.joined()
    }

    package func claims(ofSessionToken token: String) -> SessionClaims? {
        let digits = Array(token.utf8)
        guard digits.count.isMultiple(of: 2) else { return nil }
        var bytes: [UInt8] = []
        for index in stride(from: 0, to: digits.count, by: 2) {
            guard let byte = UInt8(String(decoding: digits[index...(index + 1)], as: UTF8.self), radix: 16) else {
                return nil
            }
            bytes.append(byte)
        }
        return bytes.withUnsafeBytes(SessionClaims.init(encoded:))
    }

    /// What `authorize` says of names.
    package var trustsNames = true

    package func authorize(_ hello: Hello) throws(ProtocolError) -> Bool { trustsNames }

    package func iceServers(for participant: ParticipantID) -> ICEServerList { iceServers }
}
