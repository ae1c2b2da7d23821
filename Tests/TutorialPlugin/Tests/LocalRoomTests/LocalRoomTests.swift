import Foundation
import LocalRoom
import RoomConnection
import RoomServer
import Testing

/// The third party's backends in a program of its own, chosen by a file.
@Suite(.timeLimit(.minutes(1))) struct LocalRoomTests {
    @Test func twoPeersTalkOverTheBackendThatTheFileNames() async throws {
        try await withServer { url in
            let file = try configurationFile(server: url, peer: "tcp")
            try await TransportRuntime.withRunning(
                try localConfiguration(fromFile: file), registry: localBackends()
            ) { runtime in
                let alice = try await runtime.connect(toRoom: "lobby", as: "alice", host: true)
                let bob = try await runtime.connect(toRoom: "lobby", as: "bob")
                var heard = bob.messages().makeAsyncIterator()
                for number in 0..<100 { try await alice.send("\(number)") }
                for number in 0..<100 {
                    let message = try #require(await heard.next())
                    #expect(message.text == "\(number)")
                }
                try await alice.flush(within: .seconds(10))
                await bob.leave(within: .seconds(2))
                await alice.leave(within: .seconds(2))
            }
        }
    }

    @Test func aBackendThatThereIsNotIsRefusedByName() async throws {
        let file = try configurationFile(server: "ws://127.0.0.1:9/", peer: "pigeon")
        let configuration = try localConfiguration(fromFile: file)
        do {
            try await TransportRuntime.withRunning(configuration, registry: localBackends()) { _ in }
            Issue.record("the runtime started with a backend that there is not")
        } catch {
            #expect("\(error)".contains("pigeon") && "\(error)".contains("tcp"), "\(error)")
        }
    }

    private func configurationFile(server: String, peer: String) throws -> String {
        let path = FileManager.default.temporaryDirectory.appending(path: "local-room-\(UUID()).json").path
        try Data(#"{"server": "\#(server)", "signaling": "foundation", "peer": "\#(peer)"}"#.utf8)
            .write(to: URL(filePath: path))
        return path
    }

    private func withServer(_ body: @Sendable (String) async throws -> Void) async throws {
        var configuration = RoomServerConfiguration()
        configuration.port = 0
        // The quiet logger of a room's configuration.
        let server = RoomServer(
            configuration: configuration, logger: try RoomConfiguration(server: "ws://127.0.0.1:9/").logger)
        try await withThrowingTaskGroup { group in
            group.addTask { try await server.run() }
            try await body(try await server.address.url)
            server.shutdown()
            try await group.waitForAll()
        }
    }
}
