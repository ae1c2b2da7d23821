internal import Glibc
internal import Hashing
package import Logging
internal import RoomProtocol

/// A key that signs join tokens, for tools.
package struct JoinTokenSigner {
    private var key: JoinTokenKey

    /// Reads a file with a secret of HS256. Blocks as long as the file system does.
    package init(secretFile path: String, _ logger: Logger) throws(RoomServerError) {
        key = JoinTokenKey(material: .secret(try SecretFile.secret(path, logger)))
    }

    /// Reads a PEM file with a private key. Blocks as long as the file system does.
    package init(keyFile path: String, _ logger: Logger) throws(RoomServerError) {
        key = try JoinTokenKeyFile.privateKey(path, logger)
    }

    /// The id of the key, which becomes the token's `kid`.
    package var id: String? {
        get { key.id }
        set { key.id = newValue }
    }

    package func sign(_ token: JoinToken) throws(RoomServerError) -> String {
        guard let text = token.signed(with: key) else {
            throw RoomServerError(message: "OpenSSL could not sign with this key.")
        }
        return text
    }
}

/// A token with the result of its verification, for tools.
package struct JoinTokenCheck {
    /// The reason why a server would refuse it. Nil: it is valid.
    package let problem: String?
    /// The header and the claims as JSON, whether they are valid or not. Nil when they cannot be read.
    package private(set) var header: [UInt8]?
    package private(set) var claims: [UInt8]?

    package init(_ text: String, keys: JoinTokenKeys, now: Int) {
        if let token = try? SignedToken(text) { (header, claims) = (token.header, token.payload) }
        do throws(ProtocolError) {
            _ = try JoinToken(verifying: text, keys: keys, now: now)
            problem = nil
        } catch {
            problem = error.message
        }
    }
}

extension JoinTokenKeys {
    /// Adds the keys of a file: public keys, or a private key with its public one. Blocks as long as the file system
    /// does.
    package mutating func add(keyFile path: String, _ logger: Logger) throws(RoomServerError) {
        try add(try JoinTokenKeyFile.checkingKeys(path, logger))
    }

    /// Adds the secret in a file. Blocks as long as the file system does.
    package mutating func add(secretFile path: String, _ logger: Logger) throws(RoomServerError) {
        try add(secret: try SecretFile.secret(path, logger))
    }
}

/// Files with new keys of join tokens.
package enum JoinTokenKeyMaker {
    /// Makes a file with a secret of 32 random bytes, in hexadecimal digits. Throws when the file exists.
    package static func makeSecret(_ path: String) throws(RoomServerError) {
        try write(Digest(bytes: Crypto.randomBytes(32)).description + "\n", path)
    }

    /// Makes a file with a private key of Ed25519, and `PATH.pub` with the public one. Throws when one of them exists.
    package static func makeEd25519(_ path: String, id: String?) throws(RoomServerError) {
        guard let key = SignatureKey.makeEd25519(), let privatePEM = key.privatePEM, let publicPEM = key.publicPEM
        else { throw RoomServerError(message: "OpenSSL could not make a key.") }
        let head = id.map { "\(JoinTokenKeyFile.idLine) \($0)\n" } ?? ""
        let publicPath = path + ".pub"
        guard !exists(publicPath) else { throw taken(publicPath) }
        try write(head + privatePEM, path)
        try write(head + publicPEM, publicPath)
        chmod(publicPath, 0o644)
    }

    /// Whether there is a file of this name.
    package static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    private static func taken(_ path: String) -> RoomServerError {
        RoomServerError(message: "\(path) is there already, and is not overwritten.")
    }

    private static func write(_ text: String, _ path: String) throws(RoomServerError) {
        guard !exists(path) else { throw taken(path) }
        try SecretFile.make(path, Array(text.utf8))
    }
}
