#if Libwebsockets && WebRTC
    import ICELibnice
    import Logging
    import PeerWebRTC
    import RoomConnection
    import RoomServer
    import SignalingLibwebsockets
    import TransportPluginAPI

    // The code of "Getting started", of "Operations" and of the README, as it stands there. Some of it runs in
    // ExampleTests.

    func backends() -> TransportRegistry {
        var registry = TransportRegistry()
        registry.register(LibwebsocketsSignaling.plugin())
        registry.register(
            WebRTCTransport.plugin(name: "webrtc-libnice", summary: "WebRTC over libnice") {
                context throws(TransportError) in
                try LibniceProvider(context)
            })
        return registry
    }

    func program() async throws {
        var registry = TransportRegistry()
        registry.register(LibwebsocketsSignaling.plugin())
        registry.register(
            WebRTCTransport.plugin(name: "webrtc-libnice", summary: "WebRTC over libnice") {
                context throws(TransportError) in
                try LibniceProvider(context)
            })

        let configuration = try RoomConfiguration(server: "ws://127.0.0.1:8080/")
        try await TransportRuntime.withRunning(configuration, registry: registry) { runtime in
            let room = try await runtime.connect(toRoom: "lobby", as: "alice", host: true)
            try await room.send("hello, everybody")
            for await message in room.messages() {
                print(message.from, message.text ?? "\(message.payload.count) bytes")
                try await room.send("thank you", to: message.from)
            }
        }
    }

    func watch(_ room: Room) async {
        for await event in room.events {
            switch event {
            case .joined(let membership):
                print("in the room as \(membership.participant), resumed: \(membership.isResumed)")
            case .peerJoined(let participant): print("\(participant.name) is here")
            case .peerLeft(let participant, let reason): print("\(participant.name) has left: \(reason)")
            case .peer(let id, .recovering(let rung, _, _)): print("the connection to \(id) is being healed: \(rung)")
            case .stalled(let id, let stall): print("\(id) is not reached: \(stall.message); \(stall.cure)")
            case .incident(let incident): print("healed in \(incident.duration), after: \(incident.cause)")
            case .undelivered(let id, let count): print("\(count) messages never reached \(id)")
            case .left(let reason): print("the end: \(reason)")
            default: break
            }
        }
    }

    func receive(_ room: Room) async {
        for await batch in room.messageBatches(on: .unordered) {
            print("\(batch.count) messages at once")
        }
    }

    func echo(in room: Room) async {
        await room.onMessage { message in
            message.withUnsafeBytes { bytes in
                try? room.trySend(bytes, isText: message.isText, to: message.from, channel: message.channel)
            }
        }
    }

    func send(_ sample: Payload, in room: Room) async throws {
        try await room.send(sample, channel: .lossy)
        try await room.flush(within: .seconds(10))
        await room.leave(within: .seconds(2))
    }

    func verify(_ event: RoomEvent, in room: Room) {
        guard case .peer(let id, .connected) = event else { return }
        if let security = room.security(of: id) { print("read this to each other: \(security.verificationCode)") }
    }

    func together(registry: TransportRegistry, configuration: RoomConfiguration) async throws {
        try await TransportRuntime.withRunning(configuration, registry: registry) { runtime in
            let room = try await runtime.connect(toRoom: "lobby", as: "alice", host: true)
            await withTaskGroup { group in
                group.addTask { await watch(room) }
                group.addTask { await receive(room) }
            }
        }
    }

    func configured() throws -> RoomConfiguration {
        var configuration = try RoomConfiguration(server: "wss://rooms.example.org/")
        configuration.signaling = "libwebsockets"
        configuration.peer = .init(name: "webrtc-libnice", options: ["ice-tcp": .boolean(true)])
        configuration.iceServers = [ICEServer(urls: ["stun:stun.example.org:3478"])]
        configuration.icePolicy = .relay
        configuration.sendLimit = 1 << 20
        return configuration
    }

    func withToken(
        _ configuration: inout RoomConfiguration, fetchToken: @escaping @Sendable (Bool) async throws -> String
    ) {
        configuration.token = { mustBeFresh in try await fetchToken(mustBeFresh) }
    }

    func withExpiringToken(
        _ configuration: inout RoomConfiguration,
        fetchExpiringToken: @escaping @Sendable (Bool) async throws -> (String, Int)
    ) {
        configuration.token = { mustBeFresh in
            let (token, seconds) = try await fetchExpiringToken(mustBeFresh)
            return JoinCredential(token, validFor: .seconds(seconds))
        }
    }

    func withRelays(
        _ configuration: inout RoomConfiguration,
        fetchRelayCredentials: @escaping @Sendable () async throws -> (String, String)
    ) {
        configuration.iceServerProvider = {
            let (username, credential) = try await fetchRelayCredentials()
            let server = ICEServer(urls: ["turn:turn.example.org:3478"], username: username, credential: credential)
            return ProvidedICEServers([server], validFor: .seconds(3600))
        }
    }

    func join(_ runtime: TransportRuntime) async throws -> Room? {
        do throws(RoomError) {
            return try await runtime.connect(toRoom: "lobby", as: "bob")
        } catch {
            switch (error.code, error.protocolCode) {
            case (.refused, .roomNotFound): print("nobody has opened the room yet")
            case (.refused, .nameTaken): print("choose another name")
            case (.timedOut, _): print("the server cannot be reached: \(error.message)")
            default: print(error)
            }
            return nil
        }
    }

    func serve(logger: Logger, body: @Sendable (String) async throws -> Void) async throws {
        var configuration = RoomServerConfiguration()
        configuration.port = 0
        let server = RoomServer(configuration: configuration, logger: logger)
        try await withThrowingTaskGroup { group in
            group.addTask { try await server.run() }
            print(try await server.address.url)
            try await body(server.address.url)
            server.shutdown()
            try await group.waitForAll()
        }
    }

    func invitation(secret: [UInt8], now: Int) -> String {
        let token = JoinToken(room: "lobby", name: "alice", role: .host, expiry: now + 600)
        return token.signed(with: secret)
    }
#endif
