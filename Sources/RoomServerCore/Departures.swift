package import RoomProtocol

/// The record of ended sessions, kicked names and closed rooms, by which the server decides who may return.
///
/// Each kind is remembered up to a limit; the oldest are forgotten first. The record of a session outlives its room, so
/// that a kicked participant cannot return by creating the room again. The record of a room's former participants ends
/// with the room.
struct Departures: Sendable {
    /// The numbers that are remembered.
    struct Limits {
        /// The sessions of each kind.
        var sessions = 8192
        /// The closed rooms.
        var rooms = 1024
        /// The names and sessions of one room.
        var names = 1024
    }

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
        var lapsedSessions = BoundedMemory<SessionID>(limit: Limits().names)
        var kickedNames = BoundedMemory<ByteText>(limit: Limits().names)
        /// Their remaining allowances, by name.
        var allowances = BoundedMap<ByteText, Allowance>(limit: Limits().names)
    }

    /// Whether facts are recorded in `facts`, for the next owner of a room.
    var records = false
    var facts: [(room: RoomName, fact: DepartureFact)] = []
    /// The fences that rooms had when their hosts closed them.
    private var closedFences = BoundedMap<RoomName, UInt64>(limit: Limits().rooms)
    private var leftSessions = BoundedMemory<SessionID>(limit: Limits().sessions)
    private var kickedSessions = BoundedMemory<SessionID>(limit: Limits().sessions)
    private var replacedSessions = BoundedMemory<SessionID>(limit: Limits().sessions)
    private var closedRooms = BoundedMemory<RoomName>(limit: Limits().rooms)
    private var former: [RoomName: Former] = [:]
    /// Whether marks are made for what a restart must not change.
    var makesMarks = false
    private var marks: [Mark] = []

    // MARK: Marks

    /// Records a fact, and makes a mark for it.
    private mutating func note(_ fact: Mark.Fact, in room: RoomName) {
        let mark = Mark(fact, in: room)
        apply(mark)
        if makesMarks { marks.append(mark) }
    }

    /// Records what another run of the server has marked.
    mutating func apply(_ mark: Mark) {
        switch mark.fact {
        case .left(let session): leftSessions.insert(session)
        case .kicked(let session): kickedSessions.insert(session)
        case .replaced(let session): replacedSessions.insert(session)
        case .nameKicked(let name): former[mark.room, default: Former()].kickedNames.insert(ByteText(name))
        case .roomClosed:
            closedRooms.insert(mark.room)
            former[mark.room] = nil
        case .roomCreated: closedRooms.remove(mark.room)
        case .roomRemoved: former[mark.room] = nil
        }
    }

    /// Takes the marks since the last call.
    mutating func takeMarks() -> [Mark] {
        guard !marks.isEmpty else { return [] }
        defer { marks = [] }
        return marks
    }

    // MARK: Who is gone

    mutating func sessionEnded(
        _ ending: Ending, of participant: Participant, allowance: Allowance, in room: RoomName
    ) {
        let name = ByteText(participant.name)
        former[room, default: Former()].allowances.insert(allowance, for: name)
        switch ending {
        case .left:
            note(.left(participant.session), in: room)
            record(.left(participant.session), in: room)
        case .lapsed: former[room, default: Former()].lapsedSessions.insert(participant.session)
        case .kicked:
            note(.kicked(participant.session), in: room)
            note(.nameKicked(participant.name), in: room)
            record(.kicked(participant.session), in: room)
            record(.kickedName(participant.name), in: room)
        }
    }

    /// Another participant has taken the session's name, and has sent a message: the session cannot be resumed any
    /// longer.
    mutating func sessionReplaced(_ session: SessionID, in room: RoomName) { note(.replaced(session), in: room) }

    /// The host has closed the room: no session can return to it until a host creates it again.
    mutating func roomClosed(_ room: RoomName, fence: UInt64? = nil) {
        if let fence { record(.closed(fence), in: room) }
        note(.roomClosed, in: room)
    }

    /// The room has been removed because it was empty for too long.
    mutating func roomRemoved(_ room: RoomName) {
        let hasMarks = former[room]?.kickedNames.isEmpty == false
        former[room] = nil
        if hasMarks { note(.roomRemoved, in: room) }
    }

    mutating func roomCreated(_ room: RoomName) {
        if closedRooms.contains(room) { note(.roomCreated, in: room) }
    }

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

    private mutating func record(_ fact: DepartureFact, in room: RoomName) {
        if records { facts.append((room, fact)) }
    }

    /// Remembers a fact of an earlier owner of the room.
    mutating func remember(_ fact: DepartureFact, in room: RoomName) {
        switch fact {
        case .left(let session): leftSessions.insert(session)
        case .kicked(let session): kickedSessions.insert(session)
        case .kickedName(let name): former[room, default: Former()].kickedNames.insert(ByteText(name))
        case .closed(let fence): closedFences.insert(max(fence, closedFences[room] ?? 0), for: room)
        }
    }

    /// Throws if the host has closed the room, and has not created it again before this fence was given.
    func checkRoom(_ room: RoomName, fence: UInt64? = nil) throws(ProtocolError) {
        if let closed = closedFences[room], fence ?? 0 <= closed { throw .roomClosed("") }
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

/// A fact about a room that its next owner must know.
package enum DepartureFact: Sendable, Hashable {
    /// The participant has left with this session.
    case left(SessionID)
    /// The host has removed the participant with this session.
    case kicked(SessionID)
    /// The host has removed a participant with this name.
    case kickedName(String)
    /// The host has closed the room while it had this fence.
    case closed(UInt64)
}
