package import RoomProtocol

/// A fact about a room that holds after the server was restarted, and at every server that takes the room over.
///
/// Marks of one room apply in their order. A place for them keeps the latest of those that say the same, up to the end
/// of their life.
package struct Mark: Sendable, Hashable {
    package enum Fact: Sendable, Hashable {
        /// The participant left. The session cannot return.
        case left(SessionID)
        /// The host removed the participant. The session cannot return.
        case kicked(SessionID)
        /// Another participant has taken the session's name. The session cannot return.
        case replaced(SessionID)
        /// A participant of this name was removed. Nobody can join the room under it.
        case nameKicked(String)
        /// The same for the mark's own life, also when the room has ended or was closed meanwhile.
        case nameBanned(String)
        /// The host closed the room. No session can return to it. Ends `nameKicked`.
        case roomClosed
        /// A host has created the room again. Ends `roomClosed`.
        case roomCreated
        /// The room was removed because it was empty. Ends `nameKicked`.
        case roomRemoved
    }

    package var room: RoomName
    package var fact: Fact
    /// The time for which it holds from now on; nil: that of its kind.
    package var life: Duration?

    package init(_ fact: Fact, in room: RoomName, for life: Duration? = nil) {
        self.room = room
        self.fact = fact
        self.life = life
    }

    /// Names that were removed from a room are remembered as long as the room exists. Without a limit, a mark of a room
    /// whose server was lost would stay forever.
    private static let lifeOfNames: Duration = .seconds(30 * 86_400)

    /// The time for which it must be kept: as long as a session token can be valid that it refuses.
    package func lifetime(_ limits: RoomServerLimits) -> Duration {
        if let life { return life }
        if case .nameKicked = fact { return Self.lifeOfNames }
        return limits.tokenLifetime
    }

    // MARK: JSON

    private enum Kind: String {
        case left, kicked, replaced, nameKicked, nameBanned, roomClosed, roomCreated, roomRemoved
    }

    /// Returns the mark as JSON, with the time of its end in seconds since 1970.
    package func encoded(expiry: UInt64) -> [UInt8] {
        var json = JSONWriter()
        json.object { json in
            let (kind, subject) = parts
            json.member("kind", kind.rawValue)
            json.member("room", room.rawValue)
            json.member("subject", subject)
            json.member("exp", expiry)
        }
        return json.bytes
    }

    private var parts: (Kind, String?) {
        switch fact {
        case .left(let session): (.left, session.rawValue)
        case .kicked(let session): (.kicked, session.rawValue)
        case .replaced(let session): (.replaced, session.rawValue)
        case .nameKicked(let name): (.nameKicked, name)
        case .nameBanned(let name): (.nameBanned, name)
        case .roomClosed: (.roomClosed, nil)
        case .roomCreated: (.roomCreated, nil)
        case .roomRemoved: (.roomRemoved, nil)
        }
    }

    /// Reads the output of `encoded`. Nil for anything else, and for marks of later versions.
    package static func decode(_ bytes: UnsafeRawBufferPointer) -> (mark: Mark, expiry: UInt64)? {
        guard case .object(let members)? = try? JSONReader.read(bytes) else { return nil }
        let fields = FieldReader(members)
        do throws(ProtocolError) {
            guard let kind = Kind(rawValue: try fields.string("kind", limit: 32)) else { return nil }
            let fact: Fact =
                switch kind {
                case .left: .left(SessionID(try fields.identifier("subject")))
                case .kicked: .kicked(SessionID(try fields.identifier("subject")))
                case .replaced: .replaced(SessionID(try fields.identifier("subject")))
                case .nameKicked: .nameKicked(try fields.participantName())
                case .nameBanned: .nameBanned(try fields.participantName())
                case .roomClosed: .roomClosed
                case .roomCreated: .roomCreated
                case .roomRemoved: .roomRemoved
                }
            let room = RoomName(try fields.string("room", limit: Limits.roomName, minimum: 1))
            return (Mark(fact, in: room), try fields.integer("exp"))
        } catch {
            return nil
        }
    }
}

extension FieldReader {
    fileprivate func participantName() throws(ProtocolError) -> String {
        try string("subject", limit: Limits.participantName, minimum: 1)
    }
}
