package import RoomProtocol

/// One WebSocket connection of the server; never used again for another one.
package struct ConnectionID: Sendable, Hashable, CustomStringConvertible {
    package let rawValue: UInt64
    package init(_ rawValue: UInt64) { self.rawValue = rawValue }
    package var description: String { "#\(rawValue)" }
}

/// An action of the machine for its shell. Actions are performed in the order in which they come.
package enum ServerAction: Sendable, Hashable {
    case send(Envelope<ServerMessage>, to: ConnectionID)
    /// Close with a close handshake, behind what was sent. The machine has already forgotten the connection.
    case close(ConnectionID, CloseCode)
    /// Close a dead link at once, without a close handshake. The machine has already forgotten the connection.
    case abort(ConnectionID)
}
