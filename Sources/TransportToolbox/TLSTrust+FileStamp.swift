internal import Glibc
public import TransportValues

extension TLSTrust {
    /// Tells one content of the file of authorities from another: backends that keep what they have read from it
    /// compare the stamps.
    public struct FileStamp: Sendable, Equatable {
        private var device: UInt = 0
        private var node: UInt = 0
        private var size = 0
        private var seconds = 0
        private var nanoseconds = 0

        fileprivate init() {}

        fileprivate init(_ status: stat) {
            device = UInt(status.st_dev)
            node = UInt(status.st_ino)
            size = Int(status.st_size)
            seconds = status.st_mtim.tv_sec
            nanoseconds = status.st_mtim.tv_nsec
        }
    }

    /// The stamp of the file as it is now; always the same for the system's authorities. Looks at the file system.
    ///
    /// Throws `.tlsFailed` for a file that cannot be read.
    public func fileStamp() throws(TransportError) -> FileStamp {
        guard let authoritiesFile else { return FileStamp() }
        var status = stat()
        guard stat(authoritiesFile, &status) == 0 else {
            throw TransportError(
                .tlsFailed,
                "the file of authorities '\(authoritiesFile)' cannot be read: \(String(cString: strerror(errno)))")
        }
        return FileStamp(status)
    }

    /// The error of a file, or of a system's store, that a TLS library finds no certificate in.
    public func unusableAuthorities(cause: (any Error)? = nil) -> TransportError {
        TransportError(
            .tlsFailed,
            "no certificates could be read from "
                + "\(authoritiesFile.map { "'\($0)'" } ?? "the system's store"): is it PEM?",
            cause: cause)
    }
}
