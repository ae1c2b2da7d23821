internal import Hashing
internal import NIOCore
internal import RoomServerCore
internal import WebSocketWire

/// One connection of the admin listener: requests one after the other, or a stream of events.
///
/// Can transition: head → body → answering → head (the connection stays) or ending; answering → streaming → ending; any
/// → ending (closed, too late, too much).
final class AdminHandler: SocketHandler, EventConsumer {
    /// The settings and the state that all connections of the listener share.
    final class Shared {
        let api: AdminAPI
        let hub: EventHub
        let routes: [AdminRoute]
        /// The SHA-256 of the token; nil: no token is needed over the port, because there is no port.
        private(set) var token: Digest?
        var guesses = TokenGuesses()
        var connections = 0

        init(api: AdminAPI, hub: EventHub, routes: [AdminRoute], token: [UInt8]?) {
            self.api = api
            self.hub = hub
            self.routes = routes
            self.token = token.map { Crypto.sha256($0) }
        }

        /// Takes this token only, from the next request on.
        func useToken(_ token: [UInt8]) { self.token = Crypto.sha256(token) }
    }

    private enum State {
        case head
        case body(RequestHead, missing: Int)
        case answering(keepsConnection: Bool, isHead: Bool)
        case streaming
        case ending
    }

    /// The connections at the same time.
    static let connectionLimit = 64
    /// The time for a request, and until the next one.
    private static let requestLimit = TimeAmount.seconds(10)
    private static let idleLimit = TimeAmount.seconds(60)
    /// A comment is sent so often, by which both sides notice that the other one is gone.
    private static let keepAlive = TimeAmount.seconds(15)
    /// Bytes that wait for a consumer of events. Over it, the connection is closed, and the consumer comes back.
    static let streamLimit = 1 << 20
    /// Bytes that come during an answer.
    private static let earlyLimit = 65_536

    private let shared: Shared
    private let isTrusted: Bool
    private let remote: String
    private var state = State.head
    private var buffer = HTTPHeadBuffer<RequestHead>()
    private var body: [UInt8] = []
    private var early: [UInt8] = []
    private var unsent = 0
    private var context: ChannelHandlerContext?
    private var timer: Scheduled<Void>?

    /// - Parameters:
    ///   - isTrusted: Whether the connection has come over the Unix socket, where no token is needed.
    ///   - remote: The address of the other side.
    init(_ shared: Shared, isTrusted: Bool, remote: String) {
        self.shared = shared
        self.isTrusted = isTrusted
        self.remote = remote
    }

    // MARK: The channel

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        shared.connections += 1
        guard shared.connections <= Self.connectionLimit else { return context.close(promise: nil) }
        startTimer(Self.requestLimit, context)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        guard self.context != nil else { return }
        timer?.cancel()
        shared.connections -= 1
        shared.hub.remove(self)
        state = .ending
        self.context = nil
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        read(Array(unwrapInboundIn(data).readableBytesView), context)
    }

    private func startTimer(_ time: TimeAmount, _ context: ChannelHandlerContext) {
        timer?.cancel()
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: time) { self.context?.close(promise: nil) }
    }

    // MARK: Requests

    private func read(_ bytes: [UInt8], _ context: ChannelHandlerContext) {
        switch state {
        case .head where early.isEmpty: readHead(bytes, context)
        case .body(let head, let missing):
            body += bytes.prefix(missing)
            early += bytes.dropFirst(missing)
            let rest = missing - min(missing, bytes.count)
            if rest > 0 { state = .body(head, missing: rest) } else { perform(head, context) }
        case .head, .answering:
            early += bytes
            if early.count > Self.earlyLimit { context.close(promise: nil) }
        case .streaming, .ending: break
        }
    }

    private func readHead(_ bytes: [UInt8], _ context: ChannelHandlerContext) {
        let result = bytes.withUnsafeBytes { pointer -> Result<(RequestHead, Int)?, HTTPHeadFailure> in
            var rest = pointer
            do throws(HTTPHeadFailure) {
                return .success(try buffer.take(&rest).map { ($0, rest.count) })
            } catch { return .failure(error) }
        }
        switch result {
        case .success(nil): break
        case .success((let head, let left)?):
            let rest = Array(bytes.suffix(left))
            guard head.fields.values("transfer-encoding").isEmpty else {
                return refuse("411 Length Required", "length_required", "Send Content-Length.", context)
            }
            let lengths = head.fields.values("content-length")
            guard lengths.count <= 1, let length = UInt32(lengths.first ?? "0") else {
                return refuse("400 Bad Request", "bad_request", "Content-Length is malformed.", context)
            }
            guard length <= AdminRequest.bodyLimit else {
                return refuse(
                    "413 Content Too Large", "too_large", "A body has at most \(AdminRequest.bodyLimit) bytes.", context
                )
            }
            body = []
            state = .body(head, missing: Int(length))
            read(rest, context)
        case .failure(.tooLong):
            refuse("431 Request Header Fields Too Large", "too_large", "The head is too long.", context)
        case .failure: refuse("400 Bad Request", "bad_request", "The request is malformed.", context)
        }
    }

    private func refuse(_ status: String, _ code: String, _ message: String, _ context: ChannelHandlerContext) {
        state = .answering(keepsConnection: false, isHead: false)
        write(AdminError(status: status, code: code, message: message).response, context)
    }

    private func perform(_ head: RequestHead, _ context: ChannelHandlerContext) {
        timer?.cancel()
        let keeps = head.isHTTP11 && !head.fields.members("connection").contains { $0.lowercased() == "close" }
        state = .answering(keepsConnection: keeps, isHead: head.method == "HEAD")
        let route = shared.routes.first { $0.path == head.path }
        do throws(AdminError) {
            if route?.needsToken != false { try checkToken(head) }
            if let route {
                guard head.method == "GET" || head.method == "HEAD" else {
                    throw AdminError(
                        status: "405 Method Not Allowed", code: "method_not_allowed", message: "Use GET.")
                }
                return write(route.answer(head), context)
            }
            guard let request = AdminRequest(head, body: body, remote: remote) else {
                throw .badRequest("The path or the query is malformed.")
            }
            shared.api.answer(request).assumeIsolated().whenSuccess { answer in
                guard let context = self.context, case .answering = self.state else { return }
                switch answer {
                case .response(let response): self.write(response, context)
                case .events(let id): self.stream(after: id, context)
                }
            }
        } catch {
            write(error.response, context)
        }
    }

    private func checkToken(_ head: RequestHead) throws(AdminError) {
        guard !isTrusted, let token = shared.token else { return }
        guard !shared.guesses.isBlocked(remote, at: .now()) else { throw .tooManyGuesses }
        let given = head.fields.value("authorization") ?? ""
        // The digests have one length, so the time tells nothing about that of the token.
        if given.lowercased().hasPrefix("bearer "),
            Crypto.areEqual(Crypto.sha256(given.utf8.dropFirst(7)).bytes, token.bytes)
        {
            return
        }
        shared.guesses.failed(remote, at: .now())
        throw .unauthorized
    }

    private func write(_ response: HTTPResponse, _ context: ChannelHandlerContext) {
        guard case .answering(let keeps, let isHead) = state else { return }
        var response = response.adding(date: Int(WallClock.now()))
        response.keepsConnection = keeps
        response.omitsBody = isHead
        let written = context.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: response.bytes)))
        guard keeps else {
            state = .ending
            startTimer(Self.requestLimit, context)
            written.assumeIsolated().whenComplete { _ in self.context?.close(mode: .output, promise: nil) }
            return
        }
        state = .head
        startTimer(Self.idleLimit, context)
        guard !early.isEmpty else { return }
        // Not at once: many requests in one piece would be as many calls on the stack.
        context.eventLoop.assumeIsolated().execute {
            guard let context = self.context, case .head = self.state else { return }
            let next = self.early
            self.early = []
            self.readHead(next, context)
        }
    }

    // MARK: Events

    private func stream(after id: String?, _ context: ChannelHandlerContext) {
        state = .streaming
        let head =
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
            + "Connection: close\r\n\r\nretry: 1000\n\n"
        send(Array(head.utf8))
        if !shared.hub.add(self, after: id) {
            // What was seen last is older than what is kept, or of an earlier run.
            send(Array("event: events.missed\ndata: {\"type\":\"events.missed\"}\n\n".utf8))
        }
        scheduleComment(context)
    }

    private func scheduleComment(_ context: ChannelHandlerContext) {
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: Self.keepAlive) {
            guard let context = self.context, case .streaming = self.state else { return }
            self.send(Array(":\n\n".utf8))
            self.scheduleComment(context)
        }
    }

    func receive(_ id: String, _ type: String, _ json: [UInt8]) {
        send(Array("id: \(id)\nevent: \(type)\ndata: ".utf8) + json + [10, 10])
    }

    private func send(_ bytes: [UInt8]) {
        guard let context, case .streaming = state else { return }
        unsent += bytes.count
        guard unsent <= Self.streamLimit else {
            state = .ending
            return context.close(promise: nil)
        }
        context.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: bytes))).assumeIsolated().whenComplete { _ in
            self.unsent -= bytes.count
        }
    }
}
