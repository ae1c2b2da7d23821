import Hashing
import RoomProtocol
import RoomServerCore
import Testing
import WebSocketWire

@testable import RoomServer

@Suite("Signatures and encodings")
struct CryptoTests {
    @Test func hmacIsThatOfRFC4231() {
        let code = Crypto.hmac(.sha256, key: Array("Jefe".utf8), Array("what do ya want for nothing?".utf8))
        #expect(code.prefix(4) == [0x5B, 0xDC, 0xC1, 0x46] && code.count == 32)
        #expect(Crypto.hmac(.sha1, key: Array("key".utf8), []).count == 20)
    }

    private let authority = ServerAuthority(
        sessionKeys: SessionKeys([UInt8](repeating: 1, count: 32)), joinTokenKeys: nil, ice: .init(), now: { 1000 })
    private let claims = SessionClaims(
        participant: ParticipantID("p1"), room: RoomName("lobby \" ü"), name: "ann", session: SessionID("s1"), epoch: 3,
        hostTerm: 2, isHost: true, role: .host, server: "v1")

    @Test func sessionTokenComesBackAsItWas() {
        let token = authority.sessionToken(for: claims, lifetime: .seconds(60))
        #expect(authority.claims(ofSessionToken: token) == claims.expiring(at: 1060))
        #expect(token.utf8.count <= Limits.sessionToken)
    }

    @Test func sessionTokenExpires() {
        let token = authority.sessionToken(for: claims, lifetime: .seconds(60))
        var later = authority
        later.now = { 1059 }
        #expect(later.claims(ofSessionToken: token) != nil)
        later.now = { 1060 }
        #expect(later.claims(ofSessionToken: token) == nil)
    }

    @Test func longestSessionTokenFitsItsLimit() {
        var longest = claims
        longest.participant = ParticipantID(String(repeating: "p", count: Limits.identifier))
        longest.session = SessionID(String(repeating: "p", count: Limits.identifier))
        longest.server = String(repeating: "p", count: Limits.identifier)
        longest.room = RoomName(String(repeating: "\"", count: Limits.roomName))
        longest.name = String(repeating: "\\", count: Limits.participantName)
        longest.epoch = .max / 2
        longest.hostTerm = .max / 2
        let token = authority.sessionToken(for: longest, lifetime: .seconds(60))
        #expect(token.utf8.count <= Limits.sessionToken)
        #expect(authority.claims(ofSessionToken: token) == longest.expiring(at: 1060))
    }

    @Test func changedSessionTokenIsRefused() {
        let token = Array(authority.sessionToken(for: claims, lifetime: .seconds(60)))
        for index in token.indices {
            var changed = token
            changed[index] = changed[index] == "A" ? "B" : "A"
            #expect(authority.claims(ofSessionToken: String(changed)) == nil)
        }
        #expect(authority.claims(ofSessionToken: "") == nil)
        #expect(authority.claims(ofSessionToken: ".") == nil)
        let other = ServerAuthority(
            sessionKeys: SessionKeys([UInt8](repeating: 2, count: 32)), joinTokenKeys: nil, ice: .init())
        #expect(other.claims(ofSessionToken: String(token)) == nil)
    }

    @Test func joinTokenWithAnotherAlgorithmIsRefused() throws {
        let secret = Array("secret".utf8)
        let good = JoinToken(room: "lobby", expiry: 2000).signed(with: secret)
        #expect(try JoinToken(verifying: good, keys: JoinTokenKeys(secret: secret), now: 1000).room == "lobby")
        let payload = good.split(separator: ".")[1]
        for header in [#"{"alg":"none"}"#, #"{"alg":"HS512"}"#, #"{"alg":"RS256"}"#, "{}", "nonsense"] {
            let content = Base64.encodeURL(Array(header.utf8)) + "." + payload
            for signature in ["", Base64.encodeURL(Crypto.hmac(.sha256, key: secret, Array(content.utf8)))] {
                #expect(throws: ProtocolError.self) {
                    try JoinToken(verifying: content + "." + signature, keys: JoinTokenKeys(secret: secret), now: 1000)
                }
            }
        }
    }

    /// A token as another library makes it.
    private func joinToken(_ payload: String, header: String = #"{"alg":"HS256"}"#) -> String {
        let content = Base64.encodeURL(Array(header.utf8)) + "." + Base64.encodeURL(Array(payload.utf8))
        return content + "." + Base64.encodeURL(Crypto.hmac(.sha256, key: [1], Array(content.utf8)))
    }

    /// RFC 7519 §2: a NumericDate may have a fraction; §4: claims that are not understood are ignored.
    @Test(arguments: [
        #""exp":2000.25"#, #""exp":2.0e3"#, #""exp":2e3,"nbf":999.75"#, #""exp":2000.0,"nbf":1000.0"#,
        #""exp":4000000000000"#,
        #""exp":2000,"aud":"room","iss":"x","sub":"1","jti":"2""#,
        #""exp":2000,"aud":["room","other"],"iat":999.123456"#,
        #""exp":2000,"https://example.org/a-name-of-a-claim-that-is-longer-than-a-member-of-a-message":{"a":[1]}"#,
        #""exp":2000,"\u00e9":1,"e\u0301":2"#,
    ])
    func joinTokensOfOtherLibrariesAreTaken(_ claims: String) throws {
        let token = joinToken(#"{"room":"lobby",\#(claims)}"#)
        #expect(try JoinToken(verifying: token, keys: JoinTokenKeys(secret: [1]), now: 1000).room == "lobby")
    }

    @Test(arguments: [
        #""exp":"2000""#, #""exp":-1"#, #""exp":-1.5"#, #""exp":1e400"#, #""exp":1e20"#, #""exp":18446744073709551615"#,
        #""exp":[2000]"#, #""exp":null"#, #""exp":true"#, #""nbf":1"#, #""exp":2000,"nbf":"1""#,
        #""exp":2000,"nbf":-1"#,
        #""exp":2000,"nbf":1030.5"#, #""exp":2000,"exp":3000"#,
    ])
    func joinTokenWithoutAUsableTimeIsRefused(_ claims: String) {
        let token = joinToken(#"{"room":"lobby",\#(claims)}"#)
        let error = #expect(throws: ProtocolError.self) {
            try JoinToken(verifying: token, keys: JoinTokenKeys(secret: [1]), now: 1000)
        }
        #expect(error?.code == .unauthorized)
    }

    /// RFC 7515 §4.1: `typ` is for applications, unknown members are ignored; what `crit` names must be understood.
    @Test(arguments: [
        (#"{"alg":"HS256","typ":"jwt"}"#, true),
        (#"{"typ":"application/JWT","kid":"1","x5t":[1],"alg":"HS256"}"#, true),
        (#"{"alg":"HS256","cty":"x","new":{"a":null}}"#, true), (#"{"alg":"HS256","crit":["exp"]}"#, false),
        (#"{"alg":"HS256","b64":false,"crit":["b64"]}"#, false), (#"{"alg":"HS256","crit":[]}"#, false),
        (#"{"alg":"hs256"}"#, false),
    ])
    func headerOfAJoinTokenIsReadAsItsRFCSays(_ header: String, _ isTaken: Bool) {
        let token = joinToken(#"{"room":"lobby","exp":2000}"#, header: header)
        #expect(((try? JoinToken(verifying: token, keys: JoinTokenKeys(secret: [1]), now: 1000)) != nil) == isTaken)
    }

    @Test func joinTokenExpiresWithALittleLeeway() throws {
        let token = JoinToken(room: "lobby", expiry: 2000).signed(with: [1])
        #expect(try JoinToken(verifying: token, keys: JoinTokenKeys(secret: [1]), now: 2029).expiry == 2000)
        let error = #expect(throws: ProtocolError.self) {
            try JoinToken(verifying: token, keys: JoinTokenKeys(secret: [1]), now: 2030)
        }
        #expect(error?.code == .tokenExpired)
    }
}

extension SessionClaims {
    fileprivate func expiring(at expiry: UInt64) -> Self {
        var claims = self
        claims.expiry = expiry
        return claims
    }
}
