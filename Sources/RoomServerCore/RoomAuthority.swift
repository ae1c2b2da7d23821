package import RoomProtocol

/// The content of a session token. The server trusts it, since only the server can sign one.
package struct SessionClaims: Sendable, Hashable {
    package var participant: ParticipantID
    package var room: RoomName
    package var name: String
    package var session: SessionID
    package var epoch: Epoch
    /// The highest host term of the room when the token was signed; the holder's own if `isHost`.
    package var hostTerm: HostTerm
    package var isHost: Bool
    /// The only role that the join token allowed; nil if it allowed both.
    package var role: Hello.Role?
    /// The identifier of the server's run that signed the token. Two servers with the same key may both have begun an
    /// epoch with the same number; only the holder's own can be resumed.
    package var server: String
    /// The fence of the room at the node that signed the token; nil without a cluster.
    package var fence: UInt64?
    /// The time of expiry in seconds since 1970, by the signer's clock.
    package var expiry: UInt64?

    package init(
        participant: ParticipantID, room: RoomName, name: String, session: SessionID, epoch: Epoch, hostTerm: HostTerm,
        isHost: Bool, role: Hello.Role? = nil, server: String, fence: UInt64? = nil,
        expiry: UInt64? = nil
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
        self.fence = fence
        self.expiry = expiry
    }

    /// Returns the claims as JSON.
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
            json.member("fence", fence)
            json.member("exp", expiry)
        }
        return json.bytes
    }

    /// Reads the output of `encoded`. Nil for anything else.
    package init?(encoded: UnsafeRawBufferPointer) {
        guard case .object(let members)? = try? JSONReader.read(encoded) else { return nil }
        let fields = FieldReader(members)
        do throws(ProtocolError) {
            self.init(
                participant: ParticipantID(try fields.identifier("participant")),
                room: RoomName(try fields.string("room", limit: Limits.roomName, .line, minimum: 1)),
                name: try fields.string("name", limit: Limits.participantName, .line, minimum: 1),
                session: SessionID(try fields.identifier("session")),
                // Low enough that counting up cannot overflow.
                epoch: try fields.integer("epoch", limit: .max / 2),
                hostTerm: try fields.integer("hostTerm", limit: .max / 2), isHost: try fields.boolean("host"),
                role: try fields.optionalString("role", limit: 16).map { role throws(ProtocolError) in
                    guard let role = Hello.Role(rawValue: role) else { throw fields.wrong("role", "is none") }
                    return role
                },
                server: try fields.string("server", limit: Limits.identifier, .line),
                fence: try fields.optionalInteger("fence"), expiry: try fields.optionalInteger("exp"))
        } catch {
            return nil
        }
    }
}

/// The rights that a newcomer has proved with its first join.
package struct Admission: Sendable, Hashable {
    /// Whether the newcomer has proved that the name is its own. Then another participant with this name must be an
    /// older instance of it.
    package var ownsName: Bool
    /// The only role that its join token allows; nil if it allows both.
    package var role: Hello.Role?
    /// How long its join token is still valid; nil: there is none.
    package var validity: Duration?

    package init(ownsName: Bool, role: Hello.Role? = nil, validity: Duration? = nil) {
        self.ownsName = ownsName
        self.role = role
        self.validity = validity
    }
}

/// The authority of the server: decides whether a token or a newcomer is trusted, and which ICE servers a participant
/// gets. It contains signing keys and clocks.
///
/// Its methods are called synchronously, on the machine's thread. A simulation passes a deterministic one.
package protocol RoomAuthority: Sendable {
    /// Returns a token of printable ASCII, with at most `Limits.sessionToken` bytes, that is valid for `lifetime` from
    /// now on.
    func sessionToken(for claims: SessionClaims, lifetime: Duration) -> String
    /// Returns the claims of a token that this authority has signed and that has not expired; otherwise nil.
    func claims(ofSessionToken token: String) -> SessionClaims?
    /// Returns the rights of a first join. Throws `.unauthorized` or `.tokenExpired`.
    func authorize(_ hello: Hello) throws(ProtocolError) -> Admission
    /// Returns ICE servers with fresh credentials.
    func iceServers(for participant: ParticipantID) -> ICEServerList
}

/// An authority without signatures that admits everybody, for tests and simulations.
package struct TrustingAuthority: RoomAuthority {
    package var iceServers = ICEServerList()

    package init() {}

    package func sessionToken(for claims: SessionClaims, lifetime: Duration) -> String {
        let bytes = claims.encoded
        let digits: StaticString = "0123456789abcdef"
        return String(unsafeUninitializedCapacity: bytes.count * 2) { text in
            for (index, byte) in bytes.enumerated() {
                text[index * 2] = digits.utf8Start[Int(byte >> 4)]
                text[index * 2 + 1] = digits.utf8Start[Int(byte & 15)]
            }
            return bytes.count * 2
        }
    }

    package func claims(ofSessionToken token: String) -> SessionClaims? {
        let digits = Array(token.utf8)
        guard digits.count.isMultiple(of: 2) else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(digits.count / 2)
        for index in stride(from: 0, to: digits.count, by: 2) {
            guard let high = Self.value(of: digits[index]), let low = Self.value(of: digits[index + 1]) else {
                return nil
            }
            bytes.append(high << 4 | low)
        }
        return bytes.withUnsafeBytes(SessionClaims.init(encoded:))
    }

    private static func value(of digit: UInt8) -> UInt8? {
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
        default: nil
        }
    }

    /// Whether `authorize` says that newcomers own their names.
    package var trustsNames = true
    /// The roles that `authorize` says that join tokens allow.
    package var roles: [String: Hello.Role] = [:]
    /// The join tokens that `authorize` refuses.
    package var invalidTokens: Set<String> = []
    /// How long `authorize` says that join tokens are still valid.
    package var tokenValidity: Duration?

    package func authorize(_ hello: Hello) throws(ProtocolError) -> Admission {
        if let token = hello.token, invalidTokens.contains(token) {
            throw ProtocolError(code: .unauthorized, message: "Invalid.", isRetryable: false, isFatal: true)
        }
        return Admission(
            ownsName: trustsNames, role: hello.token.flatMap { roles[$0] },
            validity: hello.token == nil ? nil : tokenValidity)
    }

    package func iceServers(for participant: ParticipantID) -> ICEServerList { iceServers }
}
