internal import Glibc
internal import NIOCore
internal import NIOPosix
internal import WebSocketWire

/// A client of the admin API, for commands and tests.
package struct AdminClient: Sendable {
    package enum Address: Sendable, Hashable {
        case url(HTTPURL)
        case socket(path: String)

        /// Reads `http://host:port`, `https://…`, `unix:/path` or `/path`.
        package init(_ text: String) throws(RoomServerError) {
            if text.hasPrefix("/") {
                self = .socket(path: text)
            } else if text.hasPrefix("unix:") {
                self = .socket(path: String(text.dropFirst(5)))
            } else {
                self = .url(try HTTPURL(text))
            }
        }
    }

    /// An answer of the server.
    package struct Answer: Sendable {
        package var status: Int
        package var body: [UInt8]
    }

    private let address: Address
    private let token: String?
    private let tls: TLSClientContext?
    private static let limit: Duration = .seconds(10)

    /// - Parameter authoritiesFile: The trusted authorities of `https`, PEM. Nil: the system's.
    package init(
        _ address: Address, token: String?, authoritiesFile: String? = nil
    ) throws(RoomServerError) {
        self.address = address
        self.token = token
        if case .url(let url) = address, url.isSecure {
            tls = try TLSClientContext(authoritiesFile: authoritiesFile)
        } else {
            tls = nil
        }
    }

    /// Sends a request, and returns the answer, whatever its status. Throws `RoomServerError` when the server cannot be
    /// reached within 10 s.
    ///
    /// - Parameters:
    ///   - path: The parts behind `/v1`, as text.
    ///   - query: Names and values, as text.
    package func request(
        _ method: String, _ path: [String], query: [(name: String, value: String)] = [], body: [UInt8] = []
    ) async throws -> Answer {
        let request = makeRequest(method, path, query, [], body)
        let answer = try await perform {
            HTTPExchange.perform(request, wantsBody: true, within: Self.limit, on: $0)
        }
        return Answer(status: answer.head.status, body: answer.body)
    }

    /// Receives events until the connection ends. Returns the answer if the server refuses; nil at the end of the
    /// stream. Throws `RoomServerError` when the server cannot be reached or the connection breaks.
    ///
    /// - Parameters:
    ///   - id: The last event that was seen. Nil: only new ones.
    ///   - isOpen: Called when the stream has begun.
    ///   - receive: Called for each event; while it runs, no more are read.
    package func events(
        after id: String?, isOpen: @escaping @Sendable () -> Void = {},
        _ receive: @escaping @Sendable (ServerSentEvent) -> Void
    ) async throws -> Answer? {
        let headers = [("Accept", "text/event-stream")] + (id.map { [("Last-Event-ID", $0)] } ?? [])
        let request = makeRequest("GET", ["events"], [], headers, [])
        let answer = try await perform { eventLoop in
            let reader = NIOLoopBoundBox.makeBoxSendingValue(EventStreamReader?.none, eventLoop: eventLoop)
            return HTTPExchange.perform(request, wantsBody: true, within: Self.limit, on: eventLoop) { head, bytes in
                guard head.status == 200 else { return }
                if reader.value == nil {
                    reader.value = EventStreamReader()
                    isOpen()
                }
                for event in reader.value?.read(bytes.readableBytesView) ?? [] { receive(event) }
            }
        }
        return answer.head.status == 200 ? nil : Answer(status: answer.head.status, body: answer.body)
    }

    private func makeRequest(
        _ method: String, _ path: [String], _ query: [(name: String, value: String)],
        _ headers: [(name: String, value: String)], _ body: [UInt8]
    ) -> HTTPRequest {
        var target = "/v1/" + path.map(AdminRequest.encoded).joined(separator: "/")
        let parameters = query.map { "\(AdminRequest.encoded($0.name))=\(AdminRequest.encoded($0.value))" }
        if !parameters.isEmpty { target += "?" + parameters.joined(separator: "&") }
        var headers = headers
        if let token { headers.append(("Authorization", "Bearer \(token)")) }
        // A proxy on the way may turn an answer to HTTP/1.1 into chunks.
        switch address {
        case .url(let url):
            headers.append(("Host", url.authority))
            let base = url.target.hasSuffix("/") ? String(url.target.dropLast()) : url.target
            return HTTPRequest(
                method: method, target: base + target, destination: .tcp(host: url.host, port: url.port),
                tls: tls.map { ($0, url.host) }, headers: headers, body: body, isHTTP10: true)
        case .socket(let path):
            headers.append(("Host", "localhost"))
            return HTTPRequest(
                method: method, target: target, destination: .unix(path: path), headers: headers, body: body,
                isHTTP10: true)
        }
    }

    private func perform(
        _ start: (any EventLoop) -> EventLoopFuture<HTTPAnswer>
    ) async throws -> HTTPAnswer {
        do {
            return try await start(MultiThreadedEventLoopGroup.singleton.next()).get()
        } catch let error as RoomServerError {
            throw error
        } catch {
            throw RoomServerError(message: Self.text(of: error))
        }
    }

    private static func text(of error: any Error) -> String {
        if let error = error as? NIOConnectionError {
            return error.connectionErrors.first.map { text(of: $0.error) } ?? "the name of the host is not known"
        }
        if let error = error as? IOError { return String(cString: strerror(error.errnoCode)) }
        return "\(error)"
    }
}

/// An event of a stream (HTML, server-sent events).
package struct ServerSentEvent: Sendable, Hashable {
    package var id: String?
    package var type: String
    package var data: String
}

/// Reads a stream of server-sent events as this server writes them: lines that end with LF, or CR LF.
package struct EventStreamReader: Sendable {
    /// Bytes of a line; a longer one is cut.
    private static let lineLimit = 1 << 20

    private var line: [UInt8] = []
    private var id: String?
    private var type = "message"
    private var data: [String] = []

    package init() {}

    /// Returns the events that end within these bytes.
    package mutating func read(_ bytes: some Sequence<UInt8>) -> [ServerSentEvent] {
        var events: [ServerSentEvent] = []
        for byte in bytes {
            guard byte == 10 else {
                if line.count < Self.lineLimit { line.append(byte) }
                continue
            }
            if line.last == 13 { line.removeLast() }
            if line.isEmpty {
                if !data.isEmpty {
                    events.append(ServerSentEvent(id: id, type: type, data: data.joined(separator: "\n")))
                }
                (id, type, data) = (nil, "message", [])
            } else {
                readField()
            }
            line.removeAll(keepingCapacity: true)
        }
        return events
    }

    private mutating func readField() {
        let name = line.prefix { $0 != UInt8(ascii: ":") }
        var value = line.dropFirst(name.count + 1)
        if value.first == UInt8(ascii: " ") { value = value.dropFirst() }
        let text = String(decoding: value, as: UTF8.self)
        switch String(decoding: name, as: UTF8.self) {
        case "id": id = text
        case "event": type = text
        case "data": data.append(text)
        // A comment, or one that is of no use here.
        default: break
        }
    }
}
