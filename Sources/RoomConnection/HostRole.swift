internal import RoomProtocol

/// Whether a participant creates its room as the host, or joins one that exists.
///
/// `true` and `false` stand for ``host`` and ``guest``. A join token may allow only one of them.
public enum HostRole: Sendable, Hashable, ExpressibleByBooleanLiteral {
    /// Creates the room. Refused with `room_exists` where there is one.
    case host
    /// Joins a room that exists. Refused with `room_not_found` where there is none.
    case guest
    /// Joins the room as soon as it exists: waits for its host.
    case awaited
    /// Creates the room where there is none, else joins it. A holder of a join token for guests never creates it.
    case ifFirst

    public init(booleanLiteral isHost: Bool) { self = isHost ? .host : .guest }

    /// The host, or a guest.
    public init(_ isHost: Bool) { self = isHost ? .host : .guest }

    var role: Hello.Role {
        switch self {
        case .host: .host
        case .guest, .awaited: .guest
        case .ifFirst: .first
        }
    }
}
