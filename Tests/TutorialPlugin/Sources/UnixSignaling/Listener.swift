import Glibc
import TransportPluginAPI

/// Accepts connections for the other side, in tests and in the bridge.
package final class Listener: Sendable {
    package let connections: AsyncStream<FrameConnection>
    private let feed: AsyncStream<FrameConnection>.Continuation
    private let transport: UnixTransport
    private let descriptor: Locked<Int32>

    /// - Parameters:
    ///   - descriptor: A listening socket, which then belongs to the listener.
    ///   - endpoint: The source of the accepted connections' limits.
    package init(_ descriptor: Int32, _ endpoint: SignalingEndpoint) async throws {
        let transport = try UnixTransport()
        let (connections, feed) = AsyncStream.makeStream(of: FrameConnection.self)
        self.transport = transport
        self.connections = connections
        self.feed = feed
        self.descriptor = Locked(descriptor)
        let loop = transport.loop
        try await loop.runThrowing { () throws(TransportError) in
            _ = try loop.watch(descriptor, for: .readable) { _ in
                let socket = accept(descriptor, nil, nil)
                if socket >= 0, let connection = try? transport.adopt(socket, endpoint) { feed.yield(connection) }
            }
        }
    }

    /// Returns a socket that listens at this path.
    package static func listen(_ path: String) throws(TransportError) -> Int32 {
        guard var address = sockaddr_un(path: path) else {
            throw TransportError(.invalidArgument, "'\(path)' is too long for a socket: 107 bytes are the limit")
        }
        let descriptor = socket(
            AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue), 0)
        let isListening =
            withSocketAddress(&address, { bind(descriptor, $0, $1) }) == 0 && Glibc.listen(descriptor, 128) == 0
        guard isListening else { throw TransportError(.io, "cannot listen on \(path): \(errorText())") }
        return descriptor
    }

    /// Stops listening: when it returns, connecting is refused. Idempotent.
    package func stop() {
        // Behind the lock: once the descriptor is closed, its number may belong to somebody else.
        descriptor.withLock { if $0 >= 0 { _ = shutdown($0, Int32(SHUT_RDWR)) } }
        feed.finish()
    }

    /// Closes open connections, and returns when everything is released.
    package func close() async {
        stop()
        // The watch first, then its descriptor.
        await transport.shutdown()
        descriptor.withLock { descriptor in
            if descriptor >= 0 { Glibc.close(descriptor) }
            descriptor = -1
        }
    }
}
