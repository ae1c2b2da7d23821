internal import CZlib
internal import Glibc
internal import RoomProtocol
internal import RoomServerCore

/// The journal of a server's marks: a line for each, with a checksum. Lines are appended; when the file has grown to
/// more than twice its length, those that hold are written to a new file, which takes its place at once.
///
/// Used by one thread at a time. Blocks as long as the file system does. A file belongs to one process: `NAME.lock` is
/// locked as long as it is open.
final class MarkFile {
    private let path: String
    private let machines: Int
    private var lock: Int32
    private var descriptor: Int32 = -1
    private var size = 0
    /// The length at which the file is written anew.
    private var limit = 0
    /// Whether the last line may be incomplete, because the disk was full.
    private var isTorn = false
    /// Growth that is never worth a new file.
    private static let slack = 1 << 20
    /// Longer lines are none.
    private static let maximumLine = 4096

    /// Opens the file, or makes it.
    ///
    /// - Parameter machines: The number of machines that share the rooms of the server.
    init(_ path: String, machines: Int) throws(RoomServerError) {
        lock = try Self.lock(path)
        self.path = path
        self.machines = machines
    }

    deinit { end() }

    /// Closes the file, which another server can open then. Nothing is written afterwards.
    func end() {
        if descriptor >= 0 { close(descriptor) }
        if lock >= 0 { close(lock) }
        descriptor = -1
        lock = -1
    }

    private static func lock(_ path: String) throws(RoomServerError) -> Int32 {
        let descriptor = open(path + ".lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw SecretFile.failure("make", path + ".lock") }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let isTaken = errno == EWOULDBLOCK
            let error =
                isTaken
                ? RoomServerError(
                    message:
                        "\(path) belongs to another server that runs: give each a folder of its own (--state-dir).",
                    isTransient: true)
                : SecretFile.failure("lock", path + ".lock")
            close(descriptor)
            throw error
        }
        return descriptor
    }

    // MARK: Lines

    /// Returns the line of a mark.
    static func line(_ mark: Mark, expiry: UInt64) -> [UInt8] {
        let content = mark.encoded(expiry: expiry)
        return Array("\(checksum(of: content[...])) ".utf8) + content + [0x0A]
    }

    /// CRC-32 in eight hexadecimal digits.
    private static func checksum(of bytes: ArraySlice<UInt8>) -> String {
        let sum = bytes.withUnsafeBufferPointer { crc32(0, $0.baseAddress, UInt32($0.count)) }
        let digits = String(sum, radix: 16)
        return String(repeating: "0", count: 8 - digits.utf8.count) + digits
    }

    private static func mark(in line: ArraySlice<UInt8>) -> (mark: Mark, expiry: UInt64)? {
        guard line.count > 9, line[line.startIndex + 8] == 0x20 else { return nil }
        let content = line.dropFirst(9)
        guard line.prefix(8).elementsEqual(checksum(of: content).utf8) else { return nil }
        return content.withUnsafeBytes { Mark.decode($0) }
    }

    // MARK: Reading

    /// Reads the marks of the file in their order, in memory that does not grow with the file. Returns the number of
    /// damaged lines.
    private func read(_ body: (Mark, UInt64) -> Void) throws(RoomServerError) -> Int {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            if errno == ENOENT { return 0 }
            throw SecretFile.failure("read", path)
        }
        defer { close(descriptor) }
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        var rest: [UInt8] = []
        var damaged = 0
        while true {
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw SecretFile.failure("read", path) }
            guard count > 0 else { return rest.isEmpty ? damaged : damaged + 1 }
            rest += chunk.prefix(count)
            var start = rest.startIndex
            while let end = rest[start...].firstIndex(of: 0x0A) {
                if let (mark, expiry) = Self.mark(in: rest[start..<end]) { body(mark, expiry) } else { damaged += 1 }
                start = end + 1
            }
            rest.removeSubrange(..<start)
            if rest.count > Self.maximumLine { rest.removeAll(keepingCapacity: true) }
        }
    }

    // MARK: Writing

    /// Writes the marks that hold at `now` to a new file, which takes the place of this one, and returns them with the
    /// number of damaged lines, which are left out. Must be called before `append`.
    @discardableResult
    func rewrite(now: Int) throws(RoomServerError) -> (marks: [Mark], damaged: Int) {
        var set = MarkSet(machines: machines)
        let damaged = try read { set.apply($0, expiry: $1) }
        let marks = set.marks(at: UInt64(clamping: now))
        let bytes = marks.flatMap { Self.line($0.mark, expiry: $0.expiry) }
        let temporary = path + ".new"
        let new = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard new >= 0 else { throw SecretFile.failure("make", temporary) }
        do throws(RoomServerError) {
            try SecretFile.write(bytes, to: new, temporary)
            guard fdatasync(new) == 0 || errno == EINVAL else { throw SecretFile.failure("write", temporary) }
            guard rename(temporary, path) == 0 else { throw SecretFile.failure("replace", path) }
        } catch {
            close(new)
            unlink(temporary)
            throw error
        }
        SecretFile.syncFolder(of: path)
        if descriptor >= 0 { close(descriptor) }
        descriptor = new
        size = bytes.count
        limit = 2 * size + Self.slack
        isTorn = false
        return (marks.map(\.mark), damaged)
    }

    /// Appends lines. `syncs`: they are on the disk when this returns.
    func append(_ lines: [UInt8], syncs: Bool) throws(RoomServerError) {
        guard descriptor >= 0 else { return }
        let bytes = isTorn ? [0x0A] + lines : lines
        isTorn = true
        try SecretFile.write(bytes, to: descriptor, path)
        isTorn = false
        size += bytes.count
        if syncs, fdatasync(descriptor) != 0, errno != EINVAL { throw SecretFile.failure("write", path) }
    }

    /// Writes the file anew if it has grown enough. An error changes nothing in it.
    func rewriteIfLong(now: Int) throws(RoomServerError) {
        guard descriptor >= 0, size > limit else { return }
        // Not before it has grown again, should this fail.
        limit = size + Self.slack
        try rewrite(now: now)
    }
}
