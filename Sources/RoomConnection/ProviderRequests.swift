internal import RoomProtocol

/// A question to the provider of join tokens: for whom, and why.
public struct TokenRequest: Sendable, Hashable {
    /// The name of the room.
    public let room: String
    /// The name of the participant.
    public let name: String
    /// How the participant joins the room first: as its host, as a guest, or as whichever is possible.
    public let role: HostRole
    /// Why a token is needed.
    public let reason: Reason

    /// Creates a request. A room makes its own; tests of a provider make others.
    public init(room: String, name: String, role: HostRole, reason: Reason) {
        self.room = room
        self.name = name
        self.role = role
        self.reason = reason
    }

    /// Whether the last token was refused, so that the answer must not come from a cache.
    public var mustBeFresh: Bool { reason == .refused }
}

extension TokenRequest {
    /// Why a token is needed.
    public enum Reason: Sendable, Hashable {
        /// The first join: there is no token yet.
        case firstJoin
        /// The last token has expired, or lasts for less than 30 s.
        case expired
        /// The server has refused the last token.
        case refused
    }
}

/// A question to the provider of ICE servers: for whom.
public struct ICEServerRequest: Sendable, Hashable {
    /// The name of the room.
    public let room: String
    /// The name of the participant, for services whose credentials carry one.
    public let name: String

    /// Creates a request. A room makes its own; tests of a provider make others.
    public init(room: String, name: String) {
        self.room = room
        self.name = name
    }
}

extension TokenRequest {
    init(_ hello: Hello, _ reason: Reason) {
        let role: HostRole =
            switch hello.role {
            case .host: .host
            case .guest: hello.waitsForRoom ? .awaited : .guest
            case .first: .ifFirst
            }
        self.init(room: hello.room.rawValue, name: hello.name, role: role, reason: reason)
    }
}
