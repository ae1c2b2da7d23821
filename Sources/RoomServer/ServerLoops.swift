internal import NIOCore
internal import RoomProtocol
internal import RoomServerCore
internal import Synchronization

/// The event loops of a server. A room, its members' connections and its timers live on one of them.
struct ServerLoops: Sendable {
    let all: [NIOLoopBound<ServerLoop>]

    /// The loop of a room.
    func home(of room: RoomName) -> NIOLoopBound<ServerLoop> { all[index(of: room)] }

    private func index(of room: RoomName) -> Int { Int(UInt(bitPattern: room.hashValue) % UInt(all.count)) }

    /// Gives each loop the marks of its rooms, and the journal for new ones.
    func remember(_ memory: MarkMemory) async throws {
        let marks = Dictionary(grouping: memory.marks) { index(of: $0.room) }
        for (index, loop) in all.enumerated() {
            let own = marks[index] ?? []
            try await loop.eventLoop.submit { loop.value.remember(own, memory.journal) }.get()
        }
    }

    /// Makes each loop report the events of its rooms from now on.
    func report(to hub: NIOLoopBound<EventHub>) async throws {
        for loop in all { try await loop.eventLoop.submit { loop.value.report(to: hub) }.get() }
    }

    /// Ends what the loops do, and lets go of their memory. Without it, they hold each other for ever.
    func stop() async {
        for loop in all { try? await loop.eventLoop.submit { loop.value.stop() }.get() }
    }

    /// The server's loop on this event loop, which the caller is on.
    func own(_ eventLoop: any EventLoop) -> ServerLoop? { all.first { $0.eventLoop === eventLoop }?.value }
}

/// The load of all loops of a server together.
final class SharedLoad: Sendable {
    private let rooms = Atomic(0)
    private let participants = Atomic(0)
    private let connections = Atomic(0)
    private let handshakes = Atomic(0)

    /// The sum. Its parts may be from slightly different moments.
    var value: ServerLoad {
        ServerLoad(
            rooms: rooms.load(ordering: .relaxed), participants: participants.load(ordering: .relaxed),
            connections: connections.load(ordering: .relaxed), handshakes: handshakes.load(ordering: .relaxed))
    }

    func add(_ change: ServerLoad) {
        rooms.wrappingAdd(change.rooms, ordering: .relaxed)
        participants.wrappingAdd(change.participants, ordering: .relaxed)
        connections.wrappingAdd(change.connections, ordering: .relaxed)
        handshakes.wrappingAdd(change.handshakes, ordering: .relaxed)
    }
}
