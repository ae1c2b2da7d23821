package import RoomProtocol
import TransportValues

/// The record of ended sessions, kicked names and closed rooms, by which the server decides who may return.
///
/// Each kind is remembered up to a limit; the oldest are forgotten first. The record of a session outlives its room, so
/// that a kicked participant cannot return by creating the room again. The record of a room's former participants ends
/// with the room: a later meeting under the same name is another one. A ban has a time of its own.
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
        /// Those that earlier owners of the room have kicked, with an end that this one does not know.
        var inheritedNames = BoundedMemory<ByteText>(limit: Limits().names)
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
    /// The names that nobody can join a room under, with the end of that.
    private var bans = BoundedMap<RoomName, BoundedMap<ByteText, Timestamp>>(limit: Limits().rooms)
    /// Whether marks are made for what a restart must not change.
    var makesMarks = false
    private var marks: [Mark] = []

    // MARK: Marks

    /// Records a fact, and makes a mark for it.
    private mutating func note(
        _ fact: Mark.Fact, in room: RoomName, for life: Duration? = nil, at now: Timestamp = .zero
    ) {
        let mark = Mark(fact, in: room, for: life)
        apply(mark, at: now)
        if makesMarks { marks.append(mark) }
    }

    /// Records what another run of the server has marked.
    mutating func apply(_ mark: Mark, at now: Timestamp) {
        switch mark.fact {
        case .left(let session): leftSessions.insert(session)
        case .kicked(let session): kickedSessions.insert(session)
        case .replaced(let session): replacedSessions.insert(session)
        case .nameKicked(let name): former[mark.room, default: Former()].kickedNames.insert(ByteText(name))
        case .nameBanned(let name):
            var known = bans[mark.room] ?? BoundedMap(limit: Limits().names)
            known.insert(max(now + (mark.life ?? .zero), known[ByteText(name)] ?? .zero), for: ByteText(name))
            bans.insert(known, for: mark.room)
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

    /// - Parameter ban: For a kick, the time for which its name is banned from the room in any case.
    mutating func sessionEnded(
        _ ending: Ending, of participant: Participant, allowance: Allowance, in room: RoomName, ban: Duration = .zero,
        at now: Timestamp = .zero
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
            guard ban > .zero else { return }
            note(.nameBanned(participant.name), in: room, for: ban, at: now)
            record(.bannedName(participant.name, for: ban), in: room)
        }
    }

    /// Another participant has taken the session's name, and has sent a message: the session cannot be resumed any
    /// longer.
    mutating func sessionReplaced(_ session: SessionID, in room: RoomName) { note(.replaced(session), in: room) }

    /// The host has closed the room: no session can return to it until a host creates it again.
    mutating func roomClosed(_ room: RoomName, fence: UInt64? = nil, at now: Timestamp = .zero) {
        forgetNames(of: room, at: now)
        if let fence { record(.closed(fence), in: room) }
        note(.roomClosed, in: room)
    }

    /// The room has been removed: it was empty for too long, or has moved to another server.
    ///
    /// - Parameter isOwned: Whether it ends with that. If not, its names are those of its owner, and stay.
    mutating func roomRemoved(_ room: RoomName, isOwned: Bool = true, at now: Timestamp = .zero) {
        let hasMarks = former[room]?.kickedNames.isEmpty == false
        if isOwned { forgetNames(of: room, at: now) }
        former[room] = nil
        if hasMarks { note(.roomRemoved, in: room) }
    }

    /// Tells the next owner of the room that names may join again, except those that are banned.
    private mutating func forgetNames(of room: RoomName, at now: Timestamp) {
        guard records, let names = former[room]?.kickedNames else { return }
        for name in names.inOrder {
            record(.forgottenName(name.text), in: room)
            if let end = bans[room]?[name], end > now { record(.bannedName(name.text, for: end - now), in: room) }
        }
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

    /// Throws if a participant with this name was removed from the room.
    func checkName(_ name: String, in room: RoomName, at now: Timestamp = .zero) throws(ProtocolError) {
        let name = ByteText(name)
        if let former = former[room], former.kickedNames.contains(name) || former.inheritedNames.contains(name) {
            throw .kicked
        }
        if let end = bans[room]?[name], end > now { throw .kicked }
    }

    private mutating func record(_ fact: DepartureFact, in room: RoomName) {
        if records { facts.append((room, fact)) }
    }

    /// Remembers a fact of an earlier owner of the room.
    mutating func remember(_ fact: DepartureFact, in room: RoomName) {
        switch fact {
        case .left(let session): leftSessions.insert(session)
        case .kicked(let session): kickedSessions.insert(session)
        case .kickedName(let name), .bannedName(let name, _):
            former[room, default: Former()].inheritedNames.insert(ByteText(name))
        case .forgottenName: break
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
    /// A participant with this name was removed.
    case kickedName(String)
    /// The same, for this time from now on.
    case bannedName(String, for: Duration)
    /// The room in which `kickedName` was true has ended.
    case forgottenName(String)
    /// The host has closed the room while it had this fence.
    case closed(UInt64)
}
