package import RoomProtocol

/// A fact about the life of a room or of a participant, for operators.
package struct RoomLifeEvent: Sendable, Hashable {
    /// The initiator of a kick or of the end of a room.
    package enum Author: String, Sendable {
        case host
        case `operator`
    }

    /// The participant that an event is about.
    package struct Subject: Sendable, Hashable {
        package var id: ParticipantID
        package var session: SessionID
        package var name: String
        package var isHost: Bool

        init(_ participant: Participant) {
            id = participant.id
            session = participant.session
            name = participant.name
            isHost = participant.isHost
        }
    }

    package enum Kind: Sendable, Hashable {
        /// The first participant has come in.
        case roomOpened
        /// The room is gone. No author: it was empty for too long.
        case roomClosed(by: Author?, reason: String)
        /// A participant has come in. `isReturn`: with a session token, after the server had forgotten its session.
        case participantJoined(Subject, isReturn: Bool)
        /// A participant's session has ended. The author and the reason are those of a kick or of a close.
        case participantLeft(Subject, LeaveReason, by: Author?, reason: String)
        case hostChanged(Subject, term: HostTerm)
    }

    package var room: RoomName
    package var kind: Kind

    package init(_ kind: Kind, in room: RoomName) {
        self.kind = kind
        self.room = room
    }
}
