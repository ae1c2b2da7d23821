internal import Hashing
internal import RoomProtocol
internal import WebSocketWire

/// An entry of a JSON Web Key Set (RFC 7517) that verifies join tokens.
struct JSONWebKey {
    /// The reason why an entry is left out.
    struct Unusable: Error {
        var reason: String
    }

    let joinTokenKey: JoinTokenKey

    init(_ fields: FieldReader) throws(Unusable) {
        guard try fields.text("use") ?? "sig" == "sig" else { throw Unusable(reason: "its use is not sig") }
        if fields.hasField("key_ops") {
            let operations = try? fields.strings("key_ops", count: 16, limit: 64, .text)
            guard operations?.contains("verify") == true else { throw Unusable(reason: "its key_ops lack verify") }
        }
        let algorithm = try fields.text("alg")
        let key = JoinTokenKey(id: try fields.text("kid"), material: try Self.material(fields))
        if let algorithm, !key.accepts(algorithm: algorithm, id: nil) {
            throw Unusable(reason: "its alg is not that of its kind of key, or not supported")
        }
        joinTokenKey = key
    }

    private static func material(_ fields: FieldReader) throws(Unusable) -> JoinTokenKey.Material {
        switch (try fields.text("kty"), try fields.text("crv")) {
        case ("oct", _):
            let secret = try fields.bytes("k")
            guard secret.count >= JoinTokenKeyFile.safeSecretBytes else {
                throw Unusable(reason: "its secret has fewer than \(JoinTokenKeyFile.safeSecretBytes) bytes")
            }
            return .secret(secret)
        case ("OKP", "Ed25519"):
            let point = try fields.bytes("x")
            return .signature(try usable { () throws(SignatureKey.Flaw) in try SignatureKey(ed25519: point) })
        case ("EC", "P-256"):
            let (x, y) = (try fields.bytes("x"), try fields.bytes("y"))
            return .signature(try usable { () throws(SignatureKey.Flaw) in try SignatureKey(p256: x, y) })
        case ("RSA", _):
            let (modulus, exponent) = (try fields.bytes("n"), try fields.bytes("e"))
            return .signature(
                try usable { () throws(SignatureKey.Flaw) in
                    try SignatureKey(rsaModulus: modulus, exponent: exponent)
                })
        default: throw Unusable(reason: SignatureKey.Flaw.unsupported.reason)
        }
    }

    private static func usable(
        _ make: () throws(SignatureKey.Flaw) -> SignatureKey
    ) throws(Unusable) -> SignatureKey {
        do throws(SignatureKey.Flaw) { return try make() } catch { throw Unusable(reason: error.reason) }
    }
}

extension FieldReader {
    fileprivate func text(_ field: String) throws(JSONWebKey.Unusable) -> String? {
        do throws(ProtocolError) { return try optionalString(field, limit: 4096) } catch {
            throw JSONWebKey.Unusable(reason: error.message)
        }
    }

    fileprivate func bytes(_ field: String) throws(JSONWebKey.Unusable) -> [UInt8] {
        guard let bytes = try text(field).flatMap(Base64.decodeURL) else {
            throw JSONWebKey.Unusable(reason: "its member \(field) is missing, or not base64url")
        }
        return bytes
    }
}

extension SignatureKey.Flaw {
    var reason: String {
        switch self {
        case .malformed: "it is malformed"
        case .unsupported: "it is of another kind than Ed25519, RSA and P-256, or too long"
        case .tooShort(let bits): "an RSA key of \(bits) bits is too short, \(SignatureKey.minimumBits) are the least"
        }
    }
}
