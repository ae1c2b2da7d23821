import RoomProtocol

/// The sessions, names and rooms that are gone, as far as they decide who can come back.
///
/// Each kind is remembered up to a limit; the oldest are forgotten first. What is known of a session outlives its room,
/// so that nobody comes back by creating the room again. What is known of a room's former participants ends with the
/// room.
struct Departures: Sendable {
    /// How a session has ended, for its participant's return.
    enum Ending {
        /// Its participant left: it cannot come back with this session.
        case left
        /// The host removed its participant: it cannot come back with this session, nor join the room under its name.
        case kicked
        /// It was waited for in vain, or gave way to another participant: it can come back as a new session.
        case lapsed
    }

    /// The former participants of one room.
    private struct Former: Sendable {
        var lapsedSessions = BoundedMemory<SessionID>(limit: 1024)
        var kickedNames = BoundedMemory<ByteText>(limit: 1024)
        /// The allowances that they had left.
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

    /// Another participant has the session's name, and has shown that it is there: nobody can come back with the
    /// session.
    mutating func sessionReplaced(_ session: SessionID) { replacedSessions.insert(session) }

    /// The host closed the room: nobody can come back to it until a host creates it again.
    mutating func roomClosed(_ room: RoomName) {
        closedRooms.insert(room)
        former[room] = nil
    }

    /// The room was empty for too long.
    mutating func roomRemoved(_ room: RoomName) { former[room] = nil }

    mutating func roomCreated(_ room: RoomName) { closedRooms.remove(room) }

    // MARK: Who can come back

    /// Throws where nobody can come back with the session.
    func checkSession(_ session: SessionID) throws(ProtocolError) {
        guard !kickedSessions.contains(session) else { throw .kicked }
        guard !leftSessions.contains(session) else { throw .staleEpoch }
        guard !replacedSessions.contains(session) else { throw .nameGone }
    }

    /// Throws where the host has removed a participant of this name from the room.
    func checkName(_ name: String, in room: RoomName) throws(ProtocolError) {
        if former[room]?.kickedNames.contains(ByteText(name)) == true { throw .kicked }
    }

    /// Throws where the host has closed the room.
    func checkRoom(_ room: RoomName) throws(ProtocolError) {
        if closedRooms.contains(room) { throw .roomClosed("") }
    }

    /// Whether the room's other participants have been told that the session has ended.
    func hasLapsed(_ session: SessionID, in room: RoomName) -> Bool {
        former[room]?.lapsedSessions.contains(session) == true
    }

    /// The allowance that the last participant of this name left behind; a full one where there was none.
    func allowance(of name: String, in room: RoomName) -> Allowance {
        former[room]?.allowances[ByteText(name)] ?? Allowance()
    }
}
