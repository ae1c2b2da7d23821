import RoomProtocol
import TransportValues

/// Everything that a transition may read and add to, apart from the rooms and connections themselves.
struct Effects: Sendable {
    let limits: RoomServerLimits
    let authority: any RoomAuthority
    var random: any RandomNumberGenerator & Sendable
    /// Names this life of the server.
    var serverID = ""
    var deadlines = Deadlines()
    var now = Timestamp.zero
    /// Bytes in all outbound streams.
    var streamBytes = 0
    var departures = Departures()
    var actions: [ServerAction] = []
    /// Connections that a room has closed, to be forgotten.
    var replaced: [ConnectionID] = []

    mutating func send(_ message: ServerMessage, to connection: ConnectionID) {
        actions.append(.send(Envelope(message), to: connection))
    }

    mutating func takeActions() -> [ServerAction] {
        defer { actions = [] }
        return actions
    }

    /// A new id with 80 random bits.
    mutating func makeIdentifier(_ prefix: String) -> String {
        let alphabet = Array("abcdefghijklmnopqrstuvwxyz234567".utf8)
        let letters = (0..<16).map { _ in alphabet[Int(random.next(upperBound: UInt32(32)))] }
        return prefix + String(decoding: letters, as: UTF8.self)
    }
}
