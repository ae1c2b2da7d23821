import InProcessTransport
import Logging
import RoomKit
import RoomServer
import ServiceLifecycle
import Testing

private let quiet = Logger(label: "tests") { _ in SwiftLogNoOpLogHandler() }

/// Runs `body` with a room server, and with a configuration for it whose peers need no network.
private func serving(_ body: @Sendable (RoomConfiguration) async throws -> Void) async throws {
    var configuration = RoomServerConfiguration()
    configuration.port = 0
    let server = RoomServer(configuration: configuration, logger: quiet)
    try await withThrowingTaskGroup { group in
        group.addTask { try await server.run() }
        var client = try RoomConfiguration(server: try await server.address.url)
        client.signaling = "foundation"
        client.peer = "in-process"
        try await body(client)
        server.shutdown()
        try await group.waitForAll()
    }
}

@Suite(.timeLimit(.minutes(1))) struct StandardRegistryTests {
    @Test func itHasWhatTheTraitsInclude() {
        let signaling = Set(TransportRegistry.standard.signaling.map(\.descriptor.name))
        let peer = Set(TransportRegistry.standard.peer.map(\.descriptor.name))
        #expect(signaling.contains("foundation") && peer.contains("in-process"))
        #if Libwebsockets
            #expect(signaling.contains("libwebsockets"))
        #endif
        #if NIO
            #expect(signaling.contains("nio"))
        #endif
        #if WebRTC
            #expect(peer.contains("webrtc-libnice"))
        #endif
    }

    @Test func theDefaultsNameWhatIsThereOrTheErrorNamesTheTrait() throws {
        let configuration = try RoomConfiguration(server: "ws://localhost:1/")
        _ = try TransportRegistry.standard.signalingPlugin(named: configuration.signaling.name)
        #if WebRTC
            _ = try TransportRegistry.standard.peerPlugin(named: configuration.peer.name)
        #else
            let error = #expect(throws: TransportError.self) {
                try TransportRegistry.standard.peerPlugin(named: configuration.peer.name)
            }
            #expect(error?.code == .unavailable && error?.message.contains("'WebRTC'") == true)
        #endif
    }

    @Test func anAbsenceIsExplainedUntilThereIsABackendOfThisName() async throws {
        var registry = TransportRegistry()
        registry.explainAbsence(of: "in-process", "it is on holiday")
        var configuration = try RoomConfiguration(server: "ws://localhost:1/")
        configuration.signaling = "in-process"
        let error = await #expect(throws: RoomError.self) {
            try await TransportRuntime.withRunning(configuration, registry: registry) { _ in }
        }
        #expect(error?.code == .unavailable && error?.message.contains("it is on holiday") == true)
        let complete = registry.adding(InProcessSignalingTransport.plugin(network: InProcessSignalingNetwork()))
        #expect(try complete.signalingPlugin(named: "in-process").descriptor.name == "in-process")
        #expect(registry.signaling.isEmpty, "a registry is a value")
    }

    @Test func twoRoomsOfOneProcessMeetWithoutARegistry() async throws {
        try await serving { configuration in
            try await TransportRuntime.withRunning(configuration) { runtime in
                let alice = try await runtime.connect(toRoom: "lobby", as: "alice", host: true)
                let bob = try await runtime.connect(toRoom: "lobby", as: "bob")
                try await bob.send("hello")
                var messages = alice.messages().makeAsyncIterator()
                #expect(await messages.next()?.text == "hello")
            }
        }
    }

    @MainActor @Test func theModelFollowsTheRoom() async throws {
        try await serving { configuration in
            try await TransportRuntime.withRunning(configuration) { runtime in
                let alice = try await runtime.connect(toRoom: "lobby", as: "alice", host: true)
                let model = await RoomModel(alice)
                #expect(await model.snapshot.isHost)
                let running = Task { await model.run() }
                await alice.leave()
                await running.value
                #expect(await model.snapshot.endReason == .left)
            }
        }
    }
}

@Suite(.timeLimit(.minutes(1))) struct TransportRuntimeServiceTests {
    /// Asks for the runtime before it runs, and talks in a room until shutdown.
    private struct Talk: Service {
        let transports: TransportRuntimeService
        let onJoin: @Sendable (Room) -> Void

        func run() async throws {
            let room = try await transports.runtime.connect(toRoom: "lobby", as: "alice", host: true)
            onJoin(room)
            for await _ in room.messages().cancelOnGracefulShutdown() {}
        }
    }

    @Test func aGroupJoinsAndLeavesInOrder() async throws {
        try await serving { configuration in
            let transports = TransportRuntimeService(configuration)
            let (rooms, feed) = AsyncStream.makeStream(of: Room.self)
            let group = ServiceGroup(
                services: [transports, Talk(transports: transports) { feed.yield($0) }], logger: quiet)
            async let running: Void = group.run()
            var iterator = rooms.makeAsyncIterator()
            let room = try #require(await iterator.next())
            #expect(room.isHost)
            await group.triggerGracefulShutdown()
            try await running
            #expect(room.endReason == .left)
            let error = await #expect(throws: RoomError.self) { try await transports.runtime }
            #expect(error?.code == .left)
        }
    }

    @Test func aRuntimeThatCannotStartSaysSoToThoseThatWait() async throws {
        var configuration = try RoomConfiguration(server: "ws://localhost:1/")
        configuration.signaling = "pigeon"
        let transports = TransportRuntimeService(configuration)
        async let waiting = transports.runtime
        await #expect(throws: RoomError.self) { try await transports.run() }
        do {
            _ = try await waiting
            Issue.record("a runtime of pigeons")
        } catch let error as RoomError {
            #expect(error.code == .configuration)
        }
    }

    @Test func waitingForARuntimeCanBeCancelled() async throws {
        let transports = TransportRuntimeService(try RoomConfiguration(server: "ws://localhost:1/"))
        let waiting = Task { try await transports.runtime }
        waiting.cancel()
        let error = await #expect(throws: RoomError.self) { try await waiting.value }
        #expect(error?.code == .cancelled)
    }
}
