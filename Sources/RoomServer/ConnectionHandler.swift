internal import Logging
internal import NIOCore
internal import RoomCluster
internal import RoomProtocol
internal import RoomServerCore
internal import TransportPluginAPI
internal import WebSocketWire

/// One socket of the server: an HTTP request, or several for files, and, if one asks for it, a WebSocket connection.
///
/// Can transition: request → request (a file was sent); request → open (upgrade) → closing (a close frame was sent) →
/// done; request → answering (metrics) → ending (answered) → done; request → ending; open → moving (its room has
/// another loop) → done here, open there; open → routing (its room may belong to another node) → open or relayed →
/// closing; any → done (the socket has ended).
final class ConnectionHandler: SocketHandler, ServerConnection {
    enum State {
        /// The head of the request is awaited.
        case request
        /// The answer is being made elsewhere. Input is ignored.
        case answering
        case open(ConnectionID)
        /// It goes to another loop at the end of this read.
        indirect case moving(to: NIOLoopBound<ServerLoop>, Envelope<ClientMessage>, bytes: Int, rest: [UInt8])
        /// The cluster is asked for the owner of its room. What comes meanwhile is kept, and little of it.
        case routing(Routing)
        /// A node of the cluster that owns its room has the connection.
        case relayed(WaiterID)
        /// A close frame was sent; the other side's is awaited, within a time limit.
        case closing
        /// Input is ignored; the other side must close, within a time limit.
        case ending
        case done
    }

    let loop: ServerLoop
    let tls: TLSHandler?
    var client: ClientAddress
    var arrival: MovingConnection?
    /// Nil while nobody pays for what comes.
    private(set) var intake: Intake?
    var needsFlush = false
    /// Whether the input since the last `channelReadComplete` has replies that may not be flushed yet.
    private var hasReplies = false
    var holds = Holds()
    /// The sending direction is to be closed after the output.
    private var endsOutput = false
    var state = State.request
    private var head = HTTPHeadBuffer<RequestHead>()
    var parser = ConnectionHandler.parser(maximumMessageSize: Limits.clientMessageBytes)
    var outgoing = Outgoing()
    /// The memory of unsent output and incomplete input, as reported to the loop.
    private(set) var memory = 0
    /// The number of bytes that are still accepted after the server has closed; over it, the socket is closed at once.
    private var bytesLeft = 1 << 20
    private var framesLeft = 1000
    var context: ChannelHandlerContext?
    var deadline: Scheduled<Void>?
    private let acceptedAt = Timestamp.now()
    var helloAt: Timestamp?

    /// - Parameter arrival: The connection that goes on here; nil for a new socket.
    init(
        loop: ServerLoop, tls: TLSHandler? = nil, _ client: ClientAddress = ClientAddress(nil),
        _ arrival: MovingConnection? = nil
    ) {
        self.loop = loop
        self.client = client
        self.tls = tls
        self.arrival = arrival
        beginIntake()
    }

    private func beginIntake() { if intake == nil, client.payer != nil { intake = Intake() } }

    /// The maximum number of empty fragments. Some libraries end a message with an empty frame, or begin it with one;
    /// none needs many.
    static func parser(maximumMessageSize: Int) -> FrameParser {
        FrameParser(framesFrom: .client, maximumMessageSize: maximumMessageSize, maximumEmptyFragments: 8)
    }

    // MARK: The channel

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        guard loop.opened(self) else {
            state = .done
            context.close(promise: nil)
            return
        }
        if arrival == nil { setDeadline(loop.limits.handshakeTimeout) }
    }

    func handlerRemoved(context: ChannelHandlerContext) { ended() }

    func channelActive(context: ChannelHandlerContext) {
        if let arrival { resume(arrival) }
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        ended()
        context.fireChannelInactive()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is TLSHandler.Opened { loop.metrics.tlsHandshakes.add(.now() - acceptedAt) }
        if event is TLSHandler.Failed { loop.metrics.failed(.tls) }
        // It closes after what is written now.
        if event is TLSHandler.InputEnded { flush(force: true) }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        loop.logger.debug("socket failed", metadata: ["error": "\(error)"])
        context.close(promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = unwrapInboundIn(data)
        loop.metrics.bytesReceived.add(bytes.readableBytes)
        bytes.withUnsafeReadableBytes { read($0) }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        if case .moving(let home, let hello, let bytes, let rest) = state { handOver(to: home, hello, bytes, rest) }
        if hasReplies {
            hasReplies = false
            // The other side may have ended its output: then the socket closes now, before the loop's turn is over.
            flush()
        }
        context.fireChannelReadComplete()
    }

    private func ended() {
        deadline?.cancel()
        deadline = nil
        let before = state
        state = .done
        context = nil
        outgoing = Outgoing()
        head = HTTPHeadBuffer()
        parser = Self.parser(maximumMessageSize: 0)
        reportMemory()
        intake?.end()
        client = ClientAddress(nil)
        leave(before)
        loop.closed(self)
    }

    /// Time for what waits, at 4 KiB a second.
    private var timeToSend: Duration { .seconds(outgoing.count / 4096) }

    func setDeadline(_ duration: Duration) {
        deadline?.cancel()
        deadline = loop.eventLoop.assumeIsolated().scheduleTask(in: .nanoseconds(duration.saturatedNanoseconds)) {
            if case .request = self.state { self.loop.metrics.failed(.timeout) }
            self.abort()
        }
    }

    // MARK: Reading

    func read(_ bytes: UnsafeRawBufferPointer) {
        var rest = bytes
        let start = outgoing.position
        while !rest.isEmpty {
            switch state {
            case .request: readRequest(&rest)
            case .open(let id): readFrames(id, &rest)
            case .moving(let home, let hello, let bytes, let before):
                state = .moving(to: home, hello, bytes: bytes, rest: before + rest)
                return
            case .routing(let routing):
                keep(rest, routing)
                return
            case .relayed(let waiter): readFrames(of: waiter, &rest)
            case .closing: readUntilClose(&rest)
            case .answering, .ending:
                bytesLeft -= rest.count
                rest = UnsafeRawBufferPointer(rebasing: rest[..<0])
                if bytesLeft < 0 { abort() }
            case .done: return
            }
        }
        // Otherwise the loop does, at the end of its turn, with what others still write to this client until then.
        if !needsFlush { flush() } else if outgoing.position > start || outgoing.hasPong { hasReplies = true }
        reportMemory()
        if let context { intake?.charge(bytes.count, client, context, loop) }
    }

    /// Reads the head of the request from `bytes`, up to its end.
    private func readRequest(_ bytes: inout UnsafeRawBufferPointer) {
        let request: RequestHead?
        do throws(HTTPHeadFailure) { request = try head.take(&bytes) } catch {
            switch error {
            case .tooLong: answer(HTTPResponse(status: "431 Request Header Fields Too Large"))
            case .malformed, .notHTTP: answer(HTTPResponse(status: "400 Bad Request"))
            }
            return
        }
        guard let request else { return }
        loop.settled(self)
        if let response = loop.metrics(for: request) {
            intake?.countFrame()
            return answer(response)
        }
        let response = loop.answer(to: request, from: &client)
        beginIntake()
        intake?.countFrame()
        intake?.count(answer: response)
        guard response.isUpgrade else {
            answer(response)
            return
        }
        deadline?.cancel()
        deadline = nil
        loop.metrics.responded(response.status)
        loop.metrics.handshakes.add(.now() - acceptedAt)
        outgoing.append(response.bytes)
        flush()
        let id = loop.register(self)
        state = .open(id)
        loop.connected(id, from: client.payer)
    }

    private func answer(_ response: EventLoopFuture<HTTPResponse>) {
        state = .answering
        response.assumeIsolated().whenSuccess { response in
            guard case .answering = self.state else { return }
            self.answer(response)
            self.reportMemory()
        }
    }

    private func answer(_ response: HTTPResponse) {
        loop.metrics.responded(response.status)
        outgoing.append(response.adding(date: loop.now()).bytes)
        guard response.keepsConnection else {
            end()
            return
        }
        guard outgoing.count < loop.limits.sendBuffer else {
            abortOverflow("does not read")
            return
        }
        client.pass?.handshakeEnded()
        // For the next request.
        setDeadline(loop.limits.handshakeTimeout + timeToSend)
    }

    /// Reads frames from `bytes`. Each is charged to the sender's limit; over it, no further ones are read.
    private func readFrames(_ id: ConnectionID, _ bytes: inout UnsafeRawBufferPointer) {
        do throws(FrameViolation) {
            while case .open = state, let event = try parser.next(&bytes) { handle(event, id) }
        } catch {
            loop.metrics.violated()
            fail(id, CloseCode(rawValue: error.closeCode), error.description)
        }
    }

    private func handle(_ event: FrameParser.Event, _ id: ConnectionID) {
        intake?.countFrame()
        switch event {
        case .message(let message) where message.isText: loop.received(message.array(), from: id)
        case .message: fail(id, .unsupportedData, "binary messages are not supported")
        case .fragment, .pong: loop.receivedFrame(from: id)
        case .ping(let payload):
            outgoing.append(pong: payload)
            loop.receivedFrame(from: id)
        case .close(let reason):
            outgoing.append(close: CloseReason(code: reason.code))
            finish(id)
        }
    }

    /// Reads frames from `bytes`, and closes after the other side's close frame.
    private func readUntilClose(_ bytes: inout UnsafeRawBufferPointer) {
        let before = bytes.count
        var isOver = false
        do throws(FrameViolation) {
            while !isOver, let event = try parser.next(&bytes) {
                framesLeft -= 1
                if case .close = event { isOver = true } else { isOver = framesLeft < 0 }
            }
        } catch { isOver = true }
        bytesLeft -= before - bytes.count
        if isOver || bytesLeft < 0 { abort() }
    }

    /// Closes because the other side has broken a rule, with a close frame that names it. Nothing more is read.
    private func fail(_ id: ConnectionID, _ code: CloseCode, _ reason: String) {
        loop.logger.debug(
            "failed", metadata: ["connection": "\(id)", "code": "\(code.rawValue)", "reason": "\(reason)"])
        outgoing.append(close: CloseReason(code: code.rawValue, reason: reason))
        finish(id)
    }

    private func finish(_ id: ConnectionID) {
        end()
        loop.disconnected(id)
    }

    /// Flushes, closes the sending direction, and waits for the other side to close: closing at once could drop data
    /// that it has not read yet.
    func end() {
        state = .ending
        head = HTTPHeadBuffer()
        parser = Self.parser(maximumMessageSize: 0)
        endsOutput = true
        flush()
        setDeadline(loop.limits.closeTimeout + timeToSend)
    }

    // MARK: Writing

    /// Writes a text message, without a flush.
    func write(_ text: [UInt8]) {
        guard context != nil else { return }
        guard outgoing.count < max(loop.limits.sendBuffer, Limits.serverMessageBytes) else {
            abortOverflow("does not read")
            return
        }
        outgoing.append(text: text)
        reportMemory()
    }

    func flush() {
        guard endsOutput, holds.end == nil else { return flush(force: false) }
        endsOutput = false
        flush(force: true)
        context?.close(mode: .output, promise: nil)
    }

    /// Writes everything that waits, as one write. Later output waits for its end.
    private func flush(force: Bool) {
        guard let context, let bytes = outgoing.take(force: force, upTo: holds.end) else { return }
        let count = bytes.readableBytes
        loop.metrics.bytesSent.add(count)
        context.writeAndFlush(wrapOutboundOut(bytes)).assumeIsolated().whenComplete { _ in
            guard self.context != nil else { return }
            self.outgoing.written(count)
            self.reportMemory()
            self.flush()
        }
    }

    /// Reports to the loop how much memory this connection takes.
    private func reportMemory() {
        let now = head.heldBytes + parser.heldBytes + outgoing.memory
        let change = now - memory
        memory = now
        if change != 0 { loop.memoryChanged(by: change) }
    }

    /// Ends a connection that exceeds a limit of memory.
    func abortOverflow(_ reason: String) {
        loop.metrics.overflowed()
        if case .open(let id) = state {
            loop.logger.debug("send buffer overflowed", metadata: ["connection": "\(id)", "reason": "\(reason)"])
        }
        abort()
    }
}
