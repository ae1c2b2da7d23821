internal import WebSocketWire

/// The answer of the server to a request.
struct HTTPResponse: Equatable {
    var status: String
    var headers: [(name: String, value: String)] = []
    var body = ""

    static func == (left: Self, right: Self) -> Bool { left.bytes == right.bytes }

    var isUpgrade: Bool { status.hasPrefix("101") }

    var bytes: [UInt8] {
        var text = "HTTP/1.1 \(status)\r\n"
        for (name, value) in headers { text += "\(name): \(value)\r\n" }
        if !isUpgrade { text += "Content-Length: \(body.utf8.count)\r\nConnection: close\r\n" }
        return Array((text + "\r\n" + body).utf8)
    }

    /// Returns the response with a `Date` (RFC 9110 §6.6.1), in seconds since 1970.
    func adding(date time: Int) -> HTTPResponse {
        var response = self
        response.headers.append(("Date", HTTPDate.text(time)))
        return response
    }
}
