import InProcessTransport
import Logging
import RoomKit
import RoomServer
import ServiceLifecycle
import UnixSignals

// The code of "Getting started", of "Operations" and of the README, as it stands there. Some of it runs in
// ExampleTests.

func mainProgram() async {
    await TransportRuntime.main(try RoomConfiguration(server: "ws://127.0.0.1:8080/")) { runtime in
        let room = try await runtime.connect(toRoom: "lobby", as: "alice", host: true)
        try await room.send("hello, everybody")
        for await message in room.messages() {
            print(message.from, message.text ?? "\(message.payload.count) bytes")
            try await room.send("thank you", to: message.from)
        }
    }
}

func program() async throws {
    let configuration = try RoomConfiguration(server: "ws://127.0.0.1:8080/")
    try await TransportRuntime.withRunning(configuration) { runtime in
        let room = try await runtime.connect(toRoom: "lobby", as: "alice", host: true)
        try await room.send("hello, everybody")
        for await message in room.messages() {
            print(message.from, message.text ?? "\(message.payload.count) bytes")
            try await room.send("thank you", to: message.from)
        }
    }
}

private enum MySignaling {
    static let network = InProcessSignalingNetwork()
    static func plugin() -> SignalingPlugin { InProcessSignalingTransport.plugin(network: network) }
}

func thirdParty(_ configuration: RoomConfiguration) async throws {
    try await TransportRuntime.withRunning(configuration, registry: .standard.adding(MySignaling.plugin())) { runtime in
        _ = try await runtime.connect(toRoom: "lobby", as: "alice", host: true)
    }
}

func readToTheEnd(_ room: Room) async throws {
    for await message in room.messages() { print(message.text ?? "") }
    if let error = room.endReason?.error { throw error }
}

func broadcast(in room: Room) async throws {
    let report = try await room.send("hello, everybody")
    for missed in report.missed { print("\(missed.participant) was left out: \(missed.reason)") }
}

func show(_ room: Room) async {
    for await snapshot in room.snapshots {
        let names = snapshot.members.map { "\($0.participant.name) (\($0.path?.summary ?? "connecting"))" }
        print("with", names.joined(separator: ", "))
    }
}

@MainActor func bind(_ room: Room) async {
    let model = RoomModel(room)
    await model.run()
}

struct Chat: Service {
    let transports: TransportRuntimeService

    func run() async throws {
        let room = try await transports.runtime.connect(toRoom: "lobby", as: "alice", host: true)
        for await message in room.messages().cancelOnGracefulShutdown() { print(message.text ?? "") }
    }
}

func runServices(_ configuration: RoomConfiguration, logger: Logger) async throws {
    let transports = TransportRuntimeService(configuration)
    let group = ServiceGroup(
        services: [transports, Chat(transports: transports)], gracefulShutdownSignals: [.sigterm], logger: logger)
    try await group.run()
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
        case .incident(let incident) where incident.hasRecovered:
            print("healed in \(incident.duration), after: \(incident.cause)")
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
        message.withBytes { bytes in
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

func together(_ configuration: RoomConfiguration) async throws {
    try await TransportRuntime.withRunning(configuration) { runtime in
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
    _ configuration: inout RoomConfiguration,
    provide: @escaping @Sendable (_ room: String, _ name: String, _ fresh: Bool) async throws -> String
) {
    @Sendable func fetchToken(room: String, name: String, fresh: Bool) async throws -> String {
        try await provide(room, name, fresh)
    }
    configuration.token = { request in
        try await fetchToken(room: request.room, name: request.name, fresh: request.mustBeFresh)
    }
}

func withExpiringToken(
    _ configuration: inout RoomConfiguration,
    fetchExpiringToken: @escaping @Sendable (TokenRequest) async throws -> (String, Int)
) {
    configuration.token = { request in
        let (token, seconds) = try await fetchExpiringToken(request)
        return JoinCredential(token, validFor: .seconds(seconds))
    }
}

func withRelays(
    _ configuration: inout RoomConfiguration,
    fetchRelayCredentials: @escaping @Sendable (String) async throws -> (String, String)
) {
    configuration.iceServerProvider = { request in
        let (username, credential) = try await fetchRelayCredentials(request.name)
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
