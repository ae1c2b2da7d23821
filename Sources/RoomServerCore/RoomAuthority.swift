package import RoomProtocol

/// The content of a session token. The server believes it, since only the server could sign it.
package struct SessionClaims: Sendable, Hashable {
    package var participant: ParticipantID
    package var room: RoomName
    package var name: String
    package var session: SessionID
    package var epoch: Epoch
    /// The highest host term that the room had known when the token was signed; the holder's own if `isHost`.
    package var hostTerm: HostTerm
    package var isHost: Bool
    /// The one role that the join token allowed. Nil: either.
    package var role: Hello.Role?
    /// The life of the server that has signed it. Two servers with the same key may both have begun an epoch of the
    /// same number; only the one that the holder was in can be resumed.
    package var server: String
    /// Seconds since 1970, by the clock of the signer.
    package var expiry: UInt64?

    package init(
        participant: ParticipantID, room: RoomName, name: String, session: SessionID, epoch: Epoch, hostTerm: HostTerm,
        isHost: Bool, role: Hello.Role? = nil, server: String, expiry: UInt64? = nil
    ) {
        self.participant = participant
        self.room = room
        self.name = name
        self.session = session
        self.epoch = epoch
        self.hostTerm = hostTerm
        self.isHost = isHost
        self.role = role
        self.server = server
        self.expiry = expiry
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
            json.member("role", role?.rawValue)
            json.member("server", server)
            json.member("exp", expiry)
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
                role: try fields.optionalString("role", limit: 16).map { role throws(ProtocolError) in
                    guard let role = Hello.Role(rawValue: role) else { throw fields.wrong("role", "is none") }
                    return role
                },
                server: try fields.string("server", limit: Limits.identifier, .line),
                expiry: try fields.optionalInteger("exp"))
        } catch {
            return nil
        }
    }
}

/// The rights that a newcomer has proved with its first join.
package struct Admission: Sendable, Hashable {
    /// The name is the newcomer's own, as far as anybody is asked: another participant of this name must be an older
    /// self of it.
    package var ownsName: Bool
    /// The one role that its join token allows. Nil: either.
    package var role: Hello.Role?

    package init(ownsName: Bool, role: Hello.Role? = nil) {
        self.ownsName = ownsName
        self.role = role
    }
}

/// The server's proofs: whether a token or a newcomer is to be believed, and which ICE servers are handed out. Signing
/// and clocks live behind it.
///
/// Calls are synchronous and come from the machine's own thread. A simulation hands in one that is deterministic.
package protocol RoomAuthority: Sendable {
    /// A token of `Limits.sessionToken` bytes at most, of printable ASCII, that is good for `lifetime` from now on.
    func sessionToken(for claims: SessionClaims, lifetime: Duration) -> String
    /// The claims of a token that this authority has signed and that has not expired, else nil.
    func claims(ofSessionToken token: String) -> SessionClaims?
    /// Whether a first join is allowed, and as what. Throws `.unauthorized` or `.tokenExpired`.
    func authorize(_ hello: Hello) throws(ProtocolError) -> Admission
    /// Fresh ICE servers.
    func iceServers(for participant: ParticipantID) -> ICEServerList
}

/// Signs nothing and lets everybody in: for tests and simulations.
package struct TrustingAuthority: RoomAuthority {
    package var iceServers = ICEServerList()

    package init() {}

    package func sessionToken(for claims: SessionClaims, lifetime: Duration) -> String {
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

    /// The answer of `authorize` about names.
    package var trustsNames = true
    /// The roles that join tokens allow.
    package var roles: [String: Hello.Role] = [:]

    package func authorize(_ hello: Hello) throws(ProtocolError) -> Admission {
        Admission(ownsName: trustsNames, role: hello.token.flatMap { roles[$0] })
    }

    package func iceServers(for participant: ParticipantID) -> ICEServerList { iceServers }
}
