internal import WebSocketWire

/// The request of a client's opening handshake (RFC 6455 §4.1).
struct WebSocketRequest: Sendable {
    var path: String
    /// The header fields, with names in lower case.
    var headers: [(name: String, value: String)]

    func header(_ name: String) -> String? { headers.first { $0.name == name }?.value }

    init?(head: [UInt8]) {
        let lines = head.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).map { line in
            String(decoding: line.last == UInt8(ascii: "\r") ? line.dropLast() : line, as: UTF8.self)
        }
        let request = (lines.first ?? "").split(separator: " ")
        guard request.count == 3, request[0] == "GET" else { return nil }
        path = String(request[1])
        headers = lines.dropFirst().compactMap { line in
            guard let colon = line.firstIndex(of: ":") else { return nil }
            let value = line[line.index(after: colon)...].drop { $0 == " " }
            return (line[..<colon].lowercased(), String(value))
        }
    }

    /// The value that proves that the server understood the handshake (RFC 6455 §4.2.2).
    var accept: String? {
        header("sec-websocket-key").map(HandshakeKey.accept)
    }
}
