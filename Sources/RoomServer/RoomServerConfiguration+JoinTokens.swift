internal import Hashing
package import Logging

extension RoomServerConfiguration {
    /// The keys and claims by which join tokens are verified.
    ///
    /// Several keys are valid at once, so that they can be replaced one after the other. A key accepts one algorithm
    /// only, whatever the header of a token says: a secret HS256, an Ed25519 key EdDSA, an RSA key RS256, and a key on
    /// P-256 ES256. A token with a `kid` is compared with the keys of this id and those without an id, a token without
    /// `kid` with all of its algorithm.
    public struct JoinTokens: Sendable, Hashable {
        /// Files with a secret of at least 4 bytes each; use 32 or more. Line ends after it are ignored.
        public var secretFiles: [String] = []
        /// Files with public keys: PEM blocks `PUBLIC KEY`, each after a line `kid: ID` if it has an id; or a JSON Web
        /// Key Set (RFC 7517). A private key is refused.
        public var keyFiles: [String] = []
        /// The claim `iss` that a token must have. Nil: any.
        public var issuer: String?
        /// The claim `aud` that a token must have, alone or in a list. Nil: any.
        public var audience: String?

        /// Creates a configuration without keys.
        public init() {}
    }

    /// Reads the keys of join tokens. Returns nil when there are none: everybody may join. Blocks as long as the file
    /// system does.
    func loadJoinTokenKeys(_ logger: Logger) throws(RoomServerError) -> JoinTokenKeys? {
        var keys = try joinTokens.load(logger)
        if let joinTokenSecret { try keys.add(secret: joinTokenSecret) }
        guard keys.isEmpty else { return keys }
        guard keys.issuer == nil, keys.audience == nil else {
            throw RoomServerError(
                message: "An issuer or an audience of join tokens is required, and there is no key to verify them with."
            )
        }
        return nil
    }
}

extension RoomServerConfiguration.JoinTokens {
    /// Reads the files.
    package func load(_ logger: Logger) throws(RoomServerError) -> JoinTokenKeys {
        var keys = JoinTokenKeys(issuer: issuer, audience: audience)
        for path in secretFiles {
            let secret = try SecretFile.secret(path, logger)
            try RoomServerConfiguration.check(
                secret, "join token secret", JoinTokenKeyFile.safeSecretBytes, logger)
            try keys.add(secret: secret)
        }
        for path in keyFiles { try keys.add(try JoinTokenKeyFile.keys(path, logger)) }
        return keys
    }
}
