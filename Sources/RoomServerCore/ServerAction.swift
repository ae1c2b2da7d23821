package import RoomProtocol

/// The identifier of a WebSocket connection of the server. It is never reused.
package struct ConnectionID: Sendable, Hashable, CustomStringConvertible {
    package let rawValue: UInt64
    package init(_ rawValue: UInt64) { self.rawValue = rawValue }
    package var description: String { "#\(rawValue)" }
}

/// An action of the machine for its shell, which performs actions in order.
package enum ServerAction: Sendable, Hashable {
    case send(Envelope<ServerMessage>, to: ConnectionID)
    /// Close with a close handshake, after everything that was sent. The machine has already removed the connection.
    case close(ConnectionID, CloseCode)
    /// Close at once, without a close handshake. The machine has already removed the connection.
    case abort(ConnectionID)
    /// Keep the mark where a restart does not lose it, if there is such a place.
    case mark(Mark)
}
