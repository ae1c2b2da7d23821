import Glibc
import SignalingFoundation
import TransportPluginAPI
import UnixSignaling

// unix-bridge SOCKET URL: passes messages between a Unix-domain socket and a room server's WebSocket.
let arguments = CommandLine.arguments
guard arguments.count == 3 else {
    print("usage: unix-bridge SOCKET URL")
    exit(2)
}
let near = try SignalingEndpoint(url: "ws://localhost\(arguments[1])")
let far = try SignalingEndpoint(url: arguments[2])
// Removes the socket of a bridge that was killed, and nothing else.
var status = stat()
if stat(near.path, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK { unlink(near.path) }
let listener = try await Listener(Listener.listen(near.path), near)
let transport = try FoundationSignaling()
print("from \(near.path) to \(far.url)")
await withDiscardingTaskGroup { group in
    for await client in listener.connections {
        group.addTask {
            do { try await bridge(client, try await transport.connect(to: far)) } catch {
                print(error)
                client.abort()
            }
        }
    }
}

/// Passes messages on in both directions, and the end of one side to the other.
func bridge(_ left: some SignalingConnection, _ right: some SignalingConnection) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await pass(from: left, to: right) }
        group.addTask { try await pass(from: right, to: left) }
        defer {
            left.abort()
            right.abort()
        }
        try await group.next()
    }
}

func pass(from: some SignalingConnection, to: some SignalingConnection) async throws {
    while let message = try await from.receive() { try await to.send(message) }
    await to.close(from.closeReason ?? .normal, within: .seconds(1))
}
