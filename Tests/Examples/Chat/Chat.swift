import Foundation
import RoomKit

/// A chat in a terminal: `ExampleChat ROOM NAME`. Whoever comes first opens the room.
@main struct Chat {
    struct Line: Codable, Sendable {
        var text: String
        var mood: String?
    }

    static func main() async {
        let arguments = CommandLine.arguments
        guard arguments.count == 3 else { return print("usage: ExampleChat ROOM NAME") }
        let server = ProcessInfo.processInfo.environment["ROOM_SERVER"] ?? "ws://127.0.0.1:8080/"
        await TransportRuntime.main(try RoomConfiguration(server: server)) { runtime in
            let room = try await runtime.connect(toRoom: arguments[1], as: arguments[2], host: .ifFirst)
            let chat = room.topic("chat", of: Line.self)
            let lines = chat.messages()
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    for await line in lines {
                        print("\(room.name(of: line.from)): \(line.value.text)")
                    }
                }
                group.addTask {
                    for await event in room.events {
                        switch event {
                        case .peerJoined(let participant): print("* \(participant.name) is here")
                        case .peerLeft(let participant, _): print("* \(participant.name) has left")
                        default: break
                        }
                    }
                }
                // `readLine` blocks, so it has a thread of its own.
                for await text in Terminal.lines() { try await chat.publish(Line(text: text)) }
                await room.leave()
                try await group.waitForAll()
            }
        }
    }
}

extension Room {
    fileprivate func name(of id: ParticipantID) -> String {
        participants.first { $0.id == id }?.name ?? "somebody"
    }
}

private enum Terminal {
    static func lines() -> AsyncStream<String> {
        AsyncStream { continuation in
            Thread.detachNewThread {
                while let line = readLine() { continuation.yield(line) }
                continuation.finish()
            }
        }
    }
}
