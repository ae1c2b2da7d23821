internal import Glibc
internal import Logging
internal import Synchronization
internal import TransportPluginAPI

/// The TLS of a server, for all of its loops: the current certificate, and the keys of session tickets.
final class ServerTLS: Sendable {
    private struct State {
        var context: TLSContext
        var files: RoomServerConfiguration.TLS
        var watch: FileWatch
    }

    /// The interval at which the files are looked at. They are read at the second look at the latest.
    static let interval = Duration.seconds(4)

    let tickets: TicketKeys
    private let state: Mutex<State>

    /// Reads the files. Throws a `RoomServerError` that names them.
    init(_ files: RoomServerConfiguration.TLS, tickets: TicketKeys) throws(RoomServerError) {
        self.tickets = tickets
        let watch = FileWatch(files.stamps)
        state = Mutex(State(context: try TLSContext(files, tickets), files: files, watch: watch))
    }

    /// Returns a handler for an accepted connection.
    func makeHandler() throws(RoomServerError) -> TLSHandler {
        let context = state.withLock { $0.context }
        return try context.makeHandler()
    }

    /// Reads the files again, perhaps others than before. Connections that are open, or in their handshake, keep the
    /// certificate that they have. Throws a `RoomServerError` when the files cannot be used, and keeps the certificate.
    func reload(_ files: RoomServerConfiguration.TLS? = nil) throws(RoomServerError) {
        let files = files ?? state.withLock { $0.files }
        let watch = FileWatch(files.stamps)
        let context = try TLSContext(files, tickets)
        state.withLock { $0 = State(context: context, files: files, watch: watch) }
    }

    /// Reads the files again if they have changed, and have not since the last look. Returns whether it has.
    func reloadIfChanged() throws(RoomServerError) -> Bool {
        let mustReload = state.withLock { $0.watch.look($0.files.stamps) }
        if mustReload { try reload() }
        return mustReload
    }

    /// Looks at the files until the task is cancelled.
    func watch(_ logger: Logger) async {
        while (try? await Task.sleep(for: Self.interval)) != nil {
            do throws(RoomServerError) {
                if try reloadIfChanged() { logger.notice("the certificate was replaced") }
            } catch {
                logger.error(
                    "the new certificate cannot be used, the old one stays: mend its files",
                    metadata: ["error": "\(error.message)"])
            }
        }
    }
}

/// Decides when files are read again: when they have changed, and then have not between two looks. So a pair is not
/// read while only one of the two has been replaced. Files that could not be used count as read until they change.
struct FileWatch {
    private var read: [FileStamp?]
    private var seen: [FileStamp?]

    init(_ stamps: [FileStamp?]) {
        read = stamps
        seen = stamps
    }

    mutating func look(_ now: [FileStamp?]) -> Bool {
        defer { seen = now }
        guard now == seen, now != read else { return false }
        read = now
        return true
    }
}

/// The attributes of a file that tell whether it was written or replaced.
struct FileStamp: Equatable {
    private let device: UInt64
    private let inode: UInt64
    private let size: Int64
    private let seconds: Int
    private let nanoseconds: Int

    /// Nil: there is no such file.
    init?(_ path: String) {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        device = UInt64(status.st_dev)
        inode = UInt64(status.st_ino)
        size = Int64(status.st_size)
        seconds = status.st_mtim.tv_sec
        nanoseconds = status.st_mtim.tv_nsec
    }
}

extension RoomServerConfiguration.TLS {
    fileprivate var stamps: [FileStamp?] {
        certificate == nil ? [FileStamp(certificateChainFile), FileStamp(privateKeyFile)] : []
    }
}
