internal import WebSocketWire

/// The answer of the server to a request.
struct HTTPResponse: Equatable {
    var status: String
    var headers: [(name: String, value: String)]
    var body: [UInt8]
    /// The answer to HEAD: all of the answer to GET but the body.
    var omitsBody = false
    /// Whether the connection stays for the next request.
    var keepsConnection = false

    init(status: String, headers: [(name: String, value: String)] = [], body: [UInt8]) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    init(status: String, headers: [(name: String, value: String)] = [], body: String = "") {
        self.init(status: status, headers: headers, body: Array(body.utf8))
    }

    static func == (left: Self, right: Self) -> Bool { left.bytes == right.bytes }

    var isUpgrade: Bool { status.hasPrefix("101") }

    var bytes: [UInt8] {
        var text = "HTTP/1.1 \(status)\r\n"
        for (name, value) in headers { text += "\(name): \(value)\r\n" }
        if !isUpgrade {
            // The length of a 304 would be that of the 200 (RFC 9110 §8.6).
            if !status.hasPrefix("304") { text += "Content-Length: \(body.count)\r\n" }
            if !keepsConnection { text += "Connection: close\r\n" }
        }
        return Array((text + "\r\n").utf8) + (omitsBody ? [] : body)
    }

    /// Returns the response with a `Date` (RFC 9110 §6.6.1), in seconds since 1970.
    func adding(date time: Int) -> HTTPResponse {
        var response = self
        response.headers.append(("Date", HTTPDate.text(time)))
        return response
    }
}
