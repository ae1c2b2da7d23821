import Foundation
import RoomKit

/// Sends a file to everybody who waits for one: `ExampleFiles receive FOLDER`, then `ExampleFiles send FILE`.
@main struct Files {
    static func main() async {
        let arguments = CommandLine.arguments
        guard arguments.count == 3 else { return print("usage: ExampleFiles receive FOLDER | send FILE") }
        let server = ProcessInfo.processInfo.environment["ROOM_SERVER"] ?? "ws://127.0.0.1:8080/"
        await TransportRuntime.main(try RoomConfiguration(server: server)) { runtime in
            if arguments[1] == "receive" {
                let room = try await runtime.connect(toRoom: "files", as: "receiver", host: .ifFirst)
                try await receive(in: room, into: URL(fileURLWithPath: arguments[2]))
                await room.leave()
            } else {
                let room = try await runtime.connect(toRoom: "files", as: "sender", host: .awaited)
                try await send(URL(fileURLWithPath: arguments[2]), in: room)
                await room.leave()
            }
        }
    }

    static func send(_ file: URL, in room: Room) async throws {
        let handle = try FileHandle(forReadingFrom: file)
        let length = try handle.seekToEnd()
        try handle.seek(toOffset: 0)
        let stream = try await room.openStream(file.lastPathComponent, length: length)
        // `write` waits when the receiver, or the path to it, is slower than the disk.
        while let chunk = try handle.read(upToCount: 256 << 10), !chunk.isEmpty { try await stream.write(Array(chunk)) }
        try await stream.finish()
        print("sent \(stream.acknowledgedCount) bytes of \(file.lastPathComponent)")
    }

    static func receive(in room: Room, into folder: URL) async throws {
        for await stream in room.incomingStreams() {
            // The name comes from somebody else: only its last part is used, and nothing is overwritten.
            let name = URL(fileURLWithPath: stream.name).lastPathComponent
            let file = folder.appendingPathComponent(name)
            guard !name.hasPrefix("."), FileManager.default.createFile(atPath: file.path, contents: nil) else {
                stream.cancel("no such name, please")
                continue
            }
            let handle = try FileHandle(forWritingTo: file)
            for try await chunk in stream { try chunk.withUnsafeBytes { try handle.write(contentsOf: Data($0)) } }
            try handle.close()
            print("received \(name)")
            return
        }
    }
}
