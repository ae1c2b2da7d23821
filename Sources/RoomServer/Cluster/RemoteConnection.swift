internal import NIOCore
internal import RoomProtocol
internal import RoomServerCore
internal import TransportPluginAPI

/// A client of another node as a connection of its room's loop, on which it lives.
final class RemoteConnection: ServerConnection {
    private let loop: ServerLoop
    private let node: NIOLoopBound<ClusterNode>
    private let stream: RemoteStream
    private var id: ConnectionID?
    var needsFlush = false
    var holds = Holds()
    var helloAt: Timestamp?
    private var waiting: [[UInt8]] = []
    private var waitingBytes = 0
    /// The number of messages that were ever sent.
    private var sent = 0
    /// It is to be closed after what waits.
    private var closing: CloseCode?
    var position: Int { sent + waiting.count }

    init(_ stream: RemoteStream, on loop: ServerLoop, of node: NIOLoopBound<ClusterNode>) {
        self.stream = stream
        self.loop = loop
        self.node = node
    }

    // MARK: From the client

    /// Begins with the client's hello.
    func begin(_ hello: [UInt8], address: String) {
        // The server has stopped meanwhile.
        guard loop.cluster != nil else { return }
        let id = loop.register(self)
        self.id = id
        loop.connected(id)
        loop.received(hello, from: id)
    }

    func received(_ text: [UInt8]) {
        if let id { loop.received(text, from: id) }
        tell { node, stream in node.took(text.count, from: stream) }
    }

    func receivedFrame() { if let id { loop.receivedFrame(from: id) } }

    /// The client, or the link to its node, is gone.
    func ended() {
        guard let id else { return }
        self.id = nil
        loop.disconnected(id)
    }

    // MARK: To the client

    func write(_ text: [UInt8]) {
        guard waitingBytes < max(loop.limits.sendBuffer, Limits.serverMessageBytes) else {
            loop.metrics.overflowed()
            let id = id
            abort()
            if let id { loop.disconnected(id) }
            return
        }
        waiting.append(text)
        waitingBytes += text.count
    }

    func flush() {
        let count = min(waiting.count, (holds.end ?? .max) - sent)
        if count > 0 {
            let texts = Array(waiting.prefix(count))
            waiting.removeFirst(count)
            waitingBytes -= texts.reduce(0) { $0 + $1.count }
            sent += count
            tell { node, stream in node.send(texts, to: stream) }
        }
        guard let closing, waiting.isEmpty else { return }
        self.closing = nil
        tell { node, stream in node.close(stream, code: closing.rawValue) }
    }

    func close(_ code: CloseCode) {
        id = nil
        closing = code
        flush()
    }

    func abort() {
        id = nil
        waiting = []
        waitingBytes = 0
        closing = nil
        tell { node, stream in node.abort(stream) }
    }

    /// The room has another owner by now.
    func refuse() {
        id = nil
        tell { node, stream in node.refuse(stream, .notOwner) }
    }

    private func tell(_ body: @escaping @Sendable (ClusterNode, RemoteStream) -> Void) {
        let (node, stream) = (node, stream)
        node.eventLoop.execute { body(node.value, stream) }
    }
}

/// A stream of a link that another node has opened.
struct RemoteStream: Sendable, Hashable {
    var link: UInt64
    var stream: StreamID
}
