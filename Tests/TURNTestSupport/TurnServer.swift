public import Glibc
public import TransportPluginAPI

/// coturn on 127.0.0.1, for one test. It ends with `stop()`.
public struct TurnServer: Sendable {
    public static let path = "/usr/bin/turnserver"
    /// Whether coturn is installed. Where it is not, tests that need it say that they are skipped.
    public static var isInstalled: Bool { access(path, X_OK) == 0 }

    public let port: UInt16
    private let pid: pid_t
    private static let credentials = (username: "alice", credential: "secret")

    /// Starts coturn on `port`, or on a free one.
    public init(port: UInt16? = nil) throws {
        self.port = try port ?? freePort()
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for descriptor in [STDOUT_FILENO, STDERR_FILENO] {
            posix_spawn_file_actions_addopen(&actions, descriptor, "/dev/null", O_WRONLY, 0)
        }
        let arguments = [
            Self.path, "-n", "-L", "127.0.0.1", "-E", "127.0.0.1", "-p", "\(self.port)", "--no-tls", "--no-dtls",
            "--no-cli",
            "-a",
            "-u", "\(Self.credentials.username):\(Self.credentials.credential)", "-r", "test", "--allow-loopback-peers",
            "--log-file", "/dev/null", "--pidfile", "/dev/null",
        ]
        var pointers: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        defer { for pointer in pointers { free(pointer) } }
        var pid: pid_t = 0
        let status = posix_spawn(&pid, Self.path, &actions, nil, &pointers, environ)
        guard status == 0 else { throw TransportError(.unavailable, "turnserver did not start: \(status)") }
        self.pid = pid
        guard answersWithinTenSeconds() else {
            stop()
            throw TransportError(.timedOut, "turnserver does not answer")
        }
    }

    /// The server with its credentials. `transport` is `udp` or `tcp`.
    public func server(_ transport: String) -> ICEServer { Self.server(transport, port: port) }

    public static func server(_ transport: String, port: UInt16) -> ICEServer {
        ICEServer(
            urls: ["turn:127.0.0.1:\(port)?transport=\(transport)"], username: credentials.username,
            credential: credentials.credential)
    }

    public func stop() {
        kill(pid, SIGKILL)
        var status: Int32 = 0
        waitpid(pid, &status, 0)
    }

    /// Sends STUN Binding requests (RFC 8489 §5) until there is an answer.
    private func answersWithinTenSeconds() -> Bool {
        let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        defer { close(descriptor) }
        var address = loopback(port)
        let request: [UInt8] = [0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42] + (1...12)
        let end = Timestamp.now() + .seconds(10)
        while Timestamp.now() < end {
            withUnsafeSockaddr(&address) { _ = sendto(descriptor, request, request.count, 0, $0, $1) }
            var event = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            poll(&event, 1, 20)
            var answer = [UInt8](repeating: 0, count: 512)
            if recv(descriptor, &answer, answer.count, Int32(MSG_DONTWAIT)) > 0 { return true }
        }
        return false
    }
}

public func loopback(_ port: UInt16) -> sockaddr_in {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = inet_addr("127.0.0.1")
    return address
}

public func withUnsafeSockaddr<Result>(
    _ address: inout sockaddr_in, _ body: (UnsafeMutablePointer<sockaddr>, socklen_t) -> Result
) -> Result {
    withUnsafeMutablePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
    }
}

/// Returns a port that nobody uses now, for UDP and TCP.
public func freePort() throws -> UInt16 {
    for _ in 0..<20 {
        let datagrams = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        let stream = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer {
            close(datagrams)
            close(stream)
        }
        var address = loopback(0)
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        guard withUnsafeSockaddr(&address, { bind(datagrams, $0, $1) }) == 0,
            withUnsafeSockaddr(&address, { pointer, _ in getsockname(datagrams, pointer, &size) }) == 0,
            withUnsafeSockaddr(&address, { bind(stream, $0, $1) }) == 0
        else { continue }
        return UInt16(bigEndian: address.sin_port)
    }
    throw TransportError(.resourceExhausted, "no free port")
}
