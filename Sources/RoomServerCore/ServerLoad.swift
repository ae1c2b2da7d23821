package import TransportValues

/// How much of a server's limits is in use.
package struct ServerLoad: Sendable, Hashable {
    package var rooms = 0
    /// With those within their grace period.
    package var participants = 0
    package var connections = 0
    /// The connections without a `hello`.
    package var handshakes = 0

    package init() {}

    package init(rooms: Int, participants: Int, connections: Int, handshakes: Int) {
        self.rooms = rooms
        self.participants = participants
        self.connections = connections
        self.handshakes = handshakes
    }

    package static func + (left: ServerLoad, right: ServerLoad) -> ServerLoad {
        ServerLoad(
            rooms: left.rooms + right.rooms, participants: left.participants + right.participants,
            connections: left.connections + right.connections, handshakes: left.handshakes + right.handshakes)
    }

    package static func - (left: ServerLoad, right: ServerLoad) -> ServerLoad {
        ServerLoad(
            rooms: left.rooms - right.rooms, participants: left.participants - right.participants,
            connections: left.connections - right.connections, handshakes: left.handshakes - right.handshakes)
    }
}

extension RoomServerMachine {
    /// The figures of a machine that the shell looks at after each transition.
    package struct Standing: Sendable {
        package var load: ServerLoad
        /// The number of connections whose `hello` waits for a room.
        package var waiting: Int
        /// The approximate number of bytes kept for participants until they acknowledge them.
        package var streamBytes: Int
        package var nextDeadline: Timestamp?
    }
}
