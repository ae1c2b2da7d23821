/// The client's part of the opening handshake (RFC 6455 §4.1): the request, and whether a response is the one to it.
public struct ClientHandshake: Sendable {
    /// The reason why a response with the status 101 opens no connection.
    public enum Objection: Error, Hashable, CustomStringConvertible {
        /// `Upgrade` is not `websocket`.
        case noUpgrade
        /// `Connection` has no `Upgrade`.
        case noConnectionUpgrade
        /// The value of `Sec-WebSocket-Accept` does not prove that the key was read.
        case wrongAccept
        /// The server has chosen an extension, and none was offered.
        case unwantedExtension
        /// The server has chosen a subprotocol, and none was offered.
        case unwantedSubprotocol
        /// None of those that were offered, or more than one.
        case noSubprotocol(offered: [String])

        /// The flaw, as a clause about the server.
        public var description: String {
            switch self {
            case .noUpgrade: "it did not upgrade to websocket"
            case .noConnectionUpgrade: "its Connection has no Upgrade"
            case .wrongAccept: "its Sec-WebSocket-Accept is not the answer to the key"
            case .unwantedExtension: "it chose an extension"
            case .unwantedSubprotocol: "it chose a subprotocol, although none was offered"
            case .noSubprotocol(let offered):
                "it chose none of the subprotocols \(offered.joined(separator: ", "))"
            }
        }
    }

    private let host: String
    private let target: String
    private let subprotocols: [String]
    private let headers: [(name: String, value: String)]
    private let key: String

    /// Creates the handshake of one connection. Takes everything as it is: the caller has refused what would break out
    /// of its line.
    /// - Parameters:
    ///   - host: the value of `Host`.
    ///   - target: path and query.
    ///   - subprotocols: the offers, in the order of preference.
    ///   - headers: further ones.
    ///   - nonce: 16 bytes that nobody can foresee.
    public init(
        host: String, target: String, subprotocols: [String] = [], headers: [(name: String, value: String)] = [],
        nonce: [UInt8]
    ) {
        self.host = host
        self.target = target
        self.subprotocols = subprotocols
        self.headers = headers
        key = Base64.encode(nonce)
    }

    /// The bytes of the request.
    public var request: [UInt8] {
        var text = "GET \(target) HTTP/1.1\r\nHost: \(host)\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        text += "Sec-WebSocket-Key: \(key)\r\nSec-WebSocket-Version: 13\r\n"
        if !subprotocols.isEmpty { text += "Sec-WebSocket-Protocol: \(subprotocols.joined(separator: ", "))\r\n" }
        for (name, value) in headers { text += "\(name): \(value)\r\n" }
        return Array((text + "\r\n").utf8)
    }

    /// Returns nil when a response with the status 101 opens the connection.
    public func objection(to response: ResponseHead) -> Objection? {
        let fields = response.fields
        guard fields.values("upgrade").map({ $0.lowercased() }) == ["websocket"] else { return .noUpgrade }
        guard fields.members("connection").contains(where: { $0.lowercased() == "upgrade" }) else {
            return .noConnectionUpgrade
        }
        guard fields.values("sec-websocket-accept") == [HandshakeKey.accept(key)] else { return .wrongAccept }
        guard fields.members("sec-websocket-extensions").isEmpty else { return .unwantedExtension }
        let chosen = fields.values("sec-websocket-protocol")
        if subprotocols.isEmpty { return chosen.isEmpty ? nil : .unwantedSubprotocol }
        guard chosen.count == 1, subprotocols.contains(chosen[0]) else { return .noSubprotocol(offered: subprotocols) }
        return nil
    }
}
