import RoomProtocol

/// The record of ended sessions, kicked names and closed rooms, by which the server decides who may return.
///
/// Each kind is remembered up to a limit; the oldest are forgotten first. The record of a session outlives its room, so
/// that a kicked participant cannot return by creating the room again. The record of a room's former participants ends
/// with the room.
struct Departures: Sendable {
    /// The way in which a session has ended, which decides whether its participant may return.
    enum Ending {
        /// The participant left. It cannot return with this session.
        case left
        /// The host removed the participant. It cannot return with this session, and cannot join the room under its
        /// name.
        case kicked
        /// The participant did not return in time, or another one took its name. It can return as a new session.
        case lapsed
    }

    /// The former participants of one room.
    private struct Former: Sendable {
        var lapsedSessions = BoundedMemory<SessionID>(limit: 1024)
        var kickedNames = BoundedMemory<ByteText>(limit: 1024)
        /// Their remaining allowances, by name.
        var allowances = BoundedMap<ByteText, Allowance>(limit: 1024)
    }

    private var leftSessions = BoundedMemory<SessionID>(limit: 8192)
    private var kickedSessions = BoundedMemory<SessionID>(limit: 8192)
    private var replacedSessions = BoundedMemory<SessionID>(limit: 8192)
    private var closedRooms = BoundedMemory<RoomName>(limit: 1024)
    private var former: [RoomName: Former] = [:]

    // MARK: Who is gone

    mutating func sessionEnded(
        _ ending: Ending, of participant: Participant, allowance: Allowance, in room: RoomName
    ) {
        let name = ByteText(participant.name)
        former[room, default: Former()].allowances.insert(allowance, for: name)
        switch ending {
        case .left: leftSessions.insert(participant.session)
        case .lapsed: former[room, default: Former()].lapsedSessions.insert(participant.session)
        case .kicked:
            kickedSessions.insert(participant.session)
            former[room, default: Former()].kickedNames.insert(name)
        }
    }

    /// Another participant has taken the session's name, and has sent a message: the session cannot be resumed any
    /// longer.
    mutating func sessionReplaced(_ session: SessionID) { replacedSessions.insert(session) }

    /// The host has closed the room: no session can return to it until a host creates it again.
    mutating func roomClosed(_ room: RoomName) {
        closedRooms.insert(room)
        former[room] = nil
    }

    /// The room has been removed because it was empty for too long.
    mutating func roomRemoved(_ room: RoomName) { former[room] = nil }

    mutating func roomCreated(_ room: RoomName) { closedRooms.remove(room) }

    // MARK: Who can come back

    /// Throws if the session cannot be used to return.
    func checkSession(_ session: SessionID) throws(ProtocolError) {
        guard !kickedSessions.contains(session) else { throw .kicked }
        guard !leftSessions.contains(session) else { throw .staleEpoch }
        guard !replacedSessions.contains(session) else { throw .nameGone }
    }

    /// Throws if the host has removed a participant with this name from the room.
    func checkName(_ name: String, in room: RoomName) throws(ProtocolError) {
        if former[room]?.kickedNames.contains(ByteText(name)) == true { throw .kicked }
    }

    /// Throws if the host has closed the room.
    func checkRoom(_ room: RoomName) throws(ProtocolError) {
        if closedRooms.contains(room) { throw .roomClosed("") }
    }

    /// Returns whether the room's other participants were notified that the session has ended.
    func hasLapsed(_ session: SessionID, in room: RoomName) -> Bool {
        former[room]?.lapsedSessions.contains(session) == true
    }

    /// Returns the remaining allowance of the last participant with this name, or a full one if there was none.
    func allowance(of name: String, in room: RoomName) -> Allowance {
        former[room]?.allowances[ByteText(name)] ?? Allowance()
    }
}
