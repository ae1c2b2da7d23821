/// A participant of a room, chosen by the server at the first join and kept through every resume and rejoin.
/// Offerer and answerer of a pair are decided by the order of the two ids, byte by byte.
public struct ParticipantID: Sendable, Hashable, Comparable, CustomStringConvertible {
    /// The text on the wire: 1 to 64 characters of `A-Z a-z 0-9 - _`.
    public let rawValue: String
    /// Creates an id with any text. The codec checks it.
    public init(_ rawValue: String) { self.rawValue = rawValue }
    public var description: String { rawValue }
    public static func < (left: Self, right: Self) -> Bool {
        left.rawValue.utf8.lexicographicallyPrecedes(right.rawValue.utf8)
    }
}

/// A value that says which participant is meant: a ``ParticipantID``, a ``Participant`` of the room's list, or a type
/// of the application that has one.
public protocol ParticipantReference: Sendable {
    /// The id of the participant.
    var participantID: ParticipantID { get }
}

extension ParticipantID: ParticipantReference {
    /// This id.
    public var participantID: ParticipantID { self }
}

/// A room's name. Two names are equal when their bytes are.
public struct RoomName: Sendable, Hashable, CustomStringConvertible {
    /// The text on the wire: 1 to 128 bytes of UTF-8, without control characters and others that names must not have.
    public var rawValue: String { bytes.text }
    private let bytes: ByteText
    /// Creates a name with any text. The codec checks it.
    public init(_ rawValue: String) { bytes = ByteText(rawValue) }
    public var description: String { rawValue }
}

/// One participant's stay in a room. Every first join starts a new one. Resume and rejoin keep it, unless the others
/// were notified meanwhile that it has ended. Delivery state between two participants belongs to the pair of their
/// session ids, so that a new participant under an old name starts clean.
public struct SessionID: Sendable, Hashable, CustomStringConvertible {
    /// The text on the wire: 1 to 64 characters of `A-Z a-z 0-9 - _`.
    public let rawValue: String
    /// Creates an id with any text. The codec checks it.
    public init(_ rawValue: String) { self.rawValue = rawValue }
    public var description: String { rawValue }
}

/// The identifier of one peer connection between two participants; new at each rebuild, chosen at random by the
/// offerer.
public struct PeerConnectionID: Sendable, Hashable, CustomStringConvertible {
    /// The text on the wire: 1 to 64 characters of `A-Z a-z 0-9 - _`.
    public let rawValue: String
    /// Creates an id with any text. The codec checks it.
    public init(_ rawValue: String) { self.rawValue = rawValue }
    public var description: String { rawValue }
}

/// Counts a session's connections that were not resumed; fences older ones.
public typealias Epoch = UInt64

/// Counts a room's hosts; the participant with the highest term is the host.
public typealias HostTerm = UInt64

/// One offer/answer round of a peer connection; counts up from 1.
public typealias NegotiationID = UInt64

/// The number of a message in one direction of a session's signaling; counts up from 1. 0: none.
public typealias SequenceNumber = UInt64
