import Deadlines
import RoomProtocol
import TransportValues

/// The context of a transition: everything that it may read and change, except rooms and connections.
struct Effects: Sendable {
    let limits: RoomServerLimits
    var authority: any RoomAuthority
    var addresses = AddressAccounts()
    var random: any RandomNumberGenerator & Sendable
    /// The identifier of this run of the server.
    var serverID = ""
    private(set) var deadlines = DeadlineQueue<DeadlineKey>()
    var now = Timestamp.zero
    /// The number of bytes in all outbound streams.
    var streamBytes = 0
    /// The number of members of all rooms.
    var participants = 0
    var departures = Departures()
    /// The fences of the rooms that this node of a cluster owns.
    var fences: [RoomName: UInt64] = [:]
    /// Rooms that may be in use no longer.
    var quiet: [RoomName] = []
    var actions: [ServerAction] = []
    /// The connections that a room has closed, and that the machine must remove.
    var replaced: [ConnectionID] = []
    /// Whether the life of rooms is recorded.
    var recordsLife = false
    var life: [RoomLifeEvent] = []

    mutating func send(_ message: ServerMessage, to connection: ConnectionID) {
        actions.append(.send(Envelope(message), to: connection))
    }

    mutating func takeActions() -> [ServerAction] {
        defer { actions = [] }
        for mark in departures.takeMarks() { actions.append(.mark(mark)) }
        return actions
    }

    mutating func record(_ kind: @autoclosure () -> RoomLifeEvent.Kind, in room: RoomName) {
        if recordsLife { life.append(RoomLifeEvent(kind(), in: room)) }
    }

    /// Returns a new id with 70 random bits, which Swift keeps without an allocation of its own.
    mutating func makeIdentifier(_ prefix: String) -> String {
        let alphabet: StaticString = "abcdefghijklmnopqrstuvwxyz234567"
        let letters = (0..<2).flatMap { _ in
            let bits = random.next()
            return (0..<7).map { alphabet.utf8Start[Int(bits >> ($0 * 5) & 31)] }
        }
        return prefix + String(decoding: letters, as: UTF8.self)
    }

    // MARK: Deadlines

    var nextDeadline: Timestamp? { deadlines.next }

    mutating func schedule(_ key: DeadlineKey, at time: Timestamp) { deadlines.schedule(key, at: time) }

    /// Removes something that is due now, and returns it.
    mutating func takeDue() -> DeadlineKey? { deadlines.takeDue(now) }
}

/// A thing that may be due at a time. Every connection has one: what is larger lies elsewhere.
enum DeadlineKey: Hashable {
    case connection(ConnectionID)
    indirect case grace(RoomName, ParticipantID)
    case acknowledgement(ConnectionID)
    indirect case update(RoomName, ParticipantID)
    indirect case attributes(RoomName)
    indirect case room(RoomName)
}
