#if WebRTC
    import Glibc
    import Logging
    import RoomKit
    import RoomServer
    import Testing

    @Suite(.timeLimit(.minutes(1))) struct ExampleTests {
        private static let quiet = Logger(label: "examples") { _ in SwiftLogNoOpLogHandler() }

        /// The echo of "Getting started" answers over real transports, and both sides of the room end in order.
        @Test func theEchoAnswers() async throws {
            try await serve(logger: Self.quiet) { url in
                let configuration = try RoomConfiguration(server: url)
                try await TransportRuntime.withRunning(configuration) { runtime in
                    let host = try await runtime.connect(toRoom: "lobby", as: "alice", host: true)
                    await echo(in: host)
                    let guest = try #require(try await join(runtime))
                    // Events report the other participants, just after the join.
                    for await event in guest.events { if case .peerJoined = event { break } }
                    try await guest.send("hello", to: host.selfID)
                    var messages = guest.messages().makeAsyncIterator()
                    let answer = await messages.next()
                    #expect(answer?.text == "hello" && answer?.from == host.selfID)
                    try await send(Payload("sample"), in: guest)
                }
            }
        }

        /// A token made as in "Operations" admits its holder, and nobody else.
        @Test func theInvitationIsAccepted() async throws {
            var configuration = RoomServerConfiguration()
            configuration.port = 0
            configuration.joinTokenSecret = Array("secret".utf8)
            let server = RoomServer(configuration: configuration, logger: Self.quiet)
            try await withThrowingTaskGroup { group in
                group.addTask { try await server.run() }
                var client = try RoomConfiguration(server: try await server.address.url)
                withToken(&client) { _, _, _ in
                    invitation(secret: Array("secret".utf8), now: Int(time(nil)))
                }
                try await TransportRuntime.withRunning(client) { runtime in
                    let room = try await runtime.connect(toRoom: "lobby", as: "alice", host: true)
                    #expect(room.isHost)
                    await #expect(throws: RoomError.self) {
                        try await runtime.connect(toRoom: "lobby", as: "mallory")
                    }
                }
                server.shutdown()
                try await group.waitForAll()
            }
        }
    }
#endif
