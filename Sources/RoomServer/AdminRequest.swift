internal import RoomProtocol
internal import RoomServerCore
internal import WebSocketWire

/// A request to the admin API, with its path and query as text.
struct AdminRequest: Sendable {
    /// Bytes of a body.
    static let bodyLimit = 16_384

    var method: String
    /// Path and query, as they came.
    var target: String
    /// The percent-decoded parts of the path.
    var path: [String]
    var query: [String: String]
    var body: [UInt8]
    /// The last event that a consumer of events has seen.
    var lastEvent: String?
    /// The other side, for the audit log.
    var remote: String

    /// Nil: the path or the query is malformed.
    init?(_ head: RequestHead, body: [UInt8], remote: String) {
        self.init(head.method, head.target, remote: remote)
        self.body = body
        lastEvent = head.fields.value("last-event-id")
    }

    /// Creates a request without a body. Nil: the path or the query is malformed.
    init?(_ method: String, _ target: String, remote: String) {
        self.method = method
        self.target = target
        self.remote = remote
        body = []
        path = []
        let whole = target.utf8.prefix { $0 != UInt8(ascii: "?") }
        for part in whole.dropFirst().split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false) {
            guard let text = Self.decoded(part, isQuery: false) else { return nil }
            path.append(text)
        }
        query = [:]
        let text = target.utf8.drop { $0 != UInt8(ascii: "?") }.dropFirst()
        for member in text.split(separator: UInt8(ascii: "&")) {
            let name = member.prefix { $0 != UInt8(ascii: "=") }
            guard let key = Self.decoded(name, isQuery: true),
                let value = Self.decoded(member.dropFirst(name.count + 1), isQuery: true),
                query.updateValue(value, forKey: key) == nil
            else { return nil }
        }
    }

    /// Returns the text of percent-encoded UTF-8 (RFC 3986 §2.1), or nil when it is malformed.
    private static func decoded(_ text: some Collection<UInt8>, isQuery: Bool) -> String? {
        var bytes: [UInt8] = []
        var rest = Array(text)[...]
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "%"):
                guard rest.count >= 2, let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16),
                    rest.prefix(2).allSatisfy({ $0 != UInt8(ascii: "+") && $0 != UInt8(ascii: "-") })
                else { return nil }
                bytes.append(value)
                rest = rest.dropFirst(2)
            case UInt8(ascii: "+") where isQuery: bytes.append(UInt8(ascii: " "))
            default: bytes.append(byte)
            }
        }
        return String(validating: bytes, as: UTF8.self)
    }

    /// Returns text for a part of a path or a query.
    static func encoded(_ text: String) -> String {
        var result = ""
        for byte in text.utf8 {
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x7E:
                // Dots alone would be taken for a step in the path.
                if byte == 0x2E, text.utf8.allSatisfy({ $0 == 0x2E }) { fallthrough }
                result.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                let digits = String(byte, radix: 16, uppercase: true)
                result += "%" + (digits.utf8.count == 1 ? "0" : "") + digits
            }
        }
        return result
    }
}

/// An error of the admin API: `{"error":{"code":…,"message":…}}`.
struct AdminError: Error {
    var status: String
    var code: String
    var message: String

    static func badRequest(_ message: String) -> AdminError {
        AdminError(status: "400 Bad Request", code: "bad_request", message: message)
    }

    static let noSuchRoom = AdminError(
        status: "404 Not Found", code: "room_not_found", message: "There is no room with this name.")
    static let noSuchParticipant = AdminError(
        status: "404 Not Found", code: "participant_not_found", message: "The room has no participant with this id.")
    static let noSuchPath = AdminError(
        status: "404 Not Found", code: "not_found", message: "There is nothing at this path.")
    static let timeout = AdminError(
        status: "504 Gateway Timeout", code: "timeout",
        message: "A thread of the server did not answer in time. A change may still happen: look again.")
    static let unauthorized = AdminError(
        status: "401 Unauthorized", code: "unauthorized",
        message: "Send the admin token: Authorization: Bearer TOKEN.")
    static let tooManyGuesses = AdminError(
        status: "429 Too Many Requests", code: "too_many_requests",
        message: "Too many wrong tokens came from this address: wait some seconds.")

    var response: HTTPResponse {
        var json = JSONWriter()
        json.object { json in
            json.member("error") { json in
                json.member("code", code)
                json.member("message", message)
            }
        }
        var response = HTTPResponse(json: json, status: status)
        switch code {
        case "unauthorized": response.headers.append(("WWW-Authenticate", "Bearer"))
        case "too_many_requests": response.headers.append(("Retry-After", "\(TokenGuesses.burst / TokenGuesses.rate)"))
        default: break
        }
        return response
    }
}

extension HTTPResponse {
    /// Creates an answer with a JSON object.
    init(json: JSONWriter, status: String = "200 OK") {
        self.init(
            status: status, headers: [("Content-Type", "application/json"), ("Cache-Control", "no-store")],
            body: json.bytes + [10])
    }
}

extension Result<AdminAPI.Answer, any Error> {
    /// The outcome of a change, which another node may have answered: `done`, or the code of the error.
    var outcome: String {
        switch self {
        case .success(.response(let response)):
            if response.status.hasPrefix("2") { return "done" }
            guard case .object(let members)? = response.body.withUnsafeBytes({ try? JSONReader.read($0) }),
                case .object(let error)? = members["error"], case .string(let code)? = error["code"]
            else { return "failed" }
            return code
        case .success(.events): return "done"
        case .failure(let error): return (error as? AdminError)?.code ?? "failed"
        }
    }
}
