internal import Glibc
internal import Hashing
internal import TransportPluginAPI

/// A file that is being read, hashed, and cut into pieces for the wire.
///
/// SAFETY of `@unchecked Sendable`: used by the jobs of one `BlockingWorker` only, one after the other.
final class SourceFile: @unchecked Sendable {
    private let entry: Manifest.Entry
    private let file: OpenDescriptor
    private var digest = RunningDigest()
    /// Bytes that are read.
    private var position: UInt64 = 0
    /// How far the receiver's beginning is the same as this file's, and the digest up to there.
    private(set) var confirmed: UInt64 = 0
    private var confirmedDigest = RunningDigest()
    private var buffer: [UInt8] = []

    init(_ entry: Manifest.Entry, in tree: SourceTree) throws(TransferError) {
        self.entry = entry
        file = try tree.open(entry)
        posix_fadvise(file.number, 0, 0, Int32(POSIX_FADV_SEQUENTIAL))
    }

    /// Reads on to the length of a checkpoint, at most one piece. Returns whether it got there.
    func read(towards length: UInt64) throws(TransferError) -> Bool {
        if buffer.isEmpty { buffer = [UInt8](repeating: 0, count: 1 << 20) }
        let count = Int(min(UInt64(buffer.count), length - position))
        try fill(&buffer, count)
        return position == length
    }

    private func fill(_ buffer: inout [UInt8], _ count: Int) throws(TransferError) {
        let failure = buffer.withUnsafeMutableBytes { bytes -> TransferError? in
            let target = UnsafeMutableRawBufferPointer(rebasing: bytes[..<count])
            return read(into: target)
        }
        if let failure { throw failure }
    }

    /// Compares the digest at the length that has just been reached. Returns whether the receiver has the same bytes.
    func confirm(_ checkpoint: TransferMessage.Checkpoint) -> Bool {
        guard checkpoint.length == position, checkpoint.digest == digest.value else { return false }
        confirmed = position
        confirmedDigest = digest.copy()
        return true
    }

    /// Returns to the end of what the receiver has.
    func rewind() {
        guard position != confirmed else { return }
        position = confirmed
        digest = confirmedDigest.copy()
    }

    /// Returns the next piece with its header, or nil at the end of the file.
    func nextPiece() throws(TransferError) -> Payload? {
        buffer = []
        let count = Int(min(UInt64(FileChunk.length), entry.size - position))
        guard count > 0 else { return nil }
        let header = TransferMessage.header(.data, length: count)
        var failure: TransferError?
        let piece = Payload(count: header.count + count) { bytes in
            bytes.copyBytes(from: header)
            failure = read(into: UnsafeMutableRawBufferPointer(rebasing: bytes[header.count...]))
        }
        if let failure { throw failure }
        return piece
    }

    /// Fills the bytes from the file, and hashes them.
    private func read(into target: UnsafeMutableRawBufferPointer) -> TransferError? {
        var filled = 0
        while filled < target.count {
            let count = pread(
                file.number, target.baseAddress.map { $0 + filled }, target.count - filled,
                off_t(position) + off_t(filled))
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { return fileError(entry.path.text, "cannot be read") }
            guard count > 0 else {
                return TransferError(
                    .damaged, "\(entry.path.text) has become shorter while it was being sent: start again")
            }
            filled += count
        }
        digest.update(UnsafeRawBufferPointer(target))
        position += UInt64(filled)
        return nil
    }

    /// Returns the digest of the whole file. Throws when it has changed while it was read.
    func finish() throws(TransferError) -> Digest {
        try SourceTree.check(file, entry)
        return digest.value
    }
}
