import LocalRoom
import RoomConnection

// local-room FILE ROOM NAME [--host]: says hello in the room, and prints its messages.
let arguments = CommandLine.arguments
guard arguments.count >= 4 else { fatalError("usage: local-room FILE ROOM NAME [--host]") }
let configuration = try localConfiguration(fromFile: arguments[1])
try await TransportRuntime.withRunning(configuration, registry: localBackends()) { runtime in
    let room = try await runtime.connect(
        toRoom: arguments[2], as: arguments[3], host: HostRole(arguments.contains("--host")))
    print("in the room as \(arguments[3])")
    try await room.send("hello from \(arguments[3])")
    for await message in room.messages() { print(message.text ?? "\(message.payload.count) bytes") }
}
