import RoomProtocol
import RoomServerCore
import Testing

@testable import RoomServer

@Suite("Signatures and encodings")
struct CryptoTests {
    @Test(arguments: [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")])
    func base64IsThatOfRFC4648(_ text: String, _ encoded: String) {
        #expect(Base64.encode(Array(text.utf8)) == encoded)
        #expect(Base64.decode(encoded) == Array(text.utf8))
    }

    @Test(arguments: ["Zg", "Zg=", "Zh==", "Z", "Zg===", "Zm9v\n", "Zm-v", "===="])
    func whatBase64WouldNotWriteIsRefused(_ text: String) { #expect(Base64.decode(text) == nil) }

    @Test func hmacIsThatOfRFC4231() {
        let code = Crypto.hmac(.sha256, key: Array("Jefe".utf8), Array("what do ya want for nothing?".utf8))
        #expect(code.prefix(4) == [0x5B, 0xDC, 0xC1, 0x46] && code.count == 32)
        #expect(Crypto.hmac(.sha1, key: Array("key".utf8), []).count == 20)
    }

    private let authority = ServerAuthority(
        sessionKey: [UInt8](repeating: 1, count: 32), joinTokenSecret: nil, ice: .init())
    private let claims = SessionClaims(
        participant: ParticipantID("p1"), room: RoomName("lobby \" ü"), name: "ann", session: SessionID("s1"), epoch: 3,
        hostTerm: 2, isHost: true, server: "v1")

    @Test func sessionTokenComesBackAsItWas() {
        let token = authority.sessionToken(for: claims)
        #expect(authority.claims(ofSessionToken: token) == claims)
        #expect(token.utf8.count <= Limits.sessionToken)
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
        let token = authority.sessionToken(for: longest)
        #expect(token.utf8.count <= Limits.sessionToken)
        #expect(authority.claims(ofSessionToken: token) == longest)
    }

    @Test func changedSessionTokenIsRefused() {
        let token = Array(authority.sessionToken(for: claims))
        for index in token.indices {
            var changed = token
            changed[index] = changed[index] == "A" ? "B" : "A"
            #expect(authority.claims(ofSessionToken: String(changed)) == nil)
        }
        #expect(authority.claims(ofSessionToken: "") == nil)
        #expect(authority.claims(ofSessionToken: ".") == nil)
        let other = ServerAuthority(sessionKey: [UInt8](repeating: 2, count: 32), joinTokenSecret: nil, ice: .init())
        #expect(other.claims(ofSessionToken: String(token)) == nil)
    }

    @Test func joinTokenWithAnotherAlgorithmIsRefused() throws {
        let secret = Array("secret".utf8)
        let good = JoinToken(room: "lobby", expiry: 2000).signed(with: secret)
        #expect(try JoinToken(verifying: good, secret: secret, now: 1000).room == "lobby")
        let payload = good.split(separator: ".")[1]
        for header in [#"{"alg":"none"}"#, #"{"alg":"HS512"}"#, #"{"alg":"RS256"}"#, "{}", "nonsense"] {
            let content = Base64.encodeURL(Array(header.utf8)) + "." + payload
            for signature in ["", Base64.encodeURL(Crypto.hmac(.sha256, key: secret, Array(content.utf8)))] {
                #expect(throws: ProtocolError.self) {
                    try JoinToken(verifying: content + "." + signature, secret: secret, now: 1000)
                }
            }
        }
    }

    @Test func joinTokenExpiresWithALittleLeeway() throws {
        let token = JoinToken(room: "lobby", expiry: 2000).signed(with: [1])
        #expect(try JoinToken(verifying: token, secret: [1], now: 2029).expiry == 2000)
        let error = #expect(throws: ProtocolError.self) { try JoinToken(verifying: token, secret: [1], now: 2030) }
        #expect(error?.code == .tokenExpired)
    }
}
