import Foundation
import RoomKit

/// A robot and its remote control: `ExampleRobot robot`, then `ExampleRobot control`.
///
/// The robot tells its position many times a second, on a lossy topic: an old position is worth nothing. The control
/// moves it by requests, which have an answer, whatever happens to the connection in between.
@main struct Robot {
    struct Position: Codable, Sendable {
        var x = 0.0
        var y = 0.0
    }
    struct Move: Codable, Sendable {
        var x: Double
        var y: Double
    }

    static func main() async {
        let server = ProcessInfo.processInfo.environment["ROOM_SERVER"] ?? "ws://127.0.0.1:8080/"
        await TransportRuntime.main(try RoomConfiguration(server: server)) { runtime in
            switch CommandLine.arguments.dropFirst().first {
            case "robot": try await drive(try await runtime.connect(toRoom: "robot", as: "robot", host: true))
            case "control": try await steer(try await runtime.connect(toRoom: "robot", as: "control", host: .awaited))
            default: print("usage: ExampleRobot robot | control")
            }
        }
    }

    static func drive(_ room: Room) async throws {
        let wheels = Wheels()
        let telemetry = room.topic("position", of: Position.self, reliability: .lossy)
        try room.handle("move", of: Move.self) { move, _ in
            guard abs(move.x) <= 10, abs(move.y) <= 10 else {
                throw RequestFailure("too_far", "one move is 10 m at most")
            }
            return await wheels.move(move)
        }
        while room.endReason == nil {
            try await telemetry.publish(await wheels.position)
            try await Task.sleep(for: .milliseconds(20))
        }
    }

    static func steer(_ room: Room) async throws {
        guard let robot = room.participants.first(where: { $0.name == "robot" }) else { return }
        for x in [1.0, 2.5, 99] {
            do {
                let position = try await room.request("move", Move(x: x, y: 0), of: Position.self, to: robot)
                print("the robot is at \(position.x), \(position.y)")
            } catch {
                print("the robot does not move: \(error)")
            }
        }
        let telemetry = room.topic("position", of: Position.self, reliability: .lossy)
        for await message in telemetry.messages() {
            print("telemetry: \(message.value.x), \(message.value.y)")
            break
        }
        await room.leave()
    }
}

private actor Wheels {
    private(set) var position = Robot.Position()

    func move(_ move: Robot.Move) -> Robot.Position {
        position.x += move.x
        position.y += move.y
        return position
    }
}
