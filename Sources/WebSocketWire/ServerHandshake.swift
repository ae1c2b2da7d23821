/// The server's part of the opening handshake (RFC 6455 §4.2).
public struct ServerHandshake: Sendable {
    /// The reason why a request opens no connection.
    public enum Objection: Error, Hashable {
        /// It misses a part, or has one that is malformed (400).
        case incomplete
        /// It speaks another version than 13 (426, with `Sec-WebSocket-Version`).
        case wrongVersion
    }

    /// The version of the protocol, as `Sec-WebSocket-Version` has it.
    public static let version = "13"

    /// The offers of the client in its order of preference, in lower case.
    public let subprotocols: [String]
    private let key: String

    /// Whether a request asks for a WebSocket, be it rightly or not.
    public static func isWanted(by request: RequestHead) -> Bool { request.fields.has("websocket", in: "upgrade") }

    /// Checks a request that asks for a WebSocket.
    public init(_ request: RequestHead) throws(Objection) {
        let fields = request.fields
        guard request.method == "GET", request.isHTTP11, Self.isWanted(by: request),
            fields.has("upgrade", in: "connection"), !fields.values("host").isEmpty,
            let key = fields.value("sec-websocket-key"), HandshakeKey.isValid(key)
        else { throw .incomplete }
        guard fields.value("sec-websocket-version") == Self.version else { throw .wrongVersion }
        self.key = key
        subprotocols = fields.members("sec-websocket-protocol").map { $0.lowercased() }
    }

    /// The header fields of the response with the status 101.
    /// - Parameter subprotocol: one of `subprotocols`, or nil.
    public func fields(subprotocol: String? = nil) -> [(name: String, value: String)] {
        let fields = [
            (name: "Upgrade", value: "websocket"), (name: "Connection", value: "Upgrade"),
            (name: "Sec-WebSocket-Accept", value: HandshakeKey.accept(key)),
        ]
        return fields + (subprotocol.map { [(name: "Sec-WebSocket-Protocol", value: $0)] } ?? [])
    }
}

extension HTTPFields {
    /// Whether a list has a member (in lower case), whatever its case.
    fileprivate func has(_ member: String, in name: String) -> Bool {
        members(name).contains { $0.lowercased() == member }
    }
}
