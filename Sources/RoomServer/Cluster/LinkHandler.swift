internal import Logging
internal import NIOCore
internal import RoomCluster
internal import TransportPluginAPI

/// The socket of a link between two nodes. Lives on the cluster's event loop.
final class LinkHandler: SocketHandler {
    enum Event {
        case ready(LinkHello)
        case frame(LinkFrame)
        case resume(StreamID)
        case ended(LinkFailure, String)
    }

    /// Unsent bytes after which the other node counts as gone.
    private static let maximumUnsent = 64 << 20

    let side: LinkMachine.Side
    private(set) var machine: LinkMachine
    private let eventLoop: any EventLoop
    private let metrics: ClusterMetrics
    private let onEvent: (LinkHandler, Event) -> Void
    private var context: ChannelHandlerContext?
    private var outgoing = ByteBuffer()
    private var isFlushing = false
    private var timer: (task: Scheduled<Void>, time: Timestamp)?
    private var wasReady = false
    private var hasEnded = false

    /// - Parameter onEvent: Called on the event loop. Nothing follows `.ended`.
    init(
        _ machine: LinkMachine, _ side: LinkMachine.Side, on eventLoop: any EventLoop, _ metrics: ClusterMetrics,
        _ onEvent: @escaping (LinkHandler, Event) -> Void
    ) {
        self.machine = machine
        self.side = side
        self.eventLoop = eventLoop
        self.metrics = metrics
        self.onEvent = onEvent
    }

    // MARK: The channel

    func channelActive(context: ChannelHandlerContext) {
        guard !hasEnded else { return context.close(promise: nil) }
        self.context = context
        machine.connected(at: .now())
        schedule()
        context.fireChannelActive()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is TLSHandler.Opened {
            let tls = try? context.pipeline.syncOperations.handler(type: TLSHandler.self)
            if let binding = tls?.channelBinding {
                perform(machine.opened(binding: binding, at: .now()))
            } else {
                fail(.closed, "TLS has no binding")
            }
        }
        context.fireUserInboundEventTriggered(event)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = unwrapInboundIn(data)
        metrics.bytesReceived.add(bytes.readableBytes)
        perform(bytes.withUnsafeReadableBytes { machine.received($0, at: .now()) })
    }

    func channelInactive(context: ChannelHandlerContext) {
        fail(wasReady ? .reset : .closed, "the other node has closed the link")
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        fail(.reset, "the socket has ended")
        self.context = nil
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        fail(wasReady ? .reset : .closed, "\(error)")
        context.close(promise: nil)
    }

    // MARK: Use

    /// Opens a stream. Nil when the link cannot take any more.
    func open(_ opening: LinkOpening) -> StreamID? {
        guard let (id, actions) = machine.open(opening) else { return nil }
        perform(actions)
        return id
    }

    /// Sends a text message. Returns whether the stream may send more.
    func text(_ id: StreamID, _ text: [UInt8]) -> Bool {
        let (actions, maySendMore) = machine.text(id, text)
        perform(actions)
        return maySendMore
    }

    func frame(_ id: StreamID) { perform(machine.frame(id)) }
    func close(_ id: StreamID, code: UInt16) { perform(machine.close(id, code: code)) }
    func accept(_ id: StreamID) { perform(machine.accept(id)) }
    func refuse(_ id: StreamID, _ refusal: LinkRefusal) { perform(machine.refuse(id, refusal)) }
    func abort(_ id: StreamID) { perform(machine.abort(id)) }
    func took(_ count: Int, from id: StreamID) { perform(machine.took(count, from: id)) }
    func tell(_ room: String, _ fence: UInt64) { perform(machine.tell(room, fence)) }
    func ask(_ question: LinkQuestion) { perform(machine.ask(1, question)) }
    func answer(_ id: StreamID, _ answer: LinkAnswer) { perform(machine.answer(id, answer)) }

    /// Ends the link and reports it.
    func fail(_ failure: LinkFailure, _ reason: String) {
        _ = machine.closed(reason)
        end(failure, reason)
    }

    // MARK: The machine

    private func perform(_ actions: [LinkMachine.Action]) {
        for action in actions {
            switch action {
            case .write(let frame):
                outgoing.writeBytes(frame.encoded)
                flushLater()
            case .ready(let hello):
                wasReady = true
                onEvent(self, .ready(hello))
            case .deliver(let frame): onEvent(self, .frame(frame))
            case .resume(let id): onEvent(self, .resume(id))
            case .end(let reason): end(machine.wasSilent ? .silent : .closed, reason)
            }
        }
        schedule()
    }

    private func end(_ failure: LinkFailure, _ reason: String) {
        guard !hasEnded else { return }
        hasEnded = true
        timer?.task.cancel()
        timer = nil
        flush()
        context?.close(promise: nil)
        onEvent(self, .ended(failure, reason))
    }

    /// Writes at the end of this turn: the frames of many streams are one write.
    private func flushLater() {
        guard !isFlushing else { return }
        isFlushing = true
        eventLoop.assumeIsolated().execute {
            self.isFlushing = false
            self.flush()
        }
    }

    private func flush() {
        guard let context, outgoing.readableBytes > 0 else { return }
        let bytes = outgoing
        outgoing = ByteBuffer()
        metrics.bytesSent.add(bytes.readableBytes)
        context.writeAndFlush(wrapOutboundOut(bytes), promise: nil)
        let unsent = (try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
        if unsent > Self.maximumUnsent { fail(.silent, "the other node does not read") }
    }

    private func schedule() {
        guard !hasEnded, let next = machine.nextDeadline else { return }
        if let timer, timer.time <= next { return }
        timer?.task.cancel()
        let delay = max(next - .now(), .zero).saturatedNanoseconds
        let task = eventLoop.assumeIsolated().scheduleTask(in: .nanoseconds(delay)) {
            self.timer = nil
            self.perform(self.machine.timePassed(to: .now()))
        }
        timer = (task, next)
    }
}
