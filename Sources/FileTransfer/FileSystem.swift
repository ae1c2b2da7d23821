internal import CLinux
internal import Glibc

/// Facts about an entry of a folder. Symbolic links are not followed.
struct FileStatus: Sendable, Hashable {
    enum Kind: Hashable { case file, folder, link, other }

    var kind: Kind
    var size: UInt64
    var modifiedAt: Int64
    var mode: UInt16
    var linkCount: Int
    var device: UInt64
    var inode: UInt64

    init(_ status: stat) {
        kind =
            switch status.st_mode & S_IFMT {
            case S_IFREG: .file
            case S_IFDIR: .folder
            case S_IFLNK: .link
            default: .other
            }
        size = UInt64(max(0, status.st_size))
        let (seconds, _) = Int64(status.st_mtim.tv_sec).multipliedReportingOverflow(by: 1_000_000_000)
        (modifiedAt, _) = seconds.addingReportingOverflow(Int64(status.st_mtim.tv_nsec))
        mode = UInt16(status.st_mode & 0o777)
        linkCount = Int(status.st_nlink)
        device = UInt64(status.st_dev)
        inode = UInt64(status.st_ino)
    }

    /// Whether it is the same file on the disk.
    func isSame(as other: FileStatus) -> Bool { device == other.device && inode == other.inode }
}

/// An error of the system, as a failure that names the file.
func fileError(_ path: String, _ doing: String, _ number: Int32 = errno) -> TransferError {
    let reason = String(cString: strerror(number))
    let code: TransferError.Code = number == ENOSPC || number == EDQUOT ? .noSpace : .file
    return TransferError(code, "\(path): \(doing): \(reason)")
}

/// A descriptor that closes with its owner.
final class OpenDescriptor: Sendable {
    let number: Int32
    init(_ number: Int32) { self.number = number }
    deinit { close(number) }

    func status(_ path: String) throws(TransferError) -> FileStatus {
        var status = stat()
        guard fstat(number, &status) == 0 else { throw fileError(path, "cannot be looked at") }
        return FileStatus(status)
    }
}

/// A folder that is open. Everything is done relative to its descriptor, one name at a time, and never through a
/// symbolic link, so that nothing that is put there meanwhile leads elsewhere.
final class OpenFolder: Sendable {
    private let descriptor: OpenDescriptor
    /// The names from the first folder down, for messages.
    private let path: String

    private init(_ descriptor: OpenDescriptor, _ path: String) {
        self.descriptor = descriptor
        self.path = path
    }

    /// Opens the folder that a person has named: links in its path are followed.
    init(named path: String, creating: Bool = false) throws(TransferError) {
        if creating, mkdir(path, 0o777) != 0, errno != EEXIST {
            throw fileError(path, "the folder cannot be made")
        }
        let number = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard number >= 0 else { throw fileError(path, "is no folder that can be opened") }
        descriptor = OpenDescriptor(number)
        self.path = ""
    }

    private func text(_ name: String) -> String { path.isEmpty ? name : path + "/" + name }

    /// Opens a folder in this one.
    func folder(_ name: String) throws(TransferError) -> OpenFolder {
        let number = openat(descriptor.number, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard number >= 0 else {
            if errno == ENOTDIR || errno == ELOOP {
                throw TransferError(.exists, "\(text(name)) is there already, and no folder")
            }
            throw fileError(text(name), "the folder cannot be opened")
        }
        return OpenFolder(OpenDescriptor(number), text(name))
    }

    /// Opens the folder at the end of a path, or returns nil where a part of the path does not exist.
    func folder(at names: some Collection<String>) throws(TransferError) -> OpenFolder? {
        var folder = self
        for name in names {
            guard try folder.status(of: name) != nil else { return nil }
            folder = try folder.folder(name)
        }
        return folder
    }

    /// Makes a folder, if there is none of this name.
    func makeFolder(_ name: String, mode: UInt16) throws(TransferError) {
        // Its owner has to write into it.
        if mkdirat(descriptor.number, name, mode_t(mode | 0o700)) == 0 { return }
        guard errno == EEXIST else { throw fileError(text(name), "the folder cannot be made") }
        _ = try folder(name)
    }

    func status(of name: String) throws(TransferError) -> FileStatus? {
        var status = stat()
        if fstatat(descriptor.number, name, &status, AT_SYMLINK_NOFOLLOW) == 0 { return FileStatus(status) }
        guard errno == ENOENT else { throw fileError(text(name), "cannot be looked at") }
        return nil
    }

    /// Opens a regular file for reading.
    func openFile(_ name: String) throws(TransferError) -> OpenDescriptor {
        // Not to wait for a pipe that has taken the file's place.
        let number = openat(descriptor.number, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        guard number >= 0 else { throw fileError(text(name), "cannot be opened") }
        let file = OpenDescriptor(number)
        guard try file.status(text(name)).kind == .file else {
            throw TransferError(.file, "\(text(name)) is no regular file")
        }
        return file
    }

    /// Opens the unfinished part of a file, or makes it, and takes it for this process alone.
    func openPart(_ name: String) throws(TransferError) -> OpenDescriptor {
        let number = openat(
            descriptor.number, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0o600)
        guard number >= 0 else { throw fileError(text(name), "cannot be written") }
        let file = OpenDescriptor(number)
        let status = try file.status(text(name))
        // A second name could stand anywhere, and writing would change what is there.
        guard status.kind == .file, status.linkCount == 1 else {
            throw TransferError(.file, "\(text(name)) is no file of a transfer: move it away")
        }
        guard flock(number, LOCK_EX | LOCK_NB) == 0 else {
            throw TransferError(.busy, "\(text(name)) is being written by another transfer")
        }
        guard let now = try self.status(of: name), now.isSame(as: status) else {
            throw TransferError(.busy, "\(text(name)) has just been finished by another transfer: start again")
        }
        return file
    }

    func remove(_ name: String) { unlinkat(descriptor.number, name, 0) }

    /// Gives a file its final name. Returns false, and leaves it, when there is an entry of that name already and it
    /// should not be replaced.
    func rename(_ name: String, to target: String, replacing: Bool) throws(TransferError) -> Bool {
        if replacing {
            guard renameat(descriptor.number, name, descriptor.number, target) == 0 else {
                throw fileError(text(target), "cannot be given its name")
            }
            return true
        }
        if CLinux_rename_noreplace(descriptor.number, name, target) == 0 { return true }
        if errno == EEXIST { return false }
        // A file system that does not know the flag (FAT, some network file systems).
        guard errno == EINVAL || errno == ENOSYS else { throw fileError(text(target), "cannot be given its name") }
        guard try status(of: target) == nil else { return false }
        guard renameat(descriptor.number, name, descriptor.number, target) == 0 else {
            throw fileError(text(target), "cannot be given its name")
        }
        return true
    }

    /// Makes sure that a name that was given survives a power failure.
    func synchronize() { fsync(descriptor.number) }

    /// Bytes that this user may still write on this file system.
    func freeSpace() -> UInt64 {
        var system = statvfs()
        guard fstatvfs(descriptor.number, &system) == 0 else { return .max }
        return UInt64(system.f_bavail).multipliedReportingOverflow(by: UInt64(system.f_frsize)).partialValue
    }

    /// The names of the entries, sorted. Nil stands for a name that is not UTF-8.
    func names() throws(TransferError) -> [String?] {
        // The stream owns the descriptor, and would move the offset of ours.
        let number = openat(descriptor.number, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard number >= 0, let stream = fdopendir(number) else {
            if number >= 0 { close(number) }
            throw fileError(path, "the folder cannot be read")
        }
        defer { closedir(stream) }
        var names: [String?] = []
        errno = 0
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(validating: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
            errno = 0
        }
        guard errno == 0 else { throw fileError(path, "the folder cannot be read") }
        return names.sorted { ($0 ?? "") < ($1 ?? "") }
    }
}
