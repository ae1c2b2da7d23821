import Glibc
import TransportPluginAPI

/// Signaling over Unix-domain sockets: `ws://localhost/run/room.sock` connects to the socket `/run/room.sock`.
public final class UnixTransport: SignalingTransport {
    private struct State {
        var connections: [ObjectIdentifier: FrameConnection] = [:]
        var isShutDown = false
    }

    let loop: TransportLoop
    private let state = Locked(State())

    /// Throws `.resourceExhausted` when the system has no descriptor or thread left.
    public init() throws(TransportError) { loop = try TransportLoop(name: "unix-signaling") }

    public nonisolated(nonsending) func connect(
        to endpoint: SignalingEndpoint
    ) async throws(TransportError) -> FrameConnection {
        try Self.check(endpoint)
        return try adopt(try Self.open(endpoint.path), endpoint)
    }

    /// Refuses demands that this transport cannot meet. They are never ignored.
    static func check(_ endpoint: SignalingEndpoint) throws(TransportError) {
        if Task.isCancelled { throw TransportError(.cancelled, "connecting to \(endpoint.url) was cancelled") }
        guard !endpoint.isSecure, endpoint.proxy == nil else {
            throw TransportError(.notSupported, "there is no TLS and no proxy here: use a ws:// URL without a proxy")
        }
        guard endpoint.headers.isEmpty, endpoint.subprotocols.isEmpty else {
            throw TransportError(.notSupported, "there are no headers and no subprotocols here: leave them out")
        }
    }

    public nonisolated(nonsending) func shutdown() async {
        let open = state.withLock { state in
            state.isShutDown = true
            return Array(state.connections.values)
        }
        for connection in open { connection.abort() }
        // Ends the loop after the work that `abort` has queued on it.
        await loop.shutdown()
    }

    /// Makes a connection of an open socket, and takes ownership of the socket.
    package func adopt(_ descriptor: Int32, _ endpoint: SignalingEndpoint) throws(TransportError) -> FrameConnection {
        let connection = FrameConnection(descriptor, endpoint, loop) { [weak self] connection in
            _ = self?.state.withLock { $0.connections.removeValue(forKey: ObjectIdentifier(connection)) }
        }
        let isShutDown = state.withLock { state in
            if !state.isShutDown { state.connections[ObjectIdentifier(connection)] = connection }
            return state.isShutDown
        }
        guard !isShutDown else {
            close(descriptor)
            throw TransportError(.closed, "the transport is shut down")
        }
        // Never refused: `shutdown` ends the loop only after the connections that it found.
        loop.execute { connection.start() }
        return connection
    }

    /// Connecting to a Unix-domain socket never waits: it succeeds or fails at once.
    private static func open(_ path: String) throws(TransportError) -> Int32 {
        guard var address = sockaddr_un(path: path) else {
            throw TransportError(.invalidArgument, "'\(path)' is too long for a socket: 107 bytes are the limit")
        }
        let descriptor = socket(
            AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw TransportError(.resourceExhausted, "no socket: \(errorText())") }
        guard withSocketAddress(&address, { Glibc.connect(descriptor, $0, $1) }) == 0 else {
            let error = TransportError(.refused, "cannot connect to \(path): \(errorText())", isRetryable: true)
            close(descriptor)
            throw error
        }
        return descriptor
    }
}

func errorText() -> String { String(cString: strerror(errno)) }

extension sockaddr_un {
    init?(path: String) {
        self.init()
        sun_family = sa_family_t(AF_UNIX)
        let isShort = withUnsafeMutableBytes(of: &sun_path) { target in
            guard path.utf8.count < target.count else { return false }
            target.copyBytes(from: path.utf8)
            return true
        }
        if !isShort { return nil }
    }
}

func withSocketAddress<Result>(
    _ address: inout sockaddr_un, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
) -> Result {
    withUnsafePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
        }
    }
}
