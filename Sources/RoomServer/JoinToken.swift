internal import Hashing
internal import RoomProtocol
internal import WebSocketWire

/// A permission to join a room for the first time: a JSON Web Token (RFC 7519) signed with HS256, which an application
/// gives to its users.
///
/// Claims: `exp` (seconds since 1970, may have a fraction; required), `nbf` (the same format), `room` (required),
/// `name` and `role` (`host` or `guest`; when present, the hello must agree; without a role the holder may be either).
/// Others are ignored.
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

    /// Creates a token with these claims, not yet signed.
    public init(room: String, name: String? = nil, role: Role? = nil, expiry: Int) {
        self.room = room
        self.name = name
        self.role = role
        self.expiry = expiry
    }

    /// Returns the token signed with `secret`.
    public func signed(with secret: [UInt8]) -> String {
        var json = JSONWriter()
        json.object { json in
            json.member("room", room)
            json.member("name", name)
            json.member("role", role?.rawValue)
            json.member("exp", expiry)
        }
        let content =
            Base64.encodeURL(Array(#"{"alg":"HS256","typ":"JWT"}"#.utf8)) + "." + Base64.encodeURL(json.bytes)
        return content + "." + Base64.encodeURL(Crypto.hmac(.sha256, key: secret, Array(content.utf8)))
    }

    /// The tolerated difference between clocks, in seconds.
    static let leeway = 30

    /// Verifies a token. The algorithm is pinned: whatever the header says, only HS256 under `secret` is accepted.
    init(verifying text: String, secret: [UInt8], now: Int) throws(ProtocolError) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3, let header = Base64.decodeURL(String(parts[0])),
            let payload = Base64.decodeURL(String(parts[1])), let signature = Base64.decodeURL(String(parts[2])),
            Crypto.areEqual(
                signature, Crypto.hmac(.sha256, key: secret, Array("\(parts[0]).\(parts[1])".utf8))),
            let headerFields = Self.fields(header), let fields = Self.fields(payload),
            (try? headerFields.string("alg", limit: 16)) == "HS256"
        else { throw .unauthorized("The join token was not signed by this server's token secret.") }
        // RFC 7515 §4.1.11: a critical extension that is not understood.
        guard !headerFields.hasField("crit") else {
            throw .unauthorized(
                "The join token's header has crit: it requires an extension that this server does not know.")
        }
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
    }

    private static func fields(_ bytes: [UInt8]) -> FieldReader? {
        guard case .object(let members)? = bytes.withUnsafeBytes({ try? JSONReader.read($0) }) else { return nil }
        return FieldReader(members)
    }
}

extension ProtocolError {
    static func unauthorized(_ message: String) -> ProtocolError {
        ProtocolError(code: .unauthorized, message: message, isRetryable: false, isFatal: true)
    }

    static let tokenExpired = ProtocolError(
        code: .tokenExpired, message: "The join token has expired.", isRetryable: false, isFatal: true)
}
