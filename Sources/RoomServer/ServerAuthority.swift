internal import Glibc
internal import Hashing
internal import RoomProtocol
internal import RoomServerCore
internal import TransportValues
internal import WebSocketWire

/// Signs session tokens with HMAC-SHA256, verifies join tokens, and makes ICE servers with fresh TURN credentials.
struct ServerAuthority: RoomAuthority {
    let sessionKeys: SessionKeys
    /// Nil: everybody may join.
    let joinTokenKeys: JoinTokenKeys?
    let ice: RoomServerConfiguration.ICE
    /// Returns the seconds since 1970.
    var now: @Sendable () -> Int = { Int(time(nil)) }

    func sessionToken(for claims: SessionClaims, lifetime: Duration) -> String {
        var claims = claims
        claims.expiry = UInt64(clamping: now()) + UInt64(clamping: lifetime.components.seconds)
        let payload = claims.encoded
        return Base64.encodeURL(payload) + "." + Base64.encodeURL(sessionKeys.sign(payload))
    }

    func claims(ofSessionToken token: String) -> SessionClaims? {
        let parts = token.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 2, let payload = Base64.decodeURL(String(parts[0])),
            let signature = Base64.decodeURL(String(parts[1])), sessionKeys.verify(signature, of: payload)
        else { return nil }
        guard let claims = payload.withUnsafeBytes({ SessionClaims(encoded: $0) }), let expiry = claims.expiry,
            UInt64(clamping: now()) < expiry
        else { return nil }
        return claims
    }

    /// A token that is valid for longer does not keep a kicked name away for longer.
    private static let longestBan = 30 * 86_400

    /// Without required tokens, every hello is believed. A token that is valid for any name proves none.
    func authorize(_ hello: Hello) throws(ProtocolError) -> Admission {
        guard let joinTokenKeys else { return Admission(ownsName: true) }
        guard let text = hello.token else { throw .unauthorized("This server requires a join token.") }
        let token = try JoinToken(verifying: text, keys: joinTokenKeys, now: now())
        guard token.room.hasSameBytes(as: hello.room.rawValue) else {
            throw .unauthorized("The join token is for another room.")
        }
        if let name = token.name, !name.hasSameBytes(as: hello.name) {
            throw .unauthorized("The join token is for another name.")
        }
        if let role = token.role, hello.role != .first, role.rawValue != hello.role.rawValue {
            throw .unauthorized("The join token is for the role \(role.rawValue).")
        }
        return Admission(
            ownsName: token.name != nil, role: token.role.map { $0 == .host ? .host : .guest },
            validity: .seconds(min(token.expiry - now() + JoinToken.leeway, Self.longestBan)))
    }

    /// Makes credentials as coturn's `use-auth-secret` checks them: the user name is `expiry:user`, the password its
    /// HMAC-SHA1.
    func iceServers(for participant: ParticipantID) -> ICEServerList {
        var servers = ice.servers
        guard let turn = ice.turn, !turn.urls.isEmpty else { return ICEServerList(servers: servers) }
        let ttl = min(max(turn.ttl, .seconds(60)), Limits.duration)
        let username = "\(now() + Int(ttl.components.seconds)):\(participant)"
        let credential = Base64.encode(Crypto.hmac(.sha1, key: turn.secret, Array(username.utf8)))
        servers.append(ICEServer(urls: turn.urls, username: username, credential: credential))
        return ICEServerList(servers: servers, ttl: ttl)
    }
}
