internal import Glibc
internal import Hashing
package import Logging

/// Files with a key or a secret: their permissions, and how they are made.
package enum SecretFile {
    static let maximumBytes = 4096
    static let minimumKeyBytes = 32

    /// Anything shorter is a mistake, such as an empty variable or a single letter.
    static let minimumSecretBytes = 4

    /// Returns the secret in a file, without line ends that editors append. Refuses one that is too short, or that
    /// everybody can write. Logs a warning for one that others can read or the group can write. Blocks as long as the
    /// file system does.
    package static func secret(_ path: String, _ logger: Logger) throws(RoomServerError) -> [UInt8] {
        guard let content = try read(path) else {
            throw RoomServerError(message: "\(path): there is no such file; name a file that holds the secret.")
        }
        let secret = Array(content.bytes.reversed().drop { $0 == 10 || $0 == 13 }.reversed())
        guard secret.count >= minimumSecretBytes else {
            throw RoomServerError(
                message:
                    "\(path): a secret of \(secret.count) bytes is easily guessed; make one with "
                    + "'openssl rand -hex 32'."
            )
        }
        // A public key as the secret would let everybody sign (RFC 8725 §2.1).
        guard !secret.containsPEM else {
            throw RoomServerError(
                message: "\(path) has a PEM block, such as a key, and no secret: name keys of join tokens with "
                    + "--token-key-file.")
        }
        content.warn(logger)
        return secret
    }

    /// Returns the token in a file, text without line ends. Creates the file with a random one when it does not exist.
    /// Blocks as long as the file system does.
    package static func token(_ path: String, _ logger: Logger) throws(RoomServerError) -> [UInt8] {
        if try read(path) == nil {
            let digits = Crypto.randomBytes(32).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
            try make(path, Array((digits + "\n").utf8))
        }
        return try secret(path, logger)
    }

    struct Content {
        var path: String
        var bytes: [UInt8]
        /// The mode of a file that is open to others than its owner.
        var mode: String?

        func warn(_ logger: Logger) {
            guard let mode else { return }
            logger.warning(
                "a file with a secret is open to others than its owner: run chmod 600",
                metadata: ["file": "\(path)", "mode": "\(mode)"])
        }
    }

    /// Returns the content, or nil when the file does not exist.
    static func read(_ path: String, limit: Int = maximumBytes) throws(RoomServerError) -> Content? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY)
        guard descriptor >= 0 else {
            if errno == ENOENT { return nil }
            throw failure("read", path)
        }
        defer { close(descriptor) }
        var content = Content(path: path, bytes: [], mode: try openMode(descriptor, path))
        while content.bytes.count <= limit {
            var chunk = [UInt8](repeating: 0, count: limit + 1)
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw failure("read", path) }
            guard count > 0 else { return content }
            content.bytes += chunk.prefix(count)
        }
        throw RoomServerError(
            message: "\(path) has more than \(limit) bytes: it does not hold a secret or keys.")
    }

    /// Returns the mode of a file that is open to others than its owner. A pipe or a device has no content that could
    /// be changed later.
    private static func openMode(_ descriptor: Int32, _ path: String) throws(RoomServerError) -> String? {
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
        let mode = String(status.st_mode & 0o777, radix: 8)
        guard status.st_mode & S_IWOTH == 0 else {
            throw RoomServerError(
                message:
                    "\(path) holds a secret and is writable by everybody (mode \(mode)): somebody may have "
                    + "replaced it. Write a new secret, or remove the file, and let only its owner "
                    + "write it (chmod 600)."
            )
        }
        // Volumes that a group shares get mode 660, so a warning has to do.
        return status.st_mode & (S_IRWXG | S_IRWXO) != 0 ? mode : nil
    }

    /// Returns the session key in the file. Creates the file when it does not exist: completely or not at all, and only
    /// by one of several servers that start at the same time.
    static func key(_ path: String, _ logger: Logger) throws(RoomServerError) -> [UInt8] {
        if let content = try read(path) { return try checked(content, logger) }
        try make(path, Crypto.randomBytes(minimumKeyBytes))
        guard let content = try read(path) else {
            throw RoomServerError(
                message: "The session key file \(path) is a dangling link, or is being removed.")
        }
        return try checked(content, logger)
    }

    /// Returns a session key that signs no longer; nil when the file does not exist.
    static func olderKey(_ path: String, _ logger: Logger) throws(RoomServerError) -> [UInt8]? {
        guard let content = try read(path) else { return nil }
        return try checked(content, cure: "Remove it; sessions that it has signed are then new to the server.", logger)
    }

    private static func checked(
        _ content: Content,
        cure: String =
            "Remove it, and the server makes a new one; it then recognises none of its earlier participants.",
        _ logger: Logger
    ) throws(RoomServerError) -> [UInt8] {
        let (key, path) = (content.bytes, content.path)
        guard !key.isEmpty else {
            throw RoomServerError(
                message: "The session key file \(path) is empty, perhaps because the disk was full. \(cure)")
        }
        guard key.contains(where: { $0 != 0 }) else {
            throw RoomServerError(
                message: "The session key file \(path) holds only zeros, perhaps because of a power failure. \(cure)")
        }
        guard key.count >= minimumKeyBytes else {
            throw RoomServerError(
                message:
                    "The session key file \(path) has \(key.count) bytes, and needs at least \(minimumKeyBytes): "
                    + "it was truncated, or is not a key. \(cure)")
        }
        content.warn(logger)
        return key
    }

    /// Returns the bytes of a file; nil when it does not exist.
    static func content(_ path: String, _ logger: Logger) throws(RoomServerError) -> [UInt8]? {
        let content = try read(path)
        content?.warn(logger)
        return content?.bytes
    }

    // MARK: Making one

    /// Creates the file. One that exists already, or appears meanwhile, stays.
    static func make(_ path: String, _ content: [UInt8]) throws(RoomServerError) {
        let slash = path.lastIndex(of: "/")
        let folder = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        let name = slash.map { String(path[path.index(after: $0)...]) } ?? path
        let suffix = Crypto.randomBytes(8).map { String($0, radix: 36) }.joined()
        let temporary = "\(folder)/.\(name).\(suffix)"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw failure("make", path) }
        defer { unlink(temporary) }
        do throws(RoomServerError) {
            try write(content, to: descriptor, path)
            guard fsync(descriptor) == 0 || errno == EINVAL else { throw failure("write", path) }
        } catch {
            close(descriptor)
            throw error
        }
        guard close(descriptor) == 0 else { throw failure("write", path) }
        try publish(temporary, path)
        syncFolder(folder)
    }

    /// Writes all bytes to a file. `path` is its name in errors.
    static func write(_ content: [UInt8], to descriptor: Int32, _ path: String) throws(RoomServerError) {
        var written = 0
        while written < content.count {
            let count = content.withUnsafeBytes {
                Glibc.write(descriptor, $0.baseAddress?.advanced(by: written), content.count - written)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw failure("write", path) }
            written += count
        }
    }

    private static func publish(_ temporary: String, _ path: String) throws(RoomServerError) {
        if link(temporary, path) == 0 || errno == EEXIST { return }
        // A file system without hard links. Only with links are the two steps atomic.
        guard [EPERM, EOPNOTSUPP, ENOSYS, EMLINK].contains(errno) else { throw failure("make", path) }
        if access(path, F_OK) == 0 { return }
        guard rename(temporary, path) == 0 else { throw failure("make", path) }
    }

    /// Syncs the folder of a file.
    static func syncFolder(of path: String) {
        let slash = path.lastIndex(of: "/")
        syncFolder(slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? ".")
    }

    /// Syncs the folder, so that the name survives a power cut too where the file system supports that.
    private static func syncFolder(_ folder: String) {
        let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        fsync(descriptor)
        close(descriptor)
    }

    /// The error of the system's last call.
    static func failure(_ operation: String, _ path: String) -> RoomServerError {
        let code = errno
        return RoomServerError(
            message: "Cannot \(operation) the file \(path): \(String(cString: strerror(code))).",
            isTransient: RoomServerError.isTransient(code))
    }
}

extension [UInt8] {
    fileprivate var containsPEM: Bool { String(decoding: self, as: UTF8.self).contains("-----BEGIN ") }
}
