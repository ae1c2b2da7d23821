import RoomKit

// The code of "Topics" and of "Requests", as it stands there.

func topics(_ room: Room, frame: Payload, robot: RoomParticipant) async throws {
    struct ChatMessage: Codable, Sendable {
        var text: String
        var sentAt: Double
    }

    let chat = room.topic("chat", of: ChatMessage.self)
    async let reading: Void = {
        for await message in chat.messages() { print(message.from, message.value.text) }
    }()
    try await chat.publish(ChatMessage(text: "hello", sentAt: 0))

    let telemetry = room.topic("telemetry", reliability: .lossy)
    try await telemetry.publish(frame)
    try await telemetry.publish(frame, to: robot)
    await reading
}

func topicsProgram() async {
    struct Greeting: Codable, Sendable { var text: String }

    await TransportRuntime.main(try RoomConfiguration(server: "ws://127.0.0.1:8080/")) { runtime in
        let name = CommandLine.arguments.dropFirst().first ?? "alice"
        let room = try await runtime.connect(toRoom: "lobby", as: name, host: .ifFirst)
        let chat = room.topic("chat", of: Greeting.self)
        let messages = chat.messages()
        // Says who got it.
        print(try await chat.publish(Greeting(text: "hello from \(name)")))
        for await message in messages { print(message.from, message.value.text) }
    }
}

struct NumberCodec: MessageCodec {
    func encode(_ value: Int64) -> Payload { withUnsafeBytes(of: value.bigEndian) { Payload(copying: $0) } }

    func decode(_ bytes: Payload) throws -> Int64 {
        guard bytes.count == 8 else { throw RequestFailure("not_a_number") }
        return bytes.withUnsafeBytes { Int64(bigEndian: $0.loadUnaligned(as: Int64.self)) }
    }
}

func ownCodec(_ room: Room) async throws {
    let ticks = room.topic("ticks", codec: NumberCodec())
    try await ticks.publish(42)
}

struct Move: Codable, Sendable { var x: Double }
struct Position: Codable, Sendable { var x: Double }

actor Robot {
    private var x = 0.0

    func move(by distance: Double) throws -> Position {
        guard abs(x + distance) < 10 else { throw RequestFailure("out_of_reach", "the arm ends at 10") }
        x += distance
        return Position(x: x)
    }
}

func handling(_ room: Room, arm: Robot) throws {
    try room.handle("move", of: Move.self) { move, caller in
        try await arm.move(by: move.x)
    }
}

func asking(_ room: Room, robot: RoomParticipant) async {
    do throws(RequestError) {
        let position = try await room.request(
            "move", Move(x: 1), of: Position.self, to: robot, timeout: .seconds(10))
        print("the arm is at \(position.x)")
    } catch {
        switch error.code {
        case .refused: print("refused: \(error.failure?.code ?? "")")
        case .unknownMethod: print("that participant is no robot")
        case .timedOut, .peerGone: print("no answer: it may have moved, or not")
        default: print(error)
        }
    }
}

func requestsProgram() async {
    struct Move: Codable, Sendable { var x: Double }
    struct Position: Codable, Sendable { var x: Double }

    await TransportRuntime.main(try RoomConfiguration(server: "ws://127.0.0.1:8080/")) { runtime in
        if CommandLine.arguments.contains("robot") {
            let room = try await runtime.connect(toRoom: "workshop", as: "robot", host: true)
            try room.handle("move", of: Move.self) { move, _ in
                guard abs(move.x) < 10 else { throw RequestFailure("out_of_reach", "the arm ends at 10") }
                return Position(x: move.x)
            }
            // Until the room ends.
            for await _ in room.events {}
        } else {
            let room = try await runtime.connect(toRoom: "workshop", as: "control", host: .awaited)
            for robot in room.participants where robot.name == "robot" {
                let position = try await room.request("move", Move(x: 1), of: Position.self, to: robot)
                print("the arm is at \(position.x)")
            }
        }
    }
}
