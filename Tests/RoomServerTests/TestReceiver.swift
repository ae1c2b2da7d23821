import NIOCore
import NIOPosix
import WebSocketWire

/// An HTTP server for webhooks: it records the requests, and answers them as it is told.
final class TestReceiver: Sendable {
    struct Request: Sendable {
        var head: RequestHead
        var body: [UInt8]
        var text: String { String(decoding: body, as: UTF8.self) }
        var id: String { head.fields.value("webhook-id") ?? "" }
    }

    enum Reply: Sendable {
        case status(Int, headers: String = "")
        /// The connection is closed without an answer.
        case hangUp
    }

    let port: Int
    let requests: AsyncStream<Request>
    private let channel: any Channel

    var eventLoop: any EventLoop { channel.eventLoop }

    var url: String { "http://127.0.0.1:\(port)/hook?secret=1" }

    /// - Parameter reply: The answer to a request; the number of earlier requests comes with it.
    init(
        tls makeTLS: @escaping @Sendable (any Channel) throws -> Void = { _ in },
        reply: @escaping @Sendable (Request, Int) -> Reply = { _, _ in .status(200) }
    ) async throws {
        let (stream, continuation) = AsyncStream<Request>.makeStream()
        requests = stream
        let counter = Counter()
        channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton.next())
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try makeTLS(channel)
                    try channel.pipeline.syncOperations.addHandler(
                        Handler { request in
                            let answer = reply(request, counter.next())
                            continuation.yield(request)
                            return answer
                        })
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        port = channel.localAddress?.port ?? 0
    }

    func close() async throws { try await channel.close() }

    /// Counts on the one loop of the receiver.
    private final class Counter: @unchecked Sendable {
        // SAFETY: used by the receiver's one event loop.
        private var count = 0
        func next() -> Int {
            defer { count += 1 }
            return count
        }
    }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer
        private var buffer = HTTPHeadBuffer<RequestHead>()
        private var head: RequestHead?
        private var body: [UInt8] = []
        private let answer: (Request) -> Reply

        init(_ answer: @escaping (Request) -> Reply) { self.answer = answer }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            var bytes = Array(unwrapInboundIn(data).readableBytesView)
            if head == nil {
                let left = bytes.withUnsafeBytes { pointer -> Int in
                    var rest = pointer
                    head = (try? buffer.take(&rest)) ?? nil
                    return rest.count
                }
                bytes = Array(bytes.suffix(left))
            }
            guard let head else { return }
            body += bytes
            guard body.count >= head.fields.value("content-length").flatMap({ Int($0) }) ?? 0 else { return }
            switch answer(Request(head: head, body: body)) {
            case .hangUp: context.close(promise: nil)
            case .status(let status, let headers):
                let text = "HTTP/1.1 \(status) Answer\r\n\(headers)Content-Length: 2\r\n\r\nok"
                context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: text)), promise: nil)
            }
        }
    }
}
