internal import Glibc
internal import TransportPluginAPI

/// The service manager that has started this process: systemd, or another one with its protocol (sd_notify(3)). It is
/// told about the state of the service, without systemd's library.
final class ServiceManager: Sendable {
    /// One thing to tell. Several lines are taken together.
    enum Message: Equatable {
        /// The service is up, or has reloaded. Also a line for people.
        case ready(String)
        case reloading(Timestamp)
        /// The service ends. Also a line for people.
        case stopping(String)
        case alive
        /// The service needs this much longer to end.
        case needsTime(Duration)

        var text: String {
            switch self {
            case .ready(let status): "READY=1\nSTATUS=\(status)"
            case .reloading(let time): "RELOADING=1\nMONOTONIC_USEC=\(time.nanoseconds / 1000)"
            case .stopping(let status): "STOPPING=1\nSTATUS=\(status)"
            case .alive: "WATCHDOG=1"
            case .needsTime(let time): "EXTEND_TIMEOUT_USEC=\(time.saturatedNanoseconds / 1000)"
            }
        }
    }

    /// The longest interval between signs of life; nil when none are wanted.
    let watchdog: Duration?
    private let address: sockaddr_un
    private let length: socklen_t

    /// Nil: nobody wants to be told.
    init?(_ environment: [String: String], process: Int32 = getpid()) {
        guard let path = environment["NOTIFY_SOCKET"], let (address, length) = Self.address(path) else { return nil }
        self.address = address
        self.length = length
        let isForThis = environment["WATCHDOG_PID"].map { Int32($0) == process } ?? true
        watchdog = isForThis ? environment["WATCHDOG_USEC"].flatMap(Int.init).map(Duration.microseconds) : nil
    }

    /// The address of a socket in the file system, or of an abstract one, which begins with `@`.
    private static func address(_ path: String) -> (sockaddr_un, socklen_t)? {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        var bytes = Array(path.utf8)
        guard bytes.count > 1, bytes.count < MemoryLayout.size(ofValue: address.sun_path) else { return nil }
        switch bytes[0] {
        case UInt8(ascii: "@"): bytes[0] = 0
        case UInt8(ascii: "/"): bytes.append(0)
        default: return nil
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        return (address, socklen_t(MemoryLayout.size(ofValue: address.sun_family) + bytes.count))
    }

    /// Tells it. A manager that does not listen is no reason to fail.
    func tell(_ messages: Message...) {
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        // Its queue may be full for a moment.
        var limit = timeval(tv_sec: 1, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        let text = Array(messages.map(\.text).joined(separator: "\n").utf8)
        withUnsafePointer(to: address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = sendto(descriptor, text, text.count, Int32(MSG_NOSIGNAL), $0, length)
            }
        }
    }

    // MARK: Sockets

    /// Returns the descriptor of the listening socket that was passed to this process (sd_listen_fds(3)); nil when
    /// there is none.
    static func listeningDescriptor(
        _ environment: [String: String], process: Int32 = getpid()
    ) throws(CommandError) -> Int32? {
        guard environment["LISTEN_PID"].flatMap(Int32.init) == process,
            let count = environment["LISTEN_FDS"].flatMap(Int.init), count > 0
        else { return nil }
        guard count == 1 else {
            throw CommandError(
                .usage, "\(count) listening sockets were passed, and room takes one: keep one ListenStream= in the unit"
            )
        }
        return 3
    }

    /// Removes what is for this process only from its environment, before there are other threads that read it.
    static func forget() {
        for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] {
            unsetenv(name)
        }
    }
}
