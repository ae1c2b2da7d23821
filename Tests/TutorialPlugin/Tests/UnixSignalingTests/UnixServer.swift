import Glibc
import TransportPluginAPI
import TransportTestKit

@testable import UnixSignaling

/// The server's side of the clauses: accepts connections, and does with each what the clause asks for.
final class UnixServer: SignalingTestServer {
    let endpoint: SignalingEndpoint
    private let descriptor: Int32
    private let gate = AsyncStream<Void>.makeStream()
    private let task: Task<Void, Never>

    init(_ behaviour: SignalingServerBehaviour) async throws {
        let endpoint = try SignalingEndpoint(url: "ws://localhost/tmp/unix-signaling-\(UInt64.random(in: 0...(.max)))")
        let descriptor = try Self.listen(endpoint.path)
        let transport = try UnixTransport()
        let loop = try TransportLoop(name: "unix-server")
        let (accepted, feed) = AsyncStream.makeStream(of: UnixConnection.self)
        try await loop.runThrowing { () throws(TransportError) in
            _ = try loop.watch(descriptor, for: .readable) { _ in
                let socket = accept(descriptor, nil, nil)
                if socket >= 0, let connection = try? transport.adopt(socket, endpoint) { feed.yield(connection) }
            }
        }
        let gate = gate.stream
        task = Task {
            await withDiscardingTaskGroup { group in
                for await connection in accepted {
                    group.addTask { try? await Self.serve(connection, behaviour, gate) }
                }
            }
            await loop.shutdown()
            await transport.shutdown()
            close(descriptor)
            unlink(endpoint.path)
        }
        self.endpoint = endpoint
        self.descriptor = descriptor
    }

    func resume() { gate.continuation.finish() }

    func stop() {
        shutdown(descriptor, Int32(SHUT_RDWR))
        task.cancel()
    }

    private static func serve(
        _ connection: UnixConnection, _ behaviour: SignalingServerBehaviour, _ gate: AsyncStream<Void>
    ) async throws {
        defer { connection.abort() }
        switch behaviour {
        case .echo: break
        case .numbers(let count):
            for number in 0..<count { try await connection.send(.text(Payload(String(number)))) }
        case .closes(let reason):
            if let message = try await connection.receive() { try await connection.send(message) }
            return await connection.close(reason, within: .seconds(1))
        case .breaks:
            _ = try await connection.receive()
            return
        case .stalls: for await _ in gate {}
        }
        while let message = try await connection.receive() { try await connection.send(message) }
    }

    private static func listen(_ path: String) throws -> Int32 {
        guard var address = sockaddr_un(path: path) else { throw TransportError(.invalidArgument, "a long path") }
        let descriptor = socket(
            AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue), 0)
        let isListening =
            withSocketAddress(&address, { bind(descriptor, $0, $1) }) == 0 && Glibc.listen(descriptor, 128) == 0
        guard isListening else { throw TransportError(.io, "cannot listen on \(path): \(errorText())") }
        return descriptor
    }
}
