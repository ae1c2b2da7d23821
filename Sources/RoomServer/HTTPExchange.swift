internal import NIOCore
internal import NIOPosix
internal import WebSocketWire

/// A request of this process, as a client.
struct HTTPRequest: Sendable {
    enum Destination: Sendable {
        case tcp(host: String, port: Int)
        /// A Unix socket.
        case unix(path: String)
    }

    var method = "GET"
    /// Path and query.
    var target: String
    var destination: Destination
    /// The trusted authorities, and the name in the certificate. Nil: without TLS.
    var tls: (context: TLSClientContext, serverName: String)?
    /// All fields but `Connection` and `Content-Length`.
    var headers: [(name: String, value: String)] = []
    var body: [UInt8] = []
    /// HTTP/1.0, whose answers have no chunks.
    var isHTTP10 = false

    var bytes: [UInt8] {
        var text = "\(method) \(target) HTTP/1.\(isHTTP10 ? 0 : 1)\r\n"
        for (name, value) in headers { text += "\(name): \(value)\r\n" }
        if !body.isEmpty || method == "POST" || method == "PUT" { text += "Content-Length: \(body.count)\r\n" }
        return Array((text + "Connection: close\r\n\r\n").utf8) + body
    }
}

/// The answer to a request, with its body as far as it was kept.
struct HTTPAnswer: Sendable {
    var head: ResponseHead
    var body: [UInt8]
}

/// One request over a connection of its own, with one deadline for all of it.
///
/// Can transition: opening → head (connected) → body (the head has come) → done; any → done (the deadline, an error,
/// the end of the connection).
final class HTTPExchange: SocketHandler {
    /// The bytes of a body that are kept.
    static let bodyLimit = 4 << 20

    private let request: HTTPRequest
    private let answer: EventLoopPromise<HTTPAnswer>
    private let wantsBody: Bool
    private let stream: ((ResponseHead, ByteBuffer) -> Void)?
    private let timer: Scheduled<Void>
    private var isConnected = false
    private var buffer = HTTPHeadBuffer<ResponseHead>()
    private var head: ResponseHead?
    private var body: [UInt8] = []
    /// The bytes of the body that are still to come. Nil: until the connection ends.
    private var rest: Int?

    private init(
        _ request: HTTPRequest, _ answer: EventLoopPromise<HTTPAnswer>, _ timer: Scheduled<Void>, wantsBody: Bool,
        stream: ((ResponseHead, ByteBuffer) -> Void)?
    ) {
        self.request = request
        self.answer = answer
        self.timer = timer
        self.wantsBody = wantsBody
        self.stream = stream
    }

    /// Sends a request.
    ///
    /// - Parameters:
    ///   - wantsBody: False: the answer's body is ignored, and the connection is closed after its head.
    ///   - limit: The time limit for the whole exchange; with `stream`, for the head.
    ///   - stream: Gets the pieces of the body of an answer with the status 200, on `eventLoop`, which waits for each
    ///     call. The answer then comes at the end, without a body.
    /// - Returns: The answer. Fails with `RoomServerError` and with the errors of SwiftNIO.
    static func perform(
        _ request: HTTPRequest, wantsBody: Bool, within limit: Duration, on eventLoop: any EventLoop,
        stream: (@Sendable (ResponseHead, ByteBuffer) -> Void)? = nil
    ) -> EventLoopFuture<HTTPAnswer> {
        let answer = eventLoop.makePromise(of: HTTPAnswer.self)
        let time = TimeAmount.nanoseconds(limit.saturatedNanoseconds)
        let timer = eventLoop.scheduleTask(in: time) {
            answer.fail(RoomServerError(message: "no answer came in time"))
        }
        answer.futureResult.whenComplete { _ in timer.cancel() }
        let bootstrap = ClientBootstrap(group: eventLoop)
            .connectTimeout(time)
            .channelInitializer { channel in
                // One of several, where the host has several addresses.
                answer.futureResult.whenComplete { _ in channel.close(promise: nil) }
                return channel.eventLoop.makeCompletedFuture {
                    if let tls = request.tls {
                        let handler = try tls.context.makeHandler(serverName: tls.serverName)
                        try channel.pipeline.syncOperations.addHandler(handler)
                    }
                    let exchange = HTTPExchange(request, answer, timer, wantsBody: wantsBody, stream: stream)
                    try channel.pipeline.syncOperations.addHandler(exchange)
                }
            }
        let connected =
            switch request.destination {
            case .tcp(let host, let port): bootstrap.connect(host: host, port: port)
            case .unix(let path): bootstrap.connect(unixDomainSocketPath: path)
            }
        connected.whenFailure { answer.fail($0) }
        return answer.futureResult
    }

    func channelActive(context: ChannelHandlerContext) {
        isConnected = true
        context.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: request.bytes)), promise: nil)
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let input = unwrapInboundIn(data)
        do throws(HTTPHeadFailure) {
            guard head != nil else { return try readHead(input) }
            readBody(input)
        } catch {
            answer.fail(RoomServerError(message: error.description))
        }
    }

    private func readHead(_ input: ByteBuffer) throws(HTTPHeadFailure) {
        let bytes = Array(input.readableBytesView)
        var left = 0
        let result = bytes.withUnsafeBytes { pointer -> Result<ResponseHead?, HTTPHeadFailure> in
            var unread = pointer
            do throws(HTTPHeadFailure) {
                while let head = try buffer.take(&unread) {
                    if head.isInterim { continue }
                    left = unread.count
                    return .success(head)
                }
                return .success(nil)
            } catch { return .failure(error) }
        }
        guard let head = try result.get() else { return }
        self.head = head
        rest = head.fields.value("content-length").flatMap { Int($0) }
        if stream != nil, head.status == 200 { timer.cancel() }
        guard wantsBody || stream != nil else { return succeed() }
        readBody(ByteBuffer(bytes: bytes.suffix(left)))
    }

    private func readBody(_ input: ByteBuffer) {
        guard let head else { return }
        if let stream, head.status == 200 {
            stream(head, input)
        } else {
            guard body.count + input.readableBytes <= Self.bodyLimit else {
                return answer.fail(RoomServerError(message: "its answer has more than \(Self.bodyLimit) bytes"))
            }
            body += input.readableBytesView
        }
        rest? -= input.readableBytes
        if let rest, rest <= 0 { succeed() }
    }

    private func succeed() {
        guard let head else { return }
        answer.succeed(HTTPAnswer(head: head, body: body))
    }

    func channelInactive(context: ChannelHandlerContext) {
        if rest == nil, head != nil { succeed() }
        if isConnected { answer.fail(RoomServerError(message: "the connection was closed before the answer")) }
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        answer.fail(error)
        context.close(promise: nil)
    }
}
