import Glibc
import TransportPluginAPI
import TransportTestKit

@testable import UnixSignaling

/// The server's side of the clauses: accepts connections, and serves each as the clause asks.
final class FrameServer: SignalingTestServer {
    let endpoint: SignalingEndpoint
    private let listener: Listener
    private let gate = AsyncStream<Void>.makeStream()
    private let task: Task<Void, Never>

    /// - Parameter messages: Sent first, to each connection.
    init(
        _ descriptor: Int32, at endpoint: SignalingEndpoint, _ behaviour: SignalingServerBehaviour,
        saying messages: [SignalingMessage]
    ) async throws {
        self.endpoint = endpoint
        var limits = endpoint
        // It must soon stop accepting while nobody reads, but may send more than a client accepts.
        limits.bufferLimit = 64 << 10
        limits.maximumMessageSize = .max
        let listener = try await Listener(descriptor, limits)
        let gate = gate.stream
        self.listener = listener
        task = Task {
            await withDiscardingTaskGroup { group in
                for await connection in listener.connections {
                    group.addTask { try? await Self.serve(connection, behaviour, messages, gate) }
                }
            }
            await listener.close()
            if endpoint.path != "/" { unlink(endpoint.path) }
        }
    }

    static func unix(
        _ behaviour: SignalingServerBehaviour, saying messages: [SignalingMessage] = []
    ) async throws -> FrameServer {
        let endpoint = try SignalingEndpoint(url: "ws://localhost/tmp/unix-signaling-\(UInt64.random(in: 0...(.max)))")
        return try await FrameServer(Listener.listen(endpoint.path), at: endpoint, behaviour, saying: messages)
    }

    func resume() { gate.continuation.finish() }

    func stop() {
        listener.stop()
        task.cancel()
    }

    private static func serve(
        _ connection: FrameConnection, _ behaviour: SignalingServerBehaviour, _ messages: [SignalingMessage],
        _ gate: AsyncStream<Void>
    ) async throws {
        defer { connection.abort() }
        for message in messages { try await connection.send(message) }
        try await behaviour.perform(on: connection, until: gate)
    }
}

extension FrameServer {
    static func tcp(
        _ behaviour: SignalingServerBehaviour, saying messages: [SignalingMessage] = []
    ) async throws -> FrameServer {
        let descriptor = socket(
            AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue), 0)
        // Set before it listens; otherwise the system buffers tens of megabytes for a server that does not read.
        var size: Int32 = 64 << 10
        setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<Int32>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isListening = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length) == 0 && listen(descriptor, 128) == 0
                    && getsockname(descriptor, $0, &length) == 0
            }
        }
        guard isListening else { throw TransportError(.io, "cannot listen on 127.0.0.1: \(errorText())") }
        let endpoint = try SignalingEndpoint(url: "ws://127.0.0.1:\(UInt16(bigEndian: address.sin_port))/")
        return try await FrameServer(descriptor, at: endpoint, behaviour, saying: messages)
    }
}
