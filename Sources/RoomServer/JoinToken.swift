internal import Hashing
internal import RoomProtocol
internal import WebSocketWire

/// A permission to join a room for the first time: a signed JSON Web Token (RFC 7519), which an application gives to
/// its users.
///
/// Claims: `exp` (seconds since 1970, may have a fraction; required), `nbf` (the same format), `room` (required),
/// `name` and `role` (`host` or `guest`; when present, the hello must agree; without a role the holder may be either),
/// `iss` and `aud` (compared where the server is configured to). Others are ignored.
public struct JoinToken: Sendable, Hashable {
    /// The role of a token's holder.
    public enum Role: String, Sendable {
        /// Creates the room.
        case host
        /// Joins a room that exists.
        case guest
    }
    /// The room that its holder may join.
    public var room: String
    /// The name that its holder must have. Nil: any.
    public var name: String?
    /// The role that its holder must have. Nil: host or guest.
    public var role: Role?
    /// The expiry, in seconds since 1970.
    public var expiry: Int
    /// The beginning of its validity, in seconds since 1970. Nil: it is valid at once.
    public var notBefore: Int?
    /// The signer, for servers that compare it. Nil: no claim.
    public var issuer: String?
    /// The service that it is for, for servers that compare it. Nil: no claim.
    public var audience: String?

    /// Creates a token with these claims, not yet signed.
    public init(room: String, name: String? = nil, role: Role? = nil, expiry: Int) {
        self.room = room
        self.name = name
        self.role = role
        self.expiry = expiry
    }

    /// Returns the token signed with `secret` by HS256.
    public func signed(with secret: [UInt8]) -> String {
        // HMAC has a code for every message.
        signed(with: JoinTokenKey(material: .secret(secret))) ?? ""
    }

    /// Returns the signed token. Nil when the key is a public one.
    func signed(with key: JoinTokenKey) -> String? {
        var header = JSONWriter()
        header.object { json in
            json.member("alg", key.algorithm)
            json.member("typ", "JWT")
            json.member("kid", key.id)
        }
        var claims = JSONWriter()
        claims.object { json in
            json.member("iss", issuer)
            json.member("aud", audience)
            json.member("room", room)
            json.member("name", name)
            json.member("role", role?.rawValue)
            json.member("nbf", notBefore)
            json.member("exp", expiry)
        }
        let content = Base64.encodeURL(header.bytes) + "." + Base64.encodeURL(claims.bytes)
        return key.sign(Array(content.utf8)).map { content + "." + Base64.encodeURL($0) }
    }

    /// The tolerated difference between clocks, in seconds.
    static let leeway = 30

    /// The length of `iss` and of each `aud`.
    private static let partyLimit = 1024

    /// Verifies a token. Only the algorithms of the keys are accepted, whatever the header says.
    init(verifying text: String, keys: JoinTokenKeys, now: Int) throws(ProtocolError) {
        let fields = try SignedToken(text).claims(verifiedBy: keys.keys)
        let claims: (room: String, name: String?, role: String?, expiry: Double?, notBefore: Double?)
        do throws(ProtocolError) {
            claims = (
                try fields.string("room", limit: Limits.roomName),
                try fields.optionalString("name", limit: Limits.participantName),
                try fields.optionalString("role", limit: 16), try fields.optionalDate("exp"),
                try fields.optionalDate("nbf")
            )
        } catch {
            throw .unauthorized("The join token lacks a claim, or has one of the wrong kind: \(error.message)")
        }
        if let role = claims.role, Role(rawValue: role) == nil {
            throw .unauthorized("The join token's role is neither host nor guest.")
        }
        guard let expiry = claims.expiry else { throw .unauthorized("The join token lacks the claim exp.") }
        guard expiry + Double(Self.leeway) > Double(now) else { throw .tokenExpired }
        guard (claims.notBefore ?? 0) <= Double(now + Self.leeway) else {
            throw .unauthorized("The join token is not valid yet.")
        }
        self.init(
            room: claims.room, name: claims.name, role: claims.role.flatMap(Role.init),
            expiry: Int(expiry))
        notBefore = claims.notBefore.map { Int($0) }
        try checkParties(fields, keys)
    }

    /// Compares signer and audience with those of the server. Throws `.unauthorized` if they differ.
    private mutating func checkParties(_ fields: FieldReader, _ keys: JoinTokenKeys) throws(ProtocolError) {
        if let expected = keys.issuer {
            issuer = try? fields.optionalString("iss", limit: Self.partyLimit)
            guard issuer?.hasSameBytes(as: expected) == true else {
                throw .unauthorized("The join token is not from the issuer that this server requires (iss).")
            }
        }
        if let expected = keys.audience {
            // RFC 7519 §4.1.3: one text, or a list.
            let one = try? fields.optionalString("aud", limit: Self.partyLimit)
            let several = try? fields.strings("aud", count: 16, limit: Self.partyLimit, .text)
            guard (one.map { [$0] } ?? several ?? []).contains(where: { $0.hasSameBytes(as: expected) }) else {
                throw .unauthorized("The join token is not for this server's audience (aud).")
            }
            audience = expected
        }
    }
}

extension ProtocolError {
    static func unauthorized(_ message: String) -> ProtocolError {
        ProtocolError(code: .unauthorized, message: message, isRetryable: false, isFatal: true)
    }

    static let tokenExpired = ProtocolError(
        code: .tokenExpired, message: "The join token has expired.", isRetryable: false, isFatal: true)
}
