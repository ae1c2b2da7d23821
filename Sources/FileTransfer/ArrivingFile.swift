internal import Glibc
internal import Hashing
internal import TransportPluginAPI

/// A file that arrives under a temporary name, and gets its own when it is whole.
///
/// SAFETY of `@unchecked Sendable`: used by the jobs of one `BlockingWorker` only, one after the other.
final class ArrivingFile: @unchecked Sendable {
    /// Pieces that are written in one call, at most (IOV_MAX of Linux is 1024).
    private static let vectorLimit = 512

    private let entry: Manifest.Entry
    private let folder: OpenFolder
    private let partName: String
    private var part: OpenDescriptor?
    private var digest = RunningDigest()
    private var buffer: [UInt8] = []
    /// Bytes of the beginning that are here and hashed.
    private(set) var position: UInt64 = 0

    init(_ entry: Manifest.Entry, in folder: OpenFolder) {
        self.entry = entry
        self.folder = folder
        partName = ArrivalPlan.partName(entry)
    }

    /// The permissions that this user gives to nobody. Linux tells them only when they are set.
    private static let mask: mode_t = {
        let mask = umask(0o077)
        umask(mask)
        return mask
    }()

    /// Lets go of the part: another transfer may take it.
    func release() { part = nil }

    // MARK: What is there already

    /// The lengths up to which the beginning of a file of `count` bytes is compared: the sender continues from the
    /// longest that is the same, so that a torn end costs little.
    static func checkpoints(of count: UInt64) -> [UInt64] {
        var lengths: Set<UInt64> = [count]
        for step in 1..<UInt64(16) { lengths.insert(count / 16 * step) }
        for distance in [1 << 20, 16 << 20, 64 << 20] as [UInt64] where count > distance {
            lengths.insert(count - distance)
        }
        return lengths.filter { $0 > 0 }.sorted()
    }

    /// Opens the part that an earlier transfer has left.
    func openPart() throws(TransferError) { part = try folder.openPart(partName) }

    /// Opens a file that is there under its own name, to be hashed only.
    func openExisting(_ name: String) throws(TransferError) { part = try folder.openFile(name) }

    /// Hashes on to `length`, at most one piece. Returns the digest when it got there.
    func hash(towards length: UInt64) throws(TransferError) -> Digest? {
        guard let part else { return nil }
        if buffer.isEmpty { buffer = [UInt8](repeating: 0, count: 1 << 20) }
        let wanted = Int(min(UInt64(buffer.count), length - position))
        let count = buffer.withUnsafeMutableBytes { bytes -> Int in
            let count = pread(part.number, bytes.baseAddress, wanted, off_t(position))
            if count > 0 { digest.update(UnsafeRawBufferPointer(rebasing: bytes[..<count])) }
            return count
        }
        if count < 0, errno == EINTR { return nil }
        guard count > 0 || wanted == 0 else { throw fileError(entry.path.text, "its unfinished part cannot be read") }
        position += UInt64(count)
        return position == length ? digest.value : nil
    }

    // MARK: What arrives

    /// Begins to write at `offset`, which is 0 or a length that was hashed. Makes the part if there is none. Returns
    /// false when the bytes before `offset` have to be hashed first.
    func begin(at offset: UInt64) throws(TransferError) -> Bool {
        if part == nil { part = try folder.openPart(partName) }
        guard let part else { return false }
        guard ftruncate(part.number, off_t(offset)) == 0 else { throw fileError(entry.path.text, "cannot be written") }
        if position != offset {
            digest = RunningDigest()
            position = 0
            return offset == 0
        }
        buffer = []
        return true
    }

    /// Writes and hashes pieces of the file. Bytes beyond its announced size are refused.
    func write(_ pieces: [(Payload, Range<Int>)]) throws(TransferError) {
        guard let part else { throw TransferLink.violation }
        buffer = []
        guard UInt64(pieces.reduce(0) { $0 + $1.1.count }) <= entry.size - position else {
            throw TransferError(.protocolViolation, "more bytes of \(entry.path.text) come than were announced")
        }
        // The storage is immutable and kept alive by `pieces`; the pointers do not leave this call.
        defer { withExtendedLifetime(pieces) {} }
        var rest = pieces.filter { !$0.1.isEmpty }.map { piece, range in
            piece.withUnsafeBytes { UnsafeRawBufferPointer(rebasing: $0[range]) }
        }[...]
        for bytes in rest { digest.update(bytes) }
        while !rest.isEmpty {
            // One call for many pieces: pages that two of them share are written once.
            let vectors = rest.prefix(Self.vectorLimit).map {
                iovec(iov_base: UnsafeMutableRawPointer(mutating: $0.baseAddress), iov_len: $0.count)
            }
            var count = pwritev(part.number, vectors, Int32(vectors.count), off_t(position))
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw fileError(entry.path.text, "cannot be written") }
            position += UInt64(count)
            while let first = rest.first, first.count <= count {
                count -= first.count
                rest.removeFirst()
            }
            if count > 0, let first = rest.first {
                rest[rest.startIndex] = UnsafeRawBufferPointer(rebasing: first[count...])
            }
        }
    }

    /// Compares with the sender's digest, and gives the file its name, date and permissions.
    ///
    /// - Parameters:
    ///   - name: The name to give it.
    ///   - policy: What is done when that name has been taken meanwhile.
    /// - Returns: The name that it has now.
    func finish(_ digest: Digest, as name: String, _ policy: ExistingFiles) throws(TransferError) -> String {
        guard let part else { throw TransferLink.violation }
        guard position == entry.size, digest == self.digest.value else {
            folder.remove(partName)
            throw TransferError(
                .damaged, "\(entry.path.text) differs from the sender's: it is removed; start again")
        }
        guard fchmod(part.number, mode_t(entry.mode) & ~Self.mask & 0o777) == 0 else {
            throw fileError(entry.path.text, "cannot get its permissions")
        }
        var (seconds, nanoseconds) = entry.modifiedAt.quotientAndRemainder(dividingBy: 1_000_000_000)
        if nanoseconds < 0 { (seconds, nanoseconds) = (seconds - 1, nanoseconds + 1_000_000_000) }
        let time = timespec(tv_sec: Int(seconds), tv_nsec: Int(nanoseconds))
        // A date that the file system cannot keep is no reason to lose the file.
        _ = futimens(part.number, [time, time])
        guard fsync(part.number) == 0 else { throw fileError(entry.path.text, "cannot be written to the disk") }
        var target = name
        var number = 2
        while !(try folder.rename(partName, to: target, replacing: policy == .overwrite)) {
            guard policy == .rename, number < 10_000 else {
                throw TransferError(
                    .exists, "\(entry.path.text) has come to be there meanwhile: what has arrived is kept beside it")
            }
            target = ArrivalPlan.numbered(entry.path.name, number)
            number += 1
        }
        folder.synchronize()
        return target
    }
}
