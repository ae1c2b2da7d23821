internal import Hashing
internal import Logging

/// The keys of session tokens: the newest signs, the others still verify what they have signed.
struct SessionKeys: Sendable, Hashable {
    struct Key: Sendable, Hashable {
        let bytes: [UInt8]
        /// Part of a token, so that usually only one key is tried. Two keys may have the same id.
        let id: UInt8

        init(_ bytes: [UInt8]) {
            self.bytes = bytes
            id = Crypto.hmac(.sha256, key: bytes, Array("room session key id".utf8)).first ?? 0
        }
    }

    static let limit = 8

    let newest: Key
    let older: [Key]

    /// All keys, the newest first.
    var all: [Key] { [newest] + older }

    init(_ newest: [UInt8], older: [[UInt8]] = []) {
        self.newest = Key(newest)
        self.older = older.map(Key.init)
    }

    /// Separates signatures of session tokens from any other use of the key, and from tokens of earlier versions, which
    /// never expire.
    private static let purpose = Array("room session v2 ".utf8)

    /// Returns the id of the newest key, and its signature.
    func sign(_ payload: [UInt8]) -> [UInt8] { [newest.id] + Self.code(payload, newest) }

    /// Returns whether one of the keys has signed the payload. Tokens of versions without ids have a code only.
    func verify(_ signature: [UInt8], of payload: [UInt8]) -> Bool {
        let hasID = signature.count == Digest.length + 1
        let code = hasID ? Array(signature.dropFirst()) : signature
        return all.contains { key in
            (!hasID || key.id == signature.first) && Crypto.areEqual(code, Self.code(payload, key))
        }
    }

    private static func code(_ payload: [UInt8], _ key: Key) -> [UInt8] {
        Crypto.hmac(.sha256, key: key.bytes, purpose + payload)
    }
}

extension RoomServerConfiguration {
    /// Reads all keys. `current` are those in use. Blocks as long as the file system does.
    func authority(after current: ServerAuthority?, _ logger: Logger) throws(RoomServerError) -> ServerAuthority {
        ServerAuthority(
            sessionKeys: try loadSessionKeys(keeping: current?.sessionKeys, logger),
            joinTokenKeys: try loadJoinTokenKeys(logger), ice: ice)
    }

    /// Reads the keys of session tokens. `current` are those in use, of which a key stays that is in no file. Blocks as
    /// long as the file system does.
    func loadSessionKeys(
        keeping current: SessionKeys? = nil, _ logger: Logger
    ) throws(RoomServerError) -> SessionKeys {
        var older: [[UInt8]] = []
        if case .file(let path) = sessionKey, let key = try SecretFile.olderKey(path + ".previous", logger) {
            older.append(key)
        }
        for path in previousSessionKeyFiles {
            guard let key = try SecretFile.olderKey(path, logger) else {
                throw RoomServerError(message: "\(path): there is no such file; name a file that holds a session key.")
            }
            older.append(key)
        }
        guard older.count < SessionKeys.limit else {
            throw RoomServerError(
                message: "There are \(older.count) previous session keys, and the limit is \(SessionKeys.limit - 1).")
        }
        if case .generated = sessionKey, let current { return SessionKeys(current.newest.bytes, older: older) }
        return SessionKeys(try sessionKey.load(logger), older: older)
    }
}
