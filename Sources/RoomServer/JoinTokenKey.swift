internal import Hashing
internal import RoomProtocol
internal import WebSocketWire

/// A key that verifies join tokens. It accepts one algorithm, whatever the header of a token says (RFC 8725 §3.1).
struct JoinTokenKey: Sendable {
    enum Material: Sendable {
        /// HS256.
        case secret([UInt8])
        case signature(SignatureKey)
    }

    /// The key's id. Nil: the key is tried for every token of its algorithm, whatever `kid` says.
    var id: String?
    var material: Material

    /// The name of the algorithm in RFC 7518 and RFC 8037.
    var algorithm: String {
        switch material {
        case .secret: "HS256"
        case .signature(let key): key.algorithm.rawValue
        }
    }

    func accepts(algorithm: String, id: String?) -> Bool {
        // RFC 9864 §2.2 has a name of its own for Ed25519.
        let isItsAlgorithm =
            self.algorithm == algorithm
            || self.algorithm == SignatureKey.Algorithm.ed25519.rawValue
                && algorithm == "Ed25519"
        guard isItsAlgorithm else { return false }
        guard let own = self.id, let id else { return true }
        return own.hasSameBytes(as: id)
    }

    func verify(_ signature: [UInt8], of content: [UInt8]) -> Bool {
        switch material {
        case .secret(let secret): Crypto.areEqual(signature, Crypto.hmac(.sha256, key: secret, content))
        case .signature(let key): key.verify(signature, of: content)
        }
    }

    /// Returns the signature of `content`. Nil for a public key.
    func sign(_ content: [UInt8]) -> [UInt8]? {
        switch material {
        case .secret(let secret): Crypto.hmac(.sha256, key: secret, content)
        case .signature(let key): key.sign(content)
        }
    }
}

/// The keys that verify join tokens, and the claims that they must have.
package struct JoinTokenKeys: Sendable {
    /// Each key may cost one verification for a token without `kid`: some 0.1 ms.
    static let limit = 16

    private(set) var keys: [JoinTokenKey] = []
    package var issuer: String?
    package var audience: String?

    package init(issuer: String? = nil, audience: String? = nil) {
        self.issuer = issuer
        self.audience = audience
    }

    /// The keys of HS256 with one secret.
    package init(secret: [UInt8]) { keys = [JoinTokenKey(material: .secret(secret))] }

    package var isEmpty: Bool { keys.isEmpty }

    mutating func add(_ more: [JoinTokenKey]) throws(RoomServerError) {
        keys += more
        guard keys.count <= Self.limit else {
            throw RoomServerError(
                message: "There are \(keys.count) keys of join tokens, and the limit is \(Self.limit): "
                    + "remove those that nobody signs with any more.")
        }
    }

    package mutating func add(secret: [UInt8]) throws(RoomServerError) {
        try add([JoinTokenKey(material: .secret(secret))])
    }
}

/// A JSON Web Signature in its compact form (RFC 7515 §7.1), read and not verified.
struct SignedToken {
    let algorithm: String
    let keyID: String?
    /// The header and the payload as they came.
    let content: [UInt8]
    let header: [UInt8]
    let payload: [UInt8]
    let signature: [UInt8]
    private let hasCriticalExtension: Bool

    /// Throws `.unauthorized` for a text that is no token. Members of the header that name or contain a key (`jwk`,
    /// `jku`, `x5c`, `x5u`) are ignored.
    init(_ text: String) throws(ProtocolError) {
        guard text.utf8.count <= Limits.token else {
            throw .unauthorized("The join token has more than \(Limits.token) bytes.")
        }
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3, let header = Base64.decodeURL(String(parts[0])),
            let payload = Base64.decodeURL(String(parts[1])), let signature = Base64.decodeURL(String(parts[2]))
        else {
            throw .unauthorized(
                "The join token is no JSON Web Token: three parts in base64url, with dots between them.")
        }
        guard let fields = Self.fields(header) else {
            throw .unauthorized("The join token's header is no JSON object, or has a member twice.")
        }
        do throws(ProtocolError) {
            algorithm = try fields.string("alg", limit: 16)
            keyID = try fields.optionalString("kid", limit: 256)
        } catch {
            throw .unauthorized("The join token's header has no usable alg or kid: \(error.message)")
        }
        hasCriticalExtension = fields.hasField("crit")
        content = Array("\(parts[0]).\(parts[1])".utf8)
        self.header = header
        self.payload = payload
        self.signature = signature
    }

    /// Verifies the signature, and returns the claims.
    func claims(verifiedBy keys: [JoinTokenKey]) throws(ProtocolError) -> FieldReader {
        // RFC 7515 §4.1.11: an extension that must be understood.
        guard !hasCriticalExtension else {
            throw .unauthorized(
                "The join token's header has crit: it requires an extension that this server does not know.")
        }
        guard keys.contains(where: { $0.accepts(algorithm: algorithm, id: nil) }) else {
            throw .unauthorized("The join token is signed with an algorithm (alg) of which this server has no key.")
        }
        let candidates = keys.filter { $0.accepts(algorithm: algorithm, id: keyID) }
        guard !candidates.isEmpty else {
            throw .unauthorized("The join token names a key (kid) that this server does not have.")
        }
        guard candidates.contains(where: { $0.verify(signature, of: content) }) else {
            throw .unauthorized("The join token was not signed with a key of this server.")
        }
        guard let fields = Self.fields(payload) else {
            throw .unauthorized("The join token's claims are no JSON object, or there is one twice.")
        }
        return fields
    }

    private static func fields(_ bytes: [UInt8]) -> FieldReader? {
        guard case .object(let members)? = bytes.withUnsafeBytes({ try? JSONReader.read($0) }) else { return nil }
        return FieldReader(members)
    }
}
