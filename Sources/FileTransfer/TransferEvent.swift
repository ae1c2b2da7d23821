package import Hashing

/// A report about the progress of a transfer.
package enum TransferEvent: Sendable {
    /// The other side has proved that it has the code, or is in the room.
    case met(name: String, isProved: Bool)
    /// The files that are sent. `presentCount`: bytes that the receiver has from before, which have yet to be compared.
    case agreed(Manifest)
    /// The beginning of a file that is there already is compared.
    case comparing(path: String)
    /// A file begins, or goes on from `offset`.
    case began(path: String, offset: UInt64)
    /// The receiver has written more.
    case progress(TransferProgress)
    /// A receiver is gone; another may come.
    case lost(TransferError)
    /// A file has arrived whole. `name`: the path that it has at the receiver, where it is another.
    case stored(path: String, size: UInt64, Digest, name: String?)
}

/// How much of a transfer the receiver has.
package struct TransferProgress: Sendable, Hashable {
    /// The file that is under way.
    package var path: String
    /// Bytes of all files that the receiver has, those from before included.
    package var count: UInt64
    /// Bytes of all files.
    package var total: UInt64
}

/// The result of a transfer that has ended well.
package struct TransferSummary: Sendable, Hashable {
    package var fileCount: Int
    package var byteCount: UInt64
    /// Bytes that had arrived in an earlier transfer.
    package var presentCount: UInt64
}
