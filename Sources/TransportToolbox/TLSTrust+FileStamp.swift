internal import Glibc
public import TransportValues

extension TLSTrust {
    /// The version of the file of authorities: backends that cache its content compare the stamps.
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

    /// Returns the stamp of the current file, from the file system. It is always the same for the system's authorities.
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

    /// Returns the error for a file, or a system's store, in which a TLS library finds no certificate.
    public func unusableAuthorities(cause: (any Error)? = nil) -> TransportError {
        TransportError(
            .tlsFailed,
            "no certificates could be read from "
                + "\(authoritiesFile.map { "'\($0)'" } ?? "the system's store"): is it PEM?",
            cause: cause)
    }
}
