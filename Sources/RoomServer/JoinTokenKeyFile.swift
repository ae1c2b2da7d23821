internal import Hashing
internal import Logging
internal import RoomProtocol

/// Files with keys of join tokens: public keys as PEM (RFC 7468), or a JSON Web Key Set (RFC 7517).
enum JoinTokenKeyFile {
    private static let maximumBytes = 64 << 10
    private static let maximumEntries = 64
    /// RFC 7518 §3.2: a key of HS256 has at least as many bits as its hash.
    static let safeSecretBytes = 32

    /// Returns the keys in a file. Entries of a key set that cannot verify join tokens are left out with a warning
    /// (RFC 7517 §5). Blocks as long as the file system does.
    static func keys(_ path: String, _ logger: Logger) throws(RoomServerError) -> [JoinTokenKey] {
        let bytes = try content(path)
        let first = bytes.first { $0 != 0x20 && !(0x09...0x0D).contains($0) }
        let keys =
            first == UInt8(ascii: "{") ? try keySet(bytes, path, logger) : try publicKeys(bytes, path)
        guard !keys.isEmpty else {
            throw RoomServerError(
                message: "\(path) has no key that can verify join tokens: it needs public keys as PEM, or a JSON Web "
                    + "Key Set, of Ed25519, RSA from \(SignatureKey.minimumBits) bits, or P-256.")
        }
        return keys
    }

    /// Returns the private key in a PEM file, for making tokens. Refuses one that everybody can write, and logs a
    /// warning for one that others can read.
    static func privateKey(_ path: String, _ logger: Logger) throws(RoomServerError) -> JoinTokenKey {
        for block in try blocks(try content(path, warning: logger), path) where isPrivate(block) {
            return try privateKey(block, path)
        }
        throw RoomServerError(
            message: "\(path) has no private key; it needs one as PEM. 'room token keygen' makes one.")
    }

    /// Returns the keys that verify what the key of this file signs: it is a public key file, or has a private key.
    static func checkingKeys(_ path: String, _ logger: Logger) throws(RoomServerError) -> [JoinTokenKey] {
        guard let blocks = PEMBlock.read(try content(path)), blocks.contains(where: isPrivate) else {
            return try keys(path, logger)
        }
        return [try privateKey(path, logger)]
    }

    private static func content(_ path: String, warning logger: Logger? = nil) throws(RoomServerError) -> [UInt8] {
        guard let content = try SecretFile.read(path, limit: maximumBytes) else {
            throw RoomServerError(message: "\(path): there is no such file; name a file with keys of join tokens.")
        }
        if let logger { content.warn(logger) }
        return content.bytes
    }

    // MARK: PEM

    private static func isPrivate(_ block: PEMBlock) -> Bool { block.label.hasSuffix("PRIVATE KEY") }

    private static func blocks(_ bytes: [UInt8], _ path: String) throws(RoomServerError) -> [PEMBlock] {
        guard let blocks = PEMBlock.read(bytes) else {
            throw RoomServerError(message: "\(path) has a PEM block that is damaged.")
        }
        return blocks
    }

    private static func publicKeys(_ bytes: [UInt8], _ path: String) throws(RoomServerError) -> [JoinTokenKey] {
        var keys: [JoinTokenKey] = []
        for block in try blocks(bytes, path) {
            guard !isPrivate(block) else {
                throw RoomServerError(
                    message: "\(path) has a private key, which a server does not need: give it the public one "
                        + "('openssl pkey -in FILE -pubout').")
            }
            guard block.label == "PUBLIC KEY" else {
                throw RoomServerError(
                    message: "\(path) has a PEM block '\(block.label)': only 'PUBLIC KEY' can be used.")
            }
            do throws(SignatureKey.Flaw) {
                let key = try SignatureKey(publicKeyInfo: block.content)
                keys.append(JoinTokenKey(id: id(of: block), material: .signature(key)))
            } catch {
                throw RoomServerError(message: "\(path) has a public key that cannot be used: \(error.reason).")
            }
        }
        return keys
    }

    private static func privateKey(_ block: PEMBlock, _ path: String) throws(RoomServerError) -> JoinTokenKey {
        guard !block.hasHeaders, block.label != "ENCRYPTED PRIVATE KEY" else {
            throw RoomServerError(
                message: "\(path) has an encrypted private key; decrypt it first ('openssl pkey -in FILE').")
        }
        do throws(SignatureKey.Flaw) {
            return JoinTokenKey(id: id(of: block), material: .signature(try .init(privateKeyInfo: block.content)))
        } catch {
            throw RoomServerError(message: "\(path) has a private key that cannot be used: \(error.reason).")
        }
    }

    /// A line before a PEM block names its id.
    static let idLine = "kid:"

    private static func id(of block: PEMBlock) -> String? {
        for line in block.preamble.split(separator: "\n").reversed() where line.hasPrefix(idLine) {
            let id = line.dropFirst(idLine.count).drop { $0 == " " }
            return String(id.reversed().drop { $0 == " " }.reversed())
        }
        return nil
    }

    // MARK: Key sets

    private static func keySet(
        _ bytes: [UInt8], _ path: String, _ logger: Logger
    ) throws(RoomServerError) -> [JoinTokenKey] {
        var keys: [JoinTokenKey] = []
        for (index, entry) in try entries(of: bytes, path).enumerated() {
            guard !entry.hasField("d") else {
                throw RoomServerError(
                    message: "\(path) has a private key (entry \(index) has the member d), which a server does not "
                        + "need: remove it.")
            }
            do throws(JSONWebKey.Unusable) {
                keys.append(try JSONWebKey(entry).joinTokenKey)
            } catch {
                logger.warning(
                    "a key of join tokens is not used",
                    metadata: ["file": "\(path)", "entry": "\(index)", "reason": "\(error.reason)"])
            }
        }
        return keys
    }

    private static func entries(of bytes: [UInt8], _ path: String) throws(RoomServerError) -> [FieldReader] {
        func failure(_ reason: String) -> RoomServerError {
            RoomServerError(message: "\(path) is no JSON Web Key Set: \(reason)")
        }
        guard case .object(let members)? = bytes.withUnsafeBytes({ try? JSONReader.read($0) }) else {
            throw failure("it is no JSON object, or has a member twice.")
        }
        let fields = FieldReader(members)
        if fields.hasField("kty") { return [fields] }
        do throws(ProtocolError) { return try fields.objects("keys", count: maximumEntries) } catch {
            throw failure(error.message)
        }
    }
}
