import Foundation
import Hashing
import Logging
import RoomProtocol
import Testing
import WebSocketWire

@testable import RoomServer

@Suite("Keys of join tokens: files, algorithms, and the traps of RFC 8725")
struct JoinTokenKeyTests {
    private let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    // MARK: The examples of the RFCs

    private static let payload =
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
    /// RFC 8037 §A.4, RFC 7515 §A.2, §A.3 and §A.1: a JSON Web Key, and a signature by it.
    private static let examples = [
        (
            #"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
                + "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
        ),
        (
            #"{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPME"#
                + "zP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5"
                + "z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxX"
                + #"FvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}"#,
            "eyJhbGciOiJSUzI1NiJ9." + payload
                + ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5ju"
                + "jGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K"
                + "0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6Lb"
                + "gGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
        ),
        (
            #"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","#
                + #""y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
            "eyJhbGciOiJFUzI1NiJ9." + payload
                + ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
        ),
        (
            #"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9"#
                + #"CAow"}"#,
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." + payload + ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
        ),
    ]

    @Test(arguments: 0..<4)
    func signaturesOfTheRFCsAreVerifiedByTheirKeyOnly(_ example: Int) throws {
        let (key, text) = Self.examples[example]
        let token = try SignedToken(text)
        for (index, other) in Self.examples.enumerated() {
            let keys = try withKeyFile(other.0) { try JoinTokenKeyFile.keys($0, logger) }
            let isSigned = token.isSigned(by: keys)
            #expect(isSigned == (index == example))
        }
        // One bit differs.
        let keys = try withKeyFile(key) { try JoinTokenKeyFile.keys($0, logger) }
        var changed = token.signature
        changed[changed.count / 2] ^= 1
        #expect(!keys[0].verify(changed, of: token.content))
        #expect(!keys[0].verify([], of: token.content) && !keys[0].verify(token.signature + [0], of: token.content))
    }

    // MARK: Traps

    private let ed25519 = try! #require(SignatureKey.makeEd25519())
    private func token(_ header: String, _ key: JoinTokenKey, _ claims: String = #"{"room":"a","exp":2000}"#) -> String
    {
        let content = Base64.encodeURL(Array(header.utf8)) + "." + Base64.encodeURL(Array(claims.utf8))
        return content + "." + Base64.encodeURL(key.sign(Array(content.utf8)) ?? [])
    }

    private func isAccepted(_ token: String, _ keys: [JoinTokenKey]) -> Bool {
        var set = JoinTokenKeys()
        do {
            try set.add(keys)
            return try JoinToken(verifying: token, keys: set, now: 1000).room == "a"
        } catch {
            return false
        }
    }

    /// RFC 8725 §2.1 and §3.1: the public key's text as the secret of HS256, and other algorithms than the key's.
    @Test func theHeaderDoesNotChooseTheAlgorithm() throws {
        let own = JoinTokenKey(material: .signature(ed25519))
        let pem = try #require(ed25519.publicPEM)
        #expect(isAccepted(token(#"{"alg":"EdDSA"}"#, own), [own]))
        // RFC 9864 §2.2.
        #expect(isAccepted(token(#"{"alg":"Ed25519"}"#, own), [own]))
        for secret in [pem, pem.trimmingCharacters(in: .newlines)] {
            let forged = token(#"{"alg":"HS256"}"#, JoinTokenKey(material: .secret(Array(secret.utf8))))
            #expect(!isAccepted(forged, [own]))
        }
        for algorithm in ["none", "None", "", "HS256", "RS256", "ES256", "eddsa", "EDDSA"] {
            #expect(!isAccepted(token(#"{"alg":"\#(algorithm)"}"#, own), [own]), "\(algorithm)")
        }
        let unsigned = token(#"{"alg":"none"}"#, own).split(separator: ".").dropLast().joined(separator: ".") + "."
        #expect(!isAccepted(unsigned, [own]))
    }

    /// RFC 8725 §3.10: a key in the token is not one of the server's.
    @Test func keysInTheHeaderAreIgnored() throws {
        let own = JoinTokenKey(material: .signature(ed25519))
        let stranger = JoinTokenKey(material: .signature(try #require(SignatureKey.makeEd25519())))
        let point = Base64.encodeURL(Array(repeating: 7, count: 32))
        let key = #"{"kty":"OKP","crv":"Ed25519","x":"\#(point)"}"#
        let header = #"{"alg":"EdDSA","jwk":\#(key),"jku":"https://example.org","x5c":["A"]}"#
        #expect(!isAccepted(token(header, stranger), [own]))
        #expect(isAccepted(token(header, own), [own]))
    }

    @Test func membersThatOccurTwiceAreRefused() {
        let own = JoinTokenKey(material: .secret([1]))
        #expect(!isAccepted(token(#"{"alg":"HS256","alg":"HS256"}"#, own), [own]))
        #expect(!isAccepted(token(#"{"alg":"HS256"}"#, own, #"{"room":"a","room":"b","exp":2000}"#), [own]))
        #expect(!isAccepted(token(#"{"alg":"HS256","crit":["exp"]}"#, own), [own]))
    }

    @Test func aTokenOverItsLengthIsRefusedBeforeItIsRead() {
        let own = JoinTokenKey(material: .secret([1]))
        let long = token(
            #"{"alg":"HS256"}"#, own,
            #"{"room":"a","exp":2000,"more":"\#(String(repeating: "x", count: Limits.token))"}"#)
        let error = #expect(throws: ProtocolError.self) { try SignedToken(long) }
        #expect(error?.message.contains("bytes") == true)
    }

    // MARK: Several keys

    @Test func theKeyIDChoosesAmongKeysThatHaveOne() throws {
        let old = JoinTokenKey(id: "old", material: .secret(Array("the old secret".utf8)))
        let new = JoinTokenKey(id: "new", material: .signature(ed25519))
        let unnamed = JoinTokenKey(material: .secret(Array("without a name".utf8)))
        let keys = [old, new, unnamed]
        #expect(isAccepted(token(#"{"alg":"HS256","kid":"old"}"#, old), keys))
        #expect(isAccepted(token(#"{"alg":"HS256"}"#, old), keys))
        #expect(isAccepted(token(#"{"alg":"EdDSA","kid":"new"}"#, new), keys))
        #expect(isAccepted(token(#"{"alg":"HS256","kid":"whatever"}"#, unnamed), keys))
        #expect(!isAccepted(token(#"{"alg":"HS256","kid":"new"}"#, old), keys))
        #expect(!isAccepted(token(#"{"alg":"EdDSA","kid":"old"}"#, new), keys))
        #expect(!isAccepted(token(#"{"alg":"HS256","kid":7}"#, old), keys))
        // Removed.
        #expect(!isAccepted(token(#"{"alg":"HS256","kid":"old"}"#, old), [new, unnamed]))
    }

    @Test func theNumberOfKeysIsLimited() throws {
        var keys = JoinTokenKeys()
        for _ in 0..<JoinTokenKeys.limit { try keys.add(secret: [1, 2, 3, 4]) }
        #expect(throws: RoomServerError.self) { try keys.add(secret: [1, 2, 3, 4]) }
    }

    // MARK: Issuer and audience

    @Test(arguments: [
        (#""iss":"app","aud":"rooms""#, true), (#""iss":"app","aud":["x","rooms"]"#, true), (#""iss":"app""#, false),
        (#""aud":"rooms""#, false), (#""iss":"other","aud":"rooms""#, false), (#""iss":"app","aud":"room""#, false),
        (#""iss":"app","aud":["x"]"#, false), (#""iss":["app"],"aud":"rooms""#, false),
        (#""iss":"app","aud":[["rooms"]]"#, false),
    ])
    func issuerAndAudienceMustAgreeWhereTheyAreRequired(_ claims: String, _ isTaken: Bool) throws {
        let own = JoinTokenKey(material: .secret([1, 2, 3, 4]))
        let text = token(#"{"alg":"HS256"}"#, own, #"{"room":"a","exp":2000,\#(claims)}"#)
        var strict = JoinTokenKeys(issuer: "app", audience: "rooms")
        try strict.add(secret: [1, 2, 3, 4])
        #expect(((try? JoinToken(verifying: text, keys: strict, now: 1000)) != nil) == isTaken)
        #expect(isAccepted(text, [own]))
    }

    // MARK: Files

    @Test func aPEMFileHasSeveralKeysWithIDs() throws {
        let other = try #require(SignatureKey.makeEd25519())
        let text = "kid: first\n\(ed25519.publicPEM ?? "")Made by hand.\n\(other.publicPEM ?? "")"
        let keys = try withKeyFile(text) { try JoinTokenKeyFile.keys($0, logger) }
        #expect(keys.map(\.id) == ["first", nil] && keys.map(\.algorithm) == ["EdDSA", "EdDSA"])
        #expect(isAccepted(token(#"{"alg":"EdDSA","kid":"first"}"#, JoinTokenKey(material: .signature(ed25519))), keys))
        let crlf = text.replacingOccurrences(of: "\n", with: "\r\n")
        #expect(try withKeyFile(crlf) { try JoinTokenKeyFile.keys($0, logger) }.map(\.id) == ["first", nil])
    }

    @Test func aPrivateKeyIsRefusedByAServerAndSigns() throws {
        let pem = try #require(ed25519.privatePEM)
        try withKeyFile("kid: a\n" + pem) { path in
            let error = #expect(throws: RoomServerError.self) { try JoinTokenKeyFile.keys(path, logger) }
            #expect(error?.message.contains("private key") == true && error?.message.contains(path) == true)
            let key = try JoinTokenKeyFile.privateKey(path, logger)
            let text = try #require(JoinToken(room: "a", expiry: 2000).signed(with: key))
            #expect(try SignedToken(text).keyID == "a")
            #expect(isAccepted(text, [JoinTokenKey(id: "a", material: .signature(ed25519))]))
        }
        let jwk = #"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","d":"nWGx"}"#
        #expect(throws: RoomServerError.self) { try withKeyFile(jwk) { try JoinTokenKeyFile.keys($0, logger) } }
    }

    /// RFC 7517 §5: entries that are not understood are ignored.
    @Test func aKeySetIsReadWithoutTheEntriesThatAreOfNoUse() throws {
        let usable = Self.examples.map { String($0.0.dropLast()) }
        let set = """
            {"keys":[\(usable[0]),"kid":"a"},\(usable[1]),"use":"sig","alg":"RS256"},\(usable[2]),"use":"enc"},
            \(usable[2]),"alg":"ES384"},\(usable[2]),"key_ops":["encrypt"]},\(usable[1]),"alg":"PS256"},
            {"kty":"OKP","crv":"X25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},{"kty":"new"},{},
            {"kty":"oct","k":"c2hvcnQ"},{"kty":"RSA","n":"AQAB","e":"AQAB"},
            {"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"},
            \(usable[3]),"kid":"z"}]}
            """
        let keys = try withKeyFile(set) { try JoinTokenKeyFile.keys($0, logger) }
        #expect(keys.map(\.id) == ["a", nil, "z"] && keys.map(\.algorithm) == ["EdDSA", "RS256", "HS256"])
    }

    @Test(arguments: [
        "", "no key", "{}", #"{"keys":[]}"#, #"{"keys":[{"kty":"new"}]}"#, #"{"keys":1}"#,
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "-----BEGIN PUBLIC KEY-----\n",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ])
    func aFileWithoutAUsableKeyIsRefusedByName(_ text: String) throws {
        try withKeyFile(text) { path in
            let error = #expect(throws: RoomServerError.self) { try JoinTokenKeyFile.keys(path, logger) }
            #expect(error?.message.contains(path) == true)
        }
    }

    @Test func aSecretFileWithAKeyIsRefused() throws {
        try withKeyFile(ed25519.publicPEM ?? "") { path in
            let error = #expect(throws: RoomServerError.self) { try SecretFile.secret(path, logger) }
            #expect(error?.message.contains("--token-key-file") == true)
        }
    }

    @Test func anIssuerWithoutKeysIsAMistake() {
        var configuration = RoomServerConfiguration()
        #expect(throws: Never.self) { try configuration.loadJoinTokenKeys(logger) }
        configuration.joinTokens.issuer = "app"
        #expect(throws: RoomServerError.self) { try configuration.loadJoinTokenKeys(logger) }
    }

    private func withKeyFile<Result>(_ text: String, _ body: (String) throws -> Result) throws -> Result {
        let file = FileManager.default.temporaryDirectory.appending(path: "keys-\(UUID().uuidString)")
        try Data(text.utf8).write(to: file)
        chmod(file.path, 0o600)
        defer { try? FileManager.default.removeItem(at: file) }
        return try body(file.path)
    }
}

extension SignedToken {
    fileprivate func isSigned(by keys: [JoinTokenKey]) -> Bool {
        keys.contains { $0.accepts(algorithm: algorithm, id: keyID) && $0.verify(signature, of: content) }
    }
}
