internal import RoomProtocol
internal import RoomServerCore
internal import TransportValues

/// Signs nothing, but knows the time: tokens and relay credentials say when they expire, and count no longer than that.
///
/// SAFETY of `@unchecked Sendable`: used by one simulation, on one thread.
final class SimulatedAuthority: RoomAuthority, @unchecked Sendable {
    var now = Timestamp.zero
    private let trusting = TrustingAuthority()
    private let relayLife: Duration?
    private let needsToken: Bool

    init(relayLife: Duration?, needsToken: Bool) {
        self.relayLife = relayLife
        self.needsToken = needsToken
    }

    func sessionToken(for claims: SessionClaims, lifetime: Duration) -> String {
        trusting.sessionToken(for: claims, lifetime: lifetime)
    }

    func claims(ofSessionToken token: String) -> SessionClaims? { trusting.claims(ofSessionToken: token) }

    func authorize(_ hello: Hello) throws(ProtocolError) -> Admission {
        guard needsToken else { return Admission(ownsName: true) }
        guard let token = hello.token, let expiry = Int64(token) else {
            throw ProtocolError(code: .unauthorized, message: "no token", isRetryable: false, isFatal: true)
        }
        guard now.nanoseconds < expiry else {
            throw ProtocolError(
                code: .tokenExpired, message: "the token has expired", isRetryable: false, isFatal: true)
        }
        return Admission(ownsName: true)
    }

    func iceServers(for participant: ParticipantID) -> ICEServerList {
        guard let relayLife else { return ICEServerList() }
        let expiry = now + relayLife
        return ICEServerList(
            servers: [
                ICEServer(urls: ["turn:relay"], username: "simulated", credential: "\(expiry.nanoseconds)")
            ], ttl: relayLife)
    }

    static func relay(until expiry: Timestamp) -> ICEServer {
        ICEServer(urls: ["turn:relay"], username: "simulated", credential: "\(expiry.nanoseconds)")
    }

    static func expiry(of servers: [ICEServer]) -> Timestamp {
        let times = servers.compactMap { $0.credential.flatMap { Int64($0) } }
        return times.min().map { Timestamp(nanoseconds: $0) } ?? .distantFuture
    }
}
