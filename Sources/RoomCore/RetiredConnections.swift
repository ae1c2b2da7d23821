internal import RoomProtocol

/// The latest connections of a pair that have ended. Their late signals are dropped.
struct RetiredConnections: Sendable {
    static let limit = 8
    private var connections: [PeerConnectionID] = []

    mutating func insert(_ connection: PeerConnectionID) {
        connections.append(connection)
        if connections.count > Self.limit { connections.removeFirst() }
    }

    func contains(_ connection: PeerConnectionID) -> Bool { connections.contains(connection) }
}
